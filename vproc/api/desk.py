"""What operators see and do, whoever of them asks: the catalog at a glance, the gauges of this process, the dead letters.

Ten who look cost no more than one: what is read from the catalog and of the dead letters is kept for a moment, and the queue's
and the scratch disk's numbers are those of ``/metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import anyio
import structlog

from vproc.api.kept import Kept
from vproc.core.dead_letters import DeadLetter, Redriven
from vproc.core.operations import Overview
from vproc.errors import NotFoundError, TransientError
from vproc.ports import DeadLetters, OperationsReader
from vproc.queue_gauges import QueueGauges
from vproc.telemetry import Metrics, value_of

HOURS = 24
MOST_JOBS = 100
MOST_FAILURES = 20
MOST_LETTERS = 100
OVERVIEW_KEPT_S = 2.0
LETTERS_KEPT_S = 2.0
GAUGES_EVERY_S = 60.0
"""Each reading is a paid request: whoever looks gets none sooner."""
GAUGES_WITHIN_S = 2.0
REDRIVE_WITHIN_S = 20.0
_NO_LETTERS = "This queue has no place for dead letters: it has no redrive policy, and VPROC_DLQ_URL is not set."

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class QueueNumbers:
    """The queue's gauges; None where nobody has read them. ``oldest_age_s``: how long the message had waited that was taken
    last, in this process."""

    waiting: int | None
    in_flight: int | None
    delayed: int | None
    dead_letters: int | None
    oldest_age_s: float | None
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkerNumbers:
    """The gauges of the jobs that this process does, and of the disk where it does them."""

    jobs: int
    slots: int
    scratch_free_bytes: int
    scratch_size_bytes: int


class OperationsDesk:
    """One for the application. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        reader: OperationsReader,
        letters: DeadLetters | None,
        gauges: QueueGauges,
        metrics: Metrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._reader = reader
        self._letters = letters
        self._gauges = gauges
        self._metrics = metrics
        self._clock = clock
        self._begun_s = clock()
        self._overview = Kept(self._read_overview, for_s=OVERVIEW_KEPT_S, clock=clock)
        self._seen = Kept(self._read_letters, for_s=LETTERS_KEPT_S, clock=clock)
        # Who looks hides letters from everybody else: a redrive meanwhile would not find what it names.
        self._at_letters = anyio.Lock()

    @property
    def uptime_s(self) -> float:
        """Seconds since this process began to answer."""
        return self._clock() - self._begun_s

    async def overview(self) -> Overview:
        """The catalog at a glance."""
        return await self._overview.get()

    async def _read_overview(self) -> Overview:
        return await self._reader.overview(hours=HOURS, jobs=MOST_JOBS, failures=MOST_FAILURES)

    async def queue(self, *, every_s: float = GAUGES_EVERY_S) -> QueueNumbers:
        """The queue's gauges, read anew where that is due. A queue that is away leaves them as they were."""
        with anyio.move_on_after(GAUGES_WITHIN_S):
            try:
                await self._gauges.read(every_s=every_s)
            except TransientError as error:
                log.warning("queue_not_read", error=error.detail)
        depth = self._metrics.queue_messages
        read_at_s = value_of(self._metrics.queue_read_at)
        return QueueNumbers(
            waiting=_whole(value_of(depth, "main", "visible")),
            in_flight=_whole(value_of(depth, "main", "in_flight")),
            delayed=_whole(value_of(depth, "main", "delayed")),
            dead_letters=_whole(value_of(depth, "dlq", "visible")),
            oldest_age_s=value_of(self._metrics.queue_oldest_age, "main"),
            read_at=datetime.fromtimestamp(read_at_s, UTC) if read_at_s else None,
        )

    def worker(self) -> WorkerNumbers | None:
        """The gauges of this process's worker; None where it has none."""
        metrics = self._metrics
        jobs, slots, free, size = (
            int(value_of(gauge) or 0)
            for gauge in (metrics.jobs_in_progress, metrics.job_slots, metrics.scratch_free, metrics.scratch_size)
        )
        return WorkerNumbers(jobs, slots, free, size) if slots else None

    async def letters(self) -> list[DeadLetter]:
        """The dead letters, oldest first, `MOST_LETTERS` at most. Raises `NotFoundError` where there is no place for any."""
        self._opened()
        return await self._seen.get()

    async def _read_letters(self) -> list[DeadLetter]:
        async with self._at_letters, self._opened().held(most=MOST_LETTERS) as held:
            pass
        await self.queue(every_s=0.0)  # their number and they themselves are not to differ
        return held

    async def redrive(self, names: Sequence[str]) -> Redriven | None:
        """Send those back that are named, or all where none is; None where that is not at its end within `REDRIVE_WITHIN_S`.
        Raises `NotFoundError`."""
        letters, redriven = self._opened(), None
        async with self._at_letters:
            try:
                with anyio.move_on_after(REDRIVE_WITHIN_S):
                    redriven = await letters.send_back(names)
            finally:
                self._seen.forget()
        log.info("letters_redriven", letters=redriven.letters if redriven else None, by=redriven.by if redriven else None)
        await self.queue(every_s=0.0)
        return redriven

    def _opened(self) -> DeadLetters:
        if self._letters is None:
            raise NotFoundError(_NO_LETTERS)
        return self._letters


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
