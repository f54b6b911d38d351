"""A queue in memory with SQS's manners: at least once, a visibility timeout, a new receipt handle at each receive."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import anyio

from tests.support.faults import Faults, ManualClock, faulty
from vproc.core.files import File
from vproc.errors import ErrorCode
from vproc.ports import Message, QueueDepth
from vproc.usage import current_usage

SQS_LONGEST_HOLD_S = 12 * 3600


@dataclass(slots=True)
class _Held:
    """A message in the queue. ``handle`` is that of its newest delivery."""

    message_id: str
    body: str
    sent_at: datetime
    attributes: Mapping[str, str]
    visible_at_s: float
    received_at_s: float = 0.0
    handle: str | None = None
    receive_count: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What lies in the dead-letter queue. ``code`` is None where the redrive policy put it there."""

    body: str
    code: ErrorCode | None = None
    detail: str = ""
    file_id: UUID | None = None


class MemoryQueue(Faults):
    """A standard SQS queue: at least once, a new receipt handle at each receive, stale handles refused.

    A poll waits ``longest_wait_s`` of real time at most. A poll that is cancelled while it waits goes on at the server, as
    with SQS: what arrives in its time is handed to nobody, and is visible again only after the timeout.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        visibility_timeout_s: float = 30,
        max_receive_count: int | None = None,
        longest_wait_s: float = 0.05,
    ) -> None:
        super().__init__()
        self.clock = clock
        self.visibility_timeout_s = visibility_timeout_s
        self.max_receive_count = max_receive_count
        self.longest_wait_s = longest_wait_s
        self.dead: list[DeadLetter] = []
        self.groups: list[str | None] = []
        self._messages: dict[str, _Held] = {}
        self._numbers = itertools.count(1)
        self._arrived = anyio.Event()
        self._abandoned_until_s = float("-inf")
        if isinstance(clock, ManualClock):
            clock.listeners.append(self._wake)

    async def begin(self, method: str) -> BaseException | None:
        """Counted for the job too, as the adapter does."""
        current_usage().sqs_requests[method] += 1
        return await super().begin(method)

    @property
    def bodies(self) -> list[str]:
        """Bodies of all messages that are not deleted, in flight or not, oldest first."""
        return [held.body for held in self._messages.values()]

    @property
    def visible(self) -> int:
        """How many messages a receive could get now."""
        return sum(held.visible_at_s <= self.clock() for held in self._messages.values())

    @faulty
    async def receive(self, *, max_messages: int, wait_s: int) -> list[Message]:
        """As the port says; gives up after ``longest_wait_s`` of real time."""
        asked_at = self.clock()
        if (taken := self._take(max_messages, asked_at)) or wait_s <= 0:
            return taken
        deadline = time.monotonic() + min(wait_s, self.longest_wait_s)
        try:
            while not taken and (left_s := deadline - time.monotonic()) > 0:
                with anyio.move_on_after(max(0.001, min(left_s, self._next_visible_in_s()))):
                    await self._arrived.wait()
                taken = self._take(max_messages, asked_at)
        except BaseException:
            self._abandoned_until_s = max(self._abandoned_until_s, asked_at + wait_s)
            raise
        return taken

    @faulty
    async def extend(self, receipt_handle: str, *, timeout_s: int) -> bool:
        """As the port says; never beyond 12 hours from the receive."""
        held = self._in_flight(receipt_handle)
        if held is None:
            return False
        held.visible_at_s = min(self.clock() + timeout_s, held.received_at_s + SQS_LONGEST_HOLD_S)
        return True

    @faulty
    async def release(self, receipt_handle: str, *, delay_s: int = 0) -> None:
        """As the port says."""
        if held := self._in_flight(receipt_handle):
            held.visible_at_s = self.clock() + delay_s
            self._wake()

    @faulty
    async def delete(self, receipt_handle: str) -> None:
        """As the port says. As with SQS, the newest handle deletes even after its time."""
        if held := self._by_handle(receipt_handle):
            del self._messages[held.message_id]

    @faulty
    async def send(self, body: str, *, group: str | None = None) -> None:
        """As the port says; the groups of all that was sent are in ``groups``, oldest first."""
        self.groups.append(group)
        self.put(body)

    @faulty
    async def dead_letter(self, message: Message, *, code: ErrorCode, detail: str, file: File | None = None) -> None:
        """As the port says; the copies are in ``dead``."""
        self.dead.append(DeadLetter(message.body, code, detail, file.file_id if file else None))

    @faulty
    async def depths(self) -> dict[str, QueueDepth]:
        """As the port says."""
        visible = self.visible
        main = QueueDepth(visible=visible, in_flight=len(self._messages) - visible, delayed=0)
        return {"main": main, "dlq": QueueDepth(visible=len(self.dead), in_flight=0, delayed=0)}

    @faulty
    async def check(self) -> None:
        """As the port says."""

    def put(self, body: str, *, attributes: Mapping[str, str] | None = None, delay_s: float = 0) -> str:
        """Send without being a call that can fail: what other programs do. The message's id."""
        message_id = f"message-{next(self._numbers)}"
        self._messages[message_id] = _Held(message_id, body, datetime.now(UTC), attributes or {}, self.clock() + delay_s)
        self._wake()
        return message_id

    def show_all(self) -> None:
        """Time passes, until every message is visible."""
        for held in self._messages.values():
            held.visible_at_s = min(held.visible_at_s, self.clock())
        self._wake()

    def duplicate(self, message_id: str) -> None:
        """Make a message in flight visible at once, its delivery still out: SQS delivers at least once."""
        self._messages[message_id].visible_at_s = self.clock()
        self._wake()

    def _wake(self) -> None:
        if self.clock() < self._abandoned_until_s and self._take(1, self.clock()):
            self._abandoned_until_s = float("-inf")
        self._arrived.set()
        self._arrived = anyio.Event()

    def _take(self, most: int, asked_at: float) -> list[Message]:
        taken = []
        for held in [held for held in self._messages.values() if held.visible_at_s <= self.clock()][:most]:
            if self.max_receive_count is not None and held.receive_count >= self.max_receive_count:
                del self._messages[held.message_id]
                self.dead.append(DeadLetter(held.body))
                continue
            held.receive_count += 1
            held.handle = f"handle-{held.message_id}-{next(self._numbers)}"
            held.received_at_s = self.clock()
            held.visible_at_s = held.received_at_s + self.visibility_timeout_s
            taken.append(
                Message(
                    message_id=held.message_id,
                    receipt_handle=held.handle,
                    body=held.body,
                    asked_at=asked_at,
                    sent_at=held.sent_at,
                    receive_count=held.receive_count,
                    attributes=dict(held.attributes),
                )
            )
        return taken

    def _next_visible_in_s(self) -> float:
        return min((held.visible_at_s for held in self._messages.values()), default=float("inf")) - self.clock()

    def _by_handle(self, receipt_handle: str) -> _Held | None:
        return next((held for held in self._messages.values() if held.handle == receipt_handle), None)

    def _in_flight(self, receipt_handle: str) -> _Held | None:
        held = self._by_handle(receipt_handle)
        return held if held is not None and held.visible_at_s > self.clock() else None
