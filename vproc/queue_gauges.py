"""The gauges of the queue's depth, read from SQS seldom, since each reading is a paid request. Who shows them and who serves them
to Prometheus share one of these: so both tell the same numbers, and neither asks on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import anyio
import structlog

from vproc.errors import TransientError
from vproc.ports import BacklogListener, OperationsReader, Queue
from vproc.telemetry import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class QueueGauges:
    """``vproc_queue_messages``, the time of its reading, and ``vproc_backlog_media_seconds``, of which ``listener`` hears too.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        queue: Queue,
        reader: OperationsReader,
        metrics: Metrics,
        listener: BacklogListener | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._queue = queue
        self._reader = reader
        self._listener = listener
        self._metrics = metrics
        self._clock = clock
        self._reading = anyio.Lock()
        self._tried_at = float("-inf")
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether messages waited at the last reading."""
        return self._waiting

    @property
    def listened_to(self) -> bool:
        """Whether somebody scales by them, and so must hear of them when nothing waits too."""
        return self._listener is not None

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
            await self._tell_backlog(depths["main"].visible + depths["main"].delayed)

    async def _tell_backlog(self, waiting: int) -> None:
        """How long an unseen file is, the last ones tell. Before the first is completed, nobody knows what waits."""
        mean_s = await self._reader.mean_media_s() if waiting else 0.0
        if mean_s is None:
            return
        self._metrics.backlog.set(waiting * mean_s)
        if self._listener is not None:
            try:
                await self._listener.tell(waiting * mean_s)
            except TransientError as error:
                _log.warning("backlog_not_told", error=error.detail)
