"""The gauges of the queue's depth, read from SQS seldom, since each reading is a paid request. Who shows them and who serves them
to Prometheus share one of these: so both tell the same numbers, and neither asks on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import anyio

from vproc.ports import Queue
from vproc.telemetry import Metrics


class QueueGauges:
    """``vproc_queue_messages`` and the time of its reading. ``clock`` is monotonic, in seconds."""

    def __init__(self, *, queue: Queue, metrics: Metrics, clock: Callable[[], float] = monotonic) -> None:
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._reading = anyio.Lock()
        self._tried_at = float("-inf")
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether messages waited at the last reading."""
        return self._waiting

    def due(self, every_s: float) -> bool:
        """Whether the last reading was begun so long ago. One that failed is not tried again sooner."""
        return self._clock() >= self._tried_at + every_s

    async def read(self, *, every_s: float) -> None:
        """Read them, unless that is not due. Raises `UnavailableError`."""
        async with self._reading:
            if not self.due(every_s):
                return
            self._tried_at = self._clock()
            depths = await self._queue.depths()
            for queue, depth in depths.items():
                self._metrics.queue_messages.labels(queue, "visible").set(depth.visible)
                self._metrics.queue_messages.labels(queue, "in_flight").set(depth.in_flight)
                self._metrics.queue_messages.labels(queue, "delayed").set(depth.delayed)
            self._metrics.queue_read_at.set_to_current_time()
            self._waiting = depths["main"].visible > 0
