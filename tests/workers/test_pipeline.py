"""One job over stores in memory, with tools that only pretend: order, admission, progress, and what an end anywhere leaves."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import anyio
import anyio.to_thread
import pytest
from prometheus_client import CollectorRegistry

from tests.support import samples
from tests.support.children import names_in, unconfined
from tests.support.memory import MemoryStore
from tests.support.slow_store import SlowStore
from tests.support.world import capacity_of
from vproc.core.container import Container
from vproc.core.cost import Cost
from vproc.core.files import File, ObjectVersion, Stage, Status
from vproc.core.keys import manifest_key
from vproc.core.manifest import Manifest
from vproc.core.media import MediaInfo
from vproc.core.plan import Plan
from vproc.core.verify import Verdict
from vproc.errors import (
    EncoderError,
    ErrorCode,
    JobError,
    LeaseLostError,
    NoRoomError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from vproc.ports import Feed
from vproc.profiles import builtin_profiles
from vproc.telemetry import Metrics
from vproc.usage import current_usage, metered
from vproc.workers import source as source_module
from vproc.workers.capacity import Capacity
from vproc.workers.figures import JobFigures
from vproc.workers.job_runner import Job
from vproc.workers.keeper import Progress
from vproc.workers.media import Encoded, MediaTools, Verified
from vproc.workers.pipeline import Pipeline
from vproc.workers.scratch import Scratch

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
KEY = f"videos/ann/{FILE_ID}.mp4"
SOURCE = samples.FTYP + bytes(200_000)

Step = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Nothing happens in this step."""


class StubTools(MediaTools):
    """Probes what it is told, and encodes a few bytes for each output. ``steps`` run inside the stage of their name."""

    def __init__(self) -> None:
        super().__init__(
            runner=unconfined(), pairs=[samples.tool_pair(version="5.1.9")], max_pixels=1, job_timeout_s=1, stall_timeout_s=1
        )
        self.info = samples.media(samples.video(640, 360), samples.audio())
        self.steps: dict[str, Step] = {}
        self.calls: Counter[str] = Counter()
        self.sources: list[bytes] = []
        self.fed: list[bytes | None] = []
        self.verdict = Verdict()
        self.container = Container.MOV

    async def _drink(self, feed: Feed) -> bytes:
        given = bytearray()

        async def write(data: bytes) -> bool:
            given.extend(data)
            await self.steps.get("feed", nothing)()
            return True

        await feed(write)
        return bytes(given)

    async def _step(self, name: str) -> None:
        self.calls[name] += 1
        await self.steps.get(name, nothing)()

    async def examine(self, source: Path, container: Container, *, cwd: Path, whole: bool = True) -> MediaInfo:
        assert container is self.container
        self.sources.append(await anyio.to_thread.run_sync(source.read_bytes))
        await self._step("probe")
        return self.info

    async def check_themselves(self, *, cwd: Path) -> None:
        await self._step("self_test")

    async def encode(
        self, plan: Plan, *, source_bytes: int, cwd: Path, on_progress: Callable[[float], None], feed: Feed | None = None
    ) -> Encoded:
        self.fed.append(None if feed is None else await self._drink(feed))
        on_progress(0.5)
        on_progress(0.25)
        await self._step("encode")
        for output in plan.outputs:
            for path in output.paths:
                path.write_bytes(b"encoded " + path.name.encode())
        on_progress(1.0)
        return Encoded("", out_time_s=10.0, wall_s=2.0)

    async def verify(self, plan: Plan, encoded: Encoded, *, cwd: Path) -> Verified:
        await self._step("verify")
        return Verified(self.verdict, {output.rendition: self.info for output in plan.outputs if output.is_media})


class History(Progress):
    """Every place that the job told."""

    def __init__(self) -> None:
        self.told: list[tuple[Stage, float]] = []
        super().__init__()

    def enter(self, stage: Stage) -> None:
        super().enter(stage)
        self.told.append((self.stage, self.fraction))

    def reach(self, stage: Stage, share: float) -> None:
        super().reach(stage, share)
        self.told.append((self.stage, self.fraction))

    def publish(self, total_bytes: int) -> None:
        super().publish(total_bytes)
        self.told.append((self.stage, self.fraction))


class Disk(Scratch):
    """A scratch directory on a disk of a size that a test says."""

    free = 1 << 40

    async def free_bytes(self) -> int:
        return self.free


class FailingStore(MemoryStore):
    """Fails its N-th call of all, before or after it took effect."""

    def __init__(self) -> None:
        super().__init__("processed")
        self.fail_at = 0
        self.applied = False
        self.failed = False

    async def begin(self, method: str) -> BaseException | None:
        late = await super().begin(method)
        if self.calls.total() != self.fail_at:
            return late
        self.failed = True
        error = UnavailableError(f"{method} failed")
        if self.applied:
            return error
        raise error


@dataclass
class Bench:
    """A pipeline and all that it stands on."""

    root: Path
    raw: MemoryStore = field(default_factory=lambda: MemoryStore("raw"))
    processed: FailingStore = field(default_factory=FailingStore)
    tools: StubTools = field(default_factory=StubTools)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))
    progress: History = field(default_factory=History)
    figures: JobFigures = field(default_factory=JobFigures)
    confirm: Step = nothing
    profile: str = "h264"
    max_upload_bytes: int = 1_000_000
    capacity: Capacity = field(default_factory=lambda: capacity_of(together=4))

    def __post_init__(self) -> None:
        self.disk = Disk(self.root)
        self.pipeline = Pipeline(
            raw=self.raw,
            processed=self.processed,
            tools=self.tools,
            scratch=self.disk,
            limits=samples.LIMITS,
            max_upload_bytes=self.max_upload_bytes,
            metrics=self.metrics,
            profiles=builtin_profiles(),
            capacity=self.capacity,
        )
        self.version = self.raw.upload(KEY, SOURCE)

    async def run(self, run_id: str = "run1", version: ObjectVersion | None = None) -> Manifest:
        now = datetime.now(UTC)
        file = File(FILE_ID, "ann", "a.mp4", "raw", KEY, self.profile, Status.PROCESSING, now, now)
        return await self.pipeline.run(Job(file, version or self.version, run_id, self.confirm), self.progress, self.figures)

    async def check_ends_with(self, code: ErrorCode, branch: type[JobError], words: str | None = None) -> None:
        """The job raises that, and leaves no work file and no manifest."""
        with pytest.raises(branch, match=words) as caught:
            await self.run()
        assert caught.value.code is code
        self.check_uncommitted()

    def check_uncommitted(self) -> None:
        assert names_in(self.root) == []
        assert manifest_key(FILE_ID) not in self.processed.keys

    async def discard(self, run_id: str) -> None:
        """What a run that lost its lease leaves."""
        now = datetime.now(UTC)
        file = File(FILE_ID, "ann", "a.mp4", "raw", KEY, self.profile, Status.PROCESSING, now, now)
        await self.pipeline.discard(file, run_id)

    def check_committed(self) -> Manifest:
        """One manifest, and all that it lists."""
        manifest = Manifest.from_json(self.processed.body(manifest_key(FILE_ID)))
        for output in (*manifest.outputs, *manifest.entry_points):
            assert len(self.processed.body(output.key)) == output.bytes
        for output in manifest.outputs:
            assert output.key.startswith(f"{FILE_ID}/{manifest.run_id}/")
        return manifest


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- from end to end -------------------------------------------------------------------------------------------------


async def test_a_source_becomes_a_committed_manifest(bench: Bench) -> None:
    manifest = await bench.run()
    assert manifest == bench.check_committed()
    assert bench.tools.sources == [SOURCE]
    assert (manifest.run_id, manifest.profile, manifest.target_codec, manifest.damaged) == ("run1", "h264", "h264", False)
    assert manifest.source.etag == bench.version.etag
    assert (manifest.source.bytes, manifest.source.codec, manifest.source.width) == (len(SOURCE), "h264", 640)
    assert manifest.tools["ffmpeg"] == "5.1.9"
    assert bench.processed.body(f"{FILE_ID}/metadata.json") == bench.processed.body(manifest.entry_points[0].source_key)
    assert names_in(bench.root) == []


async def test_its_figures_are_complete(bench: Bench) -> None:
    manifest = await bench.run()
    figures = bench.figures.values()
    assert set(figures.stage_seconds) == {stage.value for stage in Stage}
    assert all(seconds >= 0 for seconds in figures.stage_seconds.values())
    assert figures.bytes_in == len(SOURCE)
    assert figures.bytes_out == sum(output.bytes for output in manifest.outputs)
    assert bench.metrics.registry.get_sample_value("vproc_encode_speed_ratio_sum") == 5.0


async def test_the_manifest_holds_a_receipt_of_all_up_to_its_own_commit(bench: Bench) -> None:
    async def child() -> None:
        current_usage().child_ended(cpu_s=1.5, peak_memory_bytes=700)

    bench.tools.steps = {"probe": child, "encode": child}
    with metered():
        bench.figures = JobFigures()
        manifest = await bench.run()
    figures = bench.figures.values()
    assert figures.s3_requests == bench.raw.calls.total() + bench.processed.calls.total()
    assert (figures.cpu_s, figures.peak_memory_bytes, figures.sqs_requests) == (3.0, 700, 0)
    receipt = manifest.receipt
    assert receipt is not None
    assert (receipt.cpu_s, receipt.peak_memory_bytes) == (3.0, 700)
    assert (receipt.bytes_in, receipt.bytes_out) == (len(SOURCE), sum(output.bytes for output in manifest.outputs))
    assert receipt.s3_requests == {"get": 1, "download": 1, "put_file": 1, "put": 1, "stat": 2}
    assert receipt.sqs_requests == {}
    assert receipt.wall_s >= sum(manifest.stages.values()) - 0.01
    assert receipt.speed is not None
    assert 10.0 / receipt.speed == pytest.approx(receipt.wall_s, abs=0.001)


async def test_a_manifest_without_a_receipt_is_read(bench: Bench) -> None:
    """Those of earlier versions have none."""
    await bench.run()
    body = json.loads(bench.processed.body(manifest_key(FILE_ID)))
    del body["receipt"]
    assert Manifest.from_json(json.dumps(body).encode()).receipt is None


async def test_progress_goes_through_the_stages_and_never_backwards(bench: Bench) -> None:
    await bench.run()
    fractions = [fraction for _, fraction in bench.progress.told]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] < 0.1
    assert fractions[-1] < 1  # only the catalog says that it is all
    stages = list(dict.fromkeys(stage for stage, _ in bench.progress.told))
    assert stages == [Stage.DOWNLOAD, Stage.PROBE, Stage.ENCODE, Stage.VERIFY, Stage.PUBLISH, Stage.FINISH]


async def test_the_lease_is_confirmed_after_everything_was_sent_and_right_before_the_commit(bench: Bench) -> None:
    stood: list[list[str]] = []
    proved: list[int] = []

    async def look() -> None:
        stood.append(bench.processed.keys)
        proved.append(bench.processed.calls.total())

    bench.confirm = look
    manifest = await bench.run()
    assert stood == [sorted(output.key for output in manifest.outputs)]
    again = Bench(bench.root, confirm=look)
    again.processed.fail_at = proved[0] + 1
    with pytest.raises(UnavailableError, match="put failed"):  # the very next call
        await again.run()
    again.check_uncommitted()


async def test_a_lease_that_is_not_confirmed_commits_nothing(bench: Bench) -> None:
    async def lost() -> None:
        raise LeaseLostError("another holds it")

    bench.confirm = lost
    await bench.check_ends_with(ErrorCode.LEASE_LOST, LeaseLostError)


async def test_a_damaged_source_is_said_to_be_one(bench: Bench) -> None:
    bench.tools.verdict = Verdict(damaged=True)
    assert (await bench.run()).damaged
    assert b'"damaged": true' in bench.processed.body(f"{FILE_ID}/metadata.json").replace(b'":true', b'": true')


async def test_equal_commands_have_equal_fingerprints_wherever_they_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, same = await Bench(tmp_path / "a").run("run1"), await Bench(tmp_path / "b").run("run2")
    other = await Bench(tmp_path / "b", profile="hevc").run("run3")
    assert one.command_sha256 == same.command_sha256 != other.command_sha256


# --- room on the machine ---------------------------------------------------------------------------------------------


async def test_an_encode_and_its_check_hold_the_machine_and_nothing_else_does(tmp_path: Path) -> None:
    """Not the download, not the probe, not what is sent in the end."""
    bench = Bench(tmp_path, capacity=capacity_of(cores=2))
    free: dict[str, bool] = {}

    def note(step: str) -> Step:
        async def look() -> None:
            free[step] = not bench.capacity._admission.running

        return look

    bench.tools.steps = {step: note(step) for step in ("probe", "encode", "verify")}
    bench.confirm = note("confirm")
    await bench.run()
    assert free == {"probe": True, "encode": False, "verify": False, "confirm": True}
    assert not bench.capacity._admission.running


async def test_a_job_that_finds_no_room_is_not_begun(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity=capacity_of(cores=2))
    bench.capacity.close()
    film = Cost(cores=2, memory_bytes=1, work_s=10)
    async with bench.capacity.hold(film, patience_s=0, progress=Progress()):
        await bench.check_ends_with(ErrorCode.DRAINED, NoRoomError, "the daemon stops")
    assert (bench.tools.calls["probe"], bench.tools.calls["encode"]) == (1, 0)


# --- while it arrives ------------------------------------------------------------------------------------------------

LARGE = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 4096  # Matroska, to the eye
HALF = 512 * 1024


@dataclass
class Streaming(Bench):
    """A source of which half has come down when the job begins, and the rest once ffmpeg reads."""

    def __post_init__(self) -> None:
        self.slow = SlowStore()
        self.raw, self.max_upload_bytes = self.slow, 1 << 30
        super().__post_init__()
        self.version = self.slow.upload(KEY, LARGE)
        self.slow.allow(HALF)
        self.tools.steps["feed"] = self.rest
        self.tools.container = Container.MATROSKA

    async def rest(self) -> None:
        self.slow.allow(len(LARGE))


@pytest.fixture
def streaming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Streaming:
    monkeypatch.setattr(source_module, "STREAM_FROM_BYTES", HALF)
    monkeypatch.setattr(source_module, "PROBE_BYTES", {Container.MATROSKA: HALF // 2})
    monkeypatch.setattr(source_module, "READ_BYTES", HALF // 4)
    monkeypatch.setattr(source_module, "TAIL_BYTES", 1024)
    return Streaming(tmp_path)


async def test_a_source_is_encoded_while_it_arrives(streaming: Streaming) -> None:
    with anyio.fail_after(5):
        manifest = await streaming.run()
    assert manifest == streaming.check_committed()
    assert streaming.tools.fed == [LARGE]
    assert len(streaming.tools.sources[0]) == len(LARGE)  # probed in its place, with holes
    assert streaming.tools.sources[0] != LARGE
    assert streaming.figures.bytes_in == len(LARGE)


@pytest.mark.parametrize("stage", ["encode", "verify"])
async def test_what_a_fast_path_gets_wrong_is_done_plainly(streaming: Streaming, stage: str) -> None:
    """Nothing of the first try stands beside what is committed."""
    failures = [RejectedError(ErrorCode.CORRUPT_MEDIA, "no order that a pipe may have")]

    async def fail() -> None:
        if failures:
            await streaming.processed.put(f"{FILE_ID}/run1/left-over", b"x", content_type="a/b")
            raise failures.pop()

    streaming.tools.steps[stage] = fail
    with anyio.fail_after(5):
        manifest = await streaming.run()
    assert streaming.tools.fed == [LARGE, None]
    assert f"{FILE_ID}/run1/left-over" not in streaming.processed.keys
    assert manifest == streaming.check_committed()
    fractions = [fraction for _, fraction in streaming.progress.told]
    assert fractions == sorted(fractions)
    assert [stage for stage, _ in streaming.progress.told].count(Stage.ENCODE) > 2
    assert fractions[-1] < 1


@pytest.mark.parametrize(
    "error",
    [
        RejectedError(ErrorCode.TIMEOUT, "too long"),
        RejectedError(ErrorCode.LIMIT_EXCEEDED, "too much"),
        EncoderError(ErrorCode.OUT_OF_MEMORY, "too large"),
        UnavailableError("the disk is full", code=ErrorCode.OUT_OF_DISK),
        LeaseLostError("another holds it"),
    ],
)
async def test_what_a_plain_encode_would_not_mend_is_not_tried_again(streaming: Streaming, error: JobError) -> None:
    async def fail() -> None:
        raise error

    streaming.tools.steps["encode"] = fail
    with anyio.fail_after(5):
        await streaming.check_ends_with(error.code, type(error))
    assert streaming.tools.calls["encode"] == 1


async def test_what_cannot_be_told_of_a_part_is_asked_of_the_whole(streaming: Streaming) -> None:
    async def fail_once() -> None:
        streaming.slow.allow(len(LARGE))
        if streaming.tools.calls["probe"] == 1:
            raise RejectedError(ErrorCode.CORRUPT_MEDIA, "holes")

    streaming.tools.steps["probe"] = fail_once
    with anyio.fail_after(5):
        await streaming.run()
    assert streaming.tools.sources[-1] == LARGE
    assert streaming.tools.fed == [None]


# --- what stands already ---------------------------------------------------------------------------------------------


async def test_a_committed_file_is_never_fetched_nor_encoded_again(bench: Bench) -> None:
    first = await bench.run("run1")
    bench.processed.lose(f"{FILE_ID}/metadata.json")
    assert await bench.run("run2") == first
    assert bench.raw.calls["download"] == bench.tools.calls["encode"] == 1
    assert bench.check_committed() == first  # with its entry points


async def test_a_committed_file_whose_objects_are_damaged_is_not_built_upon(bench: Bench) -> None:
    first = await bench.run("run1")
    bench.processed.corrupt(first.outputs[0].key)
    with pytest.raises(TransientError, match="other bytes"):
        await bench.run("run2")
    assert bench.tools.calls["encode"] == 1


async def test_the_run_that_commits_second_adopts_the_first_and_proves_it(bench: Bench) -> None:
    async def other_commits() -> None:
        bench.tools.steps.clear()
        await bench.run("other")

    bench.tools.steps["verify"] = other_commits
    assert (await bench.run("run1")).run_id == "other"
    assert bench.check_committed().run_id == "other"
    await bench.discard("run1")
    assert {key.split("/")[1] for key in bench.processed.keys if key.count("/") > 1} == {"other"}


async def test_a_winner_that_does_not_stand_is_not_adopted(bench: Bench) -> None:
    async def other_commits_and_rots() -> None:
        bench.tools.steps.clear()
        bench.processed.corrupt((await bench.run("other")).outputs[0].key)

    bench.tools.steps["verify"] = other_commits_and_rots
    with pytest.raises(TransientError, match="other bytes"):
        await bench.run("run1")


async def test_discarding_never_removes_the_winner(bench: Bench) -> None:
    manifest = await bench.run("run1")
    await bench.discard("run1")
    assert bench.check_committed() == manifest


async def test_discarding_an_uncommitted_run_removes_it_and_nothing_beside(bench: Bench) -> None:
    for key in (f"{FILE_ID}/run1/a", f"{FILE_ID}/run10/a"):
        bench.processed.upload(key, b"x")
    await bench.discard("run1")
    assert bench.processed.keys == [f"{FILE_ID}/run10/a"]


# --- what is not taken -----------------------------------------------------------------------------------------------


async def test_an_empty_file_is_rejected_without_a_download(bench: Bench) -> None:
    bench.version = bench.raw.upload(KEY, b"")
    await bench.check_ends_with(ErrorCode.CORRUPT_MEDIA, RejectedError, "empty")
    assert bench.raw.calls["download"] == 0


async def test_a_file_over_the_limit_is_rejected_without_a_download(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_upload_bytes=len(SOURCE) - 1)
    await bench.check_ends_with(ErrorCode.TOO_LARGE, RejectedError, f"{len(SOURCE)} bytes, more than the {len(SOURCE) - 1}")
    assert bench.raw.calls["download"] == 0
    await Bench(tmp_path, max_upload_bytes=len(SOURCE)).run()


async def test_a_source_that_no_ffmpeg_here_decodes_is_rejected_before_the_encode(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.tools.info = samples.media(samples.video(640, 360, codec="mobiclip"), samples.audio())
    await bench.check_ends_with(ErrorCode.UNSUPPORTED_MEDIA, RejectedError, r"takes a decoder of mobiclip, .* \(5\.1\.9\)")
    assert bench.tools.calls["encode"] == 0


async def test_an_unknown_profile_is_rejected_without_a_download(tmp_path: Path) -> None:
    bench = Bench(tmp_path, profile="vhs")
    await bench.check_ends_with(ErrorCode.UNKNOWN_PROFILE, RejectedError, "'vhs'")
    assert bench.raw.calls["download"] == 0


async def test_media_over_its_limits_is_rejected_without_an_encode(bench: Bench) -> None:
    bench.tools.info = replace(bench.tools.info, duration_s=1e9)
    await bench.check_ends_with(ErrorCode.TOO_LARGE, RejectedError)
    assert bench.tools.calls["encode"] == 0


async def test_there_must_be_room_for_the_source_before_it_is_fetched(bench: Bench) -> None:
    bench.disk.free = len(SOURCE)
    await bench.check_ends_with(ErrorCode.OUT_OF_DISK, UnavailableError)
    assert bench.raw.calls["download"] == 0


async def test_there_must_be_room_for_the_outputs_before_they_are_encoded(bench: Bench) -> None:
    async def fill_up() -> None:
        bench.disk.free = 1000

    bench.tools.steps["probe"] = fill_up
    await bench.check_ends_with(ErrorCode.OUT_OF_DISK, UnavailableError)
    assert bench.tools.calls["encode"] == 0


async def test_a_source_that_was_replaced_is_not_processed(bench: Bench) -> None:
    bench.raw.upload(KEY, SOURCE + b"other")
    await bench.check_ends_with(ErrorCode.SOURCE_CHANGED, TransientError)
    assert bench.tools.calls["probe"] == 0


async def test_a_source_that_is_replaced_while_it_arrives_is_not_processed(bench: Bench) -> None:
    """No piece of the new object behind pieces of the old one ever reaches ffmpeg."""
    bench.raw.options.piece_bytes = 1000
    reach = bench.progress.reach

    def replace_it(stage: Stage, share: float) -> None:
        reach(stage, share)
        if bench.figures.bytes_in == 50_000:
            bench.raw.upload(KEY, bytes(len(SOURCE)))

    bench.progress.reach = replace_it  # type: ignore[method-assign]
    await bench.check_ends_with(ErrorCode.SOURCE_CHANGED, TransientError)
    assert 0 < bench.figures.bytes_in < len(SOURCE)
    assert bench.tools.calls["probe"] == 0


async def test_a_file_that_arrived_short_is_not_processed(bench: Bench) -> None:
    bench.version = replace(bench.version, size_bytes=len(SOURCE) + 1)
    await bench.check_ends_with(ErrorCode.SOURCE_CHANGED, TransientError, "arrived instead of")
    assert bench.tools.calls["probe"] == 0


# --- an end at every point -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["probe", "encode", "verify"])
async def test_an_error_in_a_tool_leaves_nothing_behind(bench: Bench, stage: str) -> None:
    async def crash() -> None:
        raise EncoderError(ErrorCode.ENCODER_FAILED, "SIGSEGV")

    bench.tools.steps[stage] = crash
    await bench.check_ends_with(ErrorCode.ENCODER_FAILED, EncoderError)
    assert bench.processed.keys == []
    assert stage in bench.figures.seconds


@pytest.mark.parametrize("code", [ErrorCode.ENCODER_FAILED, ErrorCode.OUT_OF_MEMORY, ErrorCode.CORRUPT_MEDIA])
async def test_a_broken_ffmpeg_is_the_machines_fault_whatever_it_says_of_the_file(bench: Bench, code: ErrorCode) -> None:
    async def blame() -> None:
        raise (RejectedError if code is ErrorCode.CORRUPT_MEDIA else EncoderError)(code, "SIGSEGV")

    async def broken() -> None:
        raise UnavailableError("ffmpeg is broken")

    bench.tools.steps |= {"encode": blame, "self_test": broken}
    await bench.check_ends_with(ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError, "ffmpeg is broken")


async def test_what_does_not_blame_the_file_asks_ffmpeg_nothing(bench: Bench) -> None:
    async def away() -> None:
        raise UnavailableError("no room")

    bench.tools.steps["encode"] = away
    await bench.check_ends_with(ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError)
    assert bench.tools.calls["self_test"] == 0


@pytest.mark.parametrize("stage", ["download", "probe", "encode", "verify", "put_file", "confirm"])
async def test_a_cancellation_in_any_stage_leaves_no_work_files_and_no_manifest(bench: Bench, stage: str) -> None:
    reached = anyio.Event()

    async def wait() -> None:
        reached.set()
        await anyio.sleep_forever()

    bench.tools.steps[stage] = wait
    held = bench.raw.pause_next("download") if stage == "download" else bench.processed.pause_next("put_file")
    if stage == "confirm":
        held.release()
        bench.confirm = wait
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bench.run)
        await (held.reached if stage in ("download", "put_file") else reached).wait()
        assert names_in(bench.root) == ["run1"]
        tasks.cancel_scope.cancel()
    bench.check_uncommitted()


@pytest.mark.parametrize("applied", [False, True])
async def test_whichever_call_of_the_store_fails_the_next_run_ends_well(tmp_path: Path, applied: bool) -> None:
    """Every call in turn, refused or with its answer lost: then one manifest stands, and all that it lists."""
    number = 0
    while True:
        number += 1
        bench = Bench(tmp_path)
        bench.processed.fail_at, bench.processed.applied = number, applied
        if not await failed(bench):
            break
        assert names_in(tmp_path) == []
        bench.processed.fail_at = 0
        committed, encodes = manifest_key(FILE_ID) in bench.processed.keys, bench.tools.calls["encode"]
        assert (await bench.run("run2")).run_id == ("run1" if committed else "run2")
        assert bench.tools.calls["encode"] == encodes + (not committed)
        bench.check_committed()
    assert number == bench.processed.calls.total() + 1 > 8


async def failed(bench: Bench) -> bool:
    try:
        await bench.run("run1")
    except UnavailableError:
        assert bench.processed.failed
        return True
    assert not bench.processed.failed
    return False
