"""The PostgreSQL of many daemons: one of its own (`tests.support.postgres`), which counts statements and connections by role."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import asyncpg

from bench.jobs import cpu_of
from bench.processes import descendants
from tests.support.postgres import PostgresServer
from vproc.db.migrate import migrate

DAEMONS = "daemons"
"""The role of the daemons; the bench asks as another."""
_CONNECTIONS = "SELECT count(*) AS number FROM pg_stat_activity WHERE usename = $1"


@dataclass(frozen=True, slots=True)
class FleetDatabase:
    """A running one."""

    url: str
    pid: int
    connection: Any
    turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def rows(self, query: str, *values: object) -> list[Any]:
        """Ask as the bench."""
        async with self.turn:
            return list(await self.connection.fetch(query, *values))

    async def connections(self) -> int:
        """Connections of all daemons now."""
        return int((await self.rows(_CONNECTIONS, DAEMONS))[0]["number"])

    def cpu_s(self) -> float:
        """Seconds of processor of the server so far."""
        taken = [cpu_of(pid) for pid in (self.pid, *descendants(self.pid))]
        return sum(cpu.own_s + cpu.children_s for cpu in taken)

    async def calls(self) -> Counter[str]:
        """Statements of all daemons so far by their first word, such as ``SELECT``, ``UPDATE``, ``COMMIT``."""
        found = await self.rows(
            "SELECT upper(split_part(ltrim(query), ' ', 1)) AS word, sum(calls)::bigint AS calls "
            "FROM pg_stat_statements JOIN pg_roles ON pg_roles.oid = userid WHERE rolname = $1 GROUP BY 1",
            DAEMONS,
        )
        return Counter({str(row["word"]).strip(";"): int(row["calls"]) for row in found})


@asynccontextmanager
async def open_database() -> AsyncIterator[FleetDatabase]:
    """A server with a migrated database, removed at the end. It does not sync the disk."""
    server = await anyio.to_thread.run_sync(
        lambda: PostgresServer(**{"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.max": "10000"})
    )
    try:
        await anyio.to_thread.run_sync(server.start)
        await anyio.to_thread.run_sync(server.sql, f"CREATE ROLE {DAEMONS} LOGIN SUPERUSER")
        name = await anyio.to_thread.run_sync(server.create_database)
        url = server.url(name, user=DAEMONS)
        await migrate(url)
        connection = await asyncpg.connect(server.url(name).replace("+asyncpg", ""))
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        await connection.execute("SELECT pg_stat_statements_reset()")
        try:
            yield FleetDatabase(url.replace("+asyncpg", ""), server.pid, connection)
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(server.stop)
            await anyio.to_thread.run_sync(server.remove)
