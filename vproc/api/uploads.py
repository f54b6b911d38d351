"""Uploads and their files: announce, status, list, cancel, retry, delete. No byte of media passes through here."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlencode

import anyio
import structlog
from aiohttp import web

from vproc.api.access import caller_of, own_file
from vproc.api.announce import (
    IDEMPOTENCY_KEY,
    REPLAYED,
    announce,
    check_size,
    checked_profile,
    object_metadata,
    read_idempotency_key,
)
from vproc.api.body import read_body, read_query
from vproc.api.ending import to_its_end
from vproc.api.models import FilePage, FileStatus, ListQuery, UploadAddress, UploadRequest, content_type_of
from vproc.api.originals import remove_original, standing_original
from vproc.api.parts import AUDITED_FILE, Limits, Parts, parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, AnswerHeader, Header, Route
from vproc.api.s3_files import give_up_upload
from vproc.core.fairness import message_group
from vproc.core.files import RETRYABLE, File, FileError, Status
from vproc.core.keys import file_prefix, upload_key
from vproc.core.leases import NewFile
from vproc.core.webhook_target import TargetError, read_target
from vproc.errors import (
    ConflictError,
    ErrorCode,
    InvalidRequestError,
    PayloadTooLargeError,
    ServiceUnavailableError,
    VprocError,
)
from vproc.settings import GIB

MAX_PUT_BYTES = 5 * GIB
"""What S3 takes in one PUT."""
_ENDING_WITHIN_S = 10.0
_SWEEP_WITHIN_S = 15.0

log = structlog.stdlib.get_logger(__name__)


async def create(request: web.Request) -> web.Response:
    """Announce an upload: the catalog knows the file before anybody has its address."""
    parts = parts_of(request)
    wanted = await read_body(request, UploadRequest)
    profile = checked_profile(wanted.profile, parts.limits)
    _check_size(wanted.size, parts.limits)
    _check_callback(wanted.callback_url, parts.limits)
    idempotency = await read_idempotency_key(request)
    caller = caller_of(request)
    owner = caller.owner
    file_id = parts.new_id()
    key = upload_key(owner, file_id, wanted.file_name)
    content_type = wanted.content_type or content_type_of(wanted.file_name)
    traceparent = parts.tracer.traceparent()
    metadata = object_metadata(profile, parts.limits, traceparent=traceparent)
    signed = await parts.presigner.put(key, content_type=content_type, size_bytes=wanted.size, metadata=metadata)
    new = NewFile(
        file_id=file_id,
        owner=owner,
        file_name=wanted.file_name,
        bucket=parts.raw.bucket,
        key=key,
        profile=profile,
        content_type=content_type,
        size_bytes=wanted.size,
        metadata=wanted.metadata,
        callback_url=wanted.callback_url,
        upload_expires_at=signed.expires_at,
        traceparent=traceparent,
    )
    announced = await announce(parts, caller, new, key=idempotency)
    file = announced.file
    request[AUDITED_FILE] = file.file_id
    if announced.replayed:
        metadata = object_metadata(file.profile, parts.limits, traceparent=file.traceparent)
        signed = await parts.presigner.put(file.key, content_type=content_type, size_bytes=wanted.size, metadata=metadata)
    log.info("upload_announced", file_id=str(file.file_id), profile=profile, size_bytes=wanted.size, replayed=announced.replayed)
    address = UploadAddress(
        file_id=file.file_id,
        s3_key=file.key,
        upload_url=signed.url,
        method="PUT",
        headers=signed.headers,
        expires_at=signed.expires_at,
        profile=file.profile,
    )
    return reply(address, status=201, headers={REPLAYED: "true"} if announced.replayed else {})


async def status(request: web.Request) -> web.Response:
    """The file as it stands."""
    return reply(FileStatus.of(await own_file(request)))


async def listing(request: web.Request) -> web.Response:
    """The caller's files; everybody's for an admin."""
    query = read_query(request, ListQuery)
    caller = caller_of(request)
    page = await parts_of(request).catalog.list(
        owner=None if caller.admin else caller.owner, status=query.status, limit=query.limit, cursor=query.cursor
    )
    headers = {}
    if page.cursor is not None:
        following = {"status": query.status, "limit": query.limit, "cursor": page.cursor}
        asked = urlencode({name: value for name, value in following.items() if value is not None})
        headers["Link"] = f'<{request.path}?{asked}>; rel="next"'
    files = tuple(FileStatus.of(file) for file in page.files)
    return reply(FilePage(uploads=files, cursor=page.cursor), headers=headers)


async def cancel(request: web.Request) -> web.Response:
    """Cancel: at once where nobody works on it, else the worker hears of it."""
    file = await own_file(request)
    parts = parts_of(request)
    told = await parts.catalog.request_cancel(file.file_id)
    log.info("cancel_requested", file_id=str(file.file_id), status=told.status)
    if told.upload_open and told.status is Status.CANCELLED:
        await _tried(partial(give_up_upload, parts, told), told, "upload")
    return reply(FileStatus.of(told), status=200 if told.status is Status.CANCELLED else 202)


async def retry(request: web.Request) -> web.Response:
    """Process again, while the original stands."""
    parts = parts_of(request)
    file = await own_file(request)
    if file.status not in RETRYABLE:
        raise ConflictError(f"Only a failed or cancelled file can be tried again; this one is {file.status}.")
    if await standing_original(parts.raw, file) is None:
        raise ConflictError("The original is not there any more, so there is nothing to process again: upload it anew.")
    reopened: list[File] = []

    async def reopen_and_send() -> None:
        opened = await parts.catalog.reopen(file.file_id)
        try:
            await parts.queue.send(_job_message(opened), group=message_group(opened.owner))
        except VprocError as error:
            log.warning("retry_not_sent", file_id=str(file.file_id), error=str(error))
            away = FileError(ErrorCode.DEPENDENCY_UNAVAILABLE, "the queue did not take the message of a retry", retryable=True)
            await parts.catalog.fail_unclaimed(file.file_id, away)
            raise ServiceUnavailableError("The queue did not take the job; the file is as it was. Try again shortly.") from error
        reopened.append(opened)

    # A file that is open without a message in the queue would wait for ever, so these two go together.
    await to_its_end(reopen_and_send, within_s=_ENDING_WITHIN_S)
    log.info("retry_requested", file_id=str(file.file_id))
    return reply(FileStatus.of(reopened[0]), status=202)


async def delete(request: web.Request) -> web.Response:
    """Forget the file, then remove its objects as well as that goes."""
    parts = parts_of(request)
    file = await own_file(request)
    if file.status is Status.PROCESSING:
        raise ConflictError(
            "The file is being processed. Cancel it first, and delete it once it is cancelled: "
            f"POST /upload/{file.file_id}/cancel."
        )

    async def bury_and_sweep() -> None:
        buried = await parts.catalog.bury(file.file_id)
        log.info("file_deleted", file_id=str(file.file_id), status=buried.status)
        await _sweep(parts, buried)

    await to_its_end(bury_and_sweep, within_s=_ENDING_WITHIN_S + _SWEEP_WITHIN_S)
    return web.Response(status=204)


async def _sweep(parts: Parts, file: File) -> None:
    """Remove the original, its parts and the outputs of a file that is forgotten already. What cannot be removed now is logged
    and left: the janitor sweeps prefixes that no file has, and the raw bucket's lifecycle ends originals."""

    async def original() -> None:
        await remove_original(parts.raw, file)

    async def outputs() -> None:
        await parts.processed.delete_prefix(file_prefix(file.file_id))

    with anyio.move_on_after(_SWEEP_WITHIN_S) as scope:
        if file.upload_open:
            await _tried(partial(give_up_upload, parts, file), file, "upload")
        await _tried(original, file, "original")
        await _tried(outputs, file, "outputs")
    if scope.cancelled_caught:
        log.warning("file_remains_left", file_id=str(file.file_id), what="some", error=f"not done within {_SWEEP_WITHIN_S:g} s")


async def _tried(removal: Callable[[], Awaitable[None]], file: File, what: str) -> None:
    try:
        await removal()
    except VprocError as error:
        log.warning("file_remains_left", file_id=str(file.file_id), what=what, error=str(error))


def _job_message(file: File) -> str:
    return json.dumps({"bucket": file.bucket, "key": file.key, "file_id": str(file.file_id), "profile": file.profile})


def _check_callback(url: str | None, limits: Limits) -> None:
    """What a name resolves to is looked at when it is sent to: it may change until then."""
    if url is None:
        return
    try:
        read_target(url, limits.webhook_hosts)
    except TargetError as error:
        rule = "takes an https:// address on the internet, or a host that VPROC_WEBHOOK_ALLOWED_HOSTS names"
        raise InvalidRequestError(f"callback_url: {error}; it {rule}.") from None


def _check_size(size_bytes: int | None, limits: Limits) -> None:
    check_size(size_bytes, limits)
    if size_bytes is not None and size_bytes > MAX_PUT_BYTES:
        raise PayloadTooLargeError(f"size: one PUT takes {MAX_PUT_BYTES} bytes at most; upload in parts by /s3/multipart.")


_REPLAYED = AnswerHeader(REPLAYED, "`true`: the same request made this file before", always=False)
_NEXT_PAGE = AnswerHeader("Link", 'The next page\'s address, with `rel="next"`', always=False)

ROUTES = (
    Route(
        method="POST",
        path="/upload",
        handler=create,
        access=Access.IDENTITY,
        summary="Announce an upload and get its address",
        description="PUT the bytes to `upload_url` with exactly the `headers` given, once, before `expires_at`.",
        answers=(Answer(201, "Where to put the bytes", UploadAddress, headers=(_REPLAYED,)),),
        body=UploadRequest,
        problems=(400, 408, 409, 413, 415, 422, 503),
        headers=(
            Header(
                IDEMPOTENCY_KEY,
                "Any text of your own. The same key and body within a day give the same file, with `Idempotent-Replayed: true`.",
                255,
            ),
        ),
        audit="upload.announce",
    ),
    Route(
        method="GET",
        path="/uploads",
        handler=listing,
        access=Access.IDENTITY,
        summary="The caller's files, newest first",
        description="Where there are more, the header `Link` holds the address of the next page.",
        answers=(Answer(200, "A page of files", FilePage, headers=(_NEXT_PAGE,)),),
        query=ListQuery,
        problems=(422, 503),
    ),
    Route(
        method="GET",
        path="/upload/{file_id}/status",
        handler=status,
        access=Access.IDENTITY,
        summary="A file as it stands",
        answers=(Answer(200, "The file", FileStatus),),
        problems=(404, 503),
    ),
    Route(
        method="POST",
        path="/upload/{file_id}/cancel",
        handler=cancel,
        access=Access.IDENTITY,
        summary="Cancel a file that is pending, uploaded or being processed",
        answers=(Answer(200, "Cancelled", FileStatus), Answer(202, "The worker was told", FileStatus)),
        audit="file.cancel",
        problems=(404, 409, 503),
    ),
    Route(
        method="POST",
        path="/upload/{file_id}/retry",
        handler=retry,
        access=Access.IDENTITY,
        summary="Process a failed or cancelled file again",
        answers=(Answer(202, "Back in the queue", FileStatus),),
        audit="file.retry",
        problems=(404, 409, 503),
    ),
    Route(
        method="DELETE",
        path="/upload/{file_id}",
        handler=delete,
        access=Access.IDENTITY,
        summary="Delete a file, its original and its outputs",
        answers=(Answer(204, "Deleted"),),
        audit="file.delete",
        problems=(404, 409, 503),
    ),
)
