"""``vproc dlq`` over moto's queues: what an operator is shown, and what becomes of the letters."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import anyio
import pytest
from click.testing import CliRunner, Result

from tests.support.aws import Aws, open_aws
from vproc.cli import cli
from vproc.core.dead_letters import CODE_ATTRIBUTE
from vproc.core.files import File, Status
from vproc.errors import ErrorCode
from vproc.ports import Message

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
_NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILE = File(FILE_ID, "ann", "a.avi", "acme-raw", "tapes/a b.avi", "abr", Status.PROCESSING, _NOW, _NOW, attempts=3)
EVENT = json.dumps({"bucket": "acme-raw", "key": "tapes/a b.avi"})


@dataclass(frozen=True, slots=True)
class Queues:
    """A queue with dead letters, and how to speak to both."""

    url: str
    queue_url: str
    dlq_url: str

    def run(self, story: Callable[[Aws], Coroutine[Any, Any, Any]]) -> Any:
        """A story with adapters of these queues."""

        async def told() -> Any:
            async with open_aws(self.url, queues=(self.queue_url, self.dlq_url)) as aws:
                return await story(aws)

        return anyio.run(told)

    def bury(self, body: str, *, code: ErrorCode = ErrorCode.STALLED, detail: str = "no progress", known: bool = True) -> None:
        """Put a letter there as the daemon does."""
        about = FILE if known else None

        async def story(aws: Aws) -> None:
            message = Message("original-id", "handle", body, asked_at=0.0)
            await aws.queue.dead_letter(message, code=code, detail=detail, file=about)

        self.run(story)

    def received(self) -> list[Message]:
        """What the queue holds now."""

        async def story(aws: Aws) -> list[Message]:
            return await aws.queue.receive(max_messages=10, wait_s=0)

        found: list[Message] = self.run(story)
        return found

    def __call__(self, *words: str) -> Result:
        """``vproc dlq …``."""
        return CliRunner().invoke(cli, ["dlq", *words], env={"VPROC_QUEUE_URL": self.queue_url})

    def listed(self) -> list[dict[str, Any]]:
        """What ``list --json`` tells."""
        result = self("list", "--json")
        assert result.exit_code == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def dlq(moto_url: str) -> Queues:
    async def made() -> tuple[str, str]:
        async with open_aws(moto_url) as aws:
            return aws.queue_url, aws.dlq_url

    queue_url, dlq_url = anyio.run(made)
    return Queues(moto_url, queue_url, dlq_url)


def test_a_letter_tells_its_reason_its_file_and_its_attempts(dlq: Queues) -> None:
    """In a line for a person, in a document for a program; and it is there for the next who looks."""
    dlq.bury(EVENT)
    line = dlq("list").stdout
    for words in ("stalled: no progress", str(FILE_ID), "3 attempts"):
        assert words in line
    (told,) = dlq.listed()
    assert (told["code"], told["detail"], told["file_id"], told["attempts"]) == ("stalled", "no progress", str(FILE_ID), 3)
    assert told["objects"] == ["acme-raw/tapes/a b.avi"]
    assert told["sent_at"]


def test_nothing_there_is_said(dlq: Queues) -> None:
    assert dlq("list").stdout == "no dead letters\n"
    assert dlq("list", "--json").stdout == ""


def test_what_sqs_moved_itself_says_so(dlq: Queues) -> None:
    """It has no attributes; its body may be anything."""

    async def story(aws: Aws) -> None:
        await aws.clients.sqs.send_message(QueueUrl=dlq.dlq_url, MessageBody="{not json")

    dlq.run(story)
    (told,) = dlq.listed()
    assert (told["code"], told["detail"], told["objects"]) == (None, "received too often", [])
    assert "no object that can be read" in dlq("list").stdout


@pytest.mark.parametrize("name", ["original-id", str(FILE_ID)])
def test_one_is_shown_whole_by_any_of_its_names(dlq: Queues, name: str) -> None:
    dlq.bury(EVENT)
    shown = dlq("show", name).stdout
    assert '"key": "tapes/a b.avi"' in shown
    assert "vproc-attempts: 3" in shown
    (told,) = [json.loads(line) for line in dlq("show", name, "--json").stdout.splitlines()]
    assert told["body"] == EVENT
    assert told["attributes"]["vproc-code"] == "stalled"


@pytest.mark.parametrize("words", [["show", "absent"], ["redrive", "original-id", "absent"], ["purge", "--yes", "absent"]])
def test_a_name_that_no_letter_has_changes_nothing(dlq: Queues, words: list[str]) -> None:
    dlq.bury(EVENT)
    result = dlq(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "vproc: no dead letter 'absent' among 1: `vproc dlq list` shows them\n"
    assert len(dlq.listed()) == 1


def test_one_is_redriven_and_the_others_stay(dlq: Queues) -> None:
    """Its body is as it was and its code goes with it, which opens the file anew."""
    dlq.bury(EVENT)
    dlq.bury("{}", code=ErrorCode.INVALID_MESSAGE, detail="not for us", known=False)
    assert dlq("redrive", str(FILE_ID)).stdout == "redriven: 1\n"
    (message,) = dlq.received()
    assert (message.body, message.attributes[CODE_ATTRIBUTE]) == (EVENT, "stalled")
    (left,) = dlq.listed()
    assert left["code"] == "invalid_message"


def test_all_are_redriven_by_hand_where_sqs_cannot(dlq: Queues) -> None:
    """moto knows no StartMessageMoveTask. More than a batch, and one that SQS moved, which gets a code."""

    async def story(aws: Aws) -> None:
        for number in range(12):
            await aws.clients.sqs.send_message(QueueUrl=dlq.dlq_url, MessageBody=f"body {number}")

    dlq.run(story)
    result = dlq("redrive", "--json")
    assert json.loads(result.stdout) == {"redriven": 12, "by": "hand"}
    messages = [*dlq.received(), *dlq.received()]
    assert {message.body for message in messages} == {f"body {number}" for number in range(12)}
    assert {message.attributes[CODE_ATTRIBUTE] for message in messages} == {"internal"}
    assert dlq.listed() == []


def test_purging_asks_and_is_refused_where_nobody_answers(dlq: Queues) -> None:
    dlq.bury(EVENT)
    result = dlq("purge")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert len(dlq.listed()) == 1


def test_one_or_all_are_purged(dlq: Queues) -> None:
    dlq.bury(EVENT)
    dlq.bury("{}", code=ErrorCode.INVALID_MESSAGE, detail="not for us", known=False)
    assert dlq("purge", "--yes", str(FILE_ID)).stdout == "purged: 1\n"
    assert [letter["code"] for letter in dlq.listed()] == ["invalid_message"]
    assert json.loads(dlq("purge", "--yes", "--json").stdout) == {"purged": "all"}
    assert dlq.listed() == []


def test_what_was_done_with_letters_is_in_the_audit(dlq: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPROC_LOG_FORMAT", "json")
    dlq.bury(EVENT)
    lines = [json.loads(dlq("redrive", str(FILE_ID)).stderr), json.loads(dlq("purge", "--yes").stderr)]
    assert [(line["event"], line["action"], line["ids"], line["letters"]) for line in lines] == [
        ("audit", "letters.redrive", [str(FILE_ID)], 1),
        ("audit", "letters.purge", "all", None),
    ]


def test_a_queue_without_dead_letters_is_a_wrong_setting(moto_url: str) -> None:
    async def made() -> str:
        async with open_aws(moto_url) as aws:
            return str((await aws.clients.sqs.create_queue(QueueName=f"alone-{FILE_ID.hex[:8]}"))["QueueUrl"])

    result = CliRunner().invoke(cli, ["dlq", "list"], env={"VPROC_QUEUE_URL": anyio.run(made)})
    assert result.exit_code == 78
    assert "VPROC_DLQ_URL" in result.stderr
