"""Keeps a message invisible and its job's lease alive, for as long as somebody works on it.

The catalog's lease is the authority and ends no later than the message's visibility: every extension asks SQS first, and
gives the lease what is left of that answer. When the lease is lost, or cannot be proved held, or the owner cancels,
`Keeper.run` raises, which ends the job beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import anyio
import structlog

from vproc.core.files import Stage
from vproc.core.job_progress import Costs, JobProgress
from vproc.core.leases import Lease, LeaseView
from vproc.errors import CancelledByOwnerError, LeaseLostError, TransientError
from vproc.ports import Catalog, Message, Queue
from vproc.telemetry import Metrics
from vproc.vitals import Vitals

REPORT_EVERY_S = 1.0
RETRY_EVERY_S = 0.5
HEARTBEAT = "heartbeat"
HEARTBEAT_LATE_S = 30.0
"""By how much a heartbeat may be later than the visibility that it should have extended."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """Where a job stands that is done elsewhere."""

    stage: Stage
    speed: float | None
    eta_s: float | None


class Progress:
    """Where a job stands. Written by the pipeline, read by the keeper, which writes it to the catalog."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._job = JobProgress()
        self._told: Told | None = None
        self._reached = 0.0
        self._sent_bytes = 0
        self._total_bytes = 0
        self._waits = False

    @property
    def stage(self) -> Stage:
        """What is being done."""
        return self._told.stage if self._told is not None else self._job.stage

    @property
    def fraction(self) -> float:
        """0.0 to 1.0; it never goes backwards."""
        return max(self._reached, self._job.fraction)

    @property
    def speed(self) -> float | None:
        """Seconds of source encoded in a second of late, 0.0 where it stalls; None while nothing is encoded."""
        if self._told is not None:
            return self._told.speed
        speed = self._job.speed(at_s=self._clock())
        return None if speed is None else round(speed, 2)

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left, whole ones; None where that cannot be told, as while the job waits for its turn."""
        if self._told is not None:
            return self._told.eta_s
        if self._waits:
            return None
        eta_s = self._job.eta_s(at_s=self._clock())
        return None if eta_s is None else float(round(eta_s))

    def tell(self, stage: Stage, fraction: float, *, speed: float | None, eta_s: float | None) -> None:
        """What somebody else who does the work says of it, who reckons for himself."""
        self._told = Told(stage, speed, eta_s)
        self._reached = max(self._reached, fraction)

    def expect(self, costs: Costs, *, media_s: float) -> None:
        """What is to be done is known, or begins anew in another way."""
        self._sent_bytes = self._total_bytes = 0
        self._job.expect(costs, media_s=media_s)

    def enter(self, stage: Stage) -> None:
        """The stage begins."""
        self._told = None
        self._job.enter(stage, at_s=self._clock())

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What it is, is known, and its encode waits for its turn in the block."""
        self.enter(Stage.PROBE)
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def reach(self, stage: Stage, share: float) -> None:
        """So much of the stage is done, 0.0 to 1.0."""
        self._job.reach(stage, share, at_s=self._clock())

    def publish(self, total_bytes: int) -> None:
        """The last stage of work begins: so many bytes are to stand, of which some were sent before."""
        self._total_bytes = max(1, total_bytes)
        self._job.enter(Stage.PUBLISH, at_s=self._clock(), share=min(1.0, self._sent_bytes / self._total_bytes))

    def sent(self, size_bytes: int) -> None:
        """So many bytes more are sent. What is sent while the rest is encoded counts when the total is known."""
        self._sent_bytes += size_bytes
        if self._total_bytes:
            self.reach(Stage.PUBLISH, self._sent_bytes / self._total_bytes)


class Keeper:
    """Holds one delivery from its receive on. ``receipts`` are the newest handles of every message that names this job."""

    def __init__(
        self,
        message: Message,
        *,
        queue: Queue,
        catalog: Catalog,
        visibility_timeout_s: int,
        metrics: Metrics,
        vitals: Vitals | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.receipts = {message.message_id: message.receipt_handle}
        self._queue = queue
        self._catalog = catalog
        self._visibility_timeout_s = visibility_timeout_s
        self._metrics = metrics
        self._vitals = vitals or Vitals()
        self._clock = clock
        # The lease ends this much before the visibility that it was taken from: the way of one answer.
        self._margin_s = min(1.0, visibility_timeout_s * 0.1)
        self._proved_until = message.asked_at + visibility_timeout_s
        self._next_beat = message.asked_at + visibility_timeout_s / 3

    def lease_ttl_s(self) -> float:
        """What a lease taken now may last."""
        return self._proved_until - self._clock() - self._margin_s

    async def ensure_fresh(self) -> None:
        """Extend the message if its visibility is due, so that a lease taken next has time to live."""
        if self._clock() >= self._next_beat:
            self._proved_until = await self._extend_messages()

    async def run(self, lease: Lease, progress: Progress) -> None:
        """Keep both alive until cancelled. Raises `LeaseLostError` or `CancelledByOwnerError`."""
        with self._vitals.pulse(HEARTBEAT) as pulse:
            while True:
                pulse.due(self._visibility_timeout_s + HEARTBEAT_LATE_S)
                until_beat = self._next_beat - self._clock()
                await anyio.sleep(max(0.05, min(REPORT_EVERY_S, until_beat)))
                if self._clock() >= self._next_beat:
                    await self._beat(lease)
                else:
                    await self._report(lease, progress)

    async def confirm(self, lease: Lease, progress: Progress) -> None:
        """Prove now that the lease is held: a process that was stopped and went on may not know yet that it lost it.
        Raises `LeaseLostError`, or `UnavailableError` where that cannot be told."""
        if self.lease_ttl_s() <= 0:
            raise LeaseLostError("the lease ran out")
        self._adopt(await self._told(lease, progress))

    async def _told(self, lease: Lease, progress: Progress) -> LeaseView:
        return await self._catalog.report(
            lease, progress=progress.fraction, stage=progress.stage, speed=progress.speed, eta_s=progress.eta_s
        )

    async def _report(self, lease: Lease, progress: Progress) -> None:
        try:
            view = await self._told(lease, progress)
        except TransientError:
            return  # whether the lease can still be proved is the heartbeat's to say
        self._adopt(view)

    async def _beat(self, lease: Lease) -> None:
        """Extend both, trying again until what was proved runs out."""
        while True:
            budget_s = self.lease_ttl_s()
            if budget_s <= 0:
                self._metrics.heartbeats.labels("lost").inc()
                raise LeaseLostError("neither the queue nor the catalog confirmed the lease before it ran out")
            try:
                with anyio.fail_after(budget_s):
                    proved_until = await self._extend_messages()
                    view = await self._catalog.renew(lease, ttl_s=proved_until - self._clock() - self._margin_s)
            except (TransientError, TimeoutError) as error:
                self._metrics.heartbeats.labels("error").inc()
                log.warning("heartbeat_failed", file_id=str(lease.file_id), error=str(error))
                await anyio.sleep(min(RETRY_EVERY_S, max(0.0, self.lease_ttl_s())))
                continue
            except LeaseLostError:
                self._metrics.heartbeats.labels("lost").inc()
                raise
            self._proved_until = proved_until
            self._metrics.heartbeats.labels("ok").inc()
            self._adopt(view)
            return

    async def _extend_messages(self) -> float:
        """Extend every handle; until when that holds. A handle that no longer holds is no lost lease while the row is
        ours: whoever received the message in the meantime leaves us its newer one there."""
        asked_at = self._clock()
        for message_id, handle in tuple(self.receipts.items()):
            if not await self._queue.extend(handle, timeout_s=self._visibility_timeout_s):
                log.info("receipt_handle_outdated", message_id=message_id)
        self._next_beat = asked_at + self._visibility_timeout_s / 3
        return asked_at + self._visibility_timeout_s

    def _adopt(self, view: LeaseView) -> None:
        self.receipts.update(view.receipts)
        if view.cancel_requested:
            raise CancelledByOwnerError
