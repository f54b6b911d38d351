"""The catalog on both databases: announcing, finding, listing, and what callers may do to a file."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import anyio
import pytest

from tests.support.catalog import CORRUPT, CRASHED, FIGURES, Given, claim_request, new_file
from vproc.core.files import Outcome, RawState, Stage, Status
from vproc.core.leases import ClaimState
from vproc.db.catalog import SqlCatalog
from vproc.errors import ConflictError, ErrorCode, InvalidRequestError, NotFoundError

OPEN = {Status.PENDING, Status.UPLOADED, Status.PROCESSING}


async def test_created_file_is_pending_and_keeps_what_was_announced(catalog: SqlCatalog) -> None:
    """What the API announced comes back whole, times aware and by the database's clock."""
    new = new_file(metadata={"nul": "a\0b", "album": "été 🎬"})
    file = await catalog.create(new)
    assert file == await catalog.get(new.file_id)
    assert (file.status, file.attempts, file.progress, file.raw_state) == (Status.PENDING, 0, 0.0, RawState.KEPT)
    for name in ("owner", "file_name", "bucket", "key", "profile", "content_type", "size_bytes", "metadata", "callback_url"):
        assert getattr(file, name) == getattr(new, name), name
    assert file.upload_expires_at is not None
    assert new.upload_expires_at is not None
    assert abs(file.upload_expires_at - new.upload_expires_at) < timedelta(milliseconds=1)
    assert file.created_at.tzinfo is UTC
    assert abs(file.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert file.error is None
    assert file.completed_at is None


async def test_create_again_gives_the_file_that_stands(catalog: SqlCatalog, given: Given) -> None:
    """A commit whose answer was lost may be repeated; another file under that id may not."""
    new = new_file()
    first = await catalog.create(new)
    lease = await given.leased(new.file_id)
    assert (await catalog.create(new)).status is Status.PROCESSING
    with pytest.raises(ConflictError):
        await catalog.create(new_file(file_id=new.file_id, owner="bob"))
    assert (await given.read(lease.file_id)).created_at == first.created_at
    await catalog.request_cancel((buried := await given.pending()).file_id)
    await catalog.bury(buried.file_id)
    with pytest.raises(NotFoundError):
        await catalog.create(new_file(file_id=buried.file_id))


async def test_text_that_a_database_cannot_hold_is_mended(catalog: SqlCatalog) -> None:
    """A NUL or a lone surrogate in a name becomes U+FFFD, and the file is found by the very key that was given."""
    key = "odd/\0\ud800é.mp4" + "x" * 5000
    file = await catalog.create(new_file(key=key, file_name="\udfff.mp4"))
    assert (file.key[:7], file.file_name) == ("odd/\ufffd\ufffdé", "\ufffd.mp4")
    assert await catalog.find_by_key("raw", key) == file


async def test_find_by_key_gives_the_newest_that_stands(catalog: SqlCatalog) -> None:
    """Of several files of one object the newest counts; other buckets and deleted files do not."""
    files = [await catalog.create(new_file(key="a b+c/é=1.mp4")) for _ in range(3)]
    first, second, third = sorted(files, key=lambda file: (file.created_at, file.file_id.hex))
    await catalog.create(new_file(key="a b+c/é=1.mp4", bucket="other"))
    assert await catalog.find_by_key("raw", "a b+c/é=1.mp4") == third
    await catalog.bury(third.file_id)
    assert await catalog.find_by_key("raw", "a b+c/é=1.mp4") == second
    assert await catalog.find_by_key("raw", first.key + "x") is None


# --- pages -----------------------------------------------------------------------------------------------------------


async def _all_pages(catalog: SqlCatalog, *, limit: int, owner: str | None = None) -> list[list[UUID]]:
    pages, cursor = [], None
    while True:
        page = await catalog.list(owner=owner, status=None, limit=limit, cursor=cursor)
        pages.append([file.file_id for file in page.files])
        if (cursor := page.cursor) is None:
            return pages


async def test_list_pages_newest_first(catalog: SqlCatalog, given: Given) -> None:
    """Pages hold each file once, newest first, with no empty page after a full last one."""
    ids = [(await given.pending()).file_id for _ in range(6)]
    newest_first = [
        file.file_id
        for file in sorted([await given.read(i) for i in ids], key=lambda f: (f.created_at, f.file_id.hex), reverse=True)
    ]
    assert await _all_pages(catalog, limit=4) == [newest_first[:4], newest_first[4:]]
    assert await _all_pages(catalog, limit=3) == [newest_first[:3], newest_first[3:]]
    assert await _all_pages(catalog, limit=6) == [newest_first]


async def test_list_is_stable_while_files_come_and_go(catalog: SqlCatalog, given: Given) -> None:
    """What is created, changed or deleted between two pages neither repeats a file nor skips one."""
    ids = [(await given.pending()).file_id for _ in range(5)]
    page = await catalog.list(owner=None, status=None, limit=2, cursor=None)
    await given.pending()
    await catalog.bury(page.files[1].file_id)  # the very file at which the cursor points
    await given.leased(page.files[0].file_id)
    rest = await catalog.list(owner=None, status=None, limit=10, cursor=page.cursor)
    assert {file.file_id for file in page.files} | {file.file_id for file in rest.files} == set(ids)
    assert len(rest.files) == 3


async def test_list_filters_by_owner_and_status(catalog: SqlCatalog, given: Given) -> None:
    """An owner sees only theirs, a state only its own, and deleted files show nowhere."""
    mine, theirs = await given.pending(), await given.pending(owner="bob")
    done = await given.completed()
    await catalog.bury((await given.pending()).file_id)

    async def listed(owner: str | None, status: Status | None) -> set[UUID]:
        return {f.file_id for f in (await catalog.list(owner=owner, status=status, limit=9, cursor=None)).files}

    assert await listed("ann", None) == {mine.file_id, done.file_id}
    assert await listed("bob", None) == {theirs.file_id}
    assert await listed(None, Status.COMPLETED) == {done.file_id}
    assert await listed("bob", Status.COMPLETED) == set()


@pytest.mark.parametrize(
    "cursor",
    ["", "!", "é", "AAAA", *(urlsafe_b64encode(json.dumps(value).encode()).decode() for value in (
        None, 5, [], [1.0], ["x", "y"], [1.0, "no-uuid"], [float("nan"), "0" * 32], [10**400, "0" * 32], [[], {}],
    ))],
)  # fmt: skip
async def test_broken_cursor_is_refused(catalog: SqlCatalog, cursor: str) -> None:
    """A cursor that no page gave is an invalid request, never a fault of the database."""
    with pytest.raises(InvalidRequestError, match="cursor"):
        await catalog.list(owner=None, status=None, limit=5, cursor=cursor)


async def test_limit_below_one_is_refused(catalog: SqlCatalog) -> None:
    """A page holds one file at least."""
    with pytest.raises(InvalidRequestError, match="limit"):
        await catalog.list(owner=None, status=None, limit=0, cursor=None)


# --- cancel, reopen, bury --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.PENDING, Status.UPLOADED])
async def test_cancel_at_once_where_nobody_works(catalog: SqlCatalog, given: Given, status: Status) -> None:
    """A file on which nobody works is cancelled there and then, without error, and its event is noted."""
    file = await given.in_status(status)
    cancelled = await catalog.request_cancel(file.file_id)
    assert (cancelled.status, cancelled.error) == (Status.CANCELLED, None)
    assert [row["type"] for row in await given.endings()] == ["video.cancelled"]
    assert (await catalog.claim(claim_request(file.file_id))).state is ClaimState.FINISHED


async def test_cancel_tells_the_holder(catalog: SqlCatalog, given: Given) -> None:
    """While a lease stands the file stays in processing, and the holder hears of it at whatever it writes next."""
    lease = await given.leased()
    assert not (await catalog.renew(lease, ttl_s=60)).cancel_requested
    for _ in range(2):
        assert (await catalog.request_cancel(lease.file_id)).status is Status.PROCESSING
    assert (await catalog.renew(lease, ttl_s=60)).cancel_requested
    assert (await catalog.report(lease, progress=0.5, stage=Stage.ENCODE)).cancel_requested
    assert await given.endings() == []


async def test_cancel_of_a_dead_holders_file_is_at_once(catalog: SqlCatalog, given: Given) -> None:
    """Nobody is there to be told: the file is cancelled and the dead attempt closed."""
    lease = await given.expired_lease()
    assert (await catalog.request_cancel(lease.file_id)).status is Status.CANCELLED
    [attempt] = await catalog.attempts(lease.file_id)
    assert (attempt.outcome, attempt.error_code) == (Outcome.LOST, ErrorCode.LEASE_LOST)
    assert attempt.ended_at is not None


@pytest.mark.parametrize("status", sorted(set(Status) - OPEN))
async def test_cancel_of_a_finished_file_is_a_conflict(catalog: SqlCatalog, given: Given, status: Status) -> None:
    """The refusal names the state, and nothing changes."""
    file = await given.in_status(status)
    with pytest.raises(ConflictError, match=status):
        await catalog.request_cancel(file.file_id)
    assert await given.read(file.file_id) == file


async def test_reopen_starts_anew(catalog: SqlCatalog, given: Given) -> None:
    """A failed file whose attempts were used up is claimed again as if for the first time."""
    lease = await given.leased(max_attempts=1)
    await catalog.report(lease, progress=0.7, stage=Stage.ENCODE)
    await catalog.fail(lease, CRASHED, Outcome.DEAD, FIGURES)
    file = await catalog.reopen(lease.file_id)
    assert (file.status, file.attempts, file.error, file.progress) == (Status.UPLOADED, 0, None, 0.0)
    assert file.processing_time_s is None
    claim = await catalog.claim(claim_request(lease.file_id, max_attempts=1))
    assert claim.state is ClaimState.GRANTED
    assert claim.earlier_codes == ()
    assert claim.lease is not None
    assert claim.lease.attempt == 1


async def test_reopen_of_a_cancelled_file(catalog: SqlCatalog, given: Given) -> None:
    """A cancelled file may be tried again, and the old cancel does not stop it."""
    file = await given.in_status(Status.CANCELLED)
    assert (await catalog.reopen(file.file_id)).status is Status.UPLOADED
    lease = await given.leased(file.file_id)
    assert not (await catalog.renew(lease, ttl_s=60)).cancel_requested


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.FAILED, Status.CANCELLED}))
async def test_reopen_of_any_other_file_is_a_conflict(catalog: SqlCatalog, given: Given, status: Status) -> None:
    """Only what failed or was cancelled is tried again."""
    file = await given.in_status(status)
    with pytest.raises(ConflictError, match=status):
        await catalog.reopen(file.file_id)
    assert await given.read(file.file_id) == file


async def test_reopen_without_original_is_a_conflict(catalog: SqlCatalog, given: Given) -> None:
    """Where the raw is gone there is nothing to try again."""
    file = await given.failed()
    await catalog.raw_deleted(file.file_id)
    with pytest.raises(ConflictError, match="original"):
        await catalog.reopen(file.file_id)


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PROCESSING}))
async def test_bury_leaves_only_a_tombstone(catalog: SqlCatalog, given: Given, status: Status) -> None:
    """The file is gone for everybody but a claim, which learns that it was deleted, also when it would reopen."""
    file = await given.in_status(status)
    assert await catalog.bury(file.file_id) == file
    assert await catalog.get(file.file_id) is None
    assert await catalog.find_by_key(file.bucket, file.key) is None
    assert await catalog.attempts(file.file_id) == ()
    assert await catalog.pending_raw_deletes(limit=9) == ()
    for method in (catalog.bury, catalog.request_cancel, catalog.reopen):
        with pytest.raises(NotFoundError):
            await method(file.file_id)
    claim = await catalog.claim(claim_request(file.file_id, reopen=True))
    assert (claim.state, claim.file, claim.lease) == (ClaimState.DELETED, None, None)
    await catalog.fail_unclaimed(file.file_id, CORRUPT)
    await catalog.record_missing(new_file(file_id=file.file_id), CORRUPT)
    [row] = await given.rows("files")
    assert row["status"] == status


@pytest.mark.parametrize("dead", [False, True])
async def test_bury_from_processing_says_to_cancel_first(catalog: SqlCatalog, given: Given, dead: bool) -> None:
    """A file in processing is cancelled before it is deleted, and the refusal says so."""
    lease = await (given.expired_lease() if dead else given.leased())
    with pytest.raises(ConflictError, match="cancel"):
        await catalog.bury(lease.file_id)
    assert await given.read(lease.file_id)


async def test_unknown_file(catalog: SqlCatalog) -> None:
    """An id that no file has is not found, and what only tidies up passes over it."""
    unknown = uuid4()
    assert await catalog.get(unknown) is None
    assert await catalog.attempts(unknown) == ()
    for method in (catalog.bury, catalog.request_cancel, catalog.reopen):
        with pytest.raises(NotFoundError, match=str(unknown)):
            await method(unknown)
    await catalog.raw_deleted(unknown)
    await catalog.fail_unclaimed(unknown, CORRUPT)


# --- failing without a claim -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("how", ["record_missing", "fail_unclaimed"])
async def test_fail_without_a_claim(catalog: SqlCatalog, given: Given, status: Status, how: str) -> None:
    """Only an unfinished file that nobody holds fails, once, with its event."""
    file = await given.in_status(status)
    before = len(await given.endings())
    for _ in range(2):
        if how == "record_missing":
            await catalog.record_missing(new_file(file_id=file.file_id), CORRUPT)
        else:
            await catalog.fail_unclaimed(file.file_id, CORRUPT)
    after = await given.read(file.file_id)
    if status in (Status.PENDING, Status.UPLOADED):
        assert (after.status, after.error) == (Status.FAILED, CORRUPT)
        assert [row["type"] for row in (await given.endings())[before:]] == ["video.failed"]
    else:
        assert after == file
        assert len(await given.endings()) == before


async def test_missing_object_of_no_known_file_makes_a_failed_row(catalog: SqlCatalog, given: Given) -> None:
    """The message of an object that does not stand leaves a file that says why; there was no address that could expire."""
    new = new_file(upload_expires_at=None)
    await catalog.record_missing(new, CORRUPT)
    file = await given.read(new.file_id)
    assert (file.status, file.error, file.attempts, file.upload_expires_at) == (Status.FAILED, CORRUPT, 0, None)
    assert len(await given.endings()) == 1


async def test_fail_unclaimed_closes_a_dead_holder(catalog: SqlCatalog, given: Given) -> None:
    """Its attempt is closed as lost, and its token holds nothing any more."""
    lease = await given.expired_lease()
    await catalog.fail_unclaimed(lease.file_id, CORRUPT)
    assert (await given.read(lease.file_id)).status is Status.FAILED
    assert [attempt.outcome for attempt in await catalog.attempts(lease.file_id)] == [Outcome.LOST]


# --- hearing of changes ----------------------------------------------------------------------------------------------


async def test_changed_returns_at_a_write(catalog: SqlCatalog, given: Given) -> None:
    """Everybody who waits for a file wakes at its next write, and nothing is kept for those who are gone."""
    file, other = await given.pending(), await given.pending()
    woken = 0

    async def wait() -> None:
        nonlocal woken
        await catalog.changed(file.file_id, within_s=3600)
        woken += 1

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await catalog.request_cancel(other.file_id)
            await anyio.wait_all_tasks_blocked()
            assert woken == 0
            await catalog.request_cancel(file.file_id)
    assert woken == 2
    assert catalog._hub._waiting == {}


async def test_changed_returns_after_its_time(
    catalog: SqlCatalog, given: Given, another: Callable[[], Awaitable[SqlCatalog]]
) -> None:
    """Another process's write is not heard, so waiting has an end; a waiter that is cancelled leaves nothing behind."""
    file = await given.pending()
    await (await another()).request_cancel(file.file_id)
    await catalog.changed(file.file_id, within_s=0.01)
    with anyio.move_on_after(0) as scope:
        await catalog.changed(file.file_id, within_s=3600)
    assert scope.cancelled_caught
    assert catalog._hub._waiting == {}


async def test_every_write_moves_updated_at(catalog: SqlCatalog, given: Given) -> None:
    """A watcher that compares ``updated_at`` misses no change, however fast they follow one another."""
    file = await given.pending()
    seen = [file.updated_at]

    async def note() -> None:
        seen.append((await given.read(file.file_id)).updated_at)

    lease = await given.leased(file.file_id)
    await note()
    for step in range(5):
        await catalog.report(lease, progress=step / 10, stage=Stage.ENCODE)
        await note()
        await catalog.renew(lease, ttl_s=60)
        await note()
    await catalog.claim(claim_request(file.file_id))
    await note()
    await catalog.request_cancel(file.file_id)
    await note()
    await catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES)
    await note()
    assert seen == sorted(set(seen))
