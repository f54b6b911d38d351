"""The consumer: never more than its slots, never a message that it has no slot for, and an end that loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import anyio
import pytest
from prometheus_client import CollectorRegistry

from tests.support.changes import Changes
from tests.support.faults import Faults, faulty
from tests.support.memory import ManualClock, MemoryQueue
from tests.support.world import FILE_ID, KEY, World, capacity_of, open_world
from vproc.core.files import Status
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.ports import Message
from vproc.telemetry import Metrics
from vproc.vitals import Vitals
from vproc.workers import consumer as consumer_module
from vproc.workers.consumer import BACKOFFS_S, Consumer
from vproc.workers.intake import Intake
from vproc.workers.job_runner import Job
from vproc.workers.jobs import Jobs

AWAY = UnavailableError("SQS is away")


class StubJobs:
    """Jobs that end when a test says so; messages whose body is ``quick`` end by themselves."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.queue = queue
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.running = 0
        self.most = 0
        self.changes = Changes()
        self._allowed: set[str] = {"quick"}

    def allow(self, *bodies: str) -> None:
        self._allowed.update(bodies)
        self.changes.tell()

    async def handle(self, message: Message) -> None:
        self.begun.append(message.body)
        self.running += 1
        self.most = max(self.most, self.running)
        self.changes.tell()
        try:
            await self.changes.until(lambda: message.body in self._allowed, within_s=60)
            await self.queue.delete(message.receipt_handle)
        finally:
            self.running -= 1
            self.ended.append(message.body)
            self.changes.tell()


class PolledQueue(MemoryQueue):
    """Notes what each poll asked for, and how many jobs ran then."""

    def __init__(self) -> None:
        super().__init__(longest_wait_s=60)
        self.polls: list[tuple[int, int]] = []
        self.running: Callable[[], int] = lambda: 0

    async def receive(self, *, max_messages: int, wait_s: int) -> list[Message]:
        self.polls.append((max_messages, self.running()))
        return await super().receive(max_messages=max_messages, wait_s=60)


class StubIntake(Faults):
    """Answers what a test says, then that work is taken."""

    def __init__(self, *waits_s: float) -> None:
        super().__init__()
        self.waits_s = list(waits_s)

    @faulty
    async def wait_s(self) -> float:
        return self.waits_s.pop(0) if self.waits_s else 0.0

    @faulty
    async def watch(self) -> None:
        await anyio.sleep_forever()


class Parts:
    """A consumer over stubs, run by the test."""

    def __init__(self, *, slots: int = 2, drain_timeout_s: float = 5, intake: StubIntake | None = None) -> None:
        self.queue = PolledQueue()
        self.jobs = StubJobs(self.queue)
        self.queue.running = lambda: self.jobs.running
        self.intake = intake or StubIntake()
        self.metrics = Metrics(CollectorRegistry())
        self.clock = ManualClock()
        self.vitals = Vitals(clock=self.clock)
        self.consumer = Consumer(
            queue=self.queue,
            jobs=cast("Jobs", self.jobs),
            intake=cast("Intake", self.intake),
            capacity=capacity_of(together=slots, metrics=self.metrics),
            poll_wait_s=20,
            drain_timeout_s=drain_timeout_s,
            metrics=self.metrics,
            vitals=self.vitals,
        )

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.jobs.changes.until(condition)

    async def run(self) -> None:
        """Run to the end, which must come within seconds."""
        with anyio.fail_after(10):
            await self.consumer.run()


# --- slots -----------------------------------------------------------------------------------------------------------


async def test_it_asks_for_as_many_as_it_has_free_slots_and_no_more() -> None:
    """That one receive gives ten at most is SQS's rule, and the adapter's to know."""
    parts = Parts(slots=12)
    for number in range(30):
        parts.queue.put(f"{number}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.running == 12)
        parts.jobs.allow("0", "1", "2")
        await parts.until(lambda: len(parts.jobs.begun) == 15)
        parts.jobs.allow(*(f"{number}" for number in range(30)))
        await parts.until(lambda: len(parts.jobs.ended) == 30)
        parts.consumer.drain(at_once=True)
    assert parts.queue.polls[0] == (12, 0)
    assert all(1 <= asked <= 12 - running for asked, running in parts.queue.polls)
    assert parts.jobs.most == 12
    assert parts.queue.bodies == []


async def test_slots_are_never_exceeded_and_all_work_is_done() -> None:
    parts = Parts(slots=3)
    for _ in range(20):
        parts.queue.put("quick")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: len(parts.jobs.ended) == 20)
        assert parts.gauge("vproc_job_slots") == 3
        parts.consumer.drain(at_once=True)
    assert parts.jobs.most <= 3
    assert all(1 <= asked <= 3 - running for asked, running in parts.queue.polls)
    assert parts.gauge("vproc_jobs_in_progress") == 0


async def test_the_age_of_what_waits_ends_with_the_waiting() -> None:
    """A message that is taken tells how long it waited; a receive that finds nothing takes the gauge away: an alert must end."""
    parts = Parts(slots=1)
    parts.queue.put("long")
    parts.queue.longest_wait_s = 0.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.running == 1)
        assert parts.gauge("vproc_queue_oldest_age_seconds", queue="main") is not None
        parts.jobs.allow("long")
        await parts.queue.called("receive", 3)  # The second is answered then.
        parts.consumer.drain(at_once=True)
    assert parts.gauge("vproc_queue_oldest_age_seconds", queue="main") is None


async def test_without_a_free_slot_nothing_is_polled() -> None:
    """Two messages for one slot: the second is asked for only when the first is done."""
    parts = Parts(slots=1)
    parts.queue.put("long")
    parts.queue.put("quick")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.running == 1)
        await parts.intake.called("wait_s", 2)  # it looks for a slot again, and finds none
        await parts.intake.called("watch")  # the disk is looked at all the same
        assert len(parts.queue.polls) == 1
        assert parts.queue.visible == 1
        parts.jobs.allow("long")
        await parts.until(lambda: parts.jobs.ended == ["long", "quick"])
        parts.consumer.drain(at_once=True)


async def test_a_long_job_does_not_delay_short_ones() -> None:
    parts = Parts(slots=2)
    parts.queue.put("long")
    for _ in range(9):
        parts.queue.put("quick")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.ended == ["quick"] * 9)
        assert parts.jobs.running == 1
        parts.jobs.allow("long")
        parts.consumer.drain()
    assert parts.jobs.ended[-1] == "long"


# --- the poll --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AWAY, TransientError(ErrorCode.INTERNAL, "cannot receive: InvalidAddress (HTTP 400)")])
async def test_failing_polls_are_at_most_two_a_second_however_long_and_then_it_recovers(error: TransientError) -> None:
    parts = Parts()
    pauses: list[float] = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    parts.consumer._pause = note  # type: ignore[method-assign]
    parts.queue.fail_next("receive", error, times=1500)  # four hours of an outage
    parts.queue.put("quick")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.queue.called("receive", 10)
        assert parts.consumer.last_error == error.detail
        await parts.until(lambda: parts.jobs.ended == ["quick"])
        assert parts.consumer.last_error is None
        parts.consumer.drain(at_once=True)
    assert len(pauses) == 1500
    assert min(pauses) >= 0.5
    assert max(pauses) <= 15
    assert pauses[0] <= BACKOFFS_S[0] < max(pauses)


async def test_a_paused_intake_polls_nothing_until_it_opens() -> None:
    parts = Parts(intake=StubIntake(0.001, 0.001, 0.001))
    parts.queue.put("quick")
    opened = parts.intake.pause_next("wait_s")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await opened.reached.wait()
        assert parts.queue.polls == []
        opened.release()
        await parts.until(lambda: parts.jobs.ended == ["quick"])
        assert parts.intake.calls["wait_s"] >= 4
        parts.consumer.drain(at_once=True)


async def test_a_drain_ends_a_pause_at_once() -> None:
    parts = Parts(intake=StubIntake(3600))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.intake.called("wait_s")
        parts.consumer.drain()
    assert parts.queue.polls == []


# --- the drain -------------------------------------------------------------------------------------------------------


async def test_what_a_poll_brings_after_the_drain_began_is_given_back_unstarted() -> None:
    parts = Parts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.queue.called("receive")
        parts.consumer.drain()
        parts.queue.put("late")
    assert parts.jobs.begun == []
    assert parts.queue.visible == 1


async def test_a_queue_that_takes_nothing_back_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One release is never answered, one fails: the third is made all the same."""
    monkeypatch.setattr(consumer_module, "RELEASE_WITHIN_S", 0.05)
    parts = Parts(slots=3)
    poll = parts.queue.pause_next("receive")
    for body in "abc":
        parts.queue.put(body)
    parts.queue.pause_next("release")
    parts.queue.fail_next("release", TransientError(ErrorCode.INTERNAL, "InvalidAddress"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await poll.reached.wait()
        parts.consumer.drain()
        poll.release()
    assert parts.queue.calls["release"] == 3
    assert parts.queue.visible == 1
    assert parts.jobs.begun == []


async def test_no_poll_begins_once_the_drain_did() -> None:
    """The signal comes while the disk is looked at."""
    parts = Parts()
    looking = parts.intake.pause_next("wait_s")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await looking.reached.wait()
        parts.consumer.drain()
        looking.release()
    assert parts.queue.polls == []


async def test_a_drain_before_the_start_takes_nothing() -> None:
    parts = Parts()
    parts.queue.put("quick")
    parts.consumer.drain()
    await parts.run()
    assert parts.queue.polls == []


async def test_an_idle_poll_is_abandoned_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "ABANDON_POLL_S", 0.01)
    parts = Parts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.queue.called("receive")
        parts.consumer.drain()
    assert parts.jobs.begun == []


async def test_running_jobs_may_end_within_the_drain_time() -> None:
    parts = Parts(slots=1)
    parts.queue.put("long")
    parts.queue.put("waiting")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.running == 1)
        parts.consumer.drain()
        parts.jobs.allow("long")
    assert parts.jobs.ended == ["long"]
    assert parts.queue.bodies == ["waiting"]
    assert parts.queue.visible == 1


async def test_a_second_signal_ends_at_once_also_inside_a_poll() -> None:
    parts = Parts(drain_timeout_s=3600)
    parts.queue.put("long")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.running == 1)
        await parts.queue.called("receive", 2)
        parts.consumer.drain()
        await anyio.wait_all_tasks_blocked()
        assert parts.jobs.ended == []
        parts.consumer.drain(at_once=True)
        with anyio.fail_after(5):
            await parts.until(lambda: parts.jobs.ended == ["long"])


async def working(world: World) -> None:
    """A world whose one job runs, and goes on for ever."""

    async def forever(job: Job) -> None:
        await anyio.sleep_forever()

    world.pipeline.steps = [forever]
    world.raw.upload(KEY, b"x")


async def check_handed_back(world: World) -> None:
    file = await world.file(FILE_ID)
    assert (file.status, file.attempts, file.progress) == (Status.UPLOADED, 0, 0.0)
    assert world.queue.visible == len(world.queue.bodies)
    assert world.count("vproc_messages_total", outcome="drained") >= 1
    assert world.processed.keys == []


@pytest.mark.parametrize("drain_timeout_s", [0, 0.05])
async def test_what_still_runs_at_the_drains_end_is_handed_back(tmp_path: Path, drain_timeout_s: float) -> None:
    async with open_world(tmp_path) as world:
        await working(world)
        consumer = world.consumer(slots=1, drain_timeout_s=drain_timeout_s)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(consumer.run)
                await world.pipeline.begun.wait()
                consumer.drain()
        await check_handed_back(world)
        await world.handle_next()
        assert (await world.file()).status is Status.COMPLETED


async def test_a_cancellation_from_outside_hands_everything_back(tmp_path: Path) -> None:
    """The job that runs, and what the poll in flight brings afterwards."""
    async with open_world(tmp_path) as world:
        await working(world)
        world.queue.longest_wait_s = 60
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(world.consumer(slots=2).run)
                await world.pipeline.begun.wait()
                await world.queue.called("receive", 2)
                tasks.cancel_scope.cancel()
                world.raw.upload("dropped/other.mp4", b"y")
        await check_handed_back(world)
        assert len(world.queue.bodies) == 2
        assert len(world.pipeline.runs) == 1


# --- whether it goes on ------------------------------------------------------------------------------------------------


async def test_a_poll_that_neither_answers_nor_ends_is_a_poller_that_stands_still() -> None:
    """Its wait is 20 s here, and a minute more is given."""
    parts = Parts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.queue.called("receive")
        parts.clock.advance(79)
        assert parts.vitals.overdue() == ()
        parts.clock.advance(2)
        assert parts.vitals.overdue() == ("poller",)
        parts.queue.put("quick")
        await parts.queue.called("receive", 2)
        assert parts.vitals.overdue() == ()
        parts.consumer.drain(at_once=True)
    parts.clock.advance(3600)
    assert parts.vitals.overdue() == ()  # and when it ended, nobody waits for it


async def test_a_poller_without_a_free_slot_may_wait_as_long_as_its_jobs_take() -> None:
    parts = Parts(slots=1)
    parts.queue.put("long")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.run)
        await parts.until(lambda: parts.jobs.running == 1)
        await anyio.wait_all_tasks_blocked()
        parts.clock.advance(6 * 3600)
        assert parts.vitals.overdue() == ()
        parts.jobs.allow("long")
        parts.consumer.drain()
