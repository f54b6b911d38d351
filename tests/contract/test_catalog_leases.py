"""The catalog on both databases: claims, leases, the fence, and how attempts are counted."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.support.catalog import CORRUPT, CRASHED, FIGURES, Given, claim_request, completion
from vproc.core.files import FileError, Outcome, RawState, Stage, Status
from vproc.core.leases import AttemptFigures, Claim, ClaimState, Lease
from vproc.db.catalog import SqlCatalog
from vproc.errors import ErrorCode, LeaseLostError

NOTHING = AttemptFigures({})


# --- the claim -------------------------------------------------------------------------------------------------------


async def test_claim_of_an_unseen_file_makes_it(catalog: SqlCatalog, given: Given) -> None:
    """An object that the API never announced becomes a file by its first claim."""
    request = claim_request(uuid4())
    claim = await catalog.claim(request)
    assert claim.state is ClaimState.GRANTED
    assert claim.file == await given.read(request.file_id)
    assert claim.lease is not None
    assert (claim.lease.run_id, claim.lease.attempt, claim.earlier_codes) == (request.run_id, 1, ())
    file, version = claim.file, request.version
    assert file is not None
    assert (file.status, file.attempts, file.progress, file.run_id) == (Status.PROCESSING, 1, 0.0, None)
    assert (file.bucket, file.key, file.etag, file.version_id) == (version.bucket, version.key, version.etag, version.version_id)
    assert (file.size_bytes, file.content_type) == (version.size_bytes, version.content_type)
    assert (file.owner, file.file_name, file.profile, file.metadata) == ("ann", "holiday.mp4", "abr", {"album": "été"})
    assert file.callback_url is None


async def test_claim_of_an_announced_file_records_the_version(catalog: SqlCatalog, given: Given) -> None:
    """What HEAD told replaces what was announced of the object; whose it is and its profile stay as announced."""
    file = await given.pending(profile="mp4", owner="bob", metadata={"a": "1"})
    request = claim_request(file.file_id)
    request = replace(request, version=replace(request.version, version_id=None, content_type=None))
    claimed = (await catalog.claim(request)).file
    assert claimed is not None
    assert (claimed.profile, claimed.owner, claimed.metadata, claimed.content_type) == ("mp4", "bob", {"a": "1"}, "video/mp4")
    assert (claimed.etag, claimed.version_id, claimed.size_bytes) == ("etag-1", None, 6_000_000_001)


@pytest.mark.parametrize("status", [Status.PENDING, Status.UPLOADED, Status.EXPIRED])
async def test_claim_is_granted_where_work_may_start(catalog: SqlCatalog, given: Given, status: Status) -> None:
    """A late event revives an expired file as well."""
    file = await given.in_status(status)
    assert (await given.leased(file.file_id)).attempt == 1
    assert (await given.read(file.file_id)).status is Status.PROCESSING


@pytest.mark.parametrize("reopen", [False, True])
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_claim_of_a_finished_file(catalog: SqlCatalog, given: Given, status: Status, reopen: bool) -> None:
    """It is finished, and stays as it is; only a failed one that came back from the dead letters starts anew."""
    file = await given.in_status(status)
    claim = await catalog.claim(claim_request(file.file_id, reopen=reopen, max_attempts=1))
    if reopen and status is Status.FAILED:
        assert claim.state is ClaimState.GRANTED
        assert claim.lease is not None
        assert claim.lease.attempt == 1
        assert claim.earlier_codes == ()
    else:
        assert (claim.state, claim.file, claim.lease) == (ClaimState.FINISHED, file, None)
        assert await given.read(file.file_id) == file


async def test_duplicate_leaves_its_receipt_for_the_owner(catalog: SqlCatalog, given: Given) -> None:
    """Another process with a duplicate is told that the file is busy, and the owner learns the newest handles."""
    lease = await given.leased(message_id="m-1", receipt_handle="r-1")
    for message, handle in (("m-1", "r-2"), ("m-2", "r-3"), ("m-2", "r-4")):
        claim = await catalog.claim(claim_request(lease.file_id, message_id=message, receipt_handle=handle, reopen=True))
        assert (claim.state, claim.lease) == (ClaimState.BUSY, None)
    view = await catalog.renew(lease, ttl_s=60)
    assert view.receipts == {"m-1": "r-2", "m-2": "r-4"}
    assert (await catalog.report(lease, progress=0.1, stage=Stage.PROBE)).receipts == view.receipts
    assert len(await catalog.attempts(lease.file_id)) == 1


async def test_expired_lease_is_taken_over(catalog: SqlCatalog, given: Given) -> None:
    """The dead holder's attempt is closed as lost and counts; the new one has its own token and its own receipts."""
    dead = await given.expired_lease(message_id="m-old")
    lease = await given.leased(dead.file_id, message_id="m-new", receipt_handle="r-new", worker="host:2")
    assert (lease.attempt, lease.token == dead.token) == (2, False)
    first, second = await catalog.attempts(dead.file_id)
    assert (first.outcome, first.error_code, first.worker) == (Outcome.LOST, ErrorCode.LEASE_LOST, "host:1")
    assert first.ended_at is not None
    assert first.ended_at <= second.started_at
    assert (second.outcome, second.ended_at, second.attempt, second.worker) == (Outcome.RUNNING, None, 2, "host:2")
    assert (await catalog.renew(lease, ttl_s=60)).receipts == {"m-new": "r-new"}


async def test_attempts_are_used_up(catalog: SqlCatalog, given: Given) -> None:
    """A file that killed its workers is not given to another, though nobody ever said so; its last attempt is closed."""
    file_id = (await given.pending()).file_id
    for _ in range(2):
        await given.expired_lease(file_id)
    claim = await catalog.claim(claim_request(file_id, max_attempts=2))
    assert (claim.state, claim.lease, claim.earlier_codes) == (ClaimState.EXHAUSTED, None, (ErrorCode.LEASE_LOST,) * 2)
    assert claim.file is not None
    assert (claim.file.status, claim.file.attempts) == (Status.UPLOADED, 2)
    assert [attempt.outcome for attempt in await catalog.attempts(file_id)] == [Outcome.LOST] * 2
    assert (await catalog.claim(claim_request(file_id, max_attempts=2))).state is ClaimState.EXHAUSTED
    assert (await given.leased(file_id, max_attempts=3)).attempt == 3


async def test_cancel_outlives_its_dead_holder(catalog: SqlCatalog, given: Given) -> None:
    """The owner asked for a cancel, and the holder died before it heard: whoever claims next finds the file cancelled."""
    lease = await given.leased()
    await catalog.request_cancel(lease.file_id)
    await catalog.renew(lease, ttl_s=-1)
    claim = await catalog.claim(claim_request(lease.file_id))
    assert (claim.state, claim.lease) == (ClaimState.FINISHED, None)
    assert claim.file is not None
    assert claim.file.status is Status.CANCELLED
    assert [row["type"] for row in await given.endings()] == ["video.cancelled"]


@pytest.mark.parametrize("ttl_s", [60.0, -1.0])
async def test_claim_may_be_repeated(catalog: SqlCatalog, given: Given, ttl_s: float) -> None:
    """The answer to a claim was lost: the same run claims again, gets the same lease, and nothing is counted twice."""
    request = claim_request((await given.pending()).file_id, ttl_s=ttl_s)
    first = await catalog.claim(request)
    again = await catalog.claim(replace(request, ttl_s=60.0))
    assert again.lease == first.lease
    assert again.lease is not None
    assert again.earlier_codes == ()
    await catalog.renew(again.lease, ttl_s=60)
    assert (await given.read(request.file_id)).attempts == 1


async def test_run_that_has_ended_is_not_claimed_again(catalog: SqlCatalog, given: Given) -> None:
    """A run names an output prefix: it is used once."""
    lease = await given.leased()
    await catalog.release(lease, Outcome.DRAINED, NOTHING, error=None, count_attempt=False)
    with pytest.raises(LeaseLostError, match=lease.run_id):
        await catalog.claim(claim_request(lease.file_id, run_id=lease.run_id))
    assert (await given.read(lease.file_id)).status is Status.UPLOADED


# --- the fence -------------------------------------------------------------------------------------------------------

Write = Callable[[SqlCatalog, Lease], Awaitable[object]]
FENCED: dict[str, Write] = {
    "renew": lambda catalog, lease: catalog.renew(lease, ttl_s=60),
    "report": lambda catalog, lease: catalog.report(lease, progress=0.9, stage=Stage.PUBLISH),
    "complete": lambda catalog, lease: catalog.complete(lease, completion(lease.run_id), FIGURES),
    "fail": lambda catalog, lease: catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES),
    "cancel": lambda catalog, lease: catalog.fail(lease, CORRUPT, Outcome.CANCELLED, FIGURES),
}


@pytest.mark.parametrize("write", FENCED.values(), ids=FENCED)
@pytest.mark.parametrize("how", ["expired", "taken over", "released", "forged", "no such file"])
async def test_lost_lease_writes_nothing(catalog: SqlCatalog, given: Given, how: str, write: Write) -> None:
    """Whoever holds the lease no more is told so, and every row stays as it was."""
    lease = await given.leased()
    match how:
        case "expired":
            await catalog.renew(lease, ttl_s=-0.001)
        case "taken over":
            await catalog.renew(lease, ttl_s=-1)
            await given.leased(lease.file_id)
        case "released":
            await catalog.release(lease, Outcome.RETRIED, NOTHING, error=CRASHED, count_attempt=True)
        case "forged":
            lease = replace(lease, token="0" * 32)
        case _:
            lease = replace(lease, file_id=uuid4())
    before = [await given.rows(table) for table in ("files", "transactions", "outbox")]
    with pytest.raises(LeaseLostError):
        await write(catalog, lease)
    assert [await given.rows(table) for table in ("files", "transactions", "outbox")] == before


@pytest.mark.parametrize("count_attempt", [False, True])
async def test_release_of_a_lost_lease_changes_nothing(catalog: SqlCatalog, given: Given, count_attempt: bool) -> None:
    """A holder that was overtaken may still let go: it is no error, and the new holder is not disturbed."""
    old = await given.expired_lease()
    new = await given.leased(old.file_id)
    before = [await given.rows(table) for table in ("files", "transactions")]
    for lease in (old, replace(new, token="0" * 32), replace(new, file_id=uuid4())):
        await catalog.release(lease, Outcome.LOST, FIGURES, error=CRASHED, count_attempt=count_attempt)
    assert [await given.rows(table) for table in ("files", "transactions")] == before
    await catalog.renew(new, ttl_s=60)


async def test_release_of_an_expired_lease_that_nobody_took(catalog: SqlCatalog, given: Given) -> None:
    """A holder that notices by itself that it lost its lease says so: the attempt does not count."""
    lease = await given.expired_lease()
    await catalog.release(lease, Outcome.LOST, FIGURES, error=None, count_attempt=False)
    file = await given.read(lease.file_id)
    assert (file.status, file.attempts) == (Status.UPLOADED, 0)
    [attempt] = await catalog.attempts(lease.file_id)
    assert (attempt.outcome, attempt.error_code, attempt.bytes_in) == (Outcome.LOST, None, FIGURES.bytes_in)


async def test_renew_moves_the_end_by_the_databases_clock(catalog: SqlCatalog, given: Given) -> None:
    """A lease is renewed from now on, not from where it ended before."""
    lease = await given.leased(ttl_s=5)
    [row] = await given.rows("files")
    await catalog.renew(lease, ttl_s=500)
    [later] = await given.rows("files")
    assert 5 <= row["lease_expires_at"] - row["created_at"] < 60
    assert 500 <= later["lease_expires_at"] - row["created_at"] < 560


# --- progress --------------------------------------------------------------------------------------------------------


async def test_progress_never_runs_backwards_within_an_attempt(catalog: SqlCatalog, given: Given) -> None:
    """A report below what was reported changes the stage only; what is no share of one is brought within."""
    lease = await given.leased()
    seen = []
    for progress, stage in (
        (0.4, Stage.ENCODE),
        (0.2, Stage.VERIFY),
        (-3.0, Stage.PUBLISH),
        (math.nan, Stage.PUBLISH),
        (7.0, Stage.FINISH),
    ):
        await catalog.report(lease, progress=progress, stage=stage)
        file = await given.read(lease.file_id)
        seen.append((file.progress, file.stage))
    assert seen == [
        (0.4, Stage.ENCODE), (0.4, Stage.VERIFY), (0.4, Stage.PUBLISH), (0.4, Stage.PUBLISH), (1.0, Stage.FINISH),
    ]  # fmt: skip
    await catalog.renew(lease, ttl_s=-1)
    await given.leased(lease.file_id)
    file = await given.read(lease.file_id)
    assert (file.progress, file.stage) == (0.0, None)


async def test_speed_and_what_is_left_are_the_last_that_were_told_and_end_with_the_lease(
    catalog: SqlCatalog, given: Given
) -> None:
    """Unlike progress they may fall, and a stall is 0 and unknown."""
    lease = await given.leased()
    seen = []
    for speed, eta_s in ((2.5, 30.0), (1.25, 45.0), (0.0, None), (None, 3.0)):
        await catalog.report(lease, progress=0.5, stage=Stage.ENCODE, speed=speed, eta_s=eta_s)
        file = await given.read(lease.file_id)
        seen.append((file.speed, file.eta_s))
    assert seen == [(2.5, 30.0), (1.25, 45.0), (0.0, None), (None, 3.0)]
    await catalog.renew(lease, ttl_s=-1)
    taken = await given.leased(lease.file_id)
    file = await given.read(lease.file_id)
    assert (file.speed, file.eta_s) == (None, None), "the next holder has told nothing yet"
    await catalog.report(taken, progress=0.5, stage=Stage.ENCODE, speed=1.0, eta_s=1.0)
    await catalog.release(taken, Outcome.DRAINED, FIGURES, error=None, count_attempt=False)
    file = await given.read(lease.file_id)
    assert (file.speed, file.eta_s) == (None, None)


# --- endings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delete_raw", [False, True])
async def test_complete(catalog: SqlCatalog, given: Given, delete_raw: bool) -> None:
    """Everything that the end brings, in one row each of ``files`` and ``transactions``."""
    lease = await given.leased()
    await catalog.request_cancel(lease.file_id)  # too late: the manifest stands
    file = await catalog.complete(lease, completion(lease.run_id, delete_raw=delete_raw), FIGURES)
    assert file == await given.read(lease.file_id)
    assert (file.status, file.progress, file.stage, file.run_id) == (Status.COMPLETED, 1.0, None, lease.run_id)
    assert (file.original_codec, file.target_codec, file.error) == ("hevc", "h264", None)
    assert file.raw_state is (RawState.DELETE_PENDING if delete_raw else RawState.KEPT)
    [attempt] = await catalog.attempts(lease.file_id)
    assert (attempt.outcome, attempt.error_code, attempt.run_id) == (Outcome.COMPLETED, None, lease.run_id)
    assert (attempt.stage_seconds, attempt.bytes_in, attempt.bytes_out) == (dict(FIGURES.stage_seconds), 1_000, 6_000_000_000)
    assert (attempt.cpu_s, attempt.peak_memory_bytes, attempt.speed) == (38.25, 5_000_000_000, 1.5)
    assert (attempt.s3_requests, attempt.sqs_requests) == (41, 3)
    assert attempt.ended_at == file.completed_at
    assert attempt.ended_at is not None
    assert file.processing_time_s is not None
    assert attempt.ended_at - attempt.started_at == pytest.approx(
        timedelta(seconds=file.processing_time_s), abs=timedelta(milliseconds=1)
    )
    assert file.processing_time_s >= 0


async def test_complete_for_the_run_that_won(catalog: SqlCatalog, given: Given) -> None:
    """A run that died had committed its manifest: the next attempt completes the file in its name, and clears its error."""
    winner = await given.leased()
    await catalog.release(winner, Outcome.RETRIED, NOTHING, error=CRASHED, count_attempt=True)
    lease = await given.leased(winner.file_id)
    file = await catalog.complete(lease, completion(winner.run_id), NOTHING)
    assert (file.run_id, file.error, file.attempts) == (winner.run_id, None, 2)


async def test_ending_may_be_repeated(catalog: SqlCatalog, given: Given) -> None:
    """The answer was lost: the same ending again is no lost lease, and writes nothing twice. Another ending is."""
    done, failed = await given.leased(), await given.leased()
    first = await catalog.complete(done, completion(done.run_id), FIGURES)
    assert await catalog.complete(done, completion(done.run_id), FIGURES) == first
    for _ in range(2):
        await catalog.fail(failed, CORRUPT, Outcome.REJECTED, FIGURES)
    assert len(await given.endings()) == 2
    with pytest.raises(LeaseLostError):
        await catalog.fail(done, CORRUPT, Outcome.REJECTED, FIGURES)
    with pytest.raises(LeaseLostError):
        await catalog.complete(failed, completion(failed.run_id), FIGURES)
    with pytest.raises(LeaseLostError):
        await catalog.complete(replace(done, token="0" * 32), completion(done.run_id), FIGURES)


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.DEAD, Outcome.CANCELLED])
async def test_fail(catalog: SqlCatalog, given: Given, outcome: Outcome) -> None:
    """The file tells why, unless somebody wanted it so; the attempt always does. The raw stays, for another try."""
    lease = await given.leased()
    await catalog.report(lease, progress=0.3, stage=Stage.PROBE)
    await catalog.fail(lease, CORRUPT, outcome, FIGURES)
    file = await given.read(lease.file_id)
    cancelled = outcome is Outcome.CANCELLED
    assert (file.status, file.error) == ((Status.CANCELLED, None) if cancelled else (Status.FAILED, CORRUPT))
    assert (file.stage, file.raw_state, file.attempts) == (None, RawState.KEPT, 1)
    [attempt] = await catalog.attempts(lease.file_id)
    assert (attempt.outcome, attempt.error_code, attempt.error_detail) == (outcome, CORRUPT.code, CORRUPT.detail)
    assert attempt.bytes_out == FIGURES.bytes_out


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.REJECTED, Outcome.DEAD, Outcome.CANCELLED}))
async def test_fail_takes_failures_only(catalog: SqlCatalog, given: Given, outcome: Outcome) -> None:
    """An outcome that is no failure is a fault of the program, and changes nothing."""
    lease = await given.leased()
    with pytest.raises(ValueError, match=outcome):
        await catalog.fail(lease, CORRUPT, outcome, FIGURES)
    await catalog.renew(lease, ttl_s=60)


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.RETRIED, Outcome.DRAINED, Outcome.LOST}))
async def test_release_takes_releases_only(catalog: SqlCatalog, given: Given, outcome: Outcome) -> None:
    """An outcome that ends a file does not give it back."""
    lease = await given.leased()
    with pytest.raises(ValueError, match=outcome):
        await catalog.release(lease, outcome, FIGURES, error=None, count_attempt=True)
    await catalog.renew(lease, ttl_s=60)


async def test_release_keeps_the_error_readable(catalog: SqlCatalog, given: Given) -> None:
    """Between two attempts the file says what went wrong; the next attempt starts without it."""
    lease = await given.leased()
    await catalog.report(lease, progress=0.6, stage=Stage.ENCODE)
    await catalog.release(lease, Outcome.RETRIED, FIGURES, error=CRASHED, count_attempt=True)
    file = await given.read(lease.file_id)
    assert (file.status, file.error, file.attempts, file.progress, file.stage) == (Status.UPLOADED, CRASHED, 1, 0.0, None)
    await given.leased(lease.file_id)
    assert (await given.read(lease.file_id)).error is None


async def test_release_after_a_cancel_cancels(catalog: SqlCatalog, given: Given) -> None:
    """The owner cancelled while the holder was draining: the file is not given back but cancelled."""
    lease = await given.leased()
    await catalog.request_cancel(lease.file_id)
    await catalog.release(lease, Outcome.DRAINED, FIGURES, error=CRASHED, count_attempt=False)
    file = await given.read(lease.file_id)
    assert (file.status, file.error, file.attempts) == (Status.CANCELLED, None, 0)
    assert [row["type"] for row in await given.endings()] == ["video.cancelled"]
    assert [attempt.outcome for attempt in await catalog.attempts(lease.file_id)] == [Outcome.DRAINED]


async def test_attempts_arithmetic(catalog: SqlCatalog, given: Given) -> None:
    """A drain and an absent dependency count nothing, a failure and a vanished process do; their codes come in order."""
    file_id = (await given.pending()).file_id

    async def ends(outcome: Outcome, code: ErrorCode | None, *, counts: bool) -> tuple[int, Claim]:
        lease = await given.leased(file_id, max_attempts=9)
        error = FileError(code, "…", retryable=True) if code else None
        await catalog.release(lease, outcome, NOTHING, error=error, count_attempt=counts)
        after = (await given.read(file_id)).attempts
        request = claim_request(file_id, max_attempts=9)
        claim = await catalog.claim(request)
        assert claim.lease is not None
        await catalog.release(claim.lease, Outcome.DRAINED, NOTHING, error=None, count_attempt=False)
        return after, claim

    after, claim = await ends(Outcome.DRAINED, ErrorCode.DRAINED, counts=False)
    assert (after, claim.earlier_codes) == (0, ())
    after, claim = await ends(Outcome.RETRIED, ErrorCode.ENCODER_FAILED, counts=True)
    assert (after, claim.earlier_codes) == (1, (ErrorCode.ENCODER_FAILED,))
    after, claim = await ends(Outcome.RETRIED, ErrorCode.OUT_OF_DISK, counts=False)
    assert (after, claim.earlier_codes) == (1, (ErrorCode.ENCODER_FAILED,))
    await given.expired_lease(file_id, max_attempts=9)
    after, claim = await ends(Outcome.RETRIED, ErrorCode.STALLED, counts=True)
    assert after == 3
    assert claim.earlier_codes == (ErrorCode.ENCODER_FAILED, ErrorCode.LEASE_LOST, ErrorCode.STALLED)
    assert claim.lease is not None
    assert claim.lease.attempt == 4
    counted = [row["counted"] for row in await given.rows("transactions")]
    assert sum(counted) == (await given.read(file_id)).attempts == 3
