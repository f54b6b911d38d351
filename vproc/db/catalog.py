"""The catalog, whole, and how it is opened. Its methods stand by subject in `files`, `announcements`, `multipart`, `leases`,
`sweeps`, `operations` and `duties`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from vproc.db.announcements import AnnouncementMethods
from vproc.db.changes import ChangeHub
from vproc.db.duties import DutyMethods
from vproc.db.engine import Database, connected
from vproc.db.files import FileMethods
from vproc.db.group_commit import GroupCommit
from vproc.db.keys import KeyMethods
from vproc.db.leases import LeaseMethods
from vproc.db.migrate import prepare_schema
from vproc.db.multipart import MultipartMethods
from vproc.db.operations import OperationsMethods
from vproc.db.outbox import OutboxMethods
from vproc.db.sweeps import SweepMethods
from vproc.db.users import UserMethods


class SqlCatalog(
    FileMethods,
    LeaseMethods,
    SweepMethods,
    KeyMethods,
    AnnouncementMethods,
    MultipartMethods,
    OutboxMethods,
    UserMethods,
    OperationsMethods,
    DutyMethods,
):
    """`ports.Catalog`, `ports.KeyStore`, `ports.Outbox` and `ports.OperationsReader` over one database. Several of them, in one
    process or many, may share it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._database = Database(engine)
        self._hub = ChangeHub()
        self._group = GroupCommit(self._database)

    async def check(self) -> None:
        """Return when the database answers; raise `UnavailableError` otherwise."""
        async with self._database.read() as connection:
            await connection.exec_driver_sql("SELECT 1")


@asynccontextmanager
async def open_catalog(url: str) -> AsyncIterator[SqlCatalog]:
    """The catalog at ``Settings.sqlalchemy_url``, closed at the end of the block.

    Makes and migrates an SQLite file by itself; a PostgreSQL that awaits ``vproc migrate`` is a `ConfigError`. So is an
    address or a password that is wrong; a server that is away is a `DependencyError`.
    """
    async with connected(url) as engine:
        await prepare_schema(engine)
        yield SqlCatalog(engine)
