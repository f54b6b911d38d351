"""The outbox: events written in the transaction that makes them true, to be delivered afterwards. Delivery is not here."""

from __future__ import annotations

import json
from uuid import uuid4

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import File
from vproc.core.webhook import event_payload, event_type
from vproc.db.tables import outbox


async def announce(connection: AsyncConnection, file: File) -> None:
    """Note the event of a file that has just reached its end, due at once; nothing where it has no ``callback_url``.

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
        )
    )
