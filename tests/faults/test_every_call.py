"""One job, broken at each of its calls to the outside in turn, in every way that a call can break; whoever comes next ends it.

After each: exactly one end, outputs that stand whole, the original gone only then, nothing left in the queue, no outputs of a run
that lost, no attempt open.
"""

from __future__ import annotations

import ast
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import anyio
import pytest

from tests.support.breaker import Breaker, Fault, killed_in
from tests.support.catalog import CORRUPT, FIGURES, new_file
from tests.support.memory import s3_event
from tests.support.source import PACKAGE, modules
from tests.support.world import FILE_ID, KEY, World, direct_job, open_world
from vproc.core.files import Outcome, RawState, Status
from vproc.core.keys import file_id_of_object, upload_key
from vproc.db.catalog import open_catalog
from vproc.errors import ErrorCode, RejectedError, TransientError, UnavailableError
from vproc.workers.job_runner import Job
from vproc.workers.reconcile import Reconciler

MOST_DELIVERIES = 12
LOSER_ID = UUID(int=9, version=4)
LOSERS_KEY = upload_key("default", LOSER_ID, "b.mp4")
LOST_ID = UUID(int=7, version=4)
LOST_KEY = upload_key("default", LOST_ID, "c.mp4")


@dataclass(frozen=True, slots=True)
class Story:
    """What is uploaded, and what must have become of it however the job was broken."""

    begin: Callable[[World], Awaitable[None]]
    check: Callable[[World], Awaitable[None]]
    max_attempts: int = 9
    calls: int = 5
    """At least so many are broken."""


async def uploaded(world: World) -> None:
    world.raw.upload(KEY, b"the original")


async def uploaded_twice_told(world: World) -> None:
    """The event comes twice."""
    version = world.raw.upload(KEY, b"the original")
    world.queue.put(s3_event(version))


async def broken(world: World) -> None:
    """A file that is no video, whoever looks at it."""

    async def reject(_: Job) -> None:
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "broken")

    world.pipeline.steps = [reject] * MOST_DELIVERIES
    world.raw.upload(KEY, b"the original")


async def hopeless(world: World) -> None:
    """Tried once, and never with success."""

    async def stall(_: Job) -> None:
        raise TransientError(ErrorCode.STALLED, "no progress")

    world.pipeline.steps = [stall] * MOST_DELIVERIES
    world.raw.upload(KEY, b"the original")


async def hindered(world: World) -> None:
    """Fails once, and is tried again."""

    async def stall(_: Job) -> None:
        raise TransientError(ErrorCode.STALLED, "no progress")

    world.pipeline.steps = [stall]
    world.raw.upload(KEY, b"the original")


async def invalid(world: World) -> None:
    """What is no message."""
    world.queue.put("{nonsense")


async def missing(world: World) -> None:
    """An announced file whose object went again before anybody looked."""
    await world.catalog.create(new_file(file_id=FILE_ID, key=KEY, bucket="raw"))
    world.queue.put(direct_job())


async def late(world: World) -> None:
    """Another upload to a file that is done with."""
    world.raw.upload(KEY, b"the original")
    await world.handle_next()
    world.raw.upload(KEY, b"another")


async def replaced(world: World) -> None:
    """A run commits and dies; then another upload takes the original's place."""

    async def die(_: Job) -> None:
        world.processed.fail_next("put", RuntimeError("killed"), applied=True)

    world.pipeline.before_commit = die
    world.raw.upload(KEY, b"the original")
    await world.handle_next()
    world.pipeline.before_commit = None
    world.raw.upload(KEY, b"another")


async def deleted(world: World) -> None:
    """An upload to a file that its owner deleted."""
    await world.catalog.create(new_file(file_id=FILE_ID, key=KEY, bucket="raw"))
    await world.catalog.bury(FILE_ID)
    world.raw.upload(KEY, b"the original")


async def deadly(world: World) -> None:
    """A file that killed every worker that touched it."""
    version = world.raw.upload(KEY, b"the original")
    await world.given.expired_lease(FILE_ID, run_id="killed", max_attempts=1, version=version)


async def cancelled(world: World) -> None:
    """The owner wants it no more, and says so while it is worked on."""

    async def cancel(_: Job) -> None:
        await world.catalog.request_cancel(FILE_ID)
        await anyio.sleep_forever()

    world.pipeline.steps = [cancel]
    world.raw.upload(KEY, b"the original")


async def is_completed(world: World) -> None:
    file = await world.file()
    assert (file.status, file.raw_state) == (Status.COMPLETED, RawState.DELETED)
    manifest = world.manifest()
    assert file.run_id == manifest.run_id
    for output in (*manifest.outputs, *manifest.entry_points):
        body = world.processed.body(output.key)
        assert (len(body), hashlib.sha256(body).hexdigest()) == (output.bytes, output.sha256)
    assert world.run_folders() == {manifest.run_id}
    assert world.raw.keys == []
    assert world.queue.dead == []


async def is_rejected(world: World) -> None:
    file = await world.file()
    assert file.error is not None
    assert (file.status, file.error.code) == (Status.FAILED, ErrorCode.CORRUPT_MEDIA)
    assert (world.raw.keys, world.queue.dead, world.run_folders()) == ([KEY], [], set())


async def is_dead(world: World) -> None:
    """The letter may be there twice where the answer to the first was lost: SQS has no way to send once."""
    file = await world.file()
    assert file.status is Status.FAILED
    assert {letter.file_id for letter in world.queue.dead} == {FILE_ID}
    assert (world.raw.keys, world.run_folders()) == ([KEY], set())


async def is_a_letter(world: World) -> None:
    assert {letter.code for letter in world.queue.dead} == {ErrorCode.INVALID_MESSAGE}
    assert (await world.catalog.list(owner=None, status=None, limit=9, cursor=None)).files == ()


async def is_missing(world: World) -> None:
    file = await world.file()
    assert file.error is not None
    assert (file.status, file.error.code, world.queue.dead) == (Status.FAILED, ErrorCode.SOURCE_MISSING, [])


async def is_gone(world: World) -> None:
    assert await world.catalog.get(FILE_ID) is None
    assert (world.raw.keys, world.processed.keys, world.queue.dead) == ([], [], [])


async def is_cancelled(world: World) -> None:
    assert (await world.file()).status is Status.CANCELLED
    assert (world.run_folders(), world.queue.dead) == (set(), [])


STORIES = {
    "completed": Story(uploaded, is_completed, calls=12),
    "told_twice": Story(uploaded_twice_told, is_completed, calls=12),
    "hindered": Story(hindered, is_completed, calls=6),
    "rejected": Story(broken, is_rejected),
    "dead": Story(hopeless, is_dead, max_attempts=1),
    "invalid": Story(invalid, is_a_letter, calls=3),
    "missing": Story(missing, is_missing),
    "late": Story(late, is_completed),
    "replaced": Story(replaced, is_completed, calls=8),
    "deleted": Story(deleted, is_gone),
    "deadly": Story(deadly, is_dead, max_attempts=1),
    "cancelled": Story(cancelled, is_cancelled),
}


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated one: to make it takes longer than all the rest."""
    path = tmp_path_factory.mktemp("catalog") / "world.db"

    async def make() -> None:
        async with open_catalog(f"sqlite+aiosqlite:///{path}"):
            pass

    anyio.run(make)
    return path


def fresh(folder: Path, database: Path) -> None:
    folder.mkdir()
    shutil.copy(database, folder / "world.db")


@asynccontextmanager
async def broken_world(folder: Path, database: Path, breaker: Breaker, story: Story) -> AsyncIterator[World]:
    fresh(folder, database)
    async with open_world(folder, max_attempts=story.max_attempts, wrap=breaker.catalog) as world:
        at, breaker.at = breaker.at, 0
        await story.begin(world)
        breaker.names.clear()
        breaker.at = at
        for name, adapter in (("raw", world.raw), ("processed", world.processed), ("queue", world.queue)):
            breaker.watch(adapter, name)
        yield world
    shutil.rmtree(folder)


async def delivered(world: World, breaker: Breaker) -> None:
    """One delivery, to a process that may not outlive it."""
    with anyio.CancelScope() as scope:
        breaker.cancel = scope.cancel
        try:
            await world.handle_next()
        except BaseException as error:
            # What the poll raises is the consumer's to hear, which is not here.
            if not killed_in(error) and not (isinstance(error, Exception) and breaker.hit == "queue.receive"):
                raise
    breaker.cancel = lambda: None


async def until_nothing_is_left(world: World, breaker: Breaker) -> None:
    """Other processes take over, each with time enough for what the last one held to run out."""
    for _ in range(MOST_DELIVERIES):
        breaker.restart()
        await world.given.expire_leases()
        world.queue.show_all()
        if not world.queue.bodies:
            await world.janitor.sweep()
            return
        await delivered(world, breaker)
    raise AssertionError(f"still in the queue after {MOST_DELIVERIES} deliveries: {world.queue.bodies}")


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("name", list(STORIES))
async def test_a_job_broken_at_any_call_is_ended_by_the_next(
    name: str, fault: Fault, tmp_path: Path, empty_database: Path
) -> None:
    story = STORIES[name]
    broken_at = []
    for number in range(1, 200):
        breaker = Breaker(fault, number)
        async with broken_world(tmp_path / str(number), empty_database, breaker, story) as world:
            await delivered(world, breaker)
            hit = breaker.hit
            await until_nothing_is_left(world, breaker)
            try:
                await story.check(world)
                if name != "deleted":
                    assert all(attempt.outcome is not Outcome.RUNNING for attempt in await world.catalog.attempts(FILE_ID))
            except AssertionError as error:
                raise AssertionError(f"{fault} at call {number}, {hit}") from error
        if hit is None:
            break
        broken_at.append(hit)
    assert len(broken_at) >= story.calls
    assert "queue.receive" in broken_at


# --- the janitor, and reconciling ---------------------------------------------------------------------------------------


async def much_is_left(world: World) -> None:
    """An original that a completed file left, a file that the catalog lost, a loser's outputs, outputs of nobody, an address that
    nobody used, an upload that nobody heard of, half of an upload, and half of one whose file was cancelled."""
    world.raw.upload(LOST_KEY, b"lost")
    await world.handle_next()
    await world.given.forget(LOST_ID)
    world.raw.fail_next("delete", UnavailableError("away"))
    world.raw.upload(KEY, b"the original")
    await world.handle_next()
    world.raw.options.events = None
    version = world.raw.upload(LOSERS_KEY, b"another")
    lease = await world.given.leased(LOSER_ID, run_id="loser", version=version, max_attempts=1)
    await world.processed.put(f"{LOSER_ID}/loser/720.mp4", b"x", content_type="video/mp4")
    await world.processed.put(f"{UUID(int=8, version=4)}/nobodys/720.mp4", b"x", content_type="video/mp4")
    await world.catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES)
    await world.given.pending(upload_expires_at=datetime.now(UTC) - timedelta(days=3))
    world.raw.upload("dropped/a.mp4", b"unheard of")
    gone = world.raw.upload("dropped/c.mp4", b"replaced before anybody looked")
    await world.given.expired_lease(file_id_of_object(gone, "abr"), version=gone, run_id="killed")
    world.raw.lose("dropped/c.mp4")
    world.raw.uploads.append(("dropped/b.mp4", "half", datetime.now(UTC)))
    unwanted = await world.given.pending()
    await world.catalog.bind_upload(unwanted.file_id, "unwanted")
    world.raw.uploads.append((unwanted.key, "unwanted", datetime.now(UTC)))
    await world.catalog.request_cancel(unwanted.file_id)


async def sweep_all(world: World, breaker: Breaker) -> None:
    """Everything that is done without being asked for, days later and by one process, which a kill ends."""
    reconciler = Reconciler(
        catalog=world.janitor._catalog, raw=world.raw, processed=world.processed, queue=world.queue, metrics=world.metrics,
        delete_raw=True, tell=lambda _: None, clock=lambda: datetime.now(UTC) + timedelta(days=3),
    )  # fmt: skip
    try:
        await world.janitor._tried("sweep", world.janitor.sweep())  # as its own loop does
        with suppress(TransientError, RuntimeError):
            await reconciler.run()
    except BaseException as error:
        if not killed_in(error):
            raise
    breaker.restart()


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.DRAINED])
async def test_a_sweep_broken_at_any_call_is_done_by_the_next(fault: Fault, tmp_path: Path, empty_database: Path) -> None:
    broken_at = []
    story = Story(much_is_left, is_completed)
    for number in range(1, 100):
        breaker = Breaker(fault, number)
        async with broken_world(tmp_path / str(number), empty_database, breaker, story) as world:
            await sweep_all(world, breaker)
            hit = breaker.hit
            await sweep_all(world, breaker)
            await until_nothing_is_left(world, breaker)
            try:
                assert {UUID(key.split("/")[0]) for key in world.processed.keys} & {LOSER_ID, UUID(int=8, version=4)} == set()
                assert (world.raw.keys, world.raw.uploads) == ([LOSERS_KEY], [])
                statuses = [
                    file.status for file in (await world.catalog.list(owner=None, status=None, limit=9, cursor=None)).files
                ]
                assert sorted(statuses) == ["cancelled", "completed", "completed", "completed", "expired", "failed", "failed"]
            except AssertionError as error:
                raise AssertionError(f"{fault} at call {number}, {hit}") from error
        if hit is None:
            break
        broken_at.append(hit)
    asked_for = {"raw.delete", "catalog.raw_deleted", "processed.delete_prefix", "catalog.run_swept", "queue.send"}
    assert asked_for | {"raw.abort_upload", "catalog.upload_ended"} <= set(broken_at)


# --- that none is forgotten ---------------------------------------------------------------------------------------------

_PORTS = {"_queue": "queue", "_catalog": "catalog", "_raw": "raw", "_processed": "processed", "_store": "processed"}
_ELSEWHERE = {
    "catalog.renew": "test_keeper: no story lasts so long",
    "queue.extend": "test_keeper, likewise",
    "processed.download": "test_pipeline breaks each call of a whole one: no story here reads its source",
    "processed.fetch": "test_pipeline, likewise",
    "processed.put_file": "test_pipeline: nothing here is so large that it is written to a file first",
    "processed.read_sha256": "test_pipeline: only a store that keeps no checksums is read back",
}
"""Calls of the workers that no story here makes, and what breaks them instead."""


def calls_in_the_source() -> set[str]:
    """Each method of a port that the workers call, by its port: a crash may fall before and after each."""
    found = set()
    for module in modules(PACKAGE / "workers"):
        for node in ast.walk(module.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            if isinstance(owner, ast.Attribute) and owner.attr in _PORTS:
                found.add(f"{_PORTS[owner.attr]}.{node.func.attr}")
    return found


async def test_no_call_of_the_workers_is_forgotten(tmp_path: Path, empty_database: Path) -> None:
    """A new one that no story makes fails here."""
    made: set[str] = set()
    for name, story in [*STORIES.items(), ("left", Story(much_is_left, is_completed))]:
        breaker = Breaker()
        async with broken_world(tmp_path / name, empty_database, breaker, story) as world:
            if world.queue.visible:
                await delivered(world, breaker)
            await until_nothing_is_left(world, breaker)
            await sweep_all(world, breaker)
            await world.janitor._observe_depth()
            made |= set(breaker.names)
    assert sorted(calls_in_the_source() - made) == sorted(_ELSEWHERE)
