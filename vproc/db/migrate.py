"""The schema's way from version to version: `migrate` for the command, `prepare_schema` for the start of the daemon.

The steps are alembic's files in `migrations/versions`. They are run by alembic's parts, not through its ``env.py``: that
works by module globals, which two catalogs opened at once would share, and sets up logging. ``env.py`` is for writing a
new step (see there).
"""

from __future__ import annotations

from pathlib import Path as SyncPath

import structlog
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import ScriptDirectory
from anyio import Path, to_thread
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from vproc.db.engine import VARIABLE, Database, build_engine, check_path, connected, start_errors
from vproc.errors import ConfigError

MIGRATIONS = SyncPath(__file__).parent / "migrations"

# Any number that no other program's lock in the same database is likely to have.
_ADVISORY_LOCK = 0x7670726F63  # "vproc"

log = structlog.get_logger()


async def migrate(url: str) -> tuple[str, ...]:
    """Bring the schema to this version: all steps in one transaction, or none. The steps that were run; none when there
    was nothing to do. Two that run at once take turns. Raises `ConfigError` and `DependencyError`."""
    scripts = await _scripts()
    async with connected(url, migrating=True) as engine:
        with start_errors(engine.url):
            postgresql = engine.dialect.name == "postgresql"
            async with Database(engine, interruptible=postgresql).write() as connection:
                if postgresql:
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                steps = await connection.run_sync(upgrade, scripts)
    if steps:
        log.info("database_migrated", steps=list(steps))
    return steps


async def pending_migration(engine: AsyncEngine) -> str | None:
    """The version that the schema awaits; None when it has it, or has one that only a newer vproc knows: migrations
    expand first, so that the older one may go on beside it."""
    scripts = await _scripts()
    async with Database(engine).read() as connection:
        current = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    head = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    return head if current is None or (current in known and current != head) else None


async def awaited_migration(url: str) -> str | None:
    """The version that the database at ``url`` awaits; None when it has it. Changes nothing: an SQLite file that is not there is
    not made, and awaits nothing. Raises `ConfigError` and `DependencyError`."""
    engine_url = build_engine(url).url
    if engine_url.drivername == "sqlite+aiosqlite" and not await Path(str(engine_url.database)).exists():
        await to_thread.run_sync(check_path, SyncPath(str(engine_url.database)))
        return None
    async with connected(url) as engine:
        with start_errors(engine.url):
            return await pending_migration(engine)


async def prepare_schema(engine: AsyncEngine) -> None:
    """Migrate an SQLite file. Raise `ConfigError` for a PostgreSQL that is not: there a person decides when."""
    with start_errors(engine.url):
        pending = await pending_migration(engine)
    if pending is None:
        return
    if engine.dialect.name != "sqlite":
        raise ConfigError(f"{VARIABLE}: the database awaits migration {pending}: run `vproc migrate`")
    await migrate(engine.url.render_as_string(hide_password=False))


async def _scripts() -> ScriptDirectory:
    """The steps, all of them read and imported, which is done in a thread."""

    def load() -> ScriptDirectory:
        scripts = ScriptDirectory(MIGRATIONS)
        scripts.get_current_head()
        return scripts

    return await to_thread.run_sync(load)


def upgrade(connection: Connection, scripts: ScriptDirectory) -> tuple[str, ...]:
    """Run what is missing within the connection's transaction; the steps that were run."""
    run: list[str] = []

    def missing(heads: tuple[str, ...], _context: MigrationContext) -> list[RevisionStep]:
        known = {script.revision: script for script in scripts.walk_revisions()}
        if not known.keys() >= set(heads):
            return []  # a newer vproc was here
        wanted = reversed(list(scripts.iterate_revisions("head", heads, implicit_base=True)))
        steps = [MigrationStep.upgrade_from_script(scripts.revision_map, known[script.revision]) for script in wanted]
        run.extend(step.revision.revision for step in steps)
        return list(steps)

    context = MigrationContext.configure(connection, opts={"fn": missing, "transactional_ddl": True})
    # A step takes its operations as an argument, not from the global `alembic.op`.
    context.run_migrations(op=Operations(context))
    return tuple(run)
