"""The queue's gauges: read once for whoever looks, and never more often than is due."""

from __future__ import annotations

import time

import anyio
import pytest
from prometheus_client import CollectorRegistry

from tests.support.memory import ManualClock, MemoryQueue
from vproc.errors import UnavailableError
from vproc.queue_gauges import QueueGauges
from vproc.telemetry import Metrics, value_of


class Gauges:
    """Gauges over a queue in memory, with a clock of their own."""

    def __init__(self) -> None:
        self.queue, self.clock, self.metrics = MemoryQueue(), ManualClock(), Metrics(CollectorRegistry())
        self.all = QueueGauges(queue=self.queue, metrics=self.metrics, clock=self.clock)

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
