"""The dead-letter queue for whoever looks into it: read, redrive, purge. The daemon only adds to it (`aws.sqs`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from vproc.aws.errors import translated
from vproc.aws.sqs import message_of
from vproc.core.dead_letters import CODE_ATTRIBUTE, DeadLetter, Redriven, letters_named
from vproc.errors import ErrorCode, UnavailableError
from vproc.tasks import task_group

HOLD_S = 120
"""How long a letter is hidden from others while somebody looks at it; given back sooner where all goes well."""
_MOST_AT_ONCE = 10
_WAIT_S = 1
_ASK_EVERY_S = 1.0
_NEVER = datetime.max.replace(tzinfo=UTC)
_RELEASE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Moved:
    """The end of a redrive that SQS made. ``failure`` is None where it came to its end."""

    letters: int
    failure: str | None


class SqsDeadLetters:
    """The dead-letter queue of a queue."""

    def __init__(self, *, control: Any, queue_url: str, dlq_url: str) -> None:
        self._control = control
        self._queue_url = queue_url
        self._dlq_url = dlq_url

    @asynccontextmanager
    async def held(self, *, most: int | None = None) -> AsyncIterator[list[DeadLetter]]:
        """All letters, or so many, oldest first as far as SQS keeps an order. Others see them again at the block's end."""
        letters: dict[str, DeadLetter] = {}
        try:
            while most is None or len(letters) < most:
                found = await self._receive(_MOST_AT_ONCE if most is None else min(_MOST_AT_ONCE, most - len(letters)))
                new = {letter.message_id for letter in found} - letters.keys()
                letters |= {letter.message_id: letter for letter in found}
                if not new:
                    break
            yield sorted(letters.values(), key=lambda letter: letter.sent_at or _NEVER)
        finally:
            with anyio.move_on_after(_RELEASE_WITHIN_S, shield=True):
                await self._release(list(letters.values()))

    async def _receive(self, most: int) -> list[DeadLetter]:
        with translated("read the dead-letter queue"):
            answer = await self._control.receive_message(
                QueueUrl=self._dlq_url,
                MaxNumberOfMessages=most,
                # A long poll asks all of SQS's servers: an empty answer then means an empty queue.
                WaitTimeSeconds=_WAIT_S,
                VisibilityTimeout=HOLD_S,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        return [_letter(raw) for raw in answer.get("Messages", ())]

    async def _release(self, letters: Sequence[DeadLetter]) -> None:
        """Those that are deleted by now are refused one by one, which is no error."""
        for some in _tens(letters):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.receipt_handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(some)
            ]
            with translated("give dead letters back"):
                await self._control.change_message_visibility_batch(QueueUrl=self._dlq_url, Entries=entries)

    async def send_back(self, names: Sequence[str] = ()) -> Redriven:
        """Send letters to the queue again: those that are named, or all, which SQS itself does where it can. Raises
        `LetterNotFoundError`. What is interrupted is a dead letter still, or in SQS's hands."""
        moved = None if names else await self.move_all()
        if moved is not None:
            return Redriven(moved.letters, "sqs", moved.failure)
        async with self.held() as held:
            chosen = letters_named(held, names) if names else held
            await self.redrive(chosen)
        return Redriven(len(chosen), "hand")

    async def redrive(self, letters: Sequence[DeadLetter]) -> None:
        """Send each to the queue again, then delete it: what is interrupted in between comes twice, and is lost never."""
        for some in _tens(letters):
            async with task_group() as tasks:
                for letter in some:
                    tasks.start_soon(self._redrive_one, letter)

    async def _redrive_one(self, letter: DeadLetter) -> None:
        # Without a code the queue's own redrive policy put it here: it gets one, so that its file is opened anew.
        attributes = {CODE_ATTRIBUTE: ErrorCode.INTERNAL.value, **letter.attributes}
        with translated("send to the queue"):
            await self._control.send_message(
                QueueUrl=self._queue_url,
                MessageBody=letter.body,
                MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
            )
        await self._delete(letter)

    async def _delete(self, letter: DeadLetter) -> None:
        with translated("delete a dead letter"):
            await self._control.delete_message(QueueUrl=self._dlq_url, ReceiptHandle=letter.receipt_handle)

    async def discard(self, letters: Sequence[DeadLetter]) -> None:
        """Delete them for ever."""
        for letter in letters:
            await self._delete(letter)

    async def purge(self) -> None:
        """Delete all that is there, for ever. SQS takes up to a minute, and allows it once a minute."""
        with translated("purge the dead-letter queue"):
            await self._control.purge_queue(QueueUrl=self._dlq_url)

    async def move_all(self) -> Moved | None:
        """Let SQS itself move every letter back, and wait for that. None where it does not: another program that speaks its
        protocol, or a role that may not."""
        source, destination = await self._arn(self._dlq_url), await self._arn(self._queue_url)
        with translated("redrive the dead-letter queue"):
            try:
                # The destination is named: letters that vproc sent here itself have no queue that they came from.
                await self._control.start_message_move_task(SourceArn=source, DestinationArn=destination)
            except (ClientError, ResponseParserError):
                return None
        while True:
            with translated("ask for the redrive"):
                answer = await self._control.list_message_move_tasks(SourceArn=source, MaxResults=1)
            (task,) = answer["Results"]
            if task["Status"] != "RUNNING":
                moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
                return Moved(moved, None if task["Status"] == "COMPLETED" else str(task.get("FailureReason") or task["Status"]))
            await anyio.sleep(_ASK_EVERY_S)

    async def _arn(self, queue_url: str) -> str:
        with translated("reach the queue"):
            answer = await self._control.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn = answer.get("Attributes", {}).get("QueueArn")
        if not arn:
            raise UnavailableError(f"the queue {queue_url} does not tell its ARN")
        return str(arn)


def _tens(letters: Sequence[DeadLetter]) -> Iterator[Sequence[DeadLetter]]:
    """As many as a batch of SQS takes."""
    for first in range(0, len(letters), _MOST_AT_ONCE):
        yield letters[first : first + _MOST_AT_ONCE]


def _letter(raw: dict[str, Any]) -> DeadLetter:
    message = message_of(raw, asked_at=0.0)
    return DeadLetter(
        message_id=message.message_id,
        receipt_handle=message.receipt_handle,
        body=message.body,
        sent_at=message.sent_at,
        receive_count=message.receive_count,
        attributes=message.attributes,
    )
