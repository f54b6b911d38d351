"""The SQS adapter's own decisions, over a client that answers what a test says."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from vproc.aws.sqs import SqsQueue
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.ports import Message
from vproc.usage import metered


class StubSqs:
    """Keeps every call; answers in turn, with nothing beyond."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = list(answers)

    def __getattr__(self, name: str) -> Any:
        async def call(**parameters: Any) -> dict[str, Any]:
            self.calls.append((name, parameters))
            answer = self._answers.pop(0) if self._answers else {}
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def refused(code: str, status: int = 400) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Call")


def queue(client: StubSqs, *, dlq_url: str | None = "http://sqs/dead") -> SqsQueue:
    return SqsQueue(poll=client, control=client, queue_url="http://sqs/jobs", dlq_url=dlq_url, visibility_timeout_s=30)


MESSAGE = Message("m-1", "handle", "x" * 262_144, asked_at=0.0)


@pytest.mark.parametrize(("free", "asked"), [(1, 1), (10, 10), (64, 10)])
async def test_it_asks_for_ten_at_most(free: int, asked: int) -> None:
    """SQS refuses more."""
    client = StubSqs()
    assert await queue(client).receive(max_messages=free, wait_s=20) == []
    ((_, parameters),) = client.calls
    assert (parameters["MaxNumberOfMessages"], parameters["WaitTimeSeconds"], parameters["VisibilityTimeout"]) == (asked, 20, 30)


async def test_a_message_without_any_extras_is_one() -> None:
    client = StubSqs({"Messages": [{"MessageId": "m", "ReceiptHandle": "r"}]})
    (message,) = await queue(client).receive(max_messages=1, wait_s=1)
    assert (message.message_id, message.body, message.sent_at, message.receive_count) == ("m", "", None, 1)
    assert message.attributes == {}


@pytest.mark.parametrize(
    "code", ["ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue"]
)
async def test_a_handle_that_no_longer_holds_is_told_and_no_error(code: str) -> None:
    client = StubSqs(refused(code), refused(code), refused(code))
    assert not await queue(client).extend("handle", timeout_s=30)
    await queue(client).release("handle", delay_s=5)
    await queue(client).delete("handle")
    assert [name for name, _ in client.calls] == ["change_message_visibility", "change_message_visibility", "delete_message"]
    assert client.calls[1][1]["VisibilityTimeout"] == 5


@pytest.mark.parametrize(
    ("code", "status", "branch"), [("ServiceUnavailable", 503, UnavailableError), ("InvalidAddress", 404, TransientError)]
)
async def test_any_other_refusal_is_an_error(code: str, status: int, branch: type[Exception]) -> None:
    with pytest.raises(branch):
        await queue(StubSqs(refused(code, status))).extend("handle", timeout_s=30)
    with pytest.raises(branch):
        await queue(StubSqs(refused(code, status))).delete("handle")
    with pytest.raises(branch):
        await queue(StubSqs(refused(code, status))).receive(max_messages=1, wait_s=1)


@pytest.mark.parametrize("code", ["InvalidParameterValue", "AWS.SimpleQueueService.MessageTooLong"])
async def test_a_letter_that_is_too_long_with_its_reason_goes_without(code: str) -> None:
    """The body came out of a queue, so it fits one: else a hostile message of full length would be tried for ever."""
    client = StubSqs(refused(code))
    await queue(client).dead_letter(MESSAGE, code=ErrorCode.INVALID_MESSAGE, detail="not JSON")
    (_, first), (_, second) = client.calls
    assert first["MessageAttributes"]["vproc-code"]["StringValue"] == "invalid_message"
    assert second == {"QueueUrl": "http://sqs/dead", "MessageBody": MESSAGE.body}


async def test_a_letter_that_is_refused_for_another_reason_is_not_sent_bare() -> None:
    client = StubSqs(refused("AccessDenied", 403))
    with pytest.raises(UnavailableError):
        await queue(client).dead_letter(MESSAGE, code=ErrorCode.INTERNAL, detail="x")
    assert len(client.calls) == 1


async def test_without_a_dead_letter_queue_nothing_is_lost() -> None:
    client = StubSqs()
    with pytest.raises(UnavailableError, match="VPROC_DLQ_URL"):
        await queue(client, dlq_url=None).dead_letter(MESSAGE, code=ErrorCode.INTERNAL, detail="x")
    assert client.calls == []
    assert list(await queue(StubSqs(), dlq_url=None).depths()) == ["main"]


@pytest.mark.parametrize("detail", ["", "\x00\x01", "é" * 5000, "a\ud800b"])
async def test_any_detail_can_be_sent(detail: str) -> None:
    """An attribute takes no control characters, no lone surrogates, and not nothing."""
    client = StubSqs()
    await queue(client).dead_letter(MESSAGE, code=ErrorCode.INTERNAL, detail=detail)
    sent = cast("str", client.calls[0][1]["MessageAttributes"]["vproc-detail"]["StringValue"])
    assert 1 <= len(sent) <= 1024
    assert sent.encode()
    assert sent.isprintable()


async def test_every_request_is_counted_for_the_job() -> None:
    """Those that the queue refuses too, and the second attempt at a letter that is too long."""
    too_long = refused("InvalidParameterValue")
    client = StubSqs({}, {}, refused("ReceiptHandleIsInvalid"), {}, too_long, {}, {"Attributes": {}}, {"Attributes": {}})
    jobs = queue(client)
    with metered() as usage:
        await jobs.receive(max_messages=1, wait_s=1)
        await jobs.extend("handle", timeout_s=30)
        assert not await jobs.extend("stale", timeout_s=30)
        await jobs.delete("handle")
        await jobs.dead_letter(MESSAGE, code=ErrorCode.INTERNAL, detail="why")
        await jobs.depths()
    assert dict(usage.sqs_requests) == {"receive": 1, "extend": 2, "delete": 1, "send": 2, "attributes": 2}
    assert len(client.calls) == usage.sqs_requests.total()


@pytest.mark.parametrize(("group", "sent"), [(None, {}), ("ann", {"MessageGroupId": "ann"})])
async def test_a_message_of_our_own_carries_its_group(group: str | None, sent: dict[str, str]) -> None:
    client = StubSqs()
    await queue(client).send("{}", group=group)
    assert client.calls == [("send_message", {"QueueUrl": "http://sqs/jobs", "MessageBody": "{}", **sent})]
