"""The adapter of the dead-letter queue: what it asks of SQS, and when it leaves the work to it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from vproc.aws import dead_letters
from vproc.aws.dead_letters import Moved, SqsDeadLetters
from vproc.core.dead_letters import DeadLetter, Redriven
from vproc.errors import LetterNotFoundError, UnavailableError

ARNS = {"http://sqs/jobs": "arn:aws:sqs:eu-west-1:1:jobs", "http://sqs/dead": "arn:aws:sqs:eu-west-1:1:dead"}


class FakeSqs:
    """A dead-letter queue as SQS keeps one: what is received is hidden until it is released or deleted."""

    def __init__(self, bodies: list[str], *, tasks: list[dict[str, Any]] | None = None, refuses: Exception | None = None) -> None:
        self.hidden: dict[str, str] = {}
        self.visible = {str(number): body for number, body in enumerate(bodies)}
        self.sent: list[dict[str, Any]] = []
        self.moves: list[dict[str, Any]] = []
        self.deletes_fail_at: int | None = None
        self._tasks = tasks or []
        self._refuses = refuses

    async def receive_message(self, **asked: Any) -> dict[str, Any]:
        found = list(self.visible.items())[: asked["MaxNumberOfMessages"]]
        for name, body in found:
            self.hidden[name] = body
            del self.visible[name]
        return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": body} for name, body in found]}

    async def change_message_visibility_batch(self, **asked: Any) -> dict[str, Any]:
        assert 1 <= len(asked["Entries"]) <= 10
        for entry in asked["Entries"]:
            if (body := self.hidden.pop(entry["ReceiptHandle"], None)) is not None:
                self.visible[entry["ReceiptHandle"]] = body
        return {}

    async def send_message(self, **parameters: Any) -> dict[str, Any]:
        self.sent.append(parameters)
        return {}

    async def delete_message(self, **asked: Any) -> dict[str, Any]:
        if self.deletes_fail_at is not None and len(self.sent) > self.deletes_fail_at:
            raise ConnectTimeoutError(endpoint_url="http://sqs")
        self.hidden.pop(asked["ReceiptHandle"], None)
        return {}

    async def get_queue_attributes(self, **asked: Any) -> dict[str, Any]:
        return {"Attributes": {"QueueArn": ARNS[asked["QueueUrl"]]}}

    async def start_message_move_task(self, **parameters: Any) -> dict[str, Any]:
        self.moves.append(parameters)
        if self._refuses is not None:
            raise self._refuses
        return {"TaskHandle": "t"}

    async def list_message_move_tasks(self, **_: Any) -> dict[str, Any]:
        return {"Results": [self._tasks.pop(0)]}


def opened(client: FakeSqs) -> SqsDeadLetters:
    return SqsDeadLetters(control=client, queue_url="http://sqs/jobs", dlq_url="http://sqs/dead")


def refused(code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(answer, "Call")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "_ASK_EVERY_S", 0.0)


async def test_all_are_read_and_given_back() -> None:
    client = FakeSqs([f"body {number}" for number in range(25)])
    async with opened(client).held() as letters:
        assert [letter.body for letter in letters] == [f"body {number}" for number in range(25)]
        assert client.visible == {}
    assert len(client.visible) == 25
    async with opened(client).held(most=12) as letters:
        assert len(letters) == 12
        assert len(client.visible) == 13


async def test_they_are_given_back_by_who_is_interrupted() -> None:
    client = FakeSqs(["a", "b"])
    with anyio.CancelScope() as scope:
        async with opened(client).held():
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert len(client.visible) == 2


async def test_a_letter_that_comes_again_ends_the_reading() -> None:
    """Where looking takes longer than it is hidden, or a store takes no visibility: no endless loop."""

    class Forgetful(FakeSqs):
        async def receive_message(self, **_: Any) -> dict[str, Any]:
            return {"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": "b"}]}

    async with opened(Forgetful([])).held() as letters:
        assert len(letters) == 1


async def test_what_is_redriven_is_sent_before_it_is_deleted() -> None:
    """So a failure between the two leaves it in both, and nowhere it is lost."""
    client = FakeSqs(["a"])
    client.deletes_fail_at = 0
    with pytest.raises(UnavailableError):
        async with opened(client).held() as letters:
            await opened(client).redrive(letters)
    assert [sent["MessageBody"] for sent in client.sent] == ["a"]
    assert list(client.visible.values()) == ["a"]


async def test_sqs_moves_all_where_it_can_to_the_queue_by_name() -> None:
    """Letters that were sent there, not moved, have no queue that they came from."""
    tasks = [{"Status": "RUNNING"}, {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 7}]
    client = FakeSqs([], tasks=tasks)
    assert await opened(client).move_all() == Moved(7, None)
    assert client.moves == [{"SourceArn": ARNS["http://sqs/dead"], "DestinationArn": ARNS["http://sqs/jobs"]}]


@pytest.mark.parametrize(
    ("task", "moved"),
    [
        ({"Status": "FAILED", "FailureReason": "CouldNotDetermineMessageSource", "ApproximateNumberOfMessagesMoved": 2},
         Moved(2, "CouldNotDetermineMessageSource")),
        ({"Status": "CANCELLED"}, Moved(0, "CANCELLED")),
    ],
)  # fmt: skip
async def test_a_move_that_stopped_says_why(task: dict[str, Any], moved: Moved) -> None:
    assert await opened(FakeSqs([], tasks=[task])).move_all() == moved


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.UnsupportedOperation", "AccessDenied", "InvalidAction"])
async def test_it_is_left_to_us_where_sqs_does_not(code: str) -> None:
    assert await opened(FakeSqs([], refuses=refused(code))).move_all() is None


async def test_a_queue_that_is_away_is_no_refusal() -> None:
    with pytest.raises(UnavailableError):
        await opened(FakeSqs([], refuses=ConnectTimeoutError(endpoint_url="http://sqs"))).move_all()


async def test_all_go_back_by_sqs_itself_or_by_hand_where_it_does_not() -> None:
    moved = FakeSqs(["a"], tasks=[{"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 7}])
    assert await opened(moved).send_back() == Redriven(7, "sqs")
    assert moved.sent == []
    stopped = FakeSqs([], tasks=[{"Status": "CANCELLED", "ApproximateNumberOfMessagesMoved": 1}])
    assert await opened(stopped).send_back() == Redriven(1, "sqs", "CANCELLED")
    by_hand = FakeSqs(["a", "b"], refuses=refused("AccessDenied"))
    assert await opened(by_hand).send_back() == Redriven(2, "hand")
    assert ([sent["MessageBody"] for sent in by_hand.sent], by_hand.visible) == (["a", "b"], {})


async def test_those_that_are_named_go_back_or_none() -> None:
    client = FakeSqs(["a", "b"])
    with pytest.raises(LetterNotFoundError, match="no dead letter 'c' among the 2") as caught:
        await opened(client).send_back(["0", "c"])
    assert (caught.value.name, caught.value.among, client.sent, len(client.visible)) == ("c", 2, [], 2)
    assert await opened(client).send_back(["1"]) == Redriven(1, "hand")
    assert ([sent["MessageBody"] for sent in client.sent], client.visible, client.moves) == (["b"], {"0": "a"}, [])


def test_a_letter_of_another_program_has_no_attempts() -> None:
    letter = DeadLetter("m", "r", "b", attributes={"vproc-attempts": "many", "vproc-detail": ""})
    assert (letter.attempts, letter.code, letter.detail) == (None, None, "received too often")
