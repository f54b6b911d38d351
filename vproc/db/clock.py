"""The database's clock, as an SQL expression. Leases are compared and set by it, never by a worker's own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Double, Integer, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class DatabaseNow(FunctionElement[float]):
    """Seconds since the epoch when the expression is evaluated: not when its transaction began. At least milliseconds."""

    type = Double()
    name = "database_now"
    inherit_cache = True


@compiles(DatabaseNow, "postgresql")
def _on_postgresql(_element: DatabaseNow, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@compiles(DatabaseNow, "sqlite")
def _on_sqlite(_element: DatabaseNow, _compiler: SQLCompiler, **_: Any) -> str:
    # unixepoch('subsec') came with SQLite 3.42 and Debian 12 has 3.40. SQLite's own time has milliseconds: the rest of
    # the difference of two julian days is noise.
    return "round((julianday('now') - 2440587.5) * 86400.0, 3)"


class HourOf(FunctionElement[int]):
    """Whole hours since the epoch of a column of seconds."""

    type = Integer()
    name = "hour_of"
    inherit_cache = True


@compiles(HourOf, "postgresql")
def _hour_on_postgresql(element: HourOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(floor({compiler.process(element.clauses, **options)} / 3600) AS integer)"


@compiles(HourOf, "sqlite")
def _hour_on_sqlite(element: HourOf, compiler: SQLCompiler, **options: Any) -> str:
    # its cast cuts off what PostgreSQL's would round, and `floor` is not in every SQLite
    return f"CAST({compiler.process(element.clauses, **options)} / 3600 AS integer)"


async def database_time(connection: AsyncConnection) -> float:
    """The time now. Ask after a row was locked: waiting for the lock may have taken long."""
    return float((await connection.execute(select(DatabaseNow()))).scalar_one())


def instant(seconds: float) -> datetime:
    """Aware UTC of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
