"""Delivers webhooks: takes what is due from the outbox, signs, sends, notes what came of it. Many daemons may share the work."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus

from vproc.core.trace_context import TRACEPARENT
from vproc.core.webhook_delivery import DeliveryOutcome, Sent, Trouble, Verdict, judge
from vproc.core.webhook_signing import signed_headers
from vproc.errors import TransientError, VprocError
from vproc.ports import DueEvent, Outbox, WebhookSender
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.tracing import Attributes, NoTracer, SpanKind, Tracer

LOOK_EVERY_S = 2.0
AT_ONCE = 32
PER_HOST = 4
"""So that a host that hangs holds up no other."""
LEASE_S = 60.0
"""More than an attempt and its note can take."""
GIVE_BACK_WITHIN_S = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Webhooks:
    """Looks every two seconds, and again when an attempt has ended. ``wall`` is seconds since the epoch."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        sender: WebhookSender,
        secrets: Sequence[bytes],
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        look_every_s: float = LOOK_EVERY_S,
        tracer: Tracer | None = None,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._secrets = secrets
        self._metrics = metrics
        self._wall = wall
        self._chance = chance
        self._look_every_s = look_every_s
        self._tracer = tracer or NoTracer()
        self._running: Counter[str] = Counter()
        self._woken = anyio.Event()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled. A database that is away is tried again at the next look."""
        task_status.started()
        async with task_group() as tasks:
            while True:
                self._woken = anyio.Event()
                try:
                    took = await self._take(tasks)
                except TransientError as error:
                    log.warning("webhooks_waiting", detail=error.detail)
                    took = 0
                except Exception:
                    # Whatever it is, jobs and uploads go on.
                    log.exception("webhooks_crashed")
                    took = 0
                if not took:
                    with anyio.move_on_after(self._look_every_s):
                        await self._woken.wait()

    async def deliver_due(self) -> int:
        """One look, and every attempt that it brings; how many."""
        async with task_group() as tasks:
            return await self._take(tasks)

    async def _take(self, tasks: TaskGroup) -> int:
        room = AT_ONCE - self._running.total()
        if room <= 0:
            return 0
        due = await self._outbox.take_due(limit=room, per_host=PER_HOST, running=self._running, lease_s=LEASE_S)
        for event in due:
            self._running[event.host] += 1
            tasks.start_soon(self._deliver, event)
        return len(due)

    async def _deliver(self, event: DueEvent) -> None:
        try:
            # What is not noted is sent again under the same id when the lease has ended.
            with anyio.move_on_after(LEASE_S) as bound, self._span(event):
                await self._attempt(event)
            if bound.cancelled_caught:
                log.warning("webhook_not_noted", webhook_id=event.event_id)
        except anyio.get_cancelled_exc_class():
            await self._give_back(event)
            raise
        except TransientError as error:
            log.warning("webhook_not_noted", webhook_id=event.event_id, detail=error.detail)
        except Exception:
            log.exception("webhook_crashed", webhook_id=event.event_id)
        finally:
            self._running[event.host] -= 1
            if not self._running[event.host]:
                del self._running[event.host]
            self._woken.set()

    def _span(self, event: DueEvent) -> AbstractContextManager[None]:
        """Of an attempt, in the trace of the request that asked for it. The address may hold a token: its host is told."""
        attributes: Attributes = {
            "http.request.method": "POST",
            "server.address": event.host,
            "vproc.attempt": event.attempt,
            "vproc.event_type": event.type,
            "vproc.file_id": str(event.file_id) if event.file_id else None,
            "vproc.webhook_id": event.event_id,
        }
        return self._tracer.span("webhook", kind=SpanKind.CLIENT, parent=event.traceparent, attributes=attributes)

    async def _give_back(self, event: DueEvent) -> None:
        """What a drain broke off is due at once for another daemon, and no attempt of it counts. What was noted stays noted."""
        try:
            with anyio.move_on_after(GIVE_BACK_WITHIN_S, shield=True):
                if await self._outbox.event_given_back(event):
                    log.info("webhook_given_back", webhook_id=event.event_id)
        except VprocError as error:
            log.warning("webhook_not_given_back", webhook_id=event.event_id, error=str(error))

    async def _attempt(self, event: DueEvent) -> None:
        if event.disabled:
            sent, verdict = None, Verdict(DeliveryOutcome.DISABLED)
        else:
            sent = await self._send(event)
            now = datetime.fromtimestamp(self._wall(), UTC)
            verdict = judge(sent, attempt=event.attempt, now=now, chance=self._chance())
        result = sent.result if sent else "disabled"
        match verdict.outcome:
            case DeliveryOutcome.DELIVERED:
                ours = await self._outbox.event_delivered(event, result)
            case DeliveryOutcome.RETRIED:
                ours = await self._outbox.event_postponed(event, result, delay_s=verdict.delay_s)
            case DeliveryOutcome.GIVEN_UP | DeliveryOutcome.DISABLED:
                ours = await self._outbox.event_given_up(
                    event, result, disable=verdict.outcome is DeliveryOutcome.DISABLED and sent is not None
                )
        self._metrics.webhook_deliveries.labels(verdict.outcome.value).inc()
        told: Attributes = {"http.response.status_code": sent.status if sent else None, "vproc.outcome": verdict.outcome.value}
        self._tracer.tell(told, error=None if verdict.outcome is DeliveryOutcome.DELIVERED else result)
        log.info(
            "webhook_attempted", webhook_id=event.event_id, type=event.type, host=event.host, attempt=event.attempt,
            result=result, outcome=verdict.outcome.value, noted=ours,
        )  # fmt: skip

    async def _send(self, event: DueEvent) -> Sent:
        begun = time.perf_counter()
        timestamp = int(self._wall())
        headers = signed_headers(self._secrets, webhook_id=event.event_id, timestamp=timestamp, body=event.body)
        if (traceparent := self._tracer.traceparent()) is not None:
            headers |= {TRACEPARENT: traceparent}
        try:
            sent = await self._sender.send(event.url, headers=headers, body=event.body)
        except Exception:
            # Counted like any other failure, so that even this comes to an end.
            log.exception("webhook_crashed", webhook_id=event.event_id)
            sent = Sent(trouble=Trouble.UNREACHABLE)
        self._metrics.webhook_duration.observe(time.perf_counter() - begun)
        return sent
