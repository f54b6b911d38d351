"""The catalog on both databases: a server for the session, an empty migrated database for each test."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from tests.support.catalog import Given
from tests.support.postgres import PostgresServer
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.db.migrate import migrate


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.remove()


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> str:
    """The name of a migrated database, to be copied."""
    name = postgres.create_database()
    anyio.run(migrate, postgres.url(name))
    return name


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    anyio.run(migrate, f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without any table."""
    if database == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.create_database())


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database without any row."""
    if database == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "test.db")
        return f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.create_database(template=request.getfixturevalue("migrated_postgres")))


@pytest.fixture
async def another(url: str) -> AsyncIterator[Callable[[], Awaitable[SqlCatalog]]]:
    """Opens one more catalog on the test's database, as another process would."""
    async with AsyncExitStack() as stack:
        yield lambda: stack.enter_async_context(open_catalog(url))


@pytest.fixture
async def catalog(another: Callable[[], Awaitable[SqlCatalog]]) -> SqlCatalog:
    return await another()


@pytest.fixture
def given(catalog: SqlCatalog) -> Given:
    return Given(catalog)
