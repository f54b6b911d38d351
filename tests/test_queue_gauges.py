"""The queue's gauges: read once for whoever looks, and never more often than is due."""

from __future__ import annotations

import time

import anyio
import pytest
from prometheus_client import CollectorRegistry

from tests.support.faults import Faults, faulty
from tests.support.memory import ManualClock, MemoryQueue
from vproc.core.operations import Overview
from vproc.errors import UnavailableError
from vproc.queue_gauges import QueueGauges
from vproc.telemetry import Metrics, value_of


class Lately:
    """Files that were completed lately, of that mean length."""

    def __init__(self) -> None:
        self.mean_s: float | None = 90.0
        self.asked = 0

    async def mean_media_s(self) -> float | None:
        self.asked += 1
        return self.mean_s

    async def overview(self, *, hours: int, jobs: int, failures: int) -> Overview:
        raise AssertionError("nobody looks here")


class Listener(Faults):
    """Hears of the backlog."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[float] = []

    @faulty
    async def tell(self, media_s: float) -> None:
        self.heard.append(media_s)


class Gauges:
    """Gauges over a queue in memory, with a clock of their own."""

    def __init__(self) -> None:
        self.queue, self.clock, self.metrics = MemoryQueue(), ManualClock(), Metrics(CollectorRegistry())
        self.reader, self.listener = Lately(), Listener()
        self.all = QueueGauges(
            queue=self.queue, reader=self.reader, metrics=self.metrics, listener=self.listener, clock=self.clock
        )  # fmt: skip

    @property
    def asked(self) -> int:
        return self.queue.calls["depths"]


async def test_a_reading_tells_every_state_and_when_it_was() -> None:
    gauges = Gauges()
    assert value_of(gauges.metrics.queue_messages, "main", "visible") is None
    assert value_of(gauges.metrics.queue_read_at) == 0
    for body in ("a", "b"):
        gauges.queue.put(body)
    await gauges.queue.receive(max_messages=1, wait_s=0)
    await gauges.all.read(every_s=60)
    told = [value_of(gauges.metrics.queue_messages, "main", state) for state in ("visible", "in_flight", "delayed")]
    assert (told, value_of(gauges.metrics.queue_messages, "dlq", "visible")) == ([1, 1, 0], 0)
    assert value_of(gauges.metrics.queue_read_at) == pytest.approx(time.time(), abs=60)
    assert gauges.all.waiting


async def test_many_who_look_at_once_ask_once() -> None:
    gauges = Gauges()
    pause = gauges.queue.pause_next("depths")
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(lambda: gauges.all.read(every_s=60))
        await anyio.wait_all_tasks_blocked()
        pause.release()
    assert gauges.asked == 1
    gauges.clock.advance(59)
    await gauges.all.read(every_s=60)
    assert (gauges.asked, gauges.all.due(30), gauges.all.due(60)) == (1, True, False)
    gauges.clock.advance(1)
    await gauges.all.read(every_s=60)
    assert gauges.asked == 2


async def test_a_queue_that_is_away_is_told_once_and_asked_again_when_it_is_due() -> None:
    gauges = Gauges()
    gauges.queue.fail_next("depths", UnavailableError("SQS is away"))
    with pytest.raises(UnavailableError):
        await gauges.all.read(every_s=60)
    await gauges.all.read(every_s=60)
    assert (gauges.asked, value_of(gauges.metrics.queue_read_at)) == (1, 0)


# --- the backlog -------------------------------------------------------------------------------------------------------


async def test_what_waits_is_told_in_seconds_of_media() -> None:
    """Messages times the mean of the last files. What is in flight is being worked on, and does not wait."""
    gauges = Gauges()
    for body in ("a", "b", "c"):
        gauges.queue.put(body)
    await gauges.queue.receive(max_messages=1, wait_s=0)
    await gauges.all.read(every_s=60)
    assert value_of(gauges.metrics.backlog) == 180
    assert gauges.listener.heard == [180]


async def test_an_empty_queue_is_a_backlog_of_none_whatever_files_are_like() -> None:
    """A fleet goes in by that, so it is told; and the catalog is not asked."""
    gauges = Gauges()
    gauges.reader.mean_s = None
    await gauges.all.read(every_s=60)
    assert (value_of(gauges.metrics.backlog), gauges.listener.heard, gauges.reader.asked) == (0, [0], 0)


async def test_before_the_first_file_nobody_knows_what_waits() -> None:
    gauges = Gauges()
    gauges.reader.mean_s = None
    gauges.queue.put("a")
    await gauges.all.read(every_s=60)
    assert gauges.listener.heard == []
    assert value_of(gauges.metrics.queue_messages, "main", "visible") == 1


async def test_a_listener_that_is_away_stops_nobody() -> None:
    gauges = Gauges()
    gauges.listener.fail_next("tell", UnavailableError("CloudWatch is away"))
    gauges.queue.put("a")
    await gauges.all.read(every_s=60)
    assert value_of(gauges.metrics.backlog) == 90
    gauges.clock.advance(60)
    await gauges.all.read(every_s=60)
    assert gauges.listener.heard == [90]
