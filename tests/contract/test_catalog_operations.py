"""What an operator is shown of the catalog, and that it stays cheap however much there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Executable, insert, update

from tests.support.catalog import CORRUPT, FIGURES, Given, completion, new_file
from vproc.core.files import FileError, Outcome, Stage, Status
from vproc.core.operations import Overview
from vproc.db import operations
from vproc.db.catalog import SqlCatalog
from vproc.db.tables import files, transactions
from vproc.errors import ErrorCode

MANY = 20_000


async def look(catalog: SqlCatalog, **asked: int) -> Overview:
    return await catalog.overview(**{"hours": 24, "jobs": 50, "failures": 20} | asked)


async def set_columns(catalog: SqlCatalog, file_id: UUID, **values: Any) -> None:
    """Behind the port: time passes by itself in no test."""
    async with catalog._database.write() as connection:
        await connection.execute(update(files).where(files.c.file_id == file_id).values(**values))


async def test_nothing_is_seen_of_an_empty_catalog_but_its_hours_and_its_schema(catalog: SqlCatalog) -> None:
    seen = await look(catalog)
    assert (seen.running, seen.jobs, seen.failures, seen.schema_version) == (0, (), (), "0010")
    assert [(hour.completed, hour.failed, hour.media_s) for hour in seen.hours] == [(0, 0, 0.0)] * 24
    this_hour = seen.read_at.replace(minute=0, second=0, microsecond=0)
    assert [hour.begins_at for hour in seen.hours] == [this_hour - timedelta(hours=back) for back in range(23, -1, -1)]
    assert abs((datetime.now(UTC) - seen.read_at).total_seconds()) < 60


async def test_a_job_that_runs_is_seen_as_far_as_it_told(catalog: SqlCatalog, given: Given) -> None:
    lease = await given.leased(worker="host:1:abc")
    [job] = (await look(catalog)).jobs
    assert (job.file_id, job.file_name, job.owner, job.profile) == (lease.file_id, "holiday.mp4", "ann", "abr")
    assert (job.stage, job.progress, job.speed, job.eta_s, job.attempt) == (None, 0.0, None, None, 1)
    assert (job.worker, job.silent) == ("host:1:abc", False)
    await catalog.report(lease, progress=0.4, stage=Stage.ENCODE, speed=2.5, eta_s=30.0)
    [job] = (await look(catalog)).jobs
    assert (job.stage, job.progress, job.speed, job.eta_s) == (Stage.ENCODE, 0.4, 2.5, 30.0)
    [attempt] = await catalog.attempts(lease.file_id)
    assert job.started_at == attempt.started_at


async def test_a_job_whose_worker_is_silent_is_said_to_be_and_the_next_attempt_is_its_own(
    catalog: SqlCatalog, given: Given
) -> None:
    lease = await given.expired_lease(worker="dead:1")
    [job] = (await look(catalog)).jobs
    assert (job.worker, job.silent, job.attempt) == ("dead:1", True, 1)
    await given.leased(lease.file_id, worker="next:2")
    [job] = (await look(catalog)).jobs
    assert (job.worker, job.silent, job.attempt) == ("next:2", False, 2)


async def test_jobs_come_oldest_first_and_are_bounded_but_counted(catalog: SqlCatalog, given: Given) -> None:
    leases = [await given.leased() for _ in range(3)]
    seen = await look(catalog, jobs=2)
    assert (seen.running, [job.file_id for job in seen.jobs]) == (3, [lease.file_id for lease in leases[:2]])


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PROCESSING])
async def test_what_does_not_run_is_no_job(catalog: SqlCatalog, given: Given, status: Status) -> None:
    await given.in_status(status)
    seen = await look(catalog)
    assert (seen.running, seen.jobs) == (0, ())


async def test_ends_are_counted_in_their_hour(catalog: SqlCatalog, given: Given) -> None:
    """To the millisecond at both edges, in the whole window and not before it; seconds of media with them."""
    last = 480_000
    begins = last * 3600.0
    for ended_at in (begins, begins - 0.001, begins - 3600, begins - 23 * 3600, begins - 23 * 3600 - 0.001):
        done = await given.completed(media_s=10.5)
        await set_columns(catalog, done.file_id, completed_at=ended_at)
        failed = await given.failed()
        await set_columns(catalog, failed.file_id, failed_at=ended_at)
    async with catalog._database.read() as connection:
        hours = await operations._hours(connection, last=last, hours=24)
    assert [hour.begins_at.timestamp() for hour in hours] == [begins - back * 3600 for back in range(23, -1, -1)]
    told = [(hour.completed, hour.failed, hour.media_s) for hour in hours]
    assert told == [(1, 1, 10.5), *[(0, 0, 0.0)] * 21, (2, 2, 21.0), (1, 1, 10.5)]


async def test_a_completed_file_whose_seconds_nobody_knows_counts(catalog: SqlCatalog, given: Given) -> None:
    await given.completed(media_s=None)
    assert sum(hour.completed for hour in (await look(catalog)).hours) == 1


async def test_the_mean_is_of_the_files_completed_last(catalog: SqlCatalog, given: Given) -> None:
    """Two hundred at most; before the first there is none. One whose seconds nobody knows does not count."""
    assert await catalog.mean_media_s() is None
    for media_s in (10.0, 20.0, None):
        await set_columns(catalog, (await given.completed()).file_id, media_s=media_s)
    assert await catalog.mean_media_s() == 15.0
    await many(catalog)  # all of them long ago
    last = [(await given.completed()).file_id for _ in range(3)]
    for file_id in last:
        await set_columns(catalog, file_id, media_s=1000.0)
    mean_s = await catalog.mean_media_s()
    assert mean_s is not None
    assert 60.0 < mean_s < 200.0


async def test_each_way_to_fail_is_a_failure(catalog: SqlCatalog, given: Given) -> None:
    """By an attempt, without anybody who holds it, and of an object that never stood."""
    for outcome in (Outcome.REJECTED, Outcome.DEAD):
        await given.failed(outcome)
    waiting = await given.pending()
    await catalog.fail_unclaimed(waiting.file_id, CORRUPT)
    missing = FileError(ErrorCode.SOURCE_MISSING, "it is not there", retryable=False)
    await catalog.record_missing(new_file(), missing)
    await given.failed(Outcome.CANCELLED)
    seen = await look(catalog)
    assert [failure.error for failure in seen.failures] == [missing, CORRUPT, CORRUPT, CORRUPT]
    assert sum(hour.failed for hour in seen.hours) == 4
    assert len((await look(catalog, hours=2)).hours) == 2
    newest, _, third, _ = seen.failures
    assert (newest.attempts, third.attempts, third.owner, third.file_name) == (0, 1, "ann", "holiday.mp4")
    assert newest.failed_at >= third.failed_at
    assert len((await look(catalog, failures=2)).failures) == 2


async def test_what_failed_and_was_tried_again_stays_in_its_hour_and_is_no_failure_any_more(
    catalog: SqlCatalog, given: Given
) -> None:
    file = await given.failed()
    await catalog.reopen(file.file_id)
    seen = await look(catalog)
    assert (seen.failures, sum(hour.failed for hour in seen.hours)) == ((), 1)
    lease = await given.leased(file.file_id)
    await catalog.complete(lease, completion(lease.run_id), FIGURES)
    seen = await look(catalog)
    assert [sum(counts) for counts in zip(*((hour.completed, hour.failed) for hour in seen.hours), strict=True)] == [1, 1]


async def test_what_is_deleted_is_shown_no_more(catalog: SqlCatalog, given: Given) -> None:
    await catalog.bury((await given.failed()).file_id)
    assert (await look(catalog)).failures == ()


# --- cheap -------------------------------------------------------------------------------------------------------------


async def many(catalog: SqlCatalog) -> None:
    """A catalog of old files, of which a few run, ended lately or failed."""
    rows, runs = [], []
    for number in range(MANY):
        status = Status.PROCESSING if number % 4000 == 1 else Status.FAILED if number % 200 == 2 else Status.COMPLETED
        file_id, at = uuid4(), 1.7e9 + number * 60.0
        rows.append(
            {
                "file_id": file_id, "owner": "ann", "file_name": "a.mp4", "bucket": "raw", "key": f"videos/ann/{file_id}.mp4",
                "profile": "abr", "status": status, "metadata": {}, "receipts": {}, "raw_state": "deleted",
                "created_at": at, "updated_at": at,
                "completed_at": at if status is Status.COMPLETED else None, "media_s": 60.0,
                "failed_at": at if status is Status.FAILED else None,
                "lease_run_id": "r" if status is Status.PROCESSING else None,
            }
        )  # fmt: skip
        runs.append(
            {
                "file_id": file_id, "run_id": "r", "token": "t", "attempt": 1, "worker": "w", "started_at": at,
                "outcome": "running", "counted": True, "stage_seconds": {},
            }
        )  # fmt: skip
    async with catalog._database.write() as connection:
        await connection.execute(insert(files), rows)
        await connection.execute(insert(transactions), runs)
        await connection.exec_driver_sql("ANALYZE")


async def test_no_statement_reads_a_table_whole(catalog: SqlCatalog, database: str) -> None:
    """Each is answered from the index that was made for it, as the database itself plans it."""
    await many(catalog)
    since = 1.7e9 + (MANY - 500) * 60.0
    statements: dict[str, Executable] = {
        "ix_files_processing": operations._jobs(50),
        "ix_files_processing ": operations._running(),
        "ix_files_completed_at": operations._completed(since),
        "ix_files_completed_at ": operations._mean_lately(),
        "ix_files_failed_at": operations._failed(since),
        "ix_files_failed_at ": operations._failures(20),
    }
    head = "EXPLAIN QUERY PLAN " if database == "sqlite" else "EXPLAIN "
    for index, statement in statements.items():
        async with catalog._database.read() as connection:
            dialect = connection.dialect
            sql = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True, "render_postcompile": True}))
            plan = "\n".join(str(row[-1]) for row in await connection.exec_driver_sql(head + sql))
        assert index.strip() in plan, plan
        whole = [
            line
            for line in plan.splitlines()
            if "Seq Scan" in line or (line.startswith("SCAN") and "INDEX" not in line and "anon" not in line)
        ]
        assert whole == [], plan
