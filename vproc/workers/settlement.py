"""The end of a message: deleted, given back, or left alone. The keeper has stopped by then, so that no heartbeat undoes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import anyio
import structlog

from vproc.core.policy import Settle
from vproc.errors import TransientError
from vproc.ports import Queue
from vproc.telemetry import Metrics

SETTLE_WITHIN_S = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one object of a message asks for. ``outcome`` is the label of ``vproc_messages_total``; ``file_id`` is whose it is,
    where that is known."""

    settle: Settle
    outcome: str
    delay_s: float = 0.0
    file_id: UUID | None = None


def combine(settlements: Sequence[Settlement]) -> Settlement:
    """What the whole message gets: it is deleted only when every object that it names is done with, and it is not left
    to another while one of its objects must be tried again."""
    returned = [one for one in settlements if one.settle is Settle.RETURN]
    if returned:
        return min(returned, key=lambda one: one.delay_s)
    return next((one for one in settlements if one.settle is Settle.LEAVE), settlements[0])


async def settle(queue: Queue, receipts: Mapping[str, str], settlements: Sequence[Settlement], metrics: Metrics) -> None:
    """Settle every delivery of the message. Shielded and bounded; what SQS does not hear comes back by itself, and is
    then a duplicate of work that is done."""
    for one in settlements:
        metrics.messages.labels(one.outcome).inc()
    chosen = combine(settlements)
    if chosen.settle is Settle.LEAVE:
        return
    with anyio.move_on_after(SETTLE_WITHIN_S, shield=True) as scope:
        for handle in receipts.values():
            try:
                if chosen.settle is Settle.DELETE:
                    await queue.delete(handle)
                else:
                    await queue.release(handle, delay_s=math.ceil(chosen.delay_s))
            except TransientError as error:
                log.warning("settling_failed", settle=chosen.settle.value, error=error.detail)
            except Exception:
                # A fault of ours, and no reason to end the daemon and the other jobs.
                log.exception("settling_crashed", settle=chosen.settle.value)
    if scope.cancelled_caught:
        log.warning("settling_timed_out", settle=chosen.settle.value)
