"""The consumer: room for a job, a long poll, a job for each message, and an orderly end. While the machine is full, a short look
from time to time for what nobody else took: a small job among it need not wait.

What a message means is in `core.notification`, what an error decides in `core.policy`, the job itself in `jobs`.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from vproc.errors import TransientError
from vproc.ports import Message, Queue
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.vitals import Pulse, Vitals
from vproc.workers.capacity import Capacity
from vproc.workers.intake import Intake
from vproc.workers.jobs import Jobs

ABANDON_POLL_S = 8.0
"""How long a drain waits for the poll in flight. An abandoned poll may take a message with it until its visibility ends."""
BACKOFFS_S = (2.0, 4.0, 8.0, 15.0)
"""Before the next poll after one, two … failures in a row."""
RELEASE_WITHIN_S = 5.0
LOOK_EVERY_S = 5.0
"""How often a full machine looks for more. A receive that does not wait finds only what no idle daemon took."""
POLLER = "poller"
POLLER_LATE_S = 60.0
"""By how much a poll, a look at the disk or a pause may be late: far beyond what the SDK's own time-outs leave."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Consumer:
    """Takes messages while there is room, and a few more, until `drain`; then lets running jobs end, within its time."""

    def __init__(
        self,
        *,
        queue: Queue,
        jobs: Jobs,
        intake: Intake,
        capacity: Capacity,
        poll_wait_s: int,
        drain_timeout_s: float,
        metrics: Metrics,
        vitals: Vitals | None = None,
    ) -> None:
        self._queue = queue
        self._jobs = jobs
        self._intake = intake
        self._capacity = capacity
        self._poll_wait_s = poll_wait_s
        self._drain_timeout_s = drain_timeout_s
        self._metrics = metrics
        self._vitals = vitals or Vitals()
        self._draining = anyio.Event()
        self._poll_scope: anyio.CancelScope | None = None
        self._jobs_scope: anyio.CancelScope | None = None
        self._last_error: str | None = None

    @property
    def last_error(self) -> str | None:
        """Why the last poll failed; None when it did not."""
        return self._last_error

    @property
    def jobs(self) -> int:
        """How many are held, those that wait for room among them."""
        return self._capacity.taken

    def drain(self, *, at_once: bool = False, within_s: float | None = None) -> None:
        """Take no more work. Running jobs have the drain time, or ``within_s``; ``at_once``: none, as on a second signal. Those
        that wait for room are handed back. The poll in flight is let end: what it brings would else be hidden from everybody."""
        now, drain_s = anyio.current_time(), self._drain_timeout_s if within_s is None else within_s
        self._draining.set()
        self._capacity.close()
        if self._poll_scope is not None:
            self._poll_scope.deadline = min(self._poll_scope.deadline, now if at_once else now + ABANDON_POLL_S)
        if self._jobs_scope is not None:
            self._jobs_scope.deadline = min(self._jobs_scope.deadline, now if at_once else now + drain_s)
        log.info("intake_stopped", jobs=self.jobs, at_once=at_once)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Consume until drained; returns when every job ended or was handed back."""
        async with task_group() as jobs:
            self._jobs_scope = jobs.cancel_scope
            task_status.started()
            with self._vitals.pulse(POLLER) as pulse:
                await self._consume(jobs, pulse)

    async def _consume(self, jobs: TaskGroup, pulse: Pulse) -> None:
        failures = 0
        while not self._draining.is_set():
            pulse.due(self._poll_wait_s + POLLER_LATE_S)
            # The drain may have begun while the disk was looked at: a poll begun now would know no bound.
            if not await self._ready(pulse) or self._draining.is_set():
                continue
            wait_s = self._poll_wait_s if self._capacity.room >= 1 else 0
            try:
                messages = await self._poll(self._capacity.room or 1, wait_s=wait_s)
            except TransientError as error:
                longest = BACKOFFS_S[min(failures, len(BACKOFFS_S) - 1)]
                failures += 1
                self._last_error = error.detail
                log.warning("poll_failed", error=error.detail, failures=failures)
                await self._pause(longest * random.uniform(0.5, 1))  # noqa: S311 - jitter
                continue
            failures, self._last_error = 0, None
            if not messages and wait_s:
                self._metrics.queue_oldest_age.remove("main")  # Nothing came in a whole wait: nothing waits.
            if self._draining.is_set():
                await self._give_back(messages)
                return
            for message in messages:
                self._capacity.take()  # here, not in the task, so that the next poll already counts it
                jobs.start_soon(self._work, message)

    async def _ready(self, pulse: Pulse) -> bool:
        """There is room, or it is time for a look, and the intake is open; False after a wait, to ask again."""
        if wait_s := await self._intake.wait_s():
            await self._pause(wait_s)
            return False
        if self._capacity.room >= 1:
            return True
        pulse.rest()  # for as long as a job may take: its own heartbeat is looked at
        changed, looks = self._capacity.changed, self._capacity.spare >= 1
        async with task_group() as waiting:
            waiting.start_soon(self._cancel_on_drain, waiting.cancel_scope)
            waiting.start_soon(self._intake.watch)
            with anyio.move_on_after(LOOK_EVERY_S if looks else math.inf) as look:
                await changed.wait()
            waiting.cancel_scope.cancel()
        pulse.due(self._poll_wait_s + POLLER_LATE_S)
        return look.cancelled_caught

    async def _cancel_on_drain(self, scope: anyio.CancelScope) -> None:
        await self._draining.wait()
        scope.cancel()

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._draining.wait()

    async def _poll(self, most: int, *, wait_s: int) -> list[Message]:
        """One receive, shielded: cancelling it would hide what it brings until the visibility ends."""
        with anyio.CancelScope(shield=True) as scope:
            self._poll_scope = scope
            try:
                return await self._queue.receive(max_messages=most, wait_s=wait_s)
            finally:
                self._poll_scope = None
        log.warning("poll_abandoned")
        return []

    async def _give_back(self, messages: list[Message]) -> None:
        """All at once: one that is not answered must not hold up the others, nor the end."""

        async def release(message: Message) -> None:
            try:
                await self._queue.release(message.receipt_handle)
            except TransientError as error:
                log.warning("release_failed", error=error.detail)

        with anyio.move_on_after(RELEASE_WITHIN_S, shield=True):
            async with task_group() as tasks:
                for message in messages:
                    tasks.start_soon(release, message)

    async def _work(self, message: Message) -> None:
        if message.sent_at is not None:
            self._metrics.queue_oldest_age.labels("main").set((datetime.now(UTC) - message.sent_at).total_seconds())
        self._metrics.jobs_in_progress.inc()
        with self._capacity.place():
            try:
                await self._jobs.handle(message)
            finally:
                self._metrics.jobs_in_progress.dec()
