"""The proxy's own manners: what it adds to the embedded SQS is what SQS does."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.aws import Aws, open_aws
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.sqs_manners import SqsManners, weather
from vproc.aws.dead_letters import Moved, SqsDeadLetters
from vproc.core.dead_letters import CODE_ATTRIBUTE
from vproc.errors import ErrorCode, TransientError


@dataclass
class Line:
    aws: Aws
    proxy: FaultProxy

    def behave(self, **shares: float) -> SqsManners:
        manners = SqsManners(random.Random(1), **shares)
        manners.install(self.proxy)
        return manners

    async def receive(self) -> list[Any]:
        return await self.aws.queue.receive(max_messages=10, wait_s=0)


@pytest.fixture
async def line(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    async with fault_proxy(moto_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        async with open_aws(proxy.url) as aws:
            yield Line(aws, proxy)


async def test_a_message_comes_twice_and_either_handle_deletes_it(line: Line) -> None:
    line.behave(twice=1.0)
    await line.aws.queue.send("{}")
    (first,) = await line.receive()
    (second,) = await line.receive()
    assert (first.message_id, first.body) == (second.message_id, second.body)
    assert first.receipt_handle != second.receipt_handle
    assert await line.aws.queue.extend(second.receipt_handle, timeout_s=30)
    await line.aws.queue.delete(second.receipt_handle)
    assert (await line.aws.queue.depths())["main"].in_flight == 0


async def test_a_deleted_message_comes_again_and_its_handle_holds_nothing(line: Line) -> None:
    line.behave(replayed=1.0)
    await line.aws.queue.send("{}")
    (first,) = await line.receive()
    await line.aws.queue.delete(first.receipt_handle)
    (again,) = await line.receive()
    assert again.message_id == first.message_id
    assert not await line.aws.queue.extend(again.receipt_handle, timeout_s=30)
    await line.aws.queue.delete(again.receipt_handle)
    assert await line.receive() == []


async def test_the_handle_of_an_earlier_receive_deletes_nothing(line: Line) -> None:
    manners = line.behave()
    await line.aws.queue.send("{}")
    (first,) = await line.receive()
    await line.aws.queue.release(first.receipt_handle)
    (second,) = await line.receive()
    await line.aws.queue.delete(first.receipt_handle)
    assert ((await line.aws.queue.depths())["main"].in_flight, manners.old_handles) == (1, 1)
    await line.aws.queue.delete(second.receipt_handle)
    assert (await line.aws.queue.depths())["main"].in_flight == 0


async def test_sqs_itself_moves_the_dead_letters_where_it_can(line: Line) -> None:
    """With their attributes, by which their files are opened anew."""
    line.behave()
    for number in range(12):
        await line.aws.queue.send(f'{{"number": {number}}}')
    while messages := await line.receive():
        for message in messages:
            await line.aws.queue.dead_letter(message, code=ErrorCode.STALLED, detail="no progress")
            await line.aws.queue.delete(message.receipt_handle)
    letters = SqsDeadLetters(control=line.aws.clients.sqs, queue_url=line.aws.queue_url, dlq_url=line.aws.dlq_url)
    assert await letters.move_all() == Moved(12, None)
    assert await line.aws.dead_letters() == []
    found = [*await line.receive(), *await line.receive()]
    assert {message.attributes[CODE_ATTRIBUTE] for message in found} == {"stalled"}
    assert len({message.message_id for message in found}) == 12


async def test_the_weather_is_as_bad_as_it_is_said_to_be(line: Line) -> None:
    line.proxy.weather = weather(random.Random(2), 1.0)
    with pytest.raises(TransientError):
        await line.receive()
    line.proxy.weather = weather(random.Random(2), 0.0)
    assert await line.receive() == []
