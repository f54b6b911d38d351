"""What a crash left is finished, by whoever comes by, and nothing that stands for a file is ever removed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import update

from tests.support.catalog import FIGURES
from tests.support.memory import ManualClock
from tests.support.world import FILE_ID, KEY, World, open_world
from vproc.core.files import File, FileError, Outcome, RawState, Status
from vproc.core.keys import manifest_key
from vproc.db.tables import disabled_endpoints, files
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.queue_gauges import QueueGauges
from vproc.workers import janitor as janitor_module
from vproc.workers.janitor import DEPTH_EVERY_BUSY_S, DEPTH_EVERY_IDLE_S, RECONCILE_EVERY_S, Janitor
from vproc.workers.reconcile import EVENT_GRACE, Reconciler

AWAY = UnavailableError("S3 is away")


async def completed(world: World, key: str = KEY) -> None:
    world.raw.upload(key, key.encode())
    await world.handle_next()


def janitor_of(world: World, clock: ManualClock | None = None, *, together_s: float = 0) -> Janitor:
    reconciler = Reconciler(
        catalog=world.catalog, raw=world.raw, processed=world.processed, queue=world.queue, metrics=world.metrics,
        delete_raw=True, tell=lambda _: None, clock=lambda: datetime.now(UTC) + EVENT_GRACE * 2,
    )  # fmt: skip
    clock = clock or ManualClock()
    gauges = QueueGauges(queue=world.queue, reader=world.catalog, metrics=world.metrics, clock=clock)
    return Janitor(
        catalog=world.catalog, raw=world.raw, processed=world.processed, gauges=gauges, metrics=world.metrics,
        reconciler=reconciler, clock=clock, jitter=lambda: 0.5, together_s=together_s,
    )  # fmt: skip


@asynccontextmanager
async def running(janitor: Janitor) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        await tasks.start(lambda *, task_status: janitor.run(task_status=task_status))
        yield
        tasks.cancel_scope.cancel()


async def sent_by(world: World, run_id: str) -> None:
    for name in ("720.mp4", "poster.jpg"):
        world.processed.upload(f"{FILE_ID}/{run_id}/{name}", b"x")


async def test_addresses_that_wanted_no_more_are_forgotten_after_ninety_days(tmp_path: Path) -> None:
    now = datetime.now(UTC).timestamp()
    async with open_world(tmp_path) as world:
        async with world.catalog._database.write() as connection:
            for url, days in (("https://old.example/", 91), ("https://new.example/", 89)):
                values = {"digest": url, "url": url, "disabled_at": now - days * 86400}
                await connection.execute(disabled_endpoints.insert().values(**values))
        await world.janitor.sweep()
        assert await world.catalog.disabled_urls() == ("https://new.example/",)


# --- raw objects -----------------------------------------------------------------------------------------------------


async def test_a_raw_deletion_that_failed_is_made_up_for(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.fail_next("delete", AWAY)
        await completed(world)
        assert world.raw.keys == [KEY]
        await world.janitor.sweep()
        assert world.raw.keys == []
        assert (await world.file()).raw_state is RawState.DELETED
        assert world.count("vproc_janitor_actions_total", action="raw_deleted") == 1
        await world.janitor.sweep()
        assert world.count("vproc_janitor_actions_total", action="raw_deleted") == 1


async def test_another_upload_to_that_key_is_not_deleted(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.raw.fail_next("delete", AWAY)
        await completed(world)
        world.raw.upload(KEY, b"another")
        await world.janitor.sweep()
        assert world.raw.body(KEY) == b"another"
        assert (await world.file()).raw_state is RawState.DELETED


@pytest.mark.parametrize("error", [AWAY, TransientError(ErrorCode.INTERNAL, "InvalidRequest"), RuntimeError("a bug")])
async def test_one_object_that_cannot_be_deleted_holds_up_no_other(tmp_path: Path, error: Exception) -> None:
    async with open_world(tmp_path) as world:
        keys = [f"dropped/{number}.mp4" for number in range(3)]
        world.raw.fail_next("delete", AWAY, times=3)
        for key in keys:
            await completed(world, key)
        world.raw.fail_next("delete", error)
        await world.janitor.sweep()
        assert world.raw.keys == keys[:1]
        await world.janitor.sweep()
        assert world.raw.keys == []


async def test_more_than_a_batch_that_cannot_be_deleted_hold_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor_module, "BATCH", 2)
    async with open_world(tmp_path) as world:
        keys = [f"dropped/{number}.mp4" for number in range(5)]
        world.raw.fail_next("delete", AWAY, times=5)
        for key in keys:
            await completed(world, key)
        world.raw.fail_next("delete", AWAY, times=3)
        await world.janitor.sweep()
        assert world.raw.keys == keys[:3]
        assert world.raw.calls["delete"] == 10


# --- expiry ----------------------------------------------------------------------------------------------------------


async def test_addresses_that_nobody_used_expire_a_day_after_their_time(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        now = datetime.now(UTC)
        old = await world.given.pending(upload_expires_at=now - timedelta(hours=24, minutes=1))
        young = await world.given.pending(upload_expires_at=now - timedelta(hours=23, minutes=59))
        await world.janitor.sweep()
        assert (await world.given.read(old.file_id)).status is Status.EXPIRED
        assert (await world.given.read(young.file_id)).status is Status.PENDING
        assert world.count("vproc_janitor_actions_total", action="pending_expired") == 1


# --- uploads in parts ------------------------------------------------------------------------------------------------


async def test_parts_of_what_nobody_will_finish_are_given_up(tmp_path: Path) -> None:
    """Of files that were cancelled or deleted, or whose time is over; one that waits keeps its parts."""
    async with open_world(tmp_path) as world:
        begun = datetime.now(UTC)
        waiting, cancelled, buried, expired = [await world.given.pending() for _ in range(4)]
        for file in (waiting, cancelled, buried, expired):
            await world.catalog.bind_upload(file.file_id, f"upload of {file.file_id}")
            world.raw.uploads.append((file.key, f"upload of {file.file_id}", begun))
        old = (begun - timedelta(hours=25)).timestamp()
        async with world.catalog._database.write() as connection:
            await connection.execute(update(files).where(files.c.file_id == expired.file_id).values(upload_expires_at=old))
        await world.catalog.request_cancel(cancelled.file_id)
        await world.catalog.bury(buried.file_id)
        world.raw.fail_next("abort_upload", AWAY)
        await world.janitor.sweep()
        assert len(world.raw.uploads) == 2
        await world.janitor.sweep()
        assert [key for key, _, _ in world.raw.uploads] == [waiting.key]
        assert await world.catalog.left_uploads(limit=10) == ()
        assert world.count("vproc_janitor_actions_total", action="upload_aborted") == 3


# --- runs that did not win -------------------------------------------------------------------------------------------


async def test_a_losers_outputs_are_swept_and_the_winners_stand(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        version = world.raw.upload(KEY, b"x")
        lease = await world.given.leased(FILE_ID, run_id="loser", version=version)
        await world.catalog.release(lease, Outcome.RETRIED, FIGURES, error=None, count_attempt=True)
        await sent_by(world, "loser")
        await world.handle_next()
        winner = world.manifest().run_id
        await world.janitor.sweep()
        assert world.run_folders() == {winner}
        await world.janitor.sweep()
        assert world.count("vproc_janitor_actions_total", action="run_swept") == 1
        await world.finished()


async def test_the_manifest_has_the_last_word_on_who_lost(tmp_path: Path) -> None:
    """A run that committed and died before the catalog heard of it; then its owner gave up: its outputs stay."""
    async with open_world(tmp_path) as world:
        lease = await world.given.leased(FILE_ID, run_id="committed")
        await sent_by(world, "committed")
        world.processed.upload(manifest_key(FILE_ID), a_manifest("committed"))
        await world.catalog.fail(lease, FileError(ErrorCode.CANCELLED, "x", retryable=False), Outcome.CANCELLED, FIGURES)
        await world.janitor.sweep()
        assert world.run_folders() == {"committed"}
        await world.janitor.sweep()
        assert world.processed.calls["get"] == 1  # it is settled, and not asked for again


def a_manifest(run_id: str) -> bytes:
    source = {"bucket": "raw", "key": KEY, "etag": "e", "bytes": 1, "container": "mov"}
    fields = {
        "file_id": str(FILE_ID), "run_id": run_id, "profile": "abr", "created_at": "2026-01-01T00:00:00Z", "source": source,
        "outputs": [], "entry_points": [],
    }  # fmt: skip
    return json.dumps(fields).encode()


async def test_an_unreadable_manifest_keeps_its_file_and_holds_up_no_other(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.given.failed()
        lease = await world.given.leased(FILE_ID, run_id="kept")
        error = FileError(ErrorCode.INTERNAL, "x", retryable=True)
        await world.catalog.fail(lease, error, Outcome.DEAD, FIGURES)
        await sent_by(world, "kept")
        world.processed.upload(manifest_key(FILE_ID), b"{}")
        later = await world.given.leased(run_id="swept")
        await world.catalog.fail(later, error, Outcome.DEAD, FIGURES)
        world.processed.upload(f"{later.file_id}/swept/a", b"x")
        await world.janitor.sweep()
        assert world.run_folders() == {"kept"}
        assert not [key for key in world.processed.keys if key.startswith(str(later.file_id))]


async def test_the_outputs_of_a_deleted_file_go(tmp_path: Path) -> None:
    """The API removes what it finds; what a run had sent meanwhile is the janitor's."""
    async with open_world(tmp_path) as world:
        await completed(world)
        await world.catalog.bury(FILE_ID)
        await world.processed.delete_prefix(f"{FILE_ID}/")
        await sent_by(world, (await world.catalog.orphan_runs(limit=9))[0].run_id)
        await world.janitor.sweep()
        assert world.processed.keys == []
        assert await world.catalog.orphan_runs(limit=9) == ()


async def test_a_run_in_progress_is_left_alone(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.given.leased(FILE_ID, run_id="working")
        await sent_by(world, "working")
        await world.janitor.sweep()
        assert world.run_folders() == {"working"}


# --- rounds ----------------------------------------------------------------------------------------------------------


async def test_a_job_that_ends_wakes_it_also_while_it_sweeps(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        janitor = janitor_of(world)
        world.raw.fail_next("delete", AWAY, times=2)
        await completed(world, "dropped/1.mp4")
        deleting = world.raw.pause_next("delete")
        async with running(janitor):
            await deleting.reached.wait()
            await completed(world, "dropped/2.mp4")
            janitor.wake()
            deleting.release()
            await world.raw.until(lambda: world.raw.keys == [])
        assert world.raw.calls["delete"] == 4


async def test_jobs_that_end_together_share_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many short jobs the sweeps would else be most of what is asked of the catalog."""
    async with open_world(tmp_path) as world:
        asked: list[float] = []
        again = anyio.Event()
        look = world.catalog.pending_raw_deletes

        async def counted(*, limit: int, skip: int = 0) -> Sequence[File]:
            asked.append(anyio.current_time())
            if len(asked) > 1:
                again.set()
            return await look(limit=limit, skip=skip)

        monkeypatch.setattr(world.catalog, "pending_raw_deletes", counted)
        janitor = janitor_of(world, together_s=0.3)
        async with running(janitor):
            await world.queue.called("depths")
            for _ in range(5):
                janitor.wake()
                await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(5):
                await again.wait()
            await anyio.wait_all_tasks_blocked()
        assert len(asked) == 2
        assert asked[1] - asked[0] >= 0.3


@pytest.mark.parametrize("error", [AWAY, RuntimeError("a bug")])
async def test_a_round_that_fails_is_not_the_last(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world(tmp_path) as world:
        world.raw.fail_next("delete", AWAY)
        await completed(world)
        asked = 0
        look = world.catalog.pending_raw_deletes

        async def fails_once(*, limit: int, skip: int = 0) -> object:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise error
            return await look(limit=limit, skip=skip)

        monkeypatch.setattr(world.catalog, "pending_raw_deletes", fails_once)
        janitor = janitor_of(world)
        async with running(janitor):
            await world.queue.called("depths")  # the gauges are read all the same
            janitor.wake()
            await world.raw.called("delete", 2)
        assert asked >= 2


# --- the queue's gauges ----------------------------------------------------------------------------------------------


async def rounds(janitor: Janitor, world: World, *, wake: bool = False) -> int:
    """How many readings one round makes."""
    before = world.queue.calls["depths"]
    if wake:
        janitor.wake()
    await janitor._observe_depth()
    return world.queue.calls["depths"] - before


async def test_an_idle_queue_is_read_every_six_minutes(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        clock = ManualClock(0)
        janitor = janitor_of(world, clock)
        assert await rounds(janitor, world) == 1
        for _ in range(5):
            clock.advance(DEPTH_EVERY_BUSY_S)
            assert await rounds(janitor, world) == 0
        clock.advance(DEPTH_EVERY_BUSY_S)
        assert await rounds(janitor, world) == 1
        assert DEPTH_EVERY_IDLE_S == 360


async def test_a_busy_one_every_minute_however_many_jobs_end(tmp_path: Path) -> None:
    """Also when the work comes right after an idle reading."""
    async with open_world(tmp_path) as world:
        clock = ManualClock(0)
        janitor = janitor_of(world, clock)
        assert await rounds(janitor, world) == 1
        for _ in range(59):
            clock.advance(1)
            assert await rounds(janitor, world, wake=True) == 0
        clock.advance(1)
        assert await rounds(janitor, world) == 1
        clock.advance(60)
        assert await rounds(janitor, world) == 0  # nothing ended since, nothing waits


async def test_waiting_messages_are_work_too(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        clock = ManualClock(0)
        janitor = janitor_of(world, clock)
        world.queue.put("a")
        world.queue.put("b")
        await world.queue.receive(max_messages=1, wait_s=0)
        assert await rounds(janitor, world) == 1
        gauges = [world.count("vproc_queue_messages", queue="main", state=state) for state in ("visible", "in_flight", "delayed")]
        assert gauges == [1, 1, 0]
        clock.advance(60)
        assert await rounds(janitor, world) == 1


async def test_a_reading_that_fails_is_not_repeated_at_every_wake(tmp_path: Path) -> None:
    """Each is a paid request."""
    async with open_world(tmp_path) as world:
        clock = ManualClock(0)
        janitor = janitor_of(world, clock)
        world.queue.fail_next("depths", AWAY)
        with pytest.raises(UnavailableError):
            await rounds(janitor, world)
        assert await rounds(janitor, world, wake=True) == 0
        clock.advance(60)
        assert await rounds(janitor, world) == 1


# --- what was forgotten ----------------------------------------------------------------------------------------------


async def test_a_lost_event_is_found_within_the_hour_and_not_at_every_round(tmp_path: Path) -> None:
    """A bucket is listed seldom, and by daemons that started together not at once."""
    clock = ManualClock()
    async with open_world(tmp_path) as world:
        world.raw.options.events = None
        world.raw.upload(KEY, b"x")
        janitor = janitor_of(world, clock)
        for passed_s, listed in ((RECONCILE_EVERY_S / 2 - 1, 0), (2, 1), (60, 1), (RECONCILE_EVERY_S, 2)):
            clock.advance(passed_s)
            await world.given.age_duties(passed_s)
            await janitor._reconcile()
            assert world.raw.calls["list"] == listed
        assert json.loads(world.queue.bodies[0]) == {"bucket": "raw", "key": KEY}


async def test_of_several_daemons_one_looks(tmp_path: Path) -> None:
    """Whichever comes first; an hour later another may."""
    clock = ManualClock()
    async with open_world(tmp_path) as world:
        janitors = [janitor_of(world, clock) for _ in range(3)]
        for listed in (1, 2):
            clock.advance(RECONCILE_EVERY_S)
            await world.given.age_duties(RECONCILE_EVERY_S)
            for janitor in janitors:
                await janitor._reconcile()
            assert world.raw.calls["list"] == listed


async def test_its_round_does_that_too(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_world(tmp_path) as world:
        janitor = janitor_of(world, clock)
        clock.advance(RECONCILE_EVERY_S)
        async with running(janitor):
            await world.processed.called("unfinished_uploads")
        assert world.raw.calls["list"] == 1
