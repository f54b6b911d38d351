"""The end of a message: what the whole of it gets, and that nothing which happens meanwhile leaves it half settled."""

from __future__ import annotations

import anyio
import pytest
from prometheus_client import CollectorRegistry

from tests.support.memory import ManualClock, MemoryQueue
from vproc.core.policy import Settle
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.telemetry import Metrics
from vproc.workers import settlement
from vproc.workers.settlement import Settlement, combine, settle

DONE = Settlement(Settle.DELETE, "completed")
LEFT = Settlement(Settle.LEAVE, "busy")
SOON = Settlement(Settle.RETURN, "retried", delay_s=5)
LATER = Settlement(Settle.RETURN, "retried", delay_s=50)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.mark.parametrize(
    ("settlements", "chosen"),
    [
        ([DONE], DONE),
        ([DONE, DONE], DONE),
        ([DONE, LEFT], LEFT),
        ([LEFT, DONE, SOON], SOON),
        ([LATER, DONE, SOON, LEFT], SOON),
        ([LATER], LATER),
    ],
)
def test_a_message_is_deleted_only_when_all_of_it_is_done_with(settlements: list[Settlement], chosen: Settlement) -> None:
    """What must be tried again outweighs what another works on, which outweighs what is done; the soonest delay counts."""
    assert combine(settlements) == chosen


async def two_received(queue: MemoryQueue) -> dict[str, str]:
    queue.put("a")
    queue.put("b")
    return {message.message_id: message.receipt_handle for message in await queue.receive(max_messages=2, wait_s=0)}


async def test_every_delivery_is_deleted(metrics: Metrics) -> None:
    queue = MemoryQueue()
    await settle(queue, await two_received(queue), [DONE, DONE], metrics)
    assert queue.bodies == []
    assert metrics.registry.get_sample_value("vproc_messages_total", {"outcome": "completed"}) == 2


async def test_a_delay_is_kept_to_the_second_above(metrics: Metrics) -> None:
    """SQS takes whole seconds: a delay is never shorter than the policy's."""
    clock = ManualClock()
    queue = MemoryQueue(clock=clock)
    await settle(queue, await two_received(queue), [Settlement(Settle.RETURN, "retried", delay_s=2.1)], metrics)
    clock.advance(2.9)
    assert queue.visible == 0
    clock.advance(0.1)
    assert queue.visible == 2


async def test_what_is_anothers_is_not_touched(metrics: Metrics) -> None:
    queue = MemoryQueue()
    await settle(queue, await two_received(queue), [LEFT], metrics)
    assert queue.calls["delete"] == queue.calls["release"] == queue.calls["extend"] == 0


@pytest.mark.parametrize("error", [UnavailableError("SQS is away"), TransientError(ErrorCode.INTERNAL, "InvalidAddress")])
@pytest.mark.parametrize("chosen", [DONE, SOON])
async def test_a_refusal_of_one_delivery_is_no_error_and_the_others_are_settled(
    metrics: Metrics, chosen: Settlement, error: TransientError
) -> None:
    queue = MemoryQueue()
    receipts = await two_received(queue)
    queue.fail_next("delete" if chosen is DONE else "release", error)
    await settle(queue, receipts, [chosen], metrics)
    assert queue.calls["delete"] + queue.calls["release"] == 2
    assert len(queue.bodies) == (1 if chosen is DONE else 2)


async def test_a_cancellation_waits_for_the_acknowledgement(metrics: Metrics) -> None:
    """Whoever cancels a worker does not undo work that is done."""
    queue = MemoryQueue()
    receipts = await two_received(queue)
    held = queue.pause_next("delete")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(settle, queue, receipts, [DONE], metrics)
        await held.reached.wait()
        tasks.cancel_scope.cancel()
        held.release()
    assert queue.bodies == []


async def test_a_queue_that_never_answers_does_not_hold_up_the_end(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "SETTLE_WITHIN_S", 0.01)
    queue = MemoryQueue()
    receipts = await two_received(queue)
    queue.pause_next("delete")
    with anyio.fail_after(5):
        await settle(queue, receipts, [DONE], metrics)
    assert len(queue.bodies) == 2
