"""The queue and its dead letters. Adapters: `aws.sqs`, `aws.dead_letters`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from vproc.core.dead_letters import DeadLetter, Redriven
from vproc.core.files import File
from vproc.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery. ``asked_at`` is the monotonic time before the receive call: visibility ends no earlier than
    ``asked_at`` + the visibility timeout."""

    message_id: str
    receipt_handle: str
    body: str
    asked_at: float
    sent_at: datetime | None = None
    receive_count: int = 1
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Approximate numbers of messages, as SQS tells them."""

    visible: int
    in_flight: int
    delayed: int


class Queue(Protocol):
    """At-least-once delivery with a visibility timeout, and a place for the dead."""

    async def receive(self, *, max_messages: int, wait_s: int) -> list[Message]:
        """Long poll. Never cancel it where messages may be lost: see `workers.consumer`."""
        ...

    async def extend(self, receipt_handle: str, *, timeout_s: int) -> bool:
        """Keep a message invisible for ``timeout_s`` from now. False: the handle no longer holds."""
        ...

    async def release(self, receipt_handle: str, *, delay_s: int = 0) -> None:
        """Give a message back, visible after ``delay_s``. A handle that no longer holds is no error."""
        ...

    async def delete(self, receipt_handle: str) -> None:
        """Acknowledge, for ever. A handle that no longer holds is no error."""
        ...

    async def send(self, body: str, *, group: str | None = None) -> None:
        """Put a message of our own in the queue. ``group``: whose it is, for a queue that is fair among groups."""
        ...

    async def dead_letter(self, message: Message, *, code: ErrorCode, detail: str, file: File | None = None) -> None:
        """Copy a message to the dead-letter queue with its reason and its file. The caller deletes the original afterwards."""
        ...

    async def depths(self) -> dict[str, QueueDepth]:
        """Depth of ``main`` and, where there is one, ``dlq``."""
        ...

    async def check(self) -> None:
        """Return when the queue answers; raise `UnavailableError` otherwise."""
        ...


class DeadLetters(Protocol):
    """The dead letters, to be looked at and to be tried again."""

    def held(self, *, most: int | None = None) -> AbstractAsyncContextManager[list[DeadLetter]]:
        """All letters, or so many, hidden from others while the block lasts."""
        ...

    async def send_back(self, names: Sequence[str] = ()) -> Redriven:
        """Send letters to the queue again: those that are named, or all. Raises `LetterNotFoundError` where a name means none."""
        ...
