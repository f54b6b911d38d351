"""The outbox: events written in the transaction that makes them true, leased to whoever delivers them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import File
from vproc.core.webhook import event_payload, event_type
from vproc.db.clock import DatabaseNow, instant
from vproc.db.engine import Database
from vproc.db.rows import insert_absent
from vproc.db.tables import disabled_endpoints, files, outbox
from vproc.ports import DueEvent, OutboxEvent

KEPT_S = 30 * 86400.0
"""How long an event stands after its end: `vproc webhooks redeliver` may be wanted by then, hardly later."""
DISABLED_S = 90 * 86400.0
"""How long nothing is sent to an address that answered 410."""
_FORGET_AT_MOST = 1000


async def announce(connection: AsyncConnection, file: File) -> None:
    """Note the event of a file that has just come to its state, due at once; nothing where it has no ``callback_url``.

    The id is the ``webhook-id``, and the payload is kept as text: both are the same at every delivery.
    """
    if file.callback_url is None:
        return
    at = file.updated_at.timestamp()
    await connection.execute(
        insert(outbox).values(
            id=f"msg_{uuid4().hex}",
            file_id=file.file_id,
            type=event_type(file.status),
            payload=json.dumps(event_payload(file), ensure_ascii=False, separators=(",", ":")),
            created_at=at,
            next_attempt_at=at,
            host=_host(file.callback_url),
        )
    )


class OutboxMethods:
    """What `ports.Outbox` says, and what the command line asks."""

    _database: Database

    async def take_due(self, *, limit: int, per_host: int, running: Mapping[str, int], lease_s: float) -> tuple[DueEvent, ...]:
        """Two steps: a look that locks nothing, then the claim of what was seen, where that is still due."""
        full = [host for host, count in running.items() if count >= per_host]
        async with self._database.read() as connection:
            seen = (await connection.execute(_due(limit=limit, per_host=per_host, full=full))).all()
        counts, ids = Counter(running), []
        for row in seen:
            if counts[row.host] < per_host:
                counts[row.host] += 1
                ids.append(row.id)
        if not ids:
            return ()
        token = uuid4().hex
        still_due = select(outbox.c.id).where(outbox.c.id.in_(ids), *_WAITING).with_for_update(skip_locked=True)
        async with self._database.write() as connection:
            ours = (await connection.execute(still_due)).scalars().all()
            await connection.execute(
                update(outbox)
                .where(outbox.c.id.in_(ours))
                .values(lease_token=token, attempts=outbox.c.attempts + 1, next_attempt_at=DatabaseNow() + lease_s)
            )
            taken = (
                (await connection.execute(_EVENTS.where(outbox.c.id.in_(ours)).order_by(outbox.c.created_at))).mappings().all()
            )
            digests = [_digest(row["callback_url"]) for row in taken]
            found = await connection.execute(select(disabled_endpoints.c.digest).where(disabled_endpoints.c.digest.in_(digests)))
            disabled = set(found.scalars())
        return tuple(_due_event(row, disabled=digest in disabled) for row, digest in zip(taken, digests, strict=True))

    async def event_delivered(self, event: DueEvent, result: str) -> bool:
        """It is told."""
        async with self._database.write() as connection:
            return await _settle(connection, event, last_result=result, delivered_at=DatabaseNow())

    async def event_postponed(self, event: DueEvent, result: str, *, delay_s: float) -> bool:
        """It is due again after that time."""
        async with self._database.write() as connection:
            return await _settle(connection, event, last_result=result, next_attempt_at=DatabaseNow() + delay_s)

    async def event_given_back(self, event: DueEvent) -> bool:
        """It was broken off: it is due at once, and the attempt does not count."""
        async with self._database.write() as connection:
            return await _settle(connection, event, attempts=outbox.c.attempts - 1, next_attempt_at=DatabaseNow())

    async def event_given_up(self, event: DueEvent, result: str, *, disable: bool) -> bool:
        """It is not sent any more; ``disable``: nor is anything else to its address."""
        async with self._database.write() as connection:
            ours = await _settle(connection, event, last_result=result, failed_at=DatabaseNow())
            if ours and disable:
                values = {"digest": _digest(event.url), "url": event.url, "disabled_at": DatabaseNow()}
                await connection.execute(insert_absent(connection, disabled_endpoints).values(**values))
        return ours

    async def list_events(self, *, limit: int) -> tuple[OutboxEvent, ...]:
        """The newest events, newest first."""
        async with self._database.read() as connection:
            found = await connection.execute(_EVENTS.order_by(outbox.c.created_at.desc(), outbox.c.id).limit(limit))
            return tuple(_outbox_event(row) for row in found.mappings())

    async def disabled_urls(self) -> tuple[str, ...]:
        """Addresses that answered that they want no more."""
        async with self._database.read() as connection:
            found = await connection.execute(select(disabled_endpoints.c.url).order_by(disabled_endpoints.c.disabled_at))
            return tuple(found.scalars())

    async def redeliver(self, event_id: str | None) -> int:
        """Make an event due as if it were new, delivered or not; without an id all that were given up. How many. Their addresses
        are sent to again."""
        which = outbox.c.id == event_id if event_id is not None else outbox.c.failed_at.is_not(None)
        values = {"attempts": 0, "delivered_at": None, "failed_at": None, "lease_token": None, "next_attempt_at": DatabaseNow()}
        async with self._database.write() as connection:
            urls = (await connection.execute(_EVENTS.where(which))).mappings().all()
            digests = {_digest(row["callback_url"]) for row in urls}
            for digest in digests:
                await connection.execute(delete(disabled_endpoints).where(disabled_endpoints.c.digest == digest))
            changed = await connection.execute(update(outbox).where(which).values(**values).returning(outbox.c.id))
            return len(changed.all())

    async def forget_disabled(self, *, older_than_s: float = DISABLED_S) -> int:
        """Forget addresses that wanted no more that long ago. How many. One that still wants none says so again."""
        old = disabled_endpoints.c.disabled_at < DatabaseNow() - older_than_s
        async with self._database.write() as connection:
            gone = await connection.execute(delete(disabled_endpoints).where(old).returning(disabled_endpoints.c.digest))
            return len(gone.all())

    async def forget_events(self, *, older_than_s: float = KEPT_S) -> int:
        """Forget events that were told, or given up, that long ago; a thousand at a time. How many."""
        ended_at = func.coalesce(outbox.c.delivered_at, outbox.c.failed_at)
        old = select(outbox.c.id).where(ended_at < DatabaseNow() - older_than_s).limit(_FORGET_AT_MOST)
        async with self._database.read() as connection:
            ids = (await connection.execute(old)).scalars().all()
        if not ids:
            return 0
        async with self._database.write() as connection:
            # Looked at again: one of them may have been made due meanwhile.
            gone = await connection.execute(
                delete(outbox).where(outbox.c.id.in_(ids), ended_at.is_not(None)).returning(outbox.c.id)
            )
            return len(gone.all())


_WAITING = (outbox.c.delivered_at.is_(None), outbox.c.failed_at.is_(None), outbox.c.next_attempt_at <= DatabaseNow())
_EVENTS = select(outbox, files.c.callback_url, files.c.traceparent).join(files, files.c.file_id == outbox.c.file_id)


def _due(*, limit: int, per_host: int, full: list[str]) -> Any:
    """The events that wait, numbered by host, so that a host with a thousand of them hides no other."""
    host: ColumnElement[str] = func.coalesce(outbox.c.host, "")
    place = func.row_number().over(partition_by=host, order_by=outbox.c.next_attempt_at)
    waiting = (
        select(outbox.c.id, host.label("host"), outbox.c.next_attempt_at, place.label("place"))
        .where(*_WAITING, host.not_in(full))
        .subquery()
    )
    chosen = select(waiting.c.id, waiting.c.host).where(waiting.c.place <= per_host)
    return chosen.order_by(waiting.c.next_attempt_at, waiting.c.id).limit(limit)


async def _settle(connection: AsyncConnection, event: DueEvent, **values: Any) -> bool:
    changed = await connection.execute(
        update(outbox)
        .where(outbox.c.id == event.event_id, outbox.c.lease_token == event.token)
        .values(lease_token=None, **values)
        .returning(outbox.c.id)
    )
    return changed.one_or_none() is not None


def _due_event(row: RowMapping, *, disabled: bool) -> DueEvent:
    return DueEvent(
        event_id=row["id"],
        token=row["lease_token"],
        type=row["type"],
        body=row["payload"].encode(),
        url=row["callback_url"],
        host=row["host"] or "",
        attempt=row["attempts"],
        disabled=disabled,
        file_id=row["file_id"],
        traceparent=row["traceparent"],
    )


def _outbox_event(row: RowMapping) -> OutboxEvent:
    return OutboxEvent(
        event_id=row["id"],
        file_id=row["file_id"],
        type=row["type"],
        url=row["callback_url"],
        attempts=row["attempts"],
        last_result=row["last_result"],
        created_at=instant(row["created_at"]),
        next_attempt_at=instant(row["next_attempt_at"]),
        delivered_at=None if row["delivered_at"] is None else instant(row["delivered_at"]),
        failed_at=None if row["failed_at"] is None else instant(row["failed_at"]),
    )


def _host(url: str) -> str:
    with suppress(ValueError):
        return (urlsplit(url).hostname or "").lower()
    return ""


def _digest(url: str) -> str:
    return sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
