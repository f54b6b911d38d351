"""The catalog on both databases: the outbox, raw objects to be deleted, expiry, orphaned runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from tests.support.catalog import CORRUPT, CRASHED, FIGURES, Given, completion, new_file
from vproc.core.files import ObjectVersion, Outcome, RawState, Status
from vproc.core.leases import AttemptFigures, Lease, OrphanRun
from vproc.db.catalog import SqlCatalog

NOTHING = AttemptFigures({})
AGO = timedelta(hours=1)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


# --- the outbox ------------------------------------------------------------------------------------------------------


async def test_each_end_is_announced_once(catalog: SqlCatalog, given: Given) -> None:
    """Every terminal state leaves one event, due at once, whose payload is what the file was at that moment."""
    ends = [await given.in_status(status) for status in sorted(Status) if status.terminal]
    rows = {row["file_id"]: row for row in await given.endings()}
    assert len(rows) == len(ends) == 4
    assert len({row["id"] for row in rows.values()}) == 4
    for file in ends:
        row = rows[file.file_id]
        payload = json.loads(row["payload"])
        assert row["type"] == payload["type"] == f"video.{file.status}"
        assert (payload["data"]["file_id"], payload["data"]["metadata"]) == (str(file.file_id), {"album": "été"})
        assert payload["data"]["error"] == (
            {"code": "corrupt_media", "detail": CORRUPT.detail, "retryable": False} if file.error else None
        )
        assert (row["delivered_at"], row["attempts"]) == (None, 0)
        assert row["next_attempt_at"] == row["created_at"] == pytest.approx(file.updated_at.timestamp(), abs=1e-5)


async def test_no_callback_no_event(catalog: SqlCatalog, given: Given) -> None:
    """Who gave no ``callback_url`` is told nothing, and the end is the same."""
    await catalog.request_cancel((await given.pending(callback_url=None)).file_id)
    await given.pending(callback_url=None, upload_expires_at=datetime.now(UTC) - AGO)
    assert await catalog.expire_pending(grace_s=0) == 1
    await catalog.record_missing(new_file(callback_url=None), CORRUPT)
    lease = await given.leased((await given.pending(callback_url=None)).file_id)
    assert (await catalog.complete(lease, completion(lease.run_id), FIGURES)).status is Status.COMPLETED
    assert await given.endings() == []


async def test_a_file_tried_again_is_announced_again(catalog: SqlCatalog, given: Given) -> None:
    """Each end has an event with an id of its own."""
    file = await given.failed()
    await catalog.reopen(file.file_id)
    lease = await given.leased(file.file_id)
    await catalog.complete(lease, completion(lease.run_id), FIGURES)
    rows = await given.endings()
    assert {row["type"] for row in rows} == {"video.failed", "video.completed"}
    assert len({row["id"] for row in rows}) == 2


# --- raw objects -----------------------------------------------------------------------------------------------------


async def test_raw_delete_is_pending_until_it_is_done(catalog: SqlCatalog, given: Given) -> None:
    """Completed files whose raw is to go come oldest first, within the limit, until the raw is gone."""
    files = [await given.completed() for _ in range(3)]
    await given.completed(delete_raw=False)
    await given.failed()
    await given.leased()
    ids = [file.file_id for file in sorted(files, key=lambda file: (file.completed_at, file.file_id.hex))]
    assert [file.file_id for file in await catalog.pending_raw_deletes(limit=9)] == ids
    assert [file.file_id for file in await catalog.pending_raw_deletes(limit=2)] == ids[:2]
    assert [file.file_id for file in await catalog.pending_raw_deletes(limit=2, skip=2)] == ids[2:]
    assert await catalog.pending_raw_deletes(limit=2, skip=3) == ()
    await catalog.raw_deleted(ids[0])
    await catalog.raw_deleted(ids[0])
    assert [file.file_id for file in await catalog.pending_raw_deletes(limit=9)] == ids[1:]
    assert (await given.read(ids[0])).raw_state is RawState.DELETED


# --- expiry ----------------------------------------------------------------------------------------------------------


async def test_expiry_of_pending_files(catalog: SqlCatalog, given: Given) -> None:
    """Only what is pending, and whose address expired longer ago than the grace, expires; once."""
    now = datetime.now(UTC)
    overdue = [await given.pending(upload_expires_at=now - AGO) for _ in range(3)]
    recent = await given.pending(upload_expires_at=now - timedelta(minutes=1))
    claimed = await given.pending(upload_expires_at=now - AGO)
    await given.leased(claimed.file_id)
    buried = await given.pending(upload_expires_at=now - AGO)
    await catalog.bury(buried.file_id)
    assert await catalog.expire_pending(grace_s=1800) == 3
    assert await catalog.expire_pending(grace_s=1800) == 0
    assert {(await given.read(file.file_id)).status for file in overdue} == {Status.EXPIRED}
    assert (await given.read(recent.file_id)).status is Status.PENDING
    assert (await given.read(claimed.file_id)).status is Status.PROCESSING
    assert [row["type"] for row in await given.endings()] == ["video.expired"] * 3


# --- orphaned runs ---------------------------------------------------------------------------------------------------


async def _retried(catalog: SqlCatalog, given: Given, file_id: UUID | None = None) -> Lease:
    lease = await given.leased(file_id, max_attempts=9)
    await catalog.release(lease, Outcome.RETRIED, NOTHING, error=CRASHED, count_attempt=True)
    return lease


async def _orphans(catalog: SqlCatalog, limit: int = 9) -> list[str]:
    return [run.run_id for run in await catalog.orphan_runs(limit=limit)]


async def test_losers_of_a_completed_file_are_orphans(catalog: SqlCatalog, given: Given) -> None:
    """All ended runs but the winner's, oldest first, each until it is swept."""
    first = await _retried(catalog, given)
    second = await _retried(catalog, given, first.file_id)
    last = await given.leased(first.file_id)
    assert await _orphans(catalog) == []
    await catalog.complete(last, completion(second.run_id), NOTHING)
    assert await _orphans(catalog) == [first.run_id, last.run_id]
    assert await _orphans(catalog, limit=1) == [first.run_id]
    await catalog.run_swept(OrphanRun(first.file_id, first.run_id))
    await catalog.run_swept(OrphanRun(first.file_id, "unknown"))
    assert await _orphans(catalog) == [last.run_id]


async def test_runs_of_an_unfinished_file_are_kept(catalog: SqlCatalog, given: Given) -> None:
    """One of them may have committed its manifest and died before the catalog heard: nothing of it may be swept."""
    waiting = await _retried(catalog, given)
    held = await _retried(catalog, given)
    await given.leased(held.file_id)
    dead = await given.expired_lease()
    await given.leased(dead.file_id)
    assert await _orphans(catalog) == []
    await catalog.request_cancel(waiting.file_id)
    assert await _orphans(catalog) == [waiting.run_id]


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.CANCELLED])
async def test_runs_of_a_failed_or_cancelled_file_are_orphans(catalog: SqlCatalog, given: Given, outcome: Outcome) -> None:
    """They are, until the file is opened again; then they wait for its next end."""
    file = await given.failed(outcome)
    [attempt] = await catalog.attempts(file.file_id)
    assert await catalog.orphan_runs(limit=9) == (OrphanRun(file.file_id, attempt.run_id),)
    await catalog.reopen(file.file_id)
    assert await _orphans(catalog) == []


async def test_every_run_of_a_deleted_file_is_an_orphan(catalog: SqlCatalog, given: Given) -> None:
    """The winner's too: the caller may have died between the tombstone and the deletion of the outputs."""
    file = await given.completed()
    assert await _orphans(catalog) == []
    await catalog.bury(file.file_id)
    assert await _orphans(catalog) == [file.run_id]


async def test_check_answers(catalog: SqlCatalog) -> None:
    """A database that answers is all that is asked."""
    await catalog.check()


# --- what was lost ---------------------------------------------------------------------------------------------------


async def restored(catalog: SqlCatalog, file_id: UUID, *, raw_state: RawState = RawState.DELETED) -> bool:
    new = new_file(file_id=file_id, callback_url=None)
    version = ObjectVersion("raw", new.key, "etag-9", 77, "v9")
    return await catalog.restore(new, completion("winner", source=version), completed_at=NOON, raw_state=raw_state)


async def test_a_file_that_is_not_here_is_restored_once(catalog: SqlCatalog, given: Given) -> None:
    """As its manifest tells of it. Whoever listened was told when it was true."""
    file_id = uuid4()
    assert await restored(catalog, file_id, raw_state=RawState.DELETE_PENDING)
    file = await given.read(file_id)
    assert (file.status, file.progress, file.run_id, file.completed_at) == (Status.COMPLETED, 1.0, "winner", NOON)
    assert (file.etag, file.version_id, file.size_bytes, file.raw_state) == ("etag-9", "v9", 77, RawState.DELETE_PENDING)
    assert (file.original_codec, file.target_codec) == ("hevc", "h264")
    assert not await restored(catalog, file_id)
    assert await given.endings() == []
    assert [waiting.file_id for waiting in await catalog.pending_raw_deletes(limit=9)] == [file_id]


@pytest.mark.parametrize("status", [Status.PENDING, Status.UPLOADED, Status.EXPIRED])
async def test_an_unfinished_file_is_completed_and_announced(catalog: SqlCatalog, given: Given, status: Status) -> None:
    file = await given.in_status(status)
    before = len(await given.endings())
    assert await restored(catalog, file.file_id)
    assert (await given.read(file.file_id)).status is Status.COMPLETED
    assert len(await given.endings()) == before + 1


async def test_a_dead_holders_attempt_is_closed(catalog: SqlCatalog, given: Given) -> None:
    lease = await given.expired_lease()
    assert await restored(catalog, lease.file_id)
    (attempt,) = await catalog.attempts(lease.file_id)
    assert (attempt.outcome, attempt.ended_at is not None) == (Outcome.LOST, True)


async def test_what_the_catalog_knows_better_is_not_restored(catalog: SqlCatalog, given: Given) -> None:
    """Finished, deleted, or held by somebody who is about to say it himself."""
    held = await given.leased()
    buried = await given.completed()
    await catalog.bury(buried.file_id)
    others = [await given.in_status(status) for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)]
    for file_id in (held.file_id, buried.file_id, *(file.file_id for file in others)):
        assert not await restored(catalog, file_id)
    assert (await given.read(held.file_id)).status is Status.PROCESSING
    assert await catalog.get(buried.file_id) is None
