"""The catalog's part for operators: what runs, what came to its end by the hour, what failed last.

Each statement is answered from an index of its own, however many files there are.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Executable, and_, func, literal, literal_column, select, text
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import FileError, Stage, Status
from vproc.core.operations import Failure, Hour, Overview, RunningJob
from vproc.db.clock import HourOf, database_time, instant
from vproc.db.engine import Database
from vproc.db.tables import files, transactions
from vproc.errors import ErrorCode

_HOUR_S = 3600
_LATELY = 200


class OperationsMethods:
    """What `ports.OperationsReader` says."""

    _database: Database

    async def overview(self, *, hours: int, jobs: int, failures: int) -> Overview:
        """One transaction, so that a job is not seen both running and at its end."""
        async with self._database.read() as connection:
            now = await database_time(connection)
            running = (await connection.execute(_running())).scalar_one()
            rows = (await connection.execute(_jobs(jobs))).mappings().all()
            counted = await _hours(connection, last=int(now) // _HOUR_S, hours=hours)
            failed = (await connection.execute(_failures(failures))).mappings().all()
            version = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()
        return Overview(
            read_at=instant(now),
            schema_version=version,
            running=running,
            jobs=tuple(_job_from(row, now) for row in rows),
            hours=counted,
            failures=tuple(_failure_from(row) for row in failed),
        )

    async def mean_media_s(self) -> float | None:
        """Read from the index of completed files."""
        async with self._database.read() as connection:
            mean: float | None = (await connection.execute(_mean_lately())).scalar_one()
        return None if mean is None else float(mean)


def _is(status: Status) -> ColumnElement[bool]:
    """Written into the statement: of a parameter no database knows whether a partial index holds it."""
    return files.c.status == literal(status.value, literal_execute=True)


def _running() -> Executable:
    return select(func.count()).select_from(files).where(_is(Status.PROCESSING), files.c.deleted_at.is_(None))


def _jobs(limit: int) -> Executable:
    """The attempt that runs is the lease's; a lease that has ended still names it, until somebody claims the file."""
    holder = and_(transactions.c.file_id == files.c.file_id, transactions.c.run_id == files.c.lease_run_id)
    return (
        select(files, transactions.c.attempt, transactions.c.worker, transactions.c.started_at)
        .join(transactions, holder)
        .where(_is(Status.PROCESSING), files.c.deleted_at.is_(None))
        .order_by(transactions.c.started_at, files.c.file_id)
        .limit(limit)
    )


def _completed(since: float) -> Executable:
    hour = HourOf(files.c.completed_at).label("hour")
    seconds = func.coalesce(func.sum(files.c.media_s), 0.0).label("media_s")
    return (
        select(hour, func.count().label("files"), seconds).where(files.c.completed_at >= since).group_by(literal_column("hour"))
    )


def _mean_lately() -> Executable:
    lately = (
        select(files.c.media_s)
        .where(files.c.completed_at.is_not(None))
        .order_by(files.c.completed_at.desc())
        .limit(_LATELY)
        .subquery()
    )
    return select(func.avg(lately.c.media_s))


def _failed(since: float) -> Executable:
    hour = HourOf(files.c.failed_at).label("hour")
    return select(hour, func.count().label("files")).where(files.c.failed_at >= since).group_by(literal_column("hour"))


def _failures(limit: int) -> Executable:
    return (
        select(files)
        .where(files.c.failed_at.is_not(None), _is(Status.FAILED), files.c.deleted_at.is_(None))
        .order_by(files.c.failed_at.desc())
        .limit(limit)
    )


async def _hours(connection: AsyncConnection, *, last: int, hours: int) -> tuple[Hour, ...]:
    """``last``: the hour under way, counted since the epoch. An hour in which nothing came to its end is there too."""
    first = last - hours + 1
    since = float(first * _HOUR_S)
    completed = {row.hour: (row.files, row.media_s) for row in await connection.execute(_completed(since))}
    failed = {row.hour: row.files for row in await connection.execute(_failed(since))}
    return tuple(
        Hour(
            begins_at=instant(hour * _HOUR_S),
            completed=completed.get(hour, (0, 0.0))[0],
            failed=failed.get(hour, 0),
            media_s=float(completed.get(hour, (0, 0.0))[1]),
        )
        for hour in range(first, last + 1)
    )


def _job_from(row: RowMapping, now: float) -> RunningJob:
    return RunningJob(
        file_id=row["file_id"],
        file_name=row["file_name"],
        owner=row["owner"],
        profile=row["profile"],
        stage=Stage(row["stage"]) if row["stage"] is not None else None,
        progress=row["progress"],
        speed=row["speed"],
        eta_s=row["eta_s"],
        attempt=row["attempt"],
        worker=row["worker"],
        started_at=instant(row["started_at"]),
        silent=row["lease_expires_at"] <= now,
    )


def _failure_from(row: RowMapping) -> Failure:
    return Failure(
        file_id=row["file_id"],
        file_name=row["file_name"],
        owner=row["owner"],
        profile=row["profile"],
        error=FileError(ErrorCode(row["error_code"]), row["error_detail"], row["error_retryable"]),
        attempts=row["attempts"],
        failed_at=instant(row["failed_at"]),
    )
