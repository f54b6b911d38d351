"""The way into the database: its address, its engine, its transactions, and its errors in our words.

What is asked of it is not here. Every time-out that the catalog has is set here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from anyio import CancelScope, current_time, move_on_after, sleep, to_thread
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from vproc.db.pool import POOL_OVERFLOW, POOL_SIZE, prove_connections
from vproc.errors import ConfigError, DependencyError, ErrorCode, TransientError, UnavailableError, VprocError

VARIABLE = "VPROC_DATABASE_URL"
_CONNECT_TIMEOUT_S = 5.0
_STATEMENT_TIMEOUT_S = 15.0
_POOL_TIMEOUT_S = 10.0
_BUSY_TIMEOUT_S = 10.0
_BUSY_RETRY_S = 0.02
_DISPOSE_TIMEOUT_S = 5.0
_READ_ONLY = "vproc_read_only"
_POSTGRESQL_OPTIONS = ("application_name", "host", "port", "sslmode", "statement_cache_size")

_STATEMENT_AT_FAULT = (DataError, IntegrityError, NotSupportedError, ProgrammingError)

# Classes of SQLSTATE in which the server, not the statement, is at fault: connection, authorization (a password being
# rotated), rollback (deadlock), resources, wrong state, operator intervention, system. A read-only server is a replica
# that is about to take over.
_SERVER_AT_FAULT = ("08", "28", "3D", "40", "53", "55", "57", "58", "25006")


def build_engine(url: str, *, migrating: bool = False) -> AsyncEngine:
    """An engine for ``sqlite+aiosqlite:///PATH`` or ``postgresql+asyncpg://…``. It does not connect. Raises `ConfigError`.

    A migration's statements have no time limit, and on SQLite no foreign keys: a table is changed by writing it anew.
    """
    parsed = _parse(url)
    try:
        if parsed.drivername == "sqlite+aiosqlite":
            return _sqlite_engine(parsed, foreign_keys=not migrating)
        return _postgresql_engine(parsed, statement_timeout_s=None if migrating else _STATEMENT_TIMEOUT_S)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{VARIABLE}: PostgreSQL needs the package {error.name}: install vproc[postgres]") from error


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # not `from`: the foreign message may hold the address, and the address the password
        raise ConfigError(f"{VARIABLE}: is no address of a database: a part of it cannot be read") from None
    if parsed.drivername == "sqlite+aiosqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigError(f"{VARIABLE}: SQLite takes a file: sqlite:///PATH")
    elif parsed.drivername != "postgresql+asyncpg":
        raise ConfigError(f"{VARIABLE}: takes sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")
    return parsed


def _sqlite_engine(url: URL, *, foreign_keys: bool) -> AsyncEngine:
    engine = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT_S,
        connect_args={"timeout": _BUSY_TIMEOUT_S},
    )

    def connected(connection: Any, _record: object) -> None:
        # Python's driver would begin transactions by itself, deferred, and those fail at once when two of them
        # write after reading. `begun` begins them instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            settings(cursor)
        except BaseException:
            # the pool forgets a connection that this refuses, and its thread would answer to a loop that may be closed by then
            connection.close()
            raise
        cursor.close()

    def settings(cursor: Any) -> None:
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL, not the usual NORMAL: in WAL mode NORMAL syncs at checkpoints only, and a power cut takes the last commits
        # back. The raw object is deleted after the commit of `completed`, and the message after that: a commit that was
        # taken back would leave a file `processing` that nothing ever finishes.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    def begun(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(_READ_ONLY)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine


def _postgresql_engine(url: URL, *, statement_timeout_s: float | None) -> AsyncEngine:
    """The usual words of libpq in the address are put in asyncpg's: ``sslmode``, ``application_name``. Behind PgBouncer
    or RDS Proxy say ``statement_cache_size=0``."""
    options = {name: value for name, value in url.query.items() if name not in ("host", "port")}
    if unknown := sorted(options.keys() - set(_POSTGRESQL_OPTIONS)):
        raise ConfigError(f"{VARIABLE}: unknown option {unknown[0]!r} in the address: it takes {', '.join(_POSTGRESQL_OPTIONS)}")
    connect_args: dict[str, Any] = {
        "timeout": _CONNECT_TIMEOUT_S,
        "command_timeout": statement_timeout_s,
        "server_settings": {"application_name": options.get("application_name", "vproc")},
    }
    if "sslmode" in options:
        connect_args["ssl"] = options["sslmode"]
    if (size := options.get("statement_cache_size")) is not None:
        if not (isinstance(size, str) and size.isdecimal()):
            raise ConfigError(f"{VARIABLE}: statement_cache_size takes a whole number (got {size!r})")
        connect_args |= {"statement_cache_size": int(size), "prepared_statement_cache_size": int(size)}
        # behind a pooler two clients may share a server connection: their statements' names must differ
        connect_args["prepared_statement_name_func"] = lambda: f"__vproc_{uuid4().hex}__"
    engine = create_async_engine(
        url.difference_update_query(options),
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT_S,
        connect_args=connect_args,
    )
    prove_connections(engine)
    return engine


@asynccontextmanager
async def connected(url: str, *, migrating: bool = False) -> AsyncIterator[AsyncEngine]:
    """An engine that has reached its database, disposed of at the end. Raises `ConfigError` and `DependencyError`, which
    name the variable and never show the password."""
    engine = build_engine(url, migrating=migrating)
    sqlite = engine.dialect.name == "sqlite"
    try:
        with start_errors(engine.url):
            if sqlite:
                await _open_file(Path(str(engine.url.database)))
            async with Database(engine).read() as connection:
                await connection.exec_driver_sql("SELECT 1")
        yield engine
    finally:
        with CancelScope(shield=True), move_on_after(_DISPOSE_TIMEOUT_S):
            await engine.dispose()


def check_path(path: Path) -> None:
    """Raise `ConfigError` where no SQLite file can lie."""
    if path.is_dir():
        raise ConfigError(f"{VARIABLE}: {path} is a directory; it takes a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{VARIABLE}: the directory {path.parent} does not exist")


async def _open_file(path: Path) -> None:
    """Open the SQLite file at ``path`` once, make it where it is not, and set its journal mode, which it keeps; others that do
    the same are waited for. Raises `ConfigError` and `UnavailableError`.

    The driver's own thread does not outlive a file that it cannot open in order: it reports once more than it is heard, to
    an event loop that may be closed by then.
    """
    await to_thread.run_sync(check_path, path)
    deadline = current_time() + _BUSY_TIMEOUT_S
    while True:
        try:
            return await to_thread.run_sync(_set_journal_mode, path)
        except sqlite3.Error as error:
            # the change of the mode takes its lock in a second step, in which SQLite waits for nobody
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY or current_time() > deadline:
                raise UnavailableError(f"the database cannot be used: {_short(error)}") from error
        await sleep(_BUSY_RETRY_S)


def _set_journal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchone()


class Database:
    """Transactions, one to a block: committed at its end, rolled back when it raises.

    A foreign error of the block leaves it as `UnavailableError` where the database is away or at fault, else as
    `TransientError` ``internal``.

    A block that has begun is not cancelled, but ends in bounded time: anyio cancels again at every await, and under that
    both drivers tear the connection down half-way and leave tasks and errors behind. ``interruptible`` is for a
    migration, which may wait for a lock without end; even that is not cancelled in its commit.
    """

    def __init__(self, engine: AsyncEngine, *, interruptible: bool = False) -> None:
        self._engine = engine
        self._reading_engine = engine.execution_options(**{_READ_ONLY: True})
        self._shielded = not interruptible

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that may write. On SQLite it is the only one until its end."""
        return self._transaction(self._engine)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that only reads. On SQLite it waits for no writer."""
        return self._transaction(self._reading_engine)

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            with CancelScope(shield=self._shielded):
                connection = await engine.connect()
                try:
                    await connection.begin()
                    yield connection
                    with CancelScope(shield=True):
                        await connection.commit()
                finally:
                    with CancelScope(shield=True):
                        await connection.close()
        except (SQLAlchemyError, OSError, OverflowError) as error:  # the last is sqlite3's, of a number beyond 64 bits
            raise _in_our_words(error) from error


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)


def _in_our_words(error: Exception) -> TransientError:
    """What an error of SQLAlchemy, a driver or the network means. Time-outs and refused connections are `OSError`s."""
    sqlstate = _sqlstate(error)
    if sqlstate is not None:
        away = sqlstate.startswith(_SERVER_AT_FAULT)
    elif isinstance(error, DBAPIError):
        away = not (isinstance(error, _STATEMENT_AT_FAULT) or _driver_refused_a_value(error))
    else:
        away = isinstance(error, OSError | PoolTimeoutError)
    if away:
        return UnavailableError(f"the database cannot be used: {_short(error)}")
    return TransientError(
        ErrorCode.INTERNAL, f"the database refused a statement: {type(error).__name__} {sqlstate or ''}".rstrip()
    )


def _driver_refused_a_value(error: BaseException) -> bool:
    """A value or an option that asyncpg cannot take is to it an interface error, but a `ValueError` too."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance((original and original.__cause__) or original, TypeError | ValueError)


def _short(error: BaseException) -> str:
    """One line without the statement and its values."""
    text = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return text.splitlines()[0] if text else type(error).__name__


@contextmanager
def start_errors(url: URL) -> Iterator[None]:
    """Errors of a block at the start: `ConfigError` where only a person can mend it, `DependencyError` where the database
    may come back. A host name that does not resolve is such: name service may come up later than this process."""
    try:
        yield
    except TransientError as error:
        raise _start_error(error, url) from error


def _start_error(raised: TransientError, url: URL) -> VprocError:
    error = raised.__cause__ or raised
    if url.drivername.startswith("sqlite"):
        where, wrong = str(url.database), any(words in str(error) for words in ("unable to open", "readonly", "not a database"))
    else:
        where = f"{url.username or ''}@{url.host or url.query.get('host', 'localhost')}:{url.port or 5432}/{url.database or ''}"
        wrong = (_sqlstate(error) or "").startswith(("28", "3D")) or not isinstance(raised, UnavailableError)
    text = f"{VARIABLE}: cannot use {where}: {_short(error)}"
    return ConfigError(text) if wrong else DependencyError(f"{text}: start it, or correct the address")
