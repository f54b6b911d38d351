"""Files whose bytes come by ``/s3/``: announced, found again by their key, given up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from aiohttp import web

from vproc.api.access import caller_of, may_see
from vproc.api.announce import announce, check_size, checked_profile, object_metadata, quotas_of
from vproc.api.models import content_type_of
from vproc.api.parts import AUDITED_FILE, Parts, parts_of
from vproc.api.s3_models import S3File
from vproc.core.files import File, Status
from vproc.core.idempotency import Announced, IdempotencyKey
from vproc.core.keys import file_id_in_key, upload_key
from vproc.core.leases import NewFile
from vproc.errors import NotFoundError

PROFILE = "profile"
PROLONG_EVERY = timedelta(minutes=1)
_UNKNOWN = "There is no such upload."
_ARRIVED = frozenset({Status.UPLOADED, Status.PROCESSING, Status.COMPLETED, Status.FAILED})

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file that is to be announced, checked. ``object_metadata`` travels with the object."""

    new: NewFile
    content_type: str
    object_metadata: dict[str, str]


def wanted_file(request: web.Request, asked: S3File) -> Wanted:
    """The file that was asked for. Raises 422 for an unknown profile, 413 for a size over the limit."""
    parts, caller = parts_of(request), caller_of(request)
    metadata = dict(asked.metadata)
    profile = checked_profile(metadata.pop(PROFILE, None), parts.limits)
    check_size(asked.size, parts.limits)
    file_id, traceparent = parts.new_id(), parts.tracer.traceparent()
    carried = object_metadata(profile, parts.limits, traceparent=traceparent)
    content_type = asked.type or content_type_of(asked.filename)
    new = NewFile(
        file_id=file_id,
        owner=caller.owner,
        file_name=asked.filename,
        bucket=parts.raw.bucket,
        key=upload_key(caller.owner, file_id, asked.filename),
        profile=profile,
        content_type=content_type,
        size_bytes=asked.size,
        metadata=metadata,
        callback_url=None,
        upload_expires_at=datetime.now(UTC) + timedelta(seconds=parts.limits.upload_expires_s),
        traceparent=traceparent,
    )
    return Wanted(new=new, content_type=content_type, object_metadata=carried)


async def announce_wanted(
    request: web.Request, wanted: Wanted, *, by: str, idempotency: IdempotencyKey | None = None
) -> Announced:
    """Make it, within the caller's quotas."""
    announced = await announce(parts_of(request), caller_of(request), wanted.new, key=idempotency)
    file = announced.file
    request[AUDITED_FILE] = file.file_id
    log.info(
        "upload_announced",
        file_id=str(file.file_id),
        profile=file.profile,
        size_bytes=file.size_bytes,
        by=by,
        replayed=announced.replayed,
    )
    return announced


async def file_of_key(request: web.Request, key: str) -> File | None:
    """The caller's file of that key; None for a key that is none, one that has no file, and another's."""
    file_id = file_id_in_key(key)
    file = await parts_of(request).catalog.get(file_id) if file_id is not None else None
    return file if file is not None and file.key == key and may_see(caller_of(request), file) else None


async def own_upload(request: web.Request, key: str, upload_id: str) -> File:
    """The caller's file that this upload makes. One `NotFoundError` for all that it is not."""
    file = await file_of_key(request, key)
    if file is None or file.upload_id != upload_id:
        raise unknown_upload()
    request[AUDITED_FILE] = file.file_id
    return file


async def waiting_upload(request: web.Request, key: str, upload_id: str) -> File:
    """The same, where parts may still be sent."""
    file = await own_upload(request, key, upload_id)
    if not is_waiting(file):
        raise unknown_upload()
    return file


def unknown_upload() -> NotFoundError:
    """Always the same words."""
    return NotFoundError(_UNKNOWN)


def is_waiting(file: File) -> bool:
    """Whether parts may still be sent."""
    return file.upload_open and file.status is Status.PENDING


def is_joined(file: File) -> bool:
    """Whether its parts are known to have become an object, by us or because its event came."""
    return file.status in _ARRIVED or (file.status is Status.PENDING and not file.upload_open)


async def prolong(request: web.Request, file: File, until: datetime) -> None:
    """Let a file wait for as long as what was just signed for it holds; a write a minute at most. Raises 429 where its address
    had expired and its place is taken: then what was signed is not to be given out."""
    parts, ends = parts_of(request), file.upload_expires_at
    if ends is None or until - ends >= PROLONG_EVERY or ends <= datetime.now(UTC):
        quotas = quotas_of(parts, caller_of(request))
        await parts.catalog.prolong_upload(file.file_id, until=until, quotas=quotas)


async def give_up_upload(parts: Parts, file: File) -> None:
    """Abort a file's upload in parts; nothing where it has none. What fails here the janitor does later."""
    if file.upload_id is not None:
        await parts.multipart.abort(file.key, file.upload_id)
        await parts.catalog.upload_ended(file.file_id)


def seconds_until(expires_at: datetime) -> int:
    """Whole seconds from now, one at least."""
    return max(1, math.floor((expires_at - datetime.now(UTC)).total_seconds()))
