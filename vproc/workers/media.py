"""ffprobe and ffmpeg at work: probing, encoding with progress, checking what came out. What to run, and what an end means,
is decided in `core`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from vproc.core.command import decode_check_argv, self_test_argv
from vproc.core.container import Container
from vproc.core.exits import encoder_failure, last_words
from vproc.core.hardware import drives_hardware
from vproc.core.look import holds_packets, packet_argv, pictures_argv, wants_pictures, with_pictures, without_streams
from vproc.core.media import MediaInfo
from vproc.core.memory import LEAST_ADDRESS_BYTES, Memory
from vproc.core.needs import Needs, choose_build
from vproc.core.plan import OutputKind, Plan, PlannedFile, PlannedOutput
from vproc.core.probe import ffprobe_argv, parse_probe, probe_failure
from vproc.core.progress import ProgressParser
from vproc.core.verify import Verdict, check_decode, check_end, check_extent, check_output, check_picture
from vproc.errors import ErrorCode, JobError, RejectedError, TransientError, UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult, Runner
from vproc.settings import GIB
from vproc.tasks import task_group
from vproc.workers.ffmpeg import HARDWARE_MEMORY_BYTES, ToolPair

PICTURE_HEAD_BYTES = 65536

_PROBE_LIMITS = ProcessLimits(wall_s=20, cpu_s=10, memory_bytes=GIB, output_bytes=1024, directory_bytes=1 << 62)
_ENCODE_CORES = 64
"""Processor time is bounded by wall time on so many cores: a bound for a runaway, not a budget."""
_SLACK_BYTES = GIB // 4
_PROBES_AT_ONCE = 4
_BLAMES_THE_FILE = frozenset(
    {ErrorCode.CORRUPT_MEDIA, ErrorCode.ENCODER_FAILED, ErrorCode.OUT_OF_MEMORY, ErrorCode.OUTPUT_INVALID}
)
_SELF_TEST_LIMITS = ProcessLimits(
    wall_s=30, cpu_s=20, memory_bytes=4 * GIB, output_bytes=16 * 1024 * 1024, directory_bytes=1 << 62
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encode said of itself."""

    stderr: str
    out_time_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Verified:
    """Outputs that may be published. ``probed`` holds what each media output turned out to be, by its rendition;
    ``measures`` how near it is to the source, where the profile asks for it."""

    verdict: Verdict
    probed: Mapping[str, MediaInfo]
    measures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class MediaTools:
    """ffmpeg and ffprobe through a `Runner`, with the limits of this daemon. The first of ``pairs`` is used, the others where it
    cannot do what a job needs (`fit`). ``ffmpeg``, ``version`` and ``capabilities`` are the first one's. ``threads``: of the
    decoder and of each encoder of a job; None lets them choose."""

    def __init__(
        self,
        *,
        runner: Runner,
        pairs: Sequence[ToolPair],
        max_pixels: int,
        job_timeout_s: float,
        stall_timeout_s: float,
        threads: int | None = None,
    ) -> None:
        self.threads = threads
        self.ffmpeg = pairs[0].ffmpeg
        self.version = pairs[0].version
        self.capabilities = pairs[0].capabilities
        self._runner = runner
        self._pairs = tuple(pairs)
        self._max_pixels = max_pixels
        self._job_timeout_s = job_timeout_s
        self._stall_timeout_s = stall_timeout_s

    @property
    def runner(self) -> Runner:
        """What runs them."""
        return self._runner

    @property
    def job_timeout_s(self) -> float:
        """How long a job may take."""
        return self._job_timeout_s

    @property
    def max_pixels(self) -> int:
        """The largest frame that is decoded."""
        return self._max_pixels

    @property
    def pairs(self) -> tuple[ToolPair, ...]:
        """Every pair, the one that is used first."""
        return self._pairs

    def fit(self, needs: Needs) -> MediaTools:
        """These tools with the first pair that does what a job needs in front. Raises `RejectedError` where none does."""
        place = choose_build(needs, [pair.capabilities for pair in self._pairs])
        if place == 0:
            return self
        log.info("ffmpeg_changed", version=self._pairs[place].version, instead_of=self.version)
        return MediaTools(
            runner=self._runner,
            pairs=(self._pairs[place], *self._pairs[:place], *self._pairs[place + 1 :]),
            max_pixels=self._max_pixels,
            job_timeout_s=self._job_timeout_s,
            stall_timeout_s=self._stall_timeout_s,
            threads=self.threads,
        )

    @asynccontextmanager
    async def fair_to_files(self, cwd: Path) -> AsyncIterator[None]:
        """Before an error in the block blames a file, ffmpeg has to show that it works: a broken build would fail all of them."""
        try:
            yield
        except JobError as error:
            if error.code in _BLAMES_THE_FILE:
                await self.check_themselves(cwd=cwd)
            raise

    async def check_themselves(self, *, cwd: Path) -> None:
        """Raise `UnavailableError` where ffmpeg does not encode, or ffprobe not read, what is surely in order."""
        path = cwd / "self-test.mp4"
        try:
            result = await self._runner.run(self_test_argv(self.ffmpeg, path), cwd=cwd, limits=_SELF_TEST_LIMITS)
            if result.stopped is not None or result.returncode != 0:
                raise _broken(self.ffmpeg, f"does not encode its own test picture ({last_words(result.stderr)})")
            try:
                await self.probe(path, Container.MOV, cwd=cwd)
            except JobError as error:
                raise _broken(self._pairs[0].ffprobe, f"does not read a test picture ({error.detail})") from error
        finally:
            await anyio.to_thread.run_sync(partial(path.unlink, missing_ok=True))

    async def examine(self, source: Path, container: Container, *, cwd: Path, whole: bool = True) -> MediaInfo:
        """What a source holds: `probe`, and second looks where that leaves something open. Of one that is not ``whole`` nobody
        can say whether a stream is empty; else such streams are left out. Raises `RejectedError`."""
        info = await self.probe(source, container, cwd=cwd, packets=whole)

        async def look(argv: Sequence[str]) -> bytes:
            # A look that fails or takes too long tells nothing, and nothing is what its readers make of it.
            return (await self._runner.run(argv, cwd=cwd, limits=_PROBE_LIMITS)).stdout

        place, bound = (self._pairs[0].ffprobe, source, container), self._max_pixels
        empty = [index for index in info.unseen if not holds_packets(await look(packet_argv(*place, index, max_pixels=bound)))]
        if empty:
            info = without_streams(info, empty)
        if (video := info.video) is not None and wants_pictures(video):
            said = await look(pictures_argv(*place, video.index, max_pixels=bound))
            info = replace(info, video=with_pictures(video, said))
        return info

    async def probe(self, source: Path, container: Container, *, cwd: Path, packets: bool = False) -> MediaInfo:
        """What a file says that it holds. Raises `RejectedError` for one that cannot be read."""
        argv = ffprobe_argv(self._pairs[0].ffprobe, source, container, max_pixels=self._max_pixels, packets=packets)
        result = await self._runner.run(argv, cwd=cwd, limits=_PROBE_LIMITS)
        if result.stopped is not None:
            raise RejectedError(ErrorCode.CORRUPT_MEDIA, f"the file cannot be read within its limits ({result.stopped.value})")
        if result.returncode != 0:
            raise probe_failure(result.returncode, result.stderr)
        return parse_probe(result.stdout)

    async def encode(
        self,
        plan: Plan,
        *,
        source_bytes: int,
        cwd: Path,
        on_progress: Callable[[float], None],
        feed: Feed | None = None,
    ) -> Encoded:
        """Run the plan's commands; ``feed`` writes the source of a plan that reads a pipe. ``on_progress`` hears fractions from 0
        to 1. Raises what their end stands for."""
        parser = ProgressParser(plan.duration_s, fps=plan.fps)

        def on_line(line: str) -> bool:
            news = parser.feed(line)
            if news:
                on_progress(parser.fraction)
            return news

        largest = plan.estimated_bytes * 3 + _SLACK_BYTES
        memory = self._memory(plan)
        limits = ProcessLimits(
            wall_s=self._job_timeout_s,
            cpu_s=int(self._job_timeout_s * _ENCODE_CORES),
            memory_bytes=memory.address_bytes,
            data_bytes=memory.data_bytes,
            output_bytes=largest,
            directory_bytes=source_bytes + largest,
            stall_s=self._stall_timeout_s,
        )
        for file in plan.files:
            await anyio.to_thread.run_sync(_write, file)
        result = await self._runner.run(plan.argv, cwd=cwd, limits=limits, on_line=on_line, feed=feed)
        if (failure := _failure(result)) is not None:
            raise failure
        if plan.sheets_argv:
            await self._make_sheets(plan, limits, cwd)
        return Encoded(result.stderr, parser.out_time_s, result.wall_s)

    def _memory(self, plan: Plan) -> Memory:
        if drives_hardware(plan.argv):
            return Memory(None, HARDWARE_MEMORY_BYTES)
        if plan.pictures is None:
            return Memory(None, LEAST_ADDRESS_BYTES)
        return plan.pictures.memory(threads=self.threads, cores=len(os.sched_getaffinity(0)))

    async def _make_sheets(self, plan: Plan, limits: ProcessLimits, cwd: Path) -> None:
        failure = _failure(await self._runner.run(plan.sheets_argv, cwd=cwd, limits=limits))
        if isinstance(failure, RejectedError):
            # Not the input is at fault here, but the thumbnails that we made of it.
            raise TransientError(ErrorCode.OUTPUT_INVALID, f"the thumbnails: {failure.detail}") from failure
        if failure is not None:
            raise failure
        if plan.thumbs is not None:
            await anyio.to_thread.run_sync(plan.thumbs.unlink)

    async def verify(self, plan: Plan, encoded: Encoded, *, cwd: Path) -> Verified:
        """Judge every output by what it turned out to be; ffmpeg's exit code proves nothing. Raises what is wrong with it."""
        verdict = check_end(encoded.stderr, out_time_s=encoded.out_time_s, limit_s=plan.limit_s)
        media = [output for output in plan.outputs if output.is_media]
        probed: dict[str, MediaInfo] = {}
        judge: list[Callable[[], Verdict]] = []

        async def decode() -> None:
            judge.append(await self._decode(media, cwd))

        async with task_group() as checks:
            checks.start_soon(decode)
            probed |= await self._probe_outputs(media, cwd)
            for output in media:
                verdict |= check_output(output, probed[output.rendition])
            verdict |= check_extent(plan, probed.values(), out_time_s=encoded.out_time_s, stderr=encoded.stderr)
            for output in plan.outputs:
                if not output.is_media:
                    await self._check_pictures(output)
        return Verified(verdict | judge[0](), probed)

    async def _decode(self, media: Sequence[PlannedOutput], cwd: Path) -> Callable[[], Verdict]:
        """Decode what was encoded, as far as an ffmpeg here can. What that says is asked for later: so of two faults the same one
        is always told."""
        checker, checked = self._checker(media)
        if not checked:
            return Verdict
        limits = ProcessLimits(
            wall_s=self._job_timeout_s,
            cpu_s=int(self._job_timeout_s * _ENCODE_CORES),
            memory_bytes=LEAST_ADDRESS_BYTES,
            output_bytes=1024,
            directory_bytes=1 << 62,
        )
        result = await self._runner.run(decode_check_argv(checker, checked), cwd=cwd, limits=limits)
        copied = any(output.rendition == "copy" for output in checked)
        return partial(check_decode, result.returncode, result.stderr, copied=copied)

    def _checker(self, media: Sequence[PlannedOutput]) -> tuple[str, list[PlannedOutput]]:
        """The ffmpeg that decodes all of these outputs, or the first one and those that it does decode."""
        decoded = [[output for output in media if _codecs(output) <= pair.capabilities.codecs] for pair in self._pairs]
        place = next((place for place, found in enumerate(decoded) if len(found) == len(media)), 0)
        return self._pairs[place].ffmpeg, decoded[place]

    async def _probe_outputs(self, media: Sequence[PlannedOutput], cwd: Path) -> dict[str, MediaInfo]:
        """By the rendition, in their order. Some at a time: each is mostly the start of a process."""
        found: dict[str, MediaInfo] = {}
        limiter = anyio.CapacityLimiter(_PROBES_AT_ONCE)

        async def probe(output: PlannedOutput) -> None:
            async with limiter:
                found[output.rendition] = await self._probe_output(output, cwd)

        async with task_group() as probes:
            for output in media:
                probes.start_soon(probe, output)
        return {output.rendition: found[output.rendition] for output in media}

    async def _probe_output(self, output: PlannedOutput, cwd: Path) -> MediaInfo:
        container = Container.MATROSKA if output.path.suffix in {".mkv", ".webm"} else Container.MOV
        try:
            return await self.probe(output.path, container, cwd=cwd)
        except RejectedError as error:
            # Not the input is at fault here, but what we made of it.
            raise TransientError(ErrorCode.OUTPUT_INVALID, f"the output {output.rendition}: {error.detail}") from error

    async def _check_pictures(self, output: PlannedOutput) -> None:
        """Sheets after the first may be missing: the source was shorter than it declared."""
        for path in output.paths if output.kind is OutputKind.POSTER else existing(output):
            check_picture(output, await anyio.to_thread.run_sync(_head, path))
        if not output.path.exists():
            raise TransientError(ErrorCode.OUTPUT_INVALID, f"the output {output.rendition} was not written")


def _broken(program: str, reason: str) -> UnavailableError:
    return UnavailableError(f"{program} {reason}: it is broken, and no file is blamed for that")


def _failure(result: ProcessResult) -> JobError | None:
    """What an ended ffmpeg stands for; None where it ended well."""
    stopped = result.stopped.value if result.stopped else None
    failure = encoder_failure(returncode=result.returncode, stderr=result.stderr, stopped=stopped)
    if failure is not None:
        log.info("encoder_failed", code=failure.code.value, returncode=result.returncode, stderr=result.stderr[-2000:])
    return failure


def _codecs(output: PlannedOutput) -> set[str]:
    return {output.codec, output.audio_codec or output.codec}


def existing(output: PlannedOutput) -> tuple[Path, ...]:
    """The files of an output that were written."""
    return tuple(path for path in output.paths if path.exists())


def _write(file: PlannedFile) -> None:
    file.path.write_bytes(file.content())


def _head(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(PICTURE_HEAD_BYTES)
