"""Opening the catalog: the schema and its migrations, the settings of each database, and what is said when it fails."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import sys
from importlib import import_module
from pathlib import Path
from uuid import UUID, uuid4

import anyio
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, make_url

from tests.support.catalog import Given
from tests.support.postgres import PostgresServer
from vproc.core.files import Status
from vproc.db.catalog import open_catalog
from vproc.db.clock import database_time
from vproc.db.engine import Database, build_engine, connected
from vproc.db.migrate import _ADVISORY_LOCK, MIGRATIONS, awaited_migration, migrate, pending_migration, upgrade
from vproc.db.tables import metadata
from vproc.errors import ConfigError, DependencyError

HEAD = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")


# --- the schema ------------------------------------------------------------------------------------------------------


async def test_migrations_make_what_the_tables_say(empty_url: str) -> None:
    """Nothing is left for alembic to generate: columns, types, keys and indexes agree."""
    assert await migrate(empty_url) == HEAD
    async with connected(empty_url) as engine, Database(engine).read() as connection:
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
    assert difference == []


def test_alembics_own_command_finds_nothing_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to write a new step works from any directory, needs no database, and leaves logging alone."""
    monkeypatch.chdir(tmp_path)
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    command.check(Config(MIGRATIONS / "alembic.ini"))
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    assert logging.getLogger("vproc").disabled is False
    assert list(tmp_path.iterdir()) == []


def test_a_new_step_is_written_and_runs(tmp_path: Path) -> None:
    """What alembic writes from our template is a module whose ``upgrade`` takes its operations as an argument."""
    steps = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, steps)
    command.revision(Config(steps / "alembic.ini"), "what it brings", autogenerate=True, rev_id="9999")
    assert (steps / "versions/v9999_what_it_brings.py").is_file()
    engine = create_engine(f"sqlite:///{tmp_path / 'stepped.db'}")
    with engine.begin() as connection:
        assert upgrade(connection, ScriptDirectory(steps)) == (*HEAD, "9999")
    engine.dispose()


async def test_rows_of_the_first_schema_stand_after_all_steps(empty_url: str, tmp_path: Path) -> None:
    """What an older vproc wrote is read, and it may go on writing beside a newer one: new columns are null."""
    first = tmp_path / "first"
    shutil.copytree(MIGRATIONS, first, ignore=shutil.ignore_patterns("v000[2-9]*", "v001*", "__pycache__"))
    ids = uuid4(), uuid4()

    def written(file_id: UUID) -> tuple[str, ...]:
        """The statements of a vproc that knows the first schema only."""
        file = (
            "INSERT INTO files (file_id, owner, file_name, bucket, key, profile, status, metadata, progress, attempts, raw_state,"
            " created_at, updated_at, cancel_requested, receipts) VALUES"
            f" ('{file_id.hex}', 'ann', 'a', 'raw', 'k', 'abr', 'uploaded', '{{}}', 0, 1, 'kept', 1, 1, false, '{{}}')"
        )
        attempt = (
            "INSERT INTO transactions (file_id, run_id, token, attempt, worker, started_at, outcome, counted, stage_seconds,"
            f" bytes_in, bytes_out) VALUES ('{file_id.hex}', 'r', 't', 1, 'w', 1, 'retried', true, '{{}}', 7, 8)"
        )
        return file, attempt

    async with connected(empty_url, migrating=True) as engine, Database(engine).write() as connection:
        assert await connection.run_sync(upgrade, ScriptDirectory(first)) == HEAD[:1]
        for statement in written(ids[0]):
            await connection.exec_driver_sql(statement)
    assert await migrate(empty_url) == HEAD[1:]
    async with open_catalog(empty_url) as catalog:
        async with catalog._database.write() as connection:
            for statement in written(ids[1]):
                await connection.exec_driver_sql(statement)
        for file_id in ids:
            file = await Given(catalog).read(file_id)
            (attempt,) = await catalog.attempts(file_id)
            assert (file.status, attempt.bytes_in, attempt.bytes_out) == (Status.UPLOADED, 7, 8)
            assert (attempt.cpu_s, attempt.peak_memory_bytes, attempt.s3_requests, attempt.speed) == (None, None, None, None)


async def test_what_failed_before_the_time_was_kept_failed_when_it_last_changed(empty_url: str, tmp_path: Path) -> None:
    """Of a row of before that is as near as one comes; no other row is given a time."""
    before = tmp_path / "before"
    shutil.copytree(MIGRATIONS, before, ignore=shutil.ignore_patterns("v000[89]*", "v001*", "__pycache__"))
    ids = {status: uuid4() for status in (Status.FAILED, Status.COMPLETED)}
    async with connected(empty_url, migrating=True) as engine, Database(engine).write() as connection:
        assert await connection.run_sync(upgrade, ScriptDirectory(before)) == HEAD[:7]
        for status, file_id in ids.items():
            await connection.exec_driver_sql(
                "INSERT INTO files (file_id, owner, file_name, bucket, key, profile, status, metadata, progress, attempts,"
                " raw_state, created_at, updated_at, cancel_requested, receipts, error_code, error_detail, error_retryable)"
                f" VALUES ('{file_id.hex}', 'ann', 'a', 'raw', 'k', 'abr', '{status}', '{{}}', 0, 1, 'kept', 1, 5, false, '{{}}',"
                " 'stalled', 'x', false)"
            )
    assert await migrate(empty_url) == HEAD[7:]
    async with open_catalog(empty_url) as catalog:
        rows = {row["file_id"]: row["failed_at"] for row in await Given(catalog).rows("files")}
        [failure] = (await catalog.overview(hours=24, jobs=1, failures=2)).failures
    assert rows == {ids[Status.FAILED]: 5.0, ids[Status.COMPLETED]: None}
    assert (failure.file_id, failure.failed_at.timestamp()) == (ids[Status.FAILED], 5.0)


async def test_migration_runs_once(empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes that migrate at once take turns; one does it, wherever it was started."""
    monkeypatch.chdir(tmp_path)
    ran: list[tuple[str, ...]] = []

    async def run() -> None:
        ran.append(await migrate(empty_url))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(run)
    assert sorted(ran) == [(), (), HEAD]
    async with open_catalog(empty_url) as catalog:
        await Given(catalog).pending()
    assert await migrate(empty_url) == ()


async def test_migration_that_waits_can_be_given_up(postgres: PostgresServer) -> None:
    """Another's migration holds the lock for long: an operator's interrupt ends the waiting, and nothing was done."""
    url = postgres.url(postgres.create_database())
    async with connected(url) as engine, Database(engine).write() as connection:
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        with anyio.fail_after(30), anyio.move_on_after(0.5) as scope:
            await migrate(url)
        assert scope.cancelled_caught
        assert await pending_migration(engine) == HEAD[-1]
    assert await migrate(url) == HEAD


async def test_older_program_goes_on_beside_a_newer_schema(url: str) -> None:
    """Migrations expand first: a version that this program does not know is left alone and used."""
    async with open_catalog(url) as catalog, catalog._database.write() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert await migrate(url) == ()
    async with open_catalog(url) as catalog:
        await Given(catalog).pending()


async def test_sqlite_is_made_and_migrated_at_opening(tmp_path: Path) -> None:
    """A file that does not exist becomes a catalog, durable, with readers beside writers and foreign keys on."""
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}") as catalog:
        lease = await Given(catalog).leased()
        async with catalog._database.read() as connection:
            found = {
                name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path / 'new.db'}") as catalog:
        assert (await Given(catalog).read(lease.file_id)).status is Status.PROCESSING
        assert await pending_migration(catalog._database._engine) is None


async def test_unmigrated_postgresql_names_the_command(postgres: PostgresServer) -> None:
    """There a person decides when to migrate."""
    url = postgres.url(postgres.create_database())
    with pytest.raises(ConfigError, match=f"awaits migration {HEAD[-1]}: run `vproc migrate`"):
        async with open_catalog(url):
            raise AssertionError
    async with connected(url) as engine:
        assert await pending_migration(engine) == HEAD[-1]
    await migrate(url)
    async with open_catalog(url) as catalog:
        await catalog.check()


async def test_what_a_database_awaits_is_told_without_changing_it(empty_url: str, database: str) -> None:
    """Nothing once it is migrated; of an SQLite file that is not there nothing is made."""
    assert await awaited_migration(empty_url) == (None if database == "sqlite" else HEAD[-1])
    if database == "sqlite":
        path = anyio.Path(str(make_url(empty_url).database))
        assert not await path.exists()
        await path.touch()
        assert await awaited_migration(empty_url) == HEAD[-1]
    await migrate(empty_url)
    assert await awaited_migration(empty_url) is None


async def test_a_file_that_cannot_be_made_is_a_wrong_setting_before_it_is_tried(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the directory .*/none does not exist"):
        await awaited_migration(f"sqlite+aiosqlite:///{tmp_path}/none/vproc.db")


async def test_postgresql_clock_is_the_servers(postgres: PostgresServer, migrated_postgres: str) -> None:
    """Within one transaction the clock goes on: a lease is not judged by when its transaction began."""
    url = postgres.url(postgres.create_database(template=migrated_postgres))
    async with open_catalog(url) as catalog, catalog._database.read() as connection:
        first = await database_time(connection)
        await connection.exec_driver_sql("SELECT pg_sleep(0.01)")
        assert await database_time(connection) - first >= 0.01


# --- faults at the start ---------------------------------------------------------------------------------------------


async def _refused(url: str) -> ConfigError | DependencyError:
    with pytest.raises((ConfigError, DependencyError)) as caught:
        async with open_catalog(url):
            raise AssertionError
    assert str(caught.value).startswith("VPROC_DATABASE_URL: ")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite+aiosqlite:///{tmp}", "is a directory"),
        ("sqlite+aiosqlite:///{tmp}/absent/vproc.db", "absent does not exist"),
        ("sqlite+aiosqlite:////proc/vproc.db", "unable to open"),
        ("sqlite+aiosqlite:///{tmp}/text.db", "not a database"),
        ("sqlite+aiosqlite:///:memory:", "takes a file"),
        ("sqlite+aiosqlite://", "takes a file"),
        ("mysql://root:secret@host/db", "takes sqlite:///PATH or postgresql://"),
        ("postgresql+asyncpg://u:secret@host:port/db", "cannot be read"),
        ("secret", "cannot be read"),
        ("postgresql+asyncpg://u:secret@host/db?colour=red", "unknown option 'colour'"),
        ("postgresql+asyncpg://u:secret@host/db?statement_cache_size=many", "whole number"),
        ("postgresql+asyncpg://u:secret@127.0.0.1:1/db?sslmode=loud", "sslmode"),
    ],
)
async def test_wrong_address_is_a_wrong_setting(url: str, words: str, tmp_path: Path) -> None:
    """One line names the variable and what is wrong, and holds no password."""
    (tmp_path / "text.db").write_text("x" * 4096)
    error = await _refused(url.format(tmp=tmp_path))
    assert isinstance(error, ConfigError)
    assert words in str(error)
    assert "secret" not in str(error)


async def test_wrong_password_or_name_is_a_wrong_setting(postgres: PostgresServer) -> None:
    """The server refuses for good: the line says whom and where, and never the password."""
    postgres.sql(f"CREATE ROLE guarded LOGIN PASSWORD '{postgres.PASSWORD}'")
    address = make_url(postgres.url("postgres"))
    for wrong, words in (
        (address.set(username="guarded", password="not-" + postgres.PASSWORD), "password authentication failed"),
        (address.set(database="absent"), "does not exist"),
        (address.set(username="nobody"), "nobody"),
    ):
        error = await _refused(wrong.render_as_string(hide_password=False))
        assert isinstance(error, ConfigError)
        assert words in str(error)
        assert postgres.PASSWORD not in str(error)
    right = address.set(username="guarded", password=postgres.PASSWORD)
    with pytest.raises(ConfigError, match="vproc migrate"):
        async with open_catalog(right.render_as_string(hide_password=False)):
            raise AssertionError
    with pytest.raises(ConfigError, match=r"VPROC_DATABASE_URL: cannot use guarded@.*permission denied"):
        await migrate(right.render_as_string(hide_password=False))


async def test_server_away_is_a_dependency(postgres: PostgresServer) -> None:
    """A port that refuses, and a name that does not resolve: start again when it is back."""
    for address in (
        make_url(postgres.url("postgres")).set(port=1),
        make_url(postgres.url("postgres")).set(host="absent.invalid"),
    ):
        error = await _refused(address.set(password="secret").render_as_string(hide_password=False))
        assert isinstance(error, DependencyError)
        assert f"{address.host}:{address.port}" in str(error)
        assert "secret" not in str(error)


async def test_locked_sqlite_is_a_dependency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file that another process keeps locked may be free later."""
    monkeypatch.setattr("vproc.db.engine._BUSY_TIMEOUT_S", 0.05)
    with sqlite3.connect(tmp_path / "held.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        error = await _refused(f"sqlite+aiosqlite:///{tmp_path / 'held.db'}")
        holder.execute("ROLLBACK")
    holder.close()
    assert isinstance(error, DependencyError)
    assert "locked" in str(error)


async def test_options_in_the_address(postgres: PostgresServer, migrated_postgres: str) -> None:
    """Behind a pooler statements are not cached; TLS and the program's name are said in libpq's words."""
    url = postgres.url(postgres.create_database(template=migrated_postgres))
    async with open_catalog(f"{url}?statement_cache_size=0&sslmode=disable&application_name=mine") as catalog:
        for _ in range(3):
            await Given(catalog).leased()
        async with catalog._database.read() as connection:
            assert (await connection.exec_driver_sql("SHOW application_name")).scalar_one() == "mine"
            prepared = await connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE '%cached%'")
            assert prepared.scalar_one() == 0
    socket = (
        make_url(url).set(host=None, port=None).update_query_dict({"host": str(postgres._directory), "port": str(postgres.port)})
    )
    async with open_catalog(socket.render_as_string(hide_password=False)) as catalog:
        await catalog.check()


def test_postgresql_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncpg is an extra: who needs it is told which."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match=r"vproc\[postgres\]"):
        build_engine("postgresql+asyncpg://u@host/db")


def test_importing_the_environment_does_nothing() -> None:
    """Alembic's ``env.py`` acts only when alembic runs it."""
    assert callable(import_module("vproc.db.migrations.env").compare)
