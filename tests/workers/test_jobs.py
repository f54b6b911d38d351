"""What becomes of a message, story by story: the commit protocol's order, duplicates, failures, cancels, losses."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from tests.support.catalog import Given, claim_request, new_file
from tests.support.memory import s3_event
from tests.support.world import FILE_ID, KEY, Step, World, direct_job, open_world
from vproc.core.dead_letters import CODE_ATTRIBUTE
from vproc.core.files import Outcome, RawState, Status
from vproc.core.leases import ClaimState
from vproc.errors import EncoderError, ErrorCode, RejectedError, TransientError, UnavailableError
from vproc.workers.figures import JobFigures
from vproc.workers.job_runner import Job
from vproc.workers.keeper import Progress


def failing(error: Exception) -> Step:
    async def step(job: Job) -> None:
        raise error

    return step


async def forever(job: Job) -> None:
    await anyio.sleep_forever()


async def test_an_upload_becomes_completed_outputs_and_nothing_is_left(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"raw bytes")
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.progress, file.attempts) == (Status.COMPLETED, 1.0, 1)
        assert (file.original_codec, file.target_codec) == ("hevc", "h264")
        assert file.raw_state is RawState.DELETED
        (row,) = await Given(world.catalog).rows("files")
        assert row["media_s"] == 2.0  # what a quota of media counts
        assert world.raw.keys == []
        (attempt,) = await world.catalog.attempts(FILE_ID)
        assert (attempt.outcome, attempt.bytes_in, attempt.bytes_out) == (Outcome.COMPLETED, 9, 20)
        assert attempt.stage_seconds.keys() >= {"publish", "finish"}
        assert (attempt.cpu_s, attempt.peak_memory_bytes, attempt.speed) == (0, 0, None)
        # All but the deletions of raw and message, which come after the row.
        assert attempt.s3_requests == world.raw.calls["head"] + world.processed.calls.total()
        assert attempt.sqs_requests == 0
        assert world.count("vproc_jobs_total", profile="abr", outcome="completed") == 1
        assert world.count("vproc_messages_total", outcome="completed") == 1
        assert world.woken == [None]
        await world.finished()


async def test_each_job_of_a_message_has_figures_of_its_own(tmp_path: Path) -> None:
    """Also the requests before its claim are its own; a heartbeat is the job's that it falls into."""
    async with open_world(tmp_path) as world:
        versions = [world.raw.upload(f"incoming/{name}.mp4", name.encode()) for name in ("one", "two")]
        await world.handle_next()
        await world.handle_next()
        world.queue.put(json.dumps({"Records": [json.loads(s3_event(version))["Records"][0] for version in versions]}))
        for version in versions:
            world.raw.upload(version.key, b"again " + version.key.encode())
        await world.handle_next()
        page = await world.catalog.list(owner=None, status=None, limit=10, cursor=None)
        used = [(await world.catalog.attempts(file.file_id))[0].s3_requests for file in page.files]
        assert len(set(used)) == 1
        assert len(used) == 4
        assert used[0] is not None
        assert 4 * used[0] == world.raw.calls["head"] + world.processed.calls.total()


async def test_the_end_has_its_order(tmp_path: Path) -> None:
    """Verified, then completed in the catalog, then the raw deleted, then the message: seen by holding each step."""
    async with open_world(tmp_path) as world, anyio.create_task_group() as tasks:
        world.raw.upload(KEY, b"x")
        at_manifest = world.processed.pause_next("put")
        tasks.start_soon(world.handle_next)
        await at_manifest.reached.wait()
        assert (await world.file()).status is Status.PROCESSING
        at_raw_delete, at_ack = world.raw.pause_next("delete"), world.queue.pause_next("delete")
        at_manifest.release()
        await at_raw_delete.reached.wait()
        assert (await world.file()).status is Status.COMPLETED
        assert (await world.file()).raw_state is RawState.DELETE_PENDING
        assert len(world.manifest().outputs) == 2
        at_raw_delete.release()
        await at_ack.reached.wait()
        assert world.raw.keys == []
        assert len(world.queue.bodies) == 1
        at_ack.release()


@pytest.mark.parametrize("stage", ["before", "during", "after"])
async def test_a_duplicate_of_the_event_does_no_work_twice(tmp_path: Path, stage: str) -> None:
    async with open_world(tmp_path) as world:
        version = world.raw.upload(KEY, b"x")
        if stage != "after":
            world.queue.put(s3_event(version, event_name="ObjectCreated:CompleteMultipartUpload"))
        if stage == "during":
            go_on = anyio.Event()
            world.pipeline.steps = [lambda _: go_on.wait()]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(world.handle_next)
                await world.pipeline.begun.wait()
                await world.handle_next()
                assert world.count("vproc_messages_total", outcome="busy") == 1
                go_on.set()
        else:
            await world.handle_next()
            world.queue.put(s3_event(version))
            await world.handle_next()
            if stage == "before":
                await world.handle_next()
        assert world.pipeline.encodes == 1
        assert (await world.file()).status is Status.COMPLETED


async def test_the_owner_adopts_a_duplicates_handle_and_deletes_both(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        go_on = anyio.Event()
        world.pipeline.steps = [lambda _: go_on.wait()]
        version = world.raw.upload(KEY, b"x")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.handle_next)
            await world.pipeline.begun.wait()
            world.queue.put(s3_event(version))
            await world.handle_next()
            adopted = world.queue.pause_next("extend")  # the heartbeat after the report that adopts
            await adopted.reached.wait()
            adopted.release()
            go_on.set()
        assert world.queue.bodies == []


async def dies_after_its_commit(world: World, *, raw_goes_too: bool = False) -> None:
    """A worker whose process ended right after the manifest stood: its lease runs out, and its message comes back."""

    async def die(job: Job) -> None:
        if raw_goes_too:
            world.raw.lose(KEY)
        world.processed.fail_next("put", RuntimeError("killed"), applied=True)

    world.pipeline.before_commit = die
    await world.handle_next()
    world.pipeline.before_commit = None
    assert world.manifest().outputs
    assert (await world.file()).status is Status.UPLOADED
    world.queue.put(direct_job())


@pytest.mark.parametrize("raw_goes_too", [False, True])
async def test_a_commit_without_its_end_is_finished_and_never_encoded_again(tmp_path: Path, raw_goes_too: bool) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        await dies_after_its_commit(world, raw_goes_too=raw_goes_too)
        run_id = world.manifest().run_id
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.run_id) == (Status.COMPLETED, run_id)
        assert world.pipeline.encodes == 1
        assert world.processed.body(f"{FILE_ID}/poster.jpg") == b"poster"
        assert world.raw.keys == []


async def test_an_upload_that_took_the_originals_place_after_the_commit_is_dropped(tmp_path: Path) -> None:
    """The file is what was processed, and says so; the other version was never anybody's."""
    async with open_world(tmp_path) as world:
        first = world.raw.upload(KEY, b"x")
        await dies_after_its_commit(world)
        world.raw.upload(KEY, b"another")
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.etag, file.size_bytes) == (Status.COMPLETED, first.etag, 1)
        assert world.raw.keys == []
        assert world.count("vproc_late_uploads_total") == 1


async def test_a_commit_is_proved_before_it_is_built_upon(tmp_path: Path) -> None:
    """What an earlier run committed is damaged by now: no completion, and the raw stays."""
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        await dies_after_its_commit(world)
        world.processed.corrupt(f"{FILE_ID}/{world.manifest().run_id}/720.mp4")
        await world.handle_next()
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code) == (Status.UPLOADED, "output_invalid")
        assert world.raw.keys == [KEY]


async def test_a_rejected_file_fails_and_keeps_its_raw(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.pipeline.steps = [failing(RejectedError(ErrorCode.UNSUPPORTED_MEDIA, "a text"))]
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        file = await world.file()
        assert file.status is Status.FAILED
        assert file.error is not None
        assert (file.error.code, file.error.detail, file.error.retryable) == ("unsupported_media", "a text", False)
        assert world.raw.keys == [KEY]
        assert world.queue.dead == []
        await world.finished()


async def test_a_passing_error_is_tried_again_and_then_goes_to_the_dead_letters(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=2) as world:
        world.pipeline.steps = [failing(TransientError(ErrorCode.STALLED, "no progress"))] * 2
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.attempts) == (Status.UPLOADED, 1)
        assert file.error is not None
        assert file.error.code == "stalled"
        assert world.queue.visible == 0  # back, after the policy's delay
        world.queue.put(direct_job())
        await world.handle_next()
        assert (await world.file()).status is Status.FAILED
        (letter,) = world.queue.dead
        assert (letter.code, letter.detail, letter.file_id) == ("stalled", "no progress", FILE_ID)
        assert world.raw.keys == [KEY]


async def test_a_redriven_letter_starts_anew(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=1) as world:
        world.pipeline.steps = [failing(TransientError(ErrorCode.STALLED, "no progress"))]
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert (await world.file()).status is Status.FAILED
        world.queue.put(direct_job())  # a mere duplicate: acknowledged
        await world.handle_next()
        assert (await world.file()).status is Status.FAILED
        world.queue.put(world.queue.dead[0].body, attributes={CODE_ATTRIBUTE: "stalled"})
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.attempts) == (Status.COMPLETED, 1)


async def test_ffmpeg_crashing_twice_is_the_files_fault(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=9) as world:
        world.pipeline.steps = [failing(EncoderError(ErrorCode.ENCODER_FAILED, "SIGSEGV"))] * 2
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert (await world.file()).status is Status.UPLOADED
        world.queue.put(direct_job())
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.attempts) == (Status.FAILED, 2)


async def test_the_machines_fault_costs_no_attempt_and_pauses_the_intake(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=1) as world:
        world.pipeline.steps = [failing(UnavailableError("the scratch disk is full", code=ErrorCode.OUT_OF_DISK))]
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        file = await world.file()
        assert (file.status, file.attempts) == (Status.UPLOADED, 0)
        assert file.error is not None
        assert file.error.code == "out_of_disk"
        assert world.intake.reason == "the scratch disk is full"
        assert await world.intake.wait_s() > 0
        with pytest.raises(UnavailableError, match="full"):
            await world.intake.check()


async def test_a_store_that_is_away_before_the_claim_returns_the_message(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        world.raw.fail_next("head", UnavailableError("S3 is away"))
        await world.handle_next()
        assert len(world.queue.bodies) == 1
        assert await world.catalog.get(FILE_ID) is None
        assert world.intake.reason == "S3 is away"


async def test_an_unexpected_error_is_internal_and_not_the_end_of_the_worker(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=1) as world:
        world.pipeline.steps = [failing(ZeroDivisionError("secret"))]
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code) == (Status.FAILED, "internal")
        assert "secret" not in file.error.detail


async def test_a_job_that_takes_too_long_is_ended_for_good(tmp_path: Path) -> None:
    async with open_world(tmp_path, job_timeout_s=0.05) as world:
        world.pipeline.steps = [forever]
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code) == (Status.FAILED, "timeout")


async def test_its_owner_cancels_a_running_job_within_two_seconds(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, anyio.create_task_group() as tasks:
        world.pipeline.steps = [forever]
        world.raw.upload(KEY, b"x")
        tasks.start_soon(world.handle_next)
        await world.pipeline.begun.wait()
        with anyio.fail_after(2):
            assert (await world.catalog.request_cancel(FILE_ID)).status is Status.PROCESSING
            while (await world.file()).status is Status.PROCESSING:
                await world.catalog.changed(FILE_ID, within_s=0.1)
        assert (await world.file()).status is Status.CANCELLED
    assert world.queue.bodies == []


async def test_a_lost_lease_ends_the_job_and_touches_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        ended = anyio.Event()

        async def until_cancelled(job: Job) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                ended.set()

        world.pipeline.steps = [until_cancelled]
        world.raw.upload(KEY, b"x")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.handle_next)
            await world.pipeline.begun.wait()
            await world.catalog.renew(await world.lease(), ttl_s=-1)
            taken = await world.catalog.claim(claim_request(FILE_ID, run_id="other"))
            assert taken.state is ClaimState.GRANTED
            await ended.wait()
        assert world.processed.keys == []
        assert world.queue.calls["delete"] == world.queue.calls["release"] == 0
        assert (await world.lease()).token == (taken.lease.token if taken.lease else None)
        assert world.count("vproc_messages_total", outcome="lost") == 1


async def test_a_worker_that_was_stopped_past_its_lease_does_not_commit(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:

        async def overtaken(job: Job) -> None:
            await world.catalog.renew(await world.lease(), ttl_s=-1)
            await world.catalog.claim(claim_request(FILE_ID, run_id="other"))

        world.pipeline.before_commit = overtaken
        world.raw.upload(KEY, b"x")
        await world.handle_next()
    assert world.processed.keys == []  # nothing committed, and its own prefix removed


async def test_the_loser_of_two_runs_adopts_the_winners_manifest(tmp_path: Path) -> None:
    """Both had sent their media; the manifest of the other stood first."""
    async with open_world(tmp_path) as world:
        winner: list[str] = []

        async def other_commits(job: Job) -> None:
            other = Job(job.file, job.version, "otherrun", job.confirm)
            world.pipeline.before_commit = None
            await world.pipeline.run(other, Progress(), JobFigures())
            winner.append(other.run_id)

        world.pipeline.before_commit = other_commits
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert winner == ["otherrun"]
        assert world.manifest().run_id == "otherrun"
        assert (await world.file()).run_id == "otherrun"
        assert len(world.run_folders()) == 2
        await world.janitor.sweep()
        assert world.run_folders() == {"otherrun"}
        await world.finished()


async def test_a_store_that_flips_a_bit_loses_no_raw(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=1) as world:

        async def corrupt(job: Job) -> None:
            world.processed.corrupt(f"{FILE_ID}/{job.run_id}/720.mp4")
            world.processed.corrupt(f"{FILE_ID}/{job.run_id}/poster.jpg")

        world.pipeline.before_commit = corrupt
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code) == (Status.FAILED, "output_invalid")
        assert world.raw.keys == [KEY]


async def test_a_late_upload_to_a_finished_key_is_dropped_and_counted(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"first")
        await world.handle_next()
        world.raw.upload(KEY, b"second")
        await world.handle_next()
        assert world.raw.keys == []
        assert world.pipeline.encodes == 1
        assert world.count("vproc_late_uploads_total") == 1
        await world.finished()


async def test_an_upload_to_a_deleted_file_is_dropped(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.given.pending(file_id=FILE_ID, key=KEY, bucket="raw")
        await world.catalog.bury(FILE_ID)
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert world.raw.keys == []
        assert world.pipeline.runs == []
        assert world.queue.bodies == []


async def test_a_refused_raw_deletion_is_no_failure_and_the_janitors_work(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        world.raw.fail_next("delete", UnavailableError("AccessDenied"))
        await world.handle_next()
        assert (await world.file()).raw_state is RawState.DELETE_PENDING
        assert world.queue.bodies == []
        await world.janitor.sweep()
        assert (await world.file()).raw_state is RawState.DELETED
        assert world.raw.keys == []


async def test_the_raw_is_kept_where_the_settings_say_so(tmp_path: Path) -> None:
    async with open_world(tmp_path, delete_raw=False) as world:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert (await world.file()).raw_state is RawState.KEPT
        await world.janitor.sweep()
        assert world.raw.keys == [KEY]


async def test_an_object_that_the_api_never_announced_is_processed_and_kept_apart_by_version(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.upload("dropped/My Film.mov", b"one", metadata={"vproc-profile": "mp4"})
        await world.handle_next()
        first = await world.only_file()
        assert (first.status, first.profile, first.file_name) == (Status.COMPLETED, "mp4", "My Film.mov")
        world.raw.upload("dropped/My Film.mov", b"two")
        await world.handle_next()
        page = await world.catalog.list(owner=None, status=Status.COMPLETED, limit=10, cursor=None)
        assert len(page.files) == 2
        assert world.raw.keys == []


async def test_a_direct_job_has_its_id_profile_and_metadata(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.options.events = None
        world.raw.upload("in.mp4", b"x")
        file_id = uuid4()
        world.queue.put(direct_job("in.mp4", file_id=str(file_id), profile="mp4", metadata={"order": "7"}))
        await world.handle_next()
        file = await world.file(file_id)
        assert (file.status, file.profile, file.metadata) == (Status.COMPLETED, "mp4", {"order": "7"})


async def test_a_direct_job_may_choose_rungs(tmp_path: Path) -> None:
    """They stand with the file's profile, so that a retry and another worker make the same; a label bears the name alone."""
    async with open_world(tmp_path) as world:
        world.raw.options.events = None
        world.raw.upload("in.mp4", b"x", metadata={"vproc-job-id": "order-7"})
        world.queue.put(direct_job("in.mp4", rungs=[360, 720]))
        await world.handle_next()
        file = await world.only_file()
        assert (file.status, file.profile, file.metadata) == (Status.COMPLETED, "abr:720,360", {"job_id": "order-7"})
        labels = {"profile": "abr", "outcome": "completed"}
        assert world.metrics.registry.get_sample_value("vproc_jobs_total", labels) == 1


async def test_a_message_that_names_another_files_object_is_invalid(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.given.pending(file_id=FILE_ID, key=KEY, bucket="raw")
        world.raw.options.events = None
        world.raw.upload("other.mp4", b"x")
        world.queue.put(direct_job("other.mp4", file_id=str(FILE_ID)))
        await world.handle_next()
        assert [letter.code for letter in world.queue.dead] == ["invalid_message"]
        assert world.pipeline.runs == []


async def test_a_profile_fixed_by_the_api_is_not_changed_by_the_object(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.given.pending(file_id=FILE_ID, key=KEY, bucket="raw", profile="audio")
        world.raw.upload(KEY, b"x", metadata={"vproc-profile": "mp4"})
        await world.handle_next()
        assert (await world.file()).profile == "audio"


async def test_a_missing_object_fails_its_file_with_the_reason(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.catalog.create(new_file(file_id=FILE_ID, key=KEY, bucket="raw"))
        world.queue.put(direct_job())
        await world.handle_next()
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code) == (Status.FAILED, "source_missing")
        await world.finished()


@pytest.mark.parametrize(
    ("body", "outcome", "dead"),
    [
        (json.dumps({"Event": "s3:TestEvent", "Service": "Amazon S3"}), "test_event", 0),
        (json.dumps({"detail-type": "Object Deleted", "source": "aws.s3"}), "ignored", 0),
        ("not json", "invalid", 1),
        (json.dumps({"bucket": "elsewhere", "key": "a"}), "invalid", 1),
    ],
)
async def test_every_other_message_is_settled_at_once(tmp_path: Path, body: str, outcome: str, dead: int) -> None:
    async with open_world(tmp_path) as world:
        world.queue.put(body)
        await world.handle_next()
        assert world.queue.bodies == []
        assert len(world.queue.dead) == dead
        assert world.count("vproc_messages_total", outcome=outcome) == 1


async def test_a_message_of_several_objects_is_deleted_only_when_all_are_done(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.options.events = None
        events = [json.loads(s3_event(world.raw.upload(f"{name}.mp4", name.encode())))["Records"][0] for name in "abc"]
        world.queue.put(json.dumps({"Records": events}))

        async def pass_by(job: Job) -> None:
            return

        world.pipeline.steps = [pass_by, failing(TransientError(ErrorCode.STALLED, "no progress")), pass_by]
        (message,) = await world.queue.receive(max_messages=1, wait_s=1)
        await world.jobs.handle(message)
        assert len(world.queue.bodies) == 1
        assert world.pipeline.encodes == 2
        world.queue.duplicate(message.message_id)
        await world.handle_next()
        assert world.queue.bodies == []
        assert world.pipeline.encodes == 3
        page = await world.catalog.list(owner=None, status=Status.COMPLETED, limit=10, cursor=None)
        assert {file.key for file in page.files} == {"a.mp4", "b.mp4", "c.mp4"}


async def test_a_file_that_kills_its_workers_is_dead_after_its_attempts(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_attempts=2) as world:
        version = world.raw.upload(KEY, b"x")
        for number in range(2):
            await world.given.expired_lease(FILE_ID, run_id=f"killed{number}", max_attempts=2, version=version)
        await world.handle_next()
        file = await world.file()
        assert file.error is not None
        assert (file.status, file.error.code, file.error.retryable) == (Status.FAILED, "internal", True)
        assert "2 attempts" in file.error.detail
        assert len(world.queue.dead) == 1
        assert world.pipeline.runs == []


async def test_a_cancellation_hands_everything_back_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.pipeline.steps = [forever]
        world.raw.upload(KEY, b"x")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.handle_next)
            await world.pipeline.begun.wait()
            tasks.cancel_scope.cancel()
        file = await world.file()
        assert (file.status, file.attempts) == (Status.UPLOADED, 0)
        assert world.queue.visible == 1
        (attempt,) = await world.catalog.attempts(FILE_ID)
        assert attempt.outcome is Outcome.DRAINED


async def test_what_cannot_be_written_down_is_decided_again(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.pipeline.steps = [failing(RejectedError(ErrorCode.CORRUPT_MEDIA, "x"))] * 2
        world.raw.upload(KEY, b"x")
        real = world.catalog.fail

        async def away(*_: object) -> None:
            raise UnavailableError("the database is away")

        world.catalog.fail = away  # type: ignore[method-assign, assignment]
        await world.handle_next()
        assert len(world.queue.bodies) == 1
        world.catalog.fail = real  # type: ignore[method-assign]
        await world.catalog.renew(await world.lease(), ttl_s=-1)
        world.queue.put(direct_job())
        await world.handle_next()
        assert (await world.file()).status is Status.FAILED


async def test_the_outputs_of_a_deleted_file_go_with_the_next_sweep(tmp_path: Path) -> None:
    """The store was away when the file was deleted: the tombstone's outputs, manifest and entry points are the janitor's."""
    async with open_world(tmp_path) as world:
        world.raw.upload(KEY, b"x")
        await world.handle_next()
        assert world.processed.keys
        await world.catalog.bury(FILE_ID)
        await world.janitor.sweep()
        assert world.processed.keys == []
