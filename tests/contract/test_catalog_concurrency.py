"""The catalog on both databases under many hands: races for a lease, two processes, cancellation, a server that dies."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from itertools import cycle
from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.support.catalog import CRASHED, FIGURES, Given, claim_request, completion, new_file
from tests.support.postgres import PostgresServer
from vproc.core.files import Outcome, Stage, Status
from vproc.core.leases import AttemptFigures, Claim, ClaimRequest, ClaimState
from vproc.db import pool
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.db.migrate import migrate
from vproc.errors import ConflictError, LeaseLostError, TransientError, UnavailableError

NOTHING = AttemptFigures({})
Another = Callable[[], Awaitable[SqlCatalog]]


async def _together(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """What each call returned or raised, all of them begun before any has ended."""
    results: list[object] = [None] * len(calls)

    async def run(index: int, call: Callable[[], Awaitable[object]]) -> None:
        try:
            results[index] = await call()
        except (LeaseLostError, ConflictError, TransientError) as error:
            results[index] = error

    async with anyio.create_task_group() as group:
        for index, call in enumerate(calls):
            group.start_soon(run, index, call)
    return results


async def _claims(catalogs: list[SqlCatalog], requests: list[ClaimRequest]) -> list[Claim]:
    calls = [lambda c=catalog, r=request: c.claim(r) for catalog, request in zip(cycle(catalogs), requests, strict=False)]
    claims = [result for result in await _together(*calls) if isinstance(result, Claim)]
    assert len(claims) == len(requests)
    return claims


@pytest.mark.parametrize("seen", [False, True])
async def test_one_of_many_claims_is_granted(catalog: SqlCatalog, given: Given, another: Another, seen: bool) -> None:
    """Twenty claims from two processes, of a file known or never seen: one lease, and every other receipt is kept."""
    file_id = (await given.pending()).file_id if seen else uuid4()
    requests = [claim_request(file_id, message_id=f"m-{n}", receipt_handle=f"r-{n}") for n in range(20)]
    claims = await _claims([catalog, await another()], requests)
    [winner] = [claim for claim in claims if claim.state is ClaimState.GRANTED]
    assert [claim.state for claim in claims].count(ClaimState.BUSY) == 19
    assert winner.lease is not None
    assert (await catalog.renew(winner.lease, ttl_s=60)).receipts == {f"m-{n}": f"r-{n}" for n in range(20)}
    assert (await given.read(file_id)).attempts == 1
    assert len(await catalog.attempts(file_id)) == 1


async def test_one_of_many_takes_over_an_expired_lease(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """After a holder's death one claim is granted, and its attempt is closed once."""
    dead = await given.expired_lease()
    claims = await _claims([catalog, await another()], [claim_request(dead.file_id) for _ in range(10)])
    assert sorted(claim.state for claim in claims) == [ClaimState.BUSY] * 9 + [ClaimState.GRANTED]
    assert [attempt.outcome for attempt in await catalog.attempts(dead.file_id)] == [Outcome.LOST, Outcome.RUNNING]


async def test_many_files_at_once(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """Whole lives of many files side by side: no deadlock, no lock that is waited for in vain."""
    catalogs = [catalog, await another()]

    async def life(catalog: SqlCatalog) -> Status:
        lease = await Given(catalog).leased()
        await catalog.report(lease, progress=0.5, stage=Stage.ENCODE)
        await catalog.release(lease, Outcome.RETRIED, NOTHING, error=CRASHED, count_attempt=True)
        lease = await Given(catalog).leased(lease.file_id)
        return (await catalog.complete(lease, completion(lease.run_id), FIGURES)).status

    lives = await _together(*(lambda c=catalogs[n % 2]: life(c) for n in range(24)))
    assert lives == [Status.COMPLETED] * 24
    assert len(await given.endings()) == 24


async def test_heartbeat_against_takeover(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """A lease that has expired is never both renewed by its holder and taken by another."""
    other = await another()
    for _ in range(10):
        dead = await given.expired_lease()
        renewed, claim = await _together(
            lambda lease=dead: catalog.renew(lease, ttl_s=60), lambda lease=dead: other.claim(claim_request(lease.file_id))
        )
        assert isinstance(renewed, LeaseLostError)
        assert isinstance(claim, Claim)
        assert claim.state is ClaimState.GRANTED


async def test_cancel_against_complete(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """Whichever comes first, the file ends once: completed, with the cancel heard too late or refused."""
    other = await another()
    for _ in range(10):
        lease = await given.leased()
        done, cancel = await _together(
            lambda held=lease: catalog.complete(held, completion(held.run_id), FIGURES),
            lambda held=lease: other.request_cancel(held.file_id),
        )
        assert not isinstance(done, Exception)
        assert isinstance(cancel, ConflictError) or cancel.status is Status.PROCESSING  # type: ignore[union-attr]
        assert (await given.read(lease.file_id)).status is Status.COMPLETED
    assert {row["type"] for row in await given.endings()} == {"video.completed"}


async def test_expiry_from_two_processes(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """Two janitors expire each file once between them."""
    for _ in range(8):
        await given.pending(upload_expires_at=datetime.now(UTC).replace(year=2020))
    other = await another()
    counts = await _together(lambda: catalog.expire_pending(grace_s=0), lambda: other.expire_pending(grace_s=0))
    assert sum(counts) == 8  # type: ignore[arg-type]
    assert len(await given.endings()) == 8


async def test_a_duty_is_one_daemon_s(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """Whoever asks first; nobody else until its time has passed. Each duty by itself."""
    heard: list[bool] = []

    async def ask(asked: SqlCatalog) -> None:
        heard.append(await asked.take_duty("reconcile", every_s=60))

    other = await another()
    for times in (1, 2):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(ask, other if number % 2 else catalog)
        assert heard.count(True) == times
        assert not await other.take_duty("reconcile", every_s=60)
        await given.age_duties(60)
    assert await other.take_duty("forget", every_s=60)
    assert not await catalog.take_duty("forget", every_s=60)


async def test_two_processes_see_one_catalog(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """What one process wrote the other reads, and holds to."""
    other = await another()
    lease = await given.leased()
    assert (await other.claim(claim_request(lease.file_id))).state is ClaimState.BUSY
    await other.request_cancel(lease.file_id)
    assert (await catalog.renew(lease, ttl_s=60)).cancel_requested


async def test_reader_does_not_wait_for_a_writer(catalog: SqlCatalog, given: Given) -> None:
    """A page is answered while a transaction that writes is open."""
    file = await given.pending()
    async with catalog._database.write() as connection:
        await connection.exec_driver_sql("UPDATE files SET progress = 0.5")
        with anyio.fail_after(5):
            assert (await given.read(file.file_id)).progress == 0.0
    assert (await given.read(file.file_id)).progress == 0.5


async def test_cancelled_calls_leave_the_catalog_whole(
    catalog: SqlCatalog, given: Given, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls cut off at any await are applied wholly or not at all, and leave no connection and no task behind."""
    file = await given.pending()
    for turn in range(60):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(catalog.claim, claim_request(file.file_id, ttl_s=-1, max_attempts=999))
            group.start_soon(catalog.get, file.file_id)
            for _ in range(turn):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    counted = [row["counted"] for row in await given.rows("transactions")]
    assert (await given.read(file.file_id)).attempts == len(counted) == sum(counted)
    assert [row["outcome"] for row in await given.rows("transactions")].count(Outcome.RUNNING) <= 1
    results = await _together(*(lambda: catalog.create(new_file()) for _ in range(20)))
    assert not [result for result in results if isinstance(result, Exception)]
    assert catalog._database._engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def test_foreign_errors_stay_inside(catalog: SqlCatalog) -> None:
    """What a database refuses leaves the catalog as an error of ours, without the statement and its values."""

    async def run(statement: str) -> None:
        async with catalog._database.write() as connection:
            await connection.exec_driver_sql(statement)

    for statement in ("INSERT INTO outbox (id) VALUES ('secret-value')", "SELECT 'secret-value' FROM"):
        [refused] = await _together(lambda words=statement: run(words))
        assert isinstance(refused, TransientError)
        assert "secret-value" not in str(refused)
    [refused] = await _together(lambda: run("INSERT INTO outbox (id) VALUES ('secret-value')"))
    assert not isinstance(refused, UnavailableError)
    await catalog.check()


async def test_value_that_no_column_holds_is_not_an_absent_database(catalog: SqlCatalog, given: Given) -> None:
    """A size beyond 64 bits is the request's fault: intake goes on."""
    [refused] = await _together(lambda: catalog.create(new_file(size_bytes=2**70)))
    assert isinstance(refused, TransientError)
    assert not isinstance(refused, UnavailableError)
    assert (await catalog.list(owner=None, status=None, limit=5, cursor=None)).files == ()


# --- a database that goes away ---------------------------------------------------------------------------------------


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server of the test's own, to be killed."""
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        server.remove()


@pytest.fixture
async def mortal_catalog(mortal: PostgresServer) -> AsyncIterator[SqlCatalog]:
    url = mortal.url(mortal.create_database())
    await migrate(url)
    async with open_catalog(url) as catalog:
        yield catalog


async def test_server_that_dies_and_returns(mortal: PostgresServer, mortal_catalog: SqlCatalog) -> None:
    """Every call says that the database is away, also one in the middle of its transaction, and works when it is back."""
    catalog, given = mortal_catalog, Given(mortal_catalog)
    lease = await given.leased()

    async def cut_off() -> None:
        async with catalog._database.write() as connection:
            await connection.exec_driver_sql("UPDATE files SET progress = 0.9")
            await anyio.to_thread.run_sync(mortal.stop, "immediate")
            await connection.exec_driver_sql("SELECT 1")

    [cut] = await _together(cut_off)
    assert isinstance(cut, UnavailableError)
    calls: list[Callable[[], Awaitable[object]]] = [
        catalog.check,
        lambda: catalog.renew(lease, ttl_s=60),
        lambda: catalog.claim(claim_request(uuid4())),
        lambda: catalog.complete(lease, completion(lease.run_id), FIGURES),
        lambda: catalog.list(owner=None, status=None, limit=5, cursor=None),
    ]
    for result in await _together(*calls):
        assert isinstance(result, UnavailableError), result
        assert "cannot be used" in result.detail
    await anyio.to_thread.run_sync(mortal.start)
    await catalog.check()
    file = await catalog.complete(lease, completion(lease.run_id), FIGURES)
    assert (file.status, file.attempts) == (Status.COMPLETED, 1)


async def test_sqlite_that_is_locked_for_long(url: str, catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that another process keeps waiting is told that the database is away, on both, in bounded time."""
    monkeypatch.setattr("vproc.db.engine._BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("vproc.db.engine._STATEMENT_TIMEOUT_S", 0.2)
    file = await Given(catalog).pending()
    async with open_catalog(url) as impatient, catalog._database.write() as connection:
        await connection.exec_driver_sql("UPDATE files SET progress = 0.5")
        with pytest.raises(UnavailableError):
            await impatient.request_cancel(file.file_id)
    assert (await catalog.request_cancel(file.file_id)).status is Status.CANCELLED


async def test_connections_of_a_server_that_ended_in_between_are_replaced(
    mortal: PostgresServer, mortal_catalog: SqlCatalog
) -> None:
    """Nobody but the loop hears of its end; what comes next is not told that the database is away, which it is not."""
    calls = [mortal_catalog.check] * 4
    assert await _together(*calls) == [None] * 4
    await anyio.to_thread.run_sync(mortal.stop, "fast")
    await anyio.to_thread.run_sync(mortal.start)
    assert await _together(*calls) == [None] * 4


async def test_connections_are_asked_only_after_they_lay_idle(
    mortal_catalog: SqlCatalog, mortal: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ping is a transaction of its own: before each transaction it would be half of what the database is asked."""
    dialect = mortal_catalog._database._engine.sync_engine.dialect
    pings: list[object] = []
    ping = dialect.do_ping

    def counted(connection: Any) -> bool:
        pings.append(connection)
        return ping(connection)

    monkeypatch.setattr(dialect, "do_ping", counted)
    for _ in range(3):
        await mortal_catalog.check()
    assert pings == []
    monkeypatch.setattr(pool, "PING_AFTER_S", 0.0)
    await mortal_catalog.check()
    assert len(pings) == 1
    # One that no longer answers is replaced, and with it all that are as old.

    def refused(_: Any) -> bool:
        raise dialect.loaded_dbapi.InterfaceError("dropped on the way")

    monkeypatch.setattr(dialect, "do_ping", refused)
    before = mortal.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'vproc'")
    await mortal_catalog.check()
    after = mortal.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'vproc'")
    assert after
    assert set(before.split()).isdisjoint(after.split())
