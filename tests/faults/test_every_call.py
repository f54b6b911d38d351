"""One job, broken at each of its calls to the outside in turn, in every way that a call can break; whoever comes next ends it.

After each: exactly one end, outputs that stand whole, the original gone only then, nothing left in the queue, no outputs of a run
that lost, no attempt open.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from tests.support.breaker import Breaker, Fault, killed_in
from tests.support.memory import s3_event
from tests.support.world import FILE_ID, KEY, World, open_world
from vproc.core.files import Outcome, RawState, Status
from vproc.db.catalog import open_catalog
from vproc.errors import ErrorCode, RejectedError, TransientError
from vproc.workers.pipeline import Job

MOST_DELIVERIES = 12


@dataclass(frozen=True, slots=True)
class Story:
    """What is uploaded, and what must have become of it however the job was broken."""

    begin: Callable[[World], None]
    check: Callable[[World], Awaitable[None]]
    max_attempts: int = 9


def uploaded(world: World) -> None:
    world.raw.upload(KEY, b"the original")


def uploaded_twice_told(world: World) -> None:
    """The event comes twice."""
    version = world.raw.upload(KEY, b"the original")
    world.queue.put(s3_event(version))


def broken(world: World) -> None:
    """A file that is no video, whoever looks at it."""

    async def reject(_: Job) -> None:
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "broken")

    world.pipeline.steps = [reject] * MOST_DELIVERIES
    world.raw.upload(KEY, b"the original")


def hopeless(world: World) -> None:
    """Tried once, and never with success."""

    async def stall(_: Job) -> None:
        raise TransientError(ErrorCode.STALLED, "no progress")

    world.pipeline.steps = [stall] * MOST_DELIVERIES
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


STORIES = {
    "completed": Story(uploaded, is_completed),
    "told_twice": Story(uploaded_twice_told, is_completed),
    "rejected": Story(broken, is_rejected),
    "dead": Story(hopeless, is_dead, max_attempts=1),
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
        story.begin(world)
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
                assert all(attempt.outcome is not Outcome.RUNNING for attempt in await world.catalog.attempts(FILE_ID))
            except AssertionError as error:
                raise AssertionError(f"{fault} at call {number}, {hit}") from error
        if hit is None:
            break
        broken_at.append(hit)
    assert len(broken_at) >= {"completed": 12, "told_twice": 12, "rejected": 5, "dead": 5}[name]
    assert {"queue.receive", "raw.head", "catalog.claim"} <= set(broken_at)
