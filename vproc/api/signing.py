"""What a client may have signed beside parts: a form for one object, and single requests for Uppy 6's ``signRequest``, which
speaks to the bucket by itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from aiohttp import web

from vproc.api.announce import object_metadata
from vproc.api.body import read_body, read_pairs_query, validated
from vproc.api.parts import AUDITED_FILE, Parts, parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, Route
from vproc.api.s3_files import (
    announce_wanted,
    file_of_key,
    is_joined,
    is_waiting,
    prolong,
    seconds_until,
    unknown_upload,
    wanted_file,
)
from vproc.api.s3_models import FormAddress, S3File, SignedRequest, SignRequest
from vproc.api.uploads import MAX_PUT_BYTES
from vproc.core.files import File, Status
from vproc.core.leases import NewFile
from vproc.errors import ConflictError, InvalidRequestError, RequestError, TooManyRequestsError
from vproc.ports import PartsCall, PresignedRequest

_TAKES = (
    "method: takes PUT or POST with key to begin; PUT with key, uploadId and partNumber; "
    "GET, POST or DELETE with key and uploadId."
)
_CALLS = {"GET": PartsCall.LIST, "POST": PartsCall.COMPLETE, "DELETE": PartsCall.ABORT}


async def sign_form(request: web.Request) -> web.Response:
    """Announce a file, and a form that takes it."""
    parts = parts_of(request)
    wanted = wanted_file(request, read_pairs_query(request, S3File, pairs="metadata"))
    form = await parts.multipart.sign_form(
        wanted.new.key,
        content_type=wanted.content_type,
        max_bytes=min(parts.limits.max_upload_bytes, MAX_PUT_BYTES),
        metadata=wanted.object_metadata,
    )
    timed = replace(wanted, new=replace(wanted.new, upload_expires_at=form.expires_at))
    await announce_wanted(request, timed, by="form")
    return reply(FormAddress(url=form.url, fields=form.fields, expires=seconds_until(form.expires_at)))


async def no_credentials(request: web.Request) -> web.Response:
    """Refuse: such credentials could write every key of the bucket."""
    parts_of(request)
    raise RequestError(
        "No credentials are given out: leave getTemporarySecurityCredentials off, and every request is signed here."
    )


async def sign_request(request: web.Request) -> web.Response:
    """Sign one request, for a key of the caller's own."""
    asked = await read_body(request, SignRequest)
    if asked.upload_id is None:
        return reply(await _first(request, asked))
    if (asked.method == "PUT") is not (asked.part_number is not None):
        raise InvalidRequestError(_TAKES)
    return reply(SignedRequest(url=(await _later(request, asked, asked.upload_id)).url))


async def _first(request: web.Request, asked: SignRequest) -> SignedRequest:
    """The object whole, or the begin of its upload in parts. The key is ours: the client's is but a name."""
    if asked.method == "DELETE":
        raise InvalidRequestError("method: DELETE without uploadId deletes an object, which DELETE /upload/{file_id} does.")
    if asked.method == "GET" or asked.part_number is not None:
        raise InvalidRequestError(_TAKES)
    parts = parts_of(request)
    known = await file_of_key(request, asked.key)
    if known is not None and known.status is Status.PENDING and known.upload_id is None:
        # Asked again for what was announced before: another file would take another of the caller's places.
        request[AUDITED_FILE] = known.file_id
        signed = await _sign_first(parts, asked, known)
        await prolong(request, known, signed.expires_at)
        return _told(signed, known.key)
    offered = {"filename": asked.key, "type": asked.content_type, "metadata": asked.metadata, "size": asked.size}
    wanted = wanted_file(request, validated(S3File, offered))
    signed = await _sign_first(parts, asked, wanted.new)
    timed = replace(wanted, new=replace(wanted.new, upload_expires_at=signed.expires_at))
    await announce_wanted(request, timed, by="sign")
    return _told(signed, wanted.new.key)


async def _sign_first(parts: Parts, asked: SignRequest, file: File | NewFile) -> PresignedRequest:
    if asked.method == "POST":
        return await parts.multipart.sign_call(PartsCall.CREATE, file.key)
    return await parts.presigner.put(
        file.key,
        content_type=file.content_type or "application/octet-stream",
        size_bytes=file.size_bytes,
        metadata=object_metadata(file.profile, parts.limits, traceparent=file.traceparent),
    )


def _told(signed: PresignedRequest, key: str) -> SignedRequest:
    return SignedRequest(url=signed.url, key=key, headers=signed.headers or None)


async def _later(request: web.Request, asked: SignRequest, upload_id: str) -> PresignedRequest:
    """A call of an upload in parts that the client began."""
    parts = parts_of(request)
    file = await _bound(request, asked.key, upload_id)
    if asked.part_number is not None:
        if not is_waiting(file):
            raise unknown_upload()
        signed = await parts.multipart.sign_part(file.key, upload_id, asked.part_number)
        await prolong(request, file, signed.expires_at)
        return signed
    call = _CALLS[asked.method]
    if not is_waiting(file) and (call is not PartsCall.COMPLETE or not is_joined(file)):
        raise unknown_upload()
    signed = await parts.multipart.sign_call(call, file.key, upload_id)
    if call is PartsCall.ABORT:
        # It says that it gives up; should it not come to it, the janitor does.
        with suppress(ConflictError):  # it arrived and is done already
            await parts.catalog.request_cancel(file.file_id)
    else:
        # Neither a look nor the joining takes anything in, so neither waits for a place.
        with suppress(TooManyRequestsError):
            await prolong(request, file, signed.expires_at)
    return signed


async def _bound(request: web.Request, key: str, upload_id: str) -> File:
    """The caller's file that this upload makes. The client began it, so the first that the bucket knows is taken for it: an
    address to begin another is of no use to anybody."""
    parts = parts_of(request)
    file = await file_of_key(request, key)
    if file is None:
        raise unknown_upload()
    request[AUDITED_FILE] = file.file_id
    if file.upload_id is None and file.status is Status.PENDING:
        await parts.multipart.list_parts(file.key, upload_id)
        if await parts.catalog.bind_upload(file.file_id, upload_id) == upload_id:
            file = replace(file, upload_id=upload_id, upload_open=True)
    if file.upload_id != upload_id:
        raise unknown_upload()
    return file


ROUTES = (
    Route(
        method="GET",
        path="/s3/params",
        handler=sign_form,
        access=Access.IDENTITY,
        summary="Announce a file and get a form that takes it",
        description="For one POST of `multipart/form-data`: each field as it is, then the file. `metadata[NAME]=VALUE` as often "
        "as there are pairs; `metadata[profile]` says what to make of it.",
        answers=(Answer(200, "The form", FormAddress),),
        tag="s3",
        query=S3File,
        problems=(413, 422, 503),
        audit="form.announce",
    ),
    Route(
        method="GET",
        path="/s3/sts",
        handler=no_credentials,
        access=Access.IDENTITY,
        summary="Refused: no credentials are given out",
        answers=(),
        tag="s3",
        problems=(400,),
    ),
    Route(
        method="POST",
        path="/s3/sign",
        handler=sign_request,
        access=Access.IDENTITY,
        summary="Sign a request of Uppy's signRequest",
        description="PUT or POST without `uploadId` announces a file, under a key of ours. DELETE without it is refused.",
        answers=(Answer(200, "What to ask", SignedRequest),),
        tag="s3",
        body=SignRequest,
        problems=(400, 404, 408, 413, 415, 422, 503),
        audit="upload.sign",
    ),
)
