"""What `ports.Queue` promises, over SQS (moto) and over the fake that other tests use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID

import pytest

from tests.support.aws import open_aws
from tests.support.memory import MemoryQueue
from vproc.aws.sqs import resolve_dlq_url
from vproc.core.dead_letters import CODE_ATTRIBUTE
from vproc.core.files import File, Status
from vproc.errors import ConfigError, ErrorCode
from vproc.ports import Queue

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILE = File(FILE_ID, "ann", "a.mp4", "raw", "a.mp4", "abr", Status.PROCESSING, NOW, NOW, attempts=3)


@dataclass(frozen=True, slots=True)
class Opened:
    queue: Queue
    dead_bodies: Callable[[], Awaitable[list[str]]]


Opener = Callable[[], AbstractAsyncContextManager[Opened]]


@pytest.fixture(params=["memory", "sqs"])
def opener(request: pytest.FixtureRequest) -> Opener:
    @asynccontextmanager
    async def memory() -> AsyncIterator[Opened]:
        queue = MemoryQueue(visibility_timeout_s=4)

        async def dead() -> list[str]:
            return [letter.body for letter in queue.dead]

        yield Opened(queue, dead)

    if request.param == "memory":
        return memory
    url: str = request.getfixturevalue("moto_url")

    @asynccontextmanager
    async def sqs() -> AsyncIterator[Opened]:
        async with open_aws(url) as aws:

            async def dead() -> list[str]:
                return [letter["Body"] for letter in await aws.dead_letters()]

            yield Opened(aws.queue, dead)

    return sqs


async def test_what_is_sent_is_received_and_then_hidden(opener: Opener) -> None:
    async with opener() as opened:
        await opened.queue.send('{"a": "é"}')
        before = monotonic()
        (message,) = await opened.queue.receive(max_messages=10, wait_s=1)
        assert (message.body, message.receive_count) == ('{"a": "é"}', 1)
        assert before <= message.asked_at <= monotonic()
        assert message.sent_at is not None
        assert message.sent_at.tzinfo is not None
        assert await opened.queue.receive(max_messages=10, wait_s=0) == []


async def test_a_released_message_comes_back_under_a_new_handle(opener: Opener) -> None:
    async with opener() as opened:
        await opened.queue.send("x")
        (first,) = await opened.queue.receive(max_messages=1, wait_s=1)
        await opened.queue.release(first.receipt_handle)
        (second,) = await opened.queue.receive(max_messages=1, wait_s=1)
        assert (second.message_id, second.receive_count) == (first.message_id, 2)
        assert second.receipt_handle != first.receipt_handle


async def test_extending_tells_whether_the_handle_still_holds(opener: Opener) -> None:
    async with opener() as opened:
        await opened.queue.send("x")
        (message,) = await opened.queue.receive(max_messages=1, wait_s=1)
        assert await opened.queue.extend(message.receipt_handle, timeout_s=30)
        assert not await opened.queue.extend("nonsense", timeout_s=30)
        await opened.queue.delete(message.receipt_handle)
        assert not await opened.queue.extend(message.receipt_handle, timeout_s=30)


async def test_the_fake_refuses_the_handle_of_an_earlier_receive_as_sqs_may() -> None:
    """moto goes on taking it; SQS promises nothing about it, so nothing may lean on it."""
    queue = MemoryQueue()
    queue.put("x")
    (first,) = await queue.receive(max_messages=1, wait_s=0)
    await queue.release(first.receipt_handle)
    (second,) = await queue.receive(max_messages=1, wait_s=0)
    assert not await queue.extend(first.receipt_handle, timeout_s=30)
    assert await queue.extend(second.receipt_handle, timeout_s=30)


async def test_deleting_is_for_ever_and_may_be_repeated(opener: Opener) -> None:
    async with opener() as opened:
        await opened.queue.send("x")
        (message,) = await opened.queue.receive(max_messages=1, wait_s=1)
        await opened.queue.delete(message.receipt_handle)
        await opened.queue.delete(message.receipt_handle)
        await opened.queue.release(message.receipt_handle)
        assert await opened.queue.receive(max_messages=1, wait_s=0) == []
        assert (await opened.queue.depths())["main"].in_flight == 0


async def test_a_dead_letter_keeps_the_body_and_leaves_the_original(opener: Opener) -> None:
    async with opener() as opened:
        await opened.queue.send("the body")
        (message,) = await opened.queue.receive(max_messages=1, wait_s=1)
        await opened.queue.dead_letter(message, code=ErrorCode.INTERNAL, detail="a\nb", file=FILE)
        assert await opened.dead_bodies() == ["the body"]
        depths = await opened.queue.depths()
        assert (depths["main"].in_flight, depths["dlq"].visible) == (1, 1)
        await opened.queue.check()


async def test_a_dead_letter_in_sqs_carries_its_reason_and_a_redrive_shows_it(moto_url: str) -> None:
    async with open_aws(moto_url) as aws:
        await aws.queue.send("the body")
        (message,) = await aws.queue.receive(max_messages=1, wait_s=1)
        await aws.queue.dead_letter(message, code=ErrorCode.STALLED, detail="\x00no\tprogress\x07", file=FILE)
        (letter,) = await aws.dead_letters()
        told = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
        assert told == {
            "vproc-attempts": "3",
            "vproc-code": "stalled",
            "vproc-detail": "no progress",
            "vproc-file-id": str(FILE_ID),
            "vproc-message-id": message.message_id,
        }
        await aws.clients.sqs.send_message(
            QueueUrl=aws.queue_url, MessageBody=letter["Body"], MessageAttributes=letter["MessageAttributes"]
        )
        (redriven,) = await aws.queue.receive(max_messages=1, wait_s=1)
        assert redriven.attributes[CODE_ATTRIBUTE] == "stalled"
        assert CODE_ATTRIBUTE not in message.attributes


async def test_a_message_with_a_group_is_a_message_like_any_other(opener: Opener) -> None:
    """A standard queue takes a group, and keeps none of its messages back."""
    async with opener() as opened:
        for number in range(2):
            await opened.queue.send(f"{number}", group="ann")
        got = [*await opened.queue.receive(max_messages=1, wait_s=1), *await opened.queue.receive(max_messages=1, wait_s=1)]
        assert {message.body for message in got} == {"0", "1"}


# --- at the start: where dead letters go --------------------------------------------------------------------------------


async def test_the_dead_letter_queue_is_the_one_named_or_the_policys(moto_url: str) -> None:
    async with open_aws(moto_url) as aws:
        control = aws.clients.sqs
        assert await resolve_dlq_url(control, aws.queue_url, None) == aws.dlq_url
        assert await resolve_dlq_url(control, aws.queue_url, aws.dlq_url) == aws.dlq_url
        assert await resolve_dlq_url(control, aws.dlq_url, None) is None


async def test_a_queue_that_is_not_there_is_told_by_its_own_variable(moto_url: str) -> None:
    async with open_aws(moto_url) as aws:
        control = aws.clients.sqs
        with pytest.raises(ConfigError, match=r"^VPROC_QUEUE_URL: no such queue \(got .*-not"):
            await resolve_dlq_url(control, f"{aws.queue_url}-not", aws.dlq_url)
        with pytest.raises(ConfigError, match=r"^VPROC_DLQ_URL: no such queue \(got .*-not"):
            await resolve_dlq_url(control, aws.queue_url, f"{aws.dlq_url}-not")
        await control.delete_queue(QueueUrl=aws.dlq_url)
        with pytest.raises(ConfigError, match=r"^VPROC_DLQ_URL: no such queue \(got 'arn:.* of the redrive policy'"):
            await resolve_dlq_url(control, aws.queue_url, None)
