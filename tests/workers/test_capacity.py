"""The machine among jobs: who waits, what ends the waiting, and that a full machine still sees a small job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry

from tests.support.changes import Changes, eventually
from tests.support.world import FILE_ID, World, capacity_of, open_world
from vproc.core.cost import Cost
from vproc.core.files import Stage, Status
from vproc.core.keys import upload_key
from vproc.core.machine import Machine
from vproc.core.memory import GIB
from vproc.errors import NoRoomError
from vproc.telemetry import Metrics
from vproc.workers import capacity as capacity_module
from vproc.workers import consumer as consumer_module
from vproc.workers.capacity import DAEMON_BYTES, SPARE_PLACES, Capacity, patience_s
from vproc.workers.job_runner import Job
from vproc.workers.keeper import Progress

FILM = Cost(cores=8, memory_bytes=GIB, work_s=5000)
CLIP = Cost(cores=2, memory_bytes=GIB // 4, work_s=20)
GIANT = Cost(cores=1, memory_bytes=100 * GIB, work_s=5000)


class Holder:
    """Jobs that hold a share until they are let go."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.changes = Changes()
        self.held: list[str] = []
        self.ended: dict[str, BaseException | None] = {}
        self.progress: dict[str, Progress] = {}
        self._let_go: set[str] = set()

    def let_go(self, *names: str) -> None:
        self._let_go.update(names)
        self.changes.tell()

    async def run(self, name: str, cost: Cost, patience_s: float = 60.0, deadline: anyio.CancelScope | None = None) -> None:
        progress = self.progress[name] = Progress()
        try:
            async with self.capacity.hold(cost, patience_s=patience_s, progress=progress, deadline=deadline):
                self.held.append(name)
                self.changes.tell()
                await self.changes.until(lambda: name in self._let_go)
        except NoRoomError as error:
            self.ended[name] = error
        else:
            self.ended[name] = None
        finally:
            self.changes.tell()

    async def waits(self, name: str) -> None:
        """Return once that one waits."""
        await anyio.wait_all_tasks_blocked()
        assert name in self.progress
        assert name not in self.held


def gauges(metrics: Metrics) -> tuple[float | None, float | None]:
    return tuple(metrics.registry.get_sample_value(f"vproc_jobs_{name}") for name in ("in_progress", "waiting"))  # type: ignore[return-value]


# --- a share ---------------------------------------------------------------------------------------------------------


async def test_a_job_waits_until_another_leaves_and_is_said_to_wait() -> None:
    metrics = Metrics(CollectorRegistry())
    holder = Holder(capacity_of(metrics=metrics))
    metrics.jobs_in_progress.set(2)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.run, "first", FILM)
        await holder.changes.until(lambda: holder.held == ["first"])
        assert gauges(metrics) == (2, 0)
        tasks.start_soon(holder.run, "second", FILM)
        await holder.waits("second")
        assert gauges(metrics) == (1, 1)
        assert (holder.progress["second"].stage, holder.progress["second"].eta_s) == (Stage.PROBE, None)
        assert holder.progress["first"].stage is Stage.DOWNLOAD  # one that does not wait is told nothing
        holder.let_go("first")
        await holder.changes.until(lambda: holder.held == ["first", "second"])
        assert gauges(metrics) == (2, 0)
        holder.let_go("second")
    assert holder.ended == {"first": None, "second": None}


async def test_patience_ends() -> None:
    holder = Holder(capacity_of())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.run, "film", FILM)
        await holder.changes.until(lambda: holder.held == ["film"])
        await holder.run("hasty", FILM, 0.01)
        assert str(holder.ended["hasty"]) == "drained: this machine had no room for it within 0 s"
        holder.let_go("film")
        await holder.changes.until(lambda: "film" in holder.ended)
        holder.let_go("next")
        await holder.run("next", FILM)  # and nobody stands in its way
    assert holder.held == ["film", "next"]


def test_patience_doubles_with_each_delivery_so_that_few_of_them_last_a_fortnight() -> None:
    assert [patience_s(count) for count in (1, 2, 3)] == [60, 120, 240]
    assert sum(patience_s(count) for count in range(1, 16)) > 14 * 24 * 3600
    assert patience_s(10**6) < 10**9


async def test_who_is_cancelled_while_it_waits_leaves_the_line() -> None:
    holder = Holder(capacity_of())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.run, "film", FILM)
        await holder.changes.until(lambda: holder.held == ["film"])
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(holder.run, "cancelled", FILM)
            await holder.waits("cancelled")
            cancelled.cancel_scope.cancel()
        tasks.start_soon(holder.run, "next", FILM)
        await holder.waits("next")
        holder.let_go("film", "next")
    assert holder.held == ["film", "next"]


async def test_a_job_that_fails_gives_its_share_back() -> None:
    capacity = capacity_of()
    with pytest.raises(ZeroDivisionError):
        async with capacity.hold(FILM, patience_s=1, progress=Progress()):
            raise ZeroDivisionError
    async with capacity.hold(FILM, patience_s=0, progress=Progress()):
        assert capacity.room == capacity.slots


async def test_when_the_daemon_stops_nobody_waits_and_who_runs_goes_on() -> None:
    holder = Holder(capacity_of())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.run, "film", FILM)
        await holder.changes.until(lambda: holder.held == ["film"])
        tasks.start_soon(holder.run, "waiting", FILM)
        await holder.waits("waiting")
        holder.capacity.close()
        await holder.changes.until(lambda: "waiting" in holder.ended)
        await holder.run("late", FILM)
        assert [str(holder.ended[name]) for name in ("waiting", "late")] == ["drained: the daemon stops"] * 2
        assert "film" not in holder.ended
        holder.let_go("film")


async def test_the_jobs_time_stands_still_while_it_waits() -> None:
    holder = Holder(capacity_of())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.run, "film", FILM)
        await holder.changes.until(lambda: holder.held == ["film"])
        deadline = anyio.CancelScope(deadline=anyio.current_time() + 100)
        tasks.start_soon(holder.run, "waiting", FILM, 60.0, deadline)
        await holder.waits("waiting")
        assert deadline.deadline == float("inf")
        holder.let_go("film")
        await holder.changes.until(lambda: "waiting" in holder.held)
        assert deadline.deadline - anyio.current_time() == pytest.approx(100, abs=1)
        holder.let_go("waiting")


async def test_memory_of_the_machine_less_the_daemons_own_is_what_jobs_have() -> None:
    metrics = Metrics(CollectorRegistry())
    capacity = Capacity(Machine(64, GIB, 64), together=8, metrics=metrics)
    fits = Cost(1, (GIB - DAEMON_BYTES) // 2, 10)
    async with capacity.hold(fits, patience_s=0, progress=Progress()), capacity.hold(fits, patience_s=0, progress=Progress()):
        with pytest.raises(NoRoomError):
            async with capacity.hold(Cost(1, 1, 10), patience_s=0, progress=Progress()):
                raise AssertionError("it fits")


# --- how many are taken ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def held(capacity: Capacity, cost: Cost) -> AsyncIterator[None]:
    """A message taken, whose job encodes."""
    capacity.take()
    with capacity.place():
        async with capacity.hold(cost, patience_s=0, progress=Progress()):
            yield


async def test_with_a_number_given_so_many_are_taken_and_all_run() -> None:
    capacity = capacity_of(together=3)
    assert (capacity.slots, capacity.places, capacity.room) == (3, 3, 3)
    async with held(capacity, FILM), held(capacity, FILM):
        assert (capacity.room, capacity.spare) == (1, 1)
        async with held(capacity, FILM):
            assert (capacity.room, capacity.spare) == (0, 0)


async def test_an_idle_machine_takes_its_slots_and_a_full_one_only_looks() -> None:
    capacity = capacity_of(cores=8)
    assert (capacity.slots, capacity.room, capacity.places) == (4, 4, 4 + SPARE_PLACES)
    async with held(capacity, FILM):
        assert (capacity.room, capacity.spare) == (0, 5)
        async with held(capacity, CLIP):
            assert (capacity.room, capacity.spare) == (0, 4)
    async with held(capacity, CLIP):
        assert capacity.room == 3
    assert (capacity.taken, capacity.room) == (0, 4)


async def test_a_job_that_nobody_has_seen_yet_counts_as_one_of_the_usual() -> None:
    capacity = capacity_of(cores=8)
    capacity.take()
    assert capacity.room == 3
    small = capacity_of(cores=2)
    small.take()
    assert (small.room, small.spare) == (0, 2)


async def test_there_is_no_room_where_somebody_waits() -> None:
    """Four cores are free; what waits for memory would be passed by what comes."""
    capacity = capacity_of(cores=8)
    holder = Holder(capacity)
    async with held(capacity, Cost(4, 7 * GIB, 10)), anyio.create_task_group() as tasks:
        capacity.take()
        tasks.start_soon(holder.run, "giant", GIANT)
        await holder.waits("giant")
        assert capacity.room == 0
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("cores", "slots"), [(1, 1), (2, 1), (3, 1)])
def test_the_smallest_machine_takes_a_job(cores: int, slots: int) -> None:
    assert capacity_of(cores=cores).room == slots


# --- with a consumer -------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LOOK_EVERY_S", 0.01)


class Stand:
    """A daemon of two cores by default settings, whose jobs cost what their file's name says, and last until they are let go."""

    def __init__(self, world: World, capacity: Capacity) -> None:
        self.world = world
        self.capacity = capacity
        self.holder = Holder(capacity)
        self.deadlines: dict[str, float] = {}
        world.pipeline.steps = [self._step] * 50

    async def _step(self, job: Job) -> None:
        name = job.file.file_name
        cost = {"clip": CLIP, "giant": GIANT}.get(name.split("-")[0], FILM)
        assert job.deadline is not None
        self.deadlines[name] = job.deadline.deadline - anyio.current_time()
        progress = Progress()
        async with self.capacity.hold(cost, patience_s=job.patience_s, progress=progress, deadline=job.deadline):
            self.holder.held.append(name)
            self.holder.changes.tell()
            await self.holder.changes.until(lambda: name in self.holder._let_go, within_s=60)

    def put(self, name: str) -> None:
        self.world.raw.upload(f"dropped/{name}", name.encode())

    async def check_runs(self, *names: str) -> None:
        """Return once exactly those have begun, in that order."""
        await self.holder.changes.until(lambda: self.holder.held == list(names), within_s=10)

    async def status(self) -> dict[str, Status]:
        page = await self.world.catalog.list(owner=None, status=None, limit=50, cursor=None)
        return {file.file_name: file.status for file in page.files}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds, of what tells nobody."""

        async def holds() -> bool:
            return condition()

        await eventually(holds)

    async def until_waiting(self, number: int) -> None:
        """Return once so many wait for room."""
        await self.until(lambda: self.world.count("vproc_jobs_waiting") == number)

    async def becomes(self, name: str, status: Status) -> None:
        """Return once that file stands so."""

        async def stands() -> bool:
            return (await self.status())[name] is status

        await eventually(stands)


@asynccontextmanager
async def open_stand(tmp_path: Path, *, together: int | None = None, cores: int = 2) -> AsyncIterator[Stand]:
    async with open_world(tmp_path) as world:
        capacity = capacity_of(together=together, cores=cores, metrics=world.metrics)
        stand, consumer = Stand(world, capacity), world.consumer(capacity=capacity)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(consumer.run)
                yield stand
                consumer.drain(at_once=True)


async def test_a_small_job_ends_while_large_ones_run_and_wait(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        stand.put("film-1")
        await stand.check_runs("film-1")
        stand.put("film-2")
        await stand.until_waiting(1)
        stand.put("clip")
        await stand.check_runs("film-1", "clip")
        stand.holder.let_go("clip")
        await stand.becomes("clip", Status.COMPLETED)
        assert await stand.status() == {
            "film-1": Status.PROCESSING, "film-2": Status.PROCESSING, "clip": Status.COMPLETED,
        }  # fmt: skip
        stand.holder.let_go("film-1")
        await stand.check_runs("film-1", "clip", "film-2")


async def test_one_small_job_runs_beside_a_large_one_and_the_next_after_it(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        stand.put("film")
        await stand.check_runs("film")
        stand.put("clip-1")
        await stand.check_runs("film", "clip-1")
        stand.put("clip-2")
        await stand.until_waiting(1)
        stand.holder.let_go("clip-1")
        await stand.check_runs("film", "clip-1", "clip-2")


async def test_no_more_is_taken_than_has_a_place(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        stand.put("film-1")
        await stand.check_runs("film-1")
        for number in range(2, 7):
            stand.put(f"film-{number}")
        await stand.until_waiting(SPARE_PLACES)
        await anyio.wait_all_tasks_blocked()
        assert stand.capacity.taken == 1 + SPARE_PLACES
        assert stand.world.queue.visible == 5 - SPARE_PLACES
        assert stand.world.count("vproc_jobs_in_progress") == 1
        assert stand.world.count("vproc_job_slots") == 1


async def test_what_waits_when_the_daemon_drains_is_handed_back_at_once_and_what_runs_may_end(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        capacity = capacity_of(metrics=world.metrics)
        stand, consumer = Stand(world, capacity), world.consumer(capacity=capacity, drain_timeout_s=3600)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(consumer.run)
                stand.put("film-1")
                await stand.check_runs("film-1")
                stand.put("film-2")
                await stand.until_waiting(1)
                consumer.drain()
                await stand.until(lambda: world.queue.visible == 1)
                page = await world.catalog.list(owner=None, status=Status.UPLOADED, limit=10, cursor=None)
                (back,) = page.files
                assert (back.file_name, back.attempts, back.error) == ("film-2", 0, None)
                assert world.count("vproc_messages_total", outcome="drained") == 1
                stand.holder.let_go("film-1")
        assert (await stand.status())["film-1"] is Status.COMPLETED


async def test_a_job_that_found_no_room_goes_back_uncounted_for_whoever_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another daemon, which has nothing to do, does it."""
    monkeypatch.setattr(capacity_module, "FIRST_PATIENCE_S", 0.2)
    async with open_stand(tmp_path) as busy:
        busy.put("film-1")
        await busy.check_runs("film-1")
        busy.put("film-2")
        await busy.until_waiting(1)
        idle = busy.world.consumer(slots=1)
        busy.world.pipeline.steps = []  # the next is done at once
        busy.world.queue.longest_wait_s = 5
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(idle.run)
            await busy.becomes("film-2", Status.COMPLETED)
            idle.drain(at_once=True)
        (other,) = [
            file
            for file in (await busy.world.catalog.list(owner=None, status=None, limit=9, cursor=None)).files
            if file.file_name == "film-2"
        ]
        assert other.attempts == 1
        assert busy.world.count("vproc_jobs_total", profile="abr", outcome="drained") == 1


async def test_its_owner_cancels_a_job_that_waits(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        stand.put("film")
        await stand.check_runs("film")
        stand.world.raw.upload(upload_key("default", FILE_ID, "film-2"), b"x")
        await stand.until_waiting(1)
        await stand.world.catalog.request_cancel(FILE_ID)
        await stand.until_waiting(0)
        await stand.becomes((await stand.world.file()).file_name, Status.CANCELLED)
        stand.put("film-3")
        await stand.until_waiting(1)
        stand.holder.let_go("film")
        await stand.check_runs("film", "film-3")


async def test_a_waiting_job_keeps_its_message_and_its_lease(tmp_path: Path) -> None:
    """The visibility is four seconds: nobody else may see it, and it is the same attempt that runs in the end."""
    async with open_stand(tmp_path) as stand:
        stand.put("film-1")
        await stand.check_runs("film-1")
        stand.put("film-2")
        await stand.until_waiting(1)
        beats = stand.world.count("vproc_heartbeats_total", outcome="ok")
        await stand.until(lambda: stand.world.count("vproc_heartbeats_total", outcome="ok") >= beats + 4)
        assert stand.world.queue.visible == 0
        stand.holder.let_go("film-1")
        await stand.check_runs("film-1", "film-2")
        assert stand.world.count("vproc_heartbeats_total", outcome="lost") == 0


async def test_with_a_number_given_all_run_and_memory_alone_holds_one_back(tmp_path: Path) -> None:
    async with open_stand(tmp_path, together=3) as stand:
        stand.put("film-1")
        await stand.check_runs("film-1")
        stand.put("film-2")
        await stand.check_runs("film-1", "film-2")
        stand.put("giant")
        await stand.until_waiting(1)
        stand.holder.let_go("film-1", "film-2")
        await stand.check_runs("film-1", "film-2", "giant")


async def test_the_jobs_deadline_is_the_one_that_stands_still(tmp_path: Path) -> None:
    async with open_stand(tmp_path) as stand:
        stand.put("film")
        await stand.check_runs("film")
        assert stand.deadlines["film"] == pytest.approx(30, abs=2)  # the world's time for a job
