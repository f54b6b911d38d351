"""Connections that are kept: how many, and how PostgreSQL's are known to live before they are used again."""

from __future__ import annotations

from time import monotonic
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

POOL_SIZE = 5
POOL_OVERFLOW = 5
MOST_CONNECTIONS = POOL_SIZE + POOL_OVERFLOW
"""Of one process to its database, at any time."""
PING_AFTER_S = 10.0
"""A connection that lay for so long may have been dropped by something on the way, of which nobody hears."""
_IDLE_SINCE = "vproc_idle_since"


def prove_connections(engine: AsyncEngine) -> None:
    """Replace a connection that is dead before it is used. A server that ends closes its connections, which the event loop hears
    of; what lay idle is asked. SQLAlchemy's own ``pool_pre_ping`` asks before each transaction, by a transaction of its own:
    half of all that the database was asked."""
    dialect = engine.sync_engine.dialect

    def checkin(connection: Any, entry: ConnectionPoolEntry) -> None:
        if connection is not None:
            entry.info[_IDLE_SINCE] = monotonic()

    def checkout(connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
        since = entry.info.get(_IDLE_SINCE)
        if since is None:
            return
        if connection.driver_connection.is_closed():
            raise InvalidatePoolError
        if monotonic() - since >= PING_AFTER_S:
            try:
                dialect.do_ping(connection)
            except dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError from error

    event.listen(engine.sync_engine, "checkin", checkin)
    event.listen(engine.sync_engine, "checkout", checkout)
