"""SQS as `ports.Queue`: receipt handles, visibility, dead letters. When to call what is the consumer's business."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from botocore.exceptions import ClientError

from vproc.aws.errors import STALE_HANDLE_CODES, TOO_LONG_CODES, code_of, translated
from vproc.core.dead_letters import (
    ATTEMPTS_ATTRIBUTE,
    CODE_ATTRIBUTE,
    DETAIL_ATTRIBUTE,
    FILE_ID_ATTRIBUTE,
    MESSAGE_ID_ATTRIBUTE,
)
from vproc.core.files import File
from vproc.errors import ConfigError, ErrorCode, UnavailableError
from vproc.ports import Message, QueueDepth
from vproc.usage import current_usage


class SqsQueue:
    """A standard queue and its dead-letter queue."""

    def __init__(self, *, poll: Any, control: Any, queue_url: str, dlq_url: str | None, visibility_timeout_s: int) -> None:
        self._poll = poll
        self._control = control
        self._queue_url = queue_url
        self._dlq_url = dlq_url
        self._visibility_timeout_s = visibility_timeout_s

    async def receive(self, *, max_messages: int, wait_s: int) -> list[Message]:
        """Long poll."""
        asked_at = monotonic()
        with _request("receive", "receive from the queue"):
            answer = await self._poll.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=min(10, max_messages),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self._visibility_timeout_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
                MessageAttributeNames=["All"],
            )
        return [message_of(raw, asked_at=asked_at) for raw in answer.get("Messages", ())]

    async def extend(self, receipt_handle: str, *, timeout_s: int) -> bool:
        """Keep a message invisible; False where the handle no longer holds."""
        with _request("extend", "extend a message's visibility"):
            try:
                await self._control.change_message_visibility(
                    QueueUrl=self._queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=timeout_s
                )
            except ClientError as error:
                if code_of(error) in STALE_HANDLE_CODES:
                    return False
                raise
        return True

    async def release(self, receipt_handle: str, *, delay_s: int = 0) -> None:
        """Give a message back."""
        await self.extend(receipt_handle, timeout_s=delay_s)

    async def delete(self, receipt_handle: str) -> None:
        """Acknowledge."""
        with _request("delete", "delete a message"):
            try:
                await self._control.delete_message(QueueUrl=self._queue_url, ReceiptHandle=receipt_handle)
            except ClientError as error:
                if code_of(error) not in STALE_HANDLE_CODES:
                    raise

    async def send(self, body: str, *, group: str | None = None) -> None:
        """Put a message of our own in the queue. A standard queue takes a group, and is then fair among groups."""
        grouped = {} if group is None else {"MessageGroupId": group}
        with _request("send", "send to the queue"):
            await self._control.send_message(QueueUrl=self._queue_url, MessageBody=body, **grouped)

    async def dead_letter(self, message: Message, *, code: ErrorCode, detail: str, file: File | None = None) -> None:
        """Copy a message to the dead-letter queue. Its body is unchanged, so that any redrive works; the reason and the
        file stand in the attributes, which a redrive keeps."""
        if self._dlq_url is None:
            raise UnavailableError("the queue has no dead-letter queue: set its redrive policy or VPROC_DLQ_URL")
        attributes = {CODE_ATTRIBUTE: code.value, DETAIL_ATTRIBUTE: _sendable(detail), MESSAGE_ID_ATTRIBUTE: message.message_id}
        if file is not None:
            attributes |= {FILE_ID_ATTRIBUTE: str(file.file_id), ATTEMPTS_ATTRIBUTE: str(file.attempts)}
        with _request("send", "send to the dead-letter queue"):
            try:
                await self._control.send_message(
                    QueueUrl=self._dlq_url,
                    MessageBody=message.body,
                    MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
                )
            except ClientError as error:
                if code_of(error) not in TOO_LONG_CODES:
                    raise
                # The body alone fills a message. Without its reason it still fits; with it, it would be tried for ever.
                current_usage().sqs_requests["send"] += 1
                await self._control.send_message(QueueUrl=self._dlq_url, MessageBody=message.body)

    async def depths(self) -> dict[str, QueueDepth]:
        """Depth of ``main`` and ``dlq``."""
        depths = {"main": await self._depth(self._queue_url)}
        if self._dlq_url:
            depths["dlq"] = await self._depth(self._dlq_url)
        return depths

    async def _depth(self, queue_url: str) -> QueueDepth:
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
        with _request("attributes", "read the queue's depth"):
            answer = await self._control.get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(names))
        told = answer.get("Attributes", {})
        return QueueDepth(*(int(told.get(name, 0)) for name in names))

    async def check(self) -> None:
        """Ask the queue for its address."""
        with translated("reach the queue"):
            await self._control.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=["QueueArn"])


async def resolve_dlq_url(control: Any, queue_url: str, configured: str | None) -> str | None:
    """The dead-letter queue's address: as configured, or from the queue's redrive policy; None where it has none.

    Raises `ConfigError` when one of the queues does not exist or the queue refuses, `UnavailableError` when SQS is away.
    """
    with translated("reach the queue"):
        with _wrong_at_start("VPROC_QUEUE_URL", queue_url):
            answer = await control.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["RedrivePolicy"])
        if configured:
            # An address that leads nowhere would be noticed at the first dead letter, which then has no place.
            with _wrong_at_start("VPROC_DLQ_URL", configured):
                await control.get_queue_attributes(QueueUrl=configured, AttributeNames=["QueueArn"])
            return configured
        policy = answer.get("Attributes", {}).get("RedrivePolicy")
        if not policy:
            return None
        arn = str(json.loads(policy)["deadLetterTargetArn"])
        *_, account, name = arn.split(":")
        with _wrong_at_start("VPROC_DLQ_URL", f"{arn} of the redrive policy"):
            found = await control.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        return str(found["QueueUrl"])


@contextmanager
def _request(operation: str, action: str) -> Iterator[None]:
    """Around one request: counted for the job that makes it, its errors ours."""
    current_usage().sqs_requests[operation] += 1
    with translated(action):
        yield


@contextmanager
def _wrong_at_start(variable: str, got: str) -> Iterator[None]:
    """Raise `ConfigError` for a queue that is not there, or that this role may not read."""
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if "NonExistentQueue" in code or code == "QueueDoesNotExist":
            raise ConfigError(f"{variable}: no such queue (got {got!r})") from error
        if code in {"AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"}:
            raise ConfigError(f"{variable}: access refused by SQS ({code}): check the role's sqs: rights") from error
        raise


def message_of(raw: dict[str, Any], *, asked_at: float) -> Message:
    """A message as SQS tells it."""
    system = raw.get("Attributes", {})
    sent = system.get("SentTimestamp")
    return Message(
        message_id=raw["MessageId"],
        receipt_handle=raw["ReceiptHandle"],
        body=raw.get("Body", ""),
        asked_at=asked_at,
        sent_at=datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None,
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        attributes={name: value.get("StringValue", "") for name, value in raw.get("MessageAttributes", {}).items()},
    )


def _sendable(text: str) -> str:
    """At most 1 KiB of the characters that SQS takes."""
    kept = "".join(char if char.isprintable() else " " for char in text)[:1024].strip()
    return kept or "unknown"
