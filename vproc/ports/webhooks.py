"""Events on their way out. Adapters: `db.outbox` keeps them, `outgoing` sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from vproc.core.webhook_delivery import Sent


@dataclass(frozen=True, slots=True)
class DueEvent:
    """An event that is ours to send until its lease ends. ``attempt`` counts this one; ``disabled``: its address answered that
    it wants no more. ``traceparent`` is its file's."""

    event_id: str
    token: str
    type: str
    body: bytes
    url: str
    host: str
    attempt: int
    disabled: bool
    file_id: UUID | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event as it stands. Neither ``delivered_at`` nor ``failed_at``: it waits for ``next_attempt_at``."""

    event_id: str
    file_id: UUID
    type: str
    url: str
    attempts: int
    last_result: str | None
    created_at: datetime
    next_attempt_at: datetime
    delivered_at: datetime | None
    failed_at: datetime | None


class Outbox(Protocol):
    """Events that are to be told. Every method may raise `UnavailableError`."""

    async def take_due(self, *, limit: int, per_host: int, running: Mapping[str, int], lease_s: float) -> tuple[DueEvent, ...]:
        """Lease events that are due, longest waiting first, so many to a host at most with those that run. One whose holder
        vanished is due again when its lease has ended."""
        ...

    async def event_delivered(self, event: DueEvent, result: str) -> bool:
        """It is told. False, here and below: the lease is somebody else's by now, and nothing was written."""
        ...

    async def event_postponed(self, event: DueEvent, result: str, *, delay_s: float) -> bool:
        """It is due again after that time."""
        ...

    async def event_given_back(self, event: DueEvent) -> bool:
        """It was broken off: it is due at once, and the attempt does not count."""
        ...

    async def event_given_up(self, event: DueEvent, result: str, *, disable: bool) -> bool:
        """It is not sent any more; ``disable``: nor is anything else to its address."""
        ...


class WebhookSender(Protocol):
    """One request to somebody else's server."""

    async def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Sent:
        """POST these bytes. Trouble with the other side is an answer, never an exception."""
        ...
