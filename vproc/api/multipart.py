"""Uploads in parts as Uppy's S3 plugin asks for them (the routes of its Companion). No byte of media passes through here: parts
go straight to the bucket, by addresses that are signed one at a time."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from vproc.api.announce import IDEMPOTENCY_KEY, REPLAYED, read_idempotency_key
from vproc.api.body import MOST_BODY_BYTES, read_body, read_query
from vproc.api.ending import to_its_end
from vproc.api.parts import Parts, parts_of
from vproc.api.reply import reply
from vproc.api.route import Access, Answer, Header, Route
from vproc.api.s3_files import (
    Wanted,
    announce_wanted,
    give_up_upload,
    is_joined,
    own_upload,
    prolong,
    seconds_until,
    unknown_upload,
    waiting_upload,
    wanted_file,
)
from vproc.api.s3_models import (
    BatchQuery,
    JoinRequest,
    KeyQuery,
    Nothing,
    PartAddress,
    PartAddresses,
    S3File,
    StandingPart,
    StandingParts,
    UploadBegun,
    UploadJoined,
)
from vproc.core.files import File, Status
from vproc.core.parts import MOST_PARTS, joined_bytes
from vproc.errors import ConflictError, InvalidRequestError, NotFoundError, PayloadTooLargeError, VprocError
from vproc.ports import Part

_ENDING_WITHIN_S = 20.0


async def begin_multipart(request: web.Request) -> web.Response:
    """Announce a file and begin its upload in parts."""
    parts = parts_of(request)
    wanted = wanted_file(request, await read_body(request, S3File))
    idempotency = await read_idempotency_key(request)
    announced = await announce_wanted(request, wanted, by="multipart", idempotency=idempotency)
    file = announced.file
    upload_id = file.upload_id
    if upload_id is None:
        upload_id = await _begun(parts, wanted, file, keep=idempotency is not None)
    answer = UploadBegun(key=file.key, upload_id=upload_id, bucket=file.bucket)
    return reply(answer, headers={REPLAYED: "true"} if announced.replayed else {})


async def _begun(parts: Parts, wanted: Wanted, file: File, *, keep: bool) -> str:
    """The file's upload. Where it cannot be begun, the file goes too, unless the same request will ask for it again."""
    try:
        mine = await parts.multipart.create(file.key, content_type=wanted.content_type, metadata=wanted.object_metadata)
    except VprocError:
        if not keep:
            await parts.catalog.bury(file.file_id)
        raise
    bound = await parts.catalog.bind_upload(file.file_id, mine)
    if bound != mine:
        await parts.multipart.abort(file.key, mine)
    if bound is None:
        raise ConflictError("The file was cancelled or deleted meanwhile.")
    return bound


async def standing_parts(request: web.Request) -> web.Response:
    """Every part that the bucket has, so that a client goes on where it was."""
    parts = parts_of(request)
    file = await waiting_upload(request, read_query(request, KeyQuery).key, request.match_info["uploadId"])
    standing = await parts.multipart.list_parts(file.key, request.match_info["uploadId"])
    return reply(
        StandingParts(
            tuple(StandingPart(number=part.number, etag=f'"{part.etag}"', size_bytes=part.size_bytes or 0) for part in standing)
        )
    )


async def sign_one_part(request: web.Request) -> web.Response:
    """Where to put one part."""
    parts = parts_of(request)
    file = await waiting_upload(request, read_query(request, KeyQuery).key, request.match_info["uploadId"])
    number = _part_number(request.match_info["partNumber"])
    signed = await parts.multipart.sign_part(file.key, request.match_info["uploadId"], number)
    await prolong(request, file, signed.expires_at)
    return reply(PartAddress(url=signed.url, expires=seconds_until(signed.expires_at)))


async def sign_many_parts(request: web.Request) -> web.Response:
    """Where to put each of several parts."""
    parts = parts_of(request)
    query = read_query(request, BatchQuery)
    file = await waiting_upload(request, query.key, request.match_info["uploadId"])
    urls = {}
    for number in query.part_numbers:
        signed = await parts.multipart.sign_part(file.key, request.match_info["uploadId"], number)
        urls[str(number)] = signed.url
    await prolong(request, file, signed.expires_at)
    return reply(PartAddresses(presigned_urls=urls))


async def join_parts(request: web.Request) -> web.Response:
    """Make the object of its parts. The same again, once that is done, is answered the same."""
    parts = parts_of(request)
    key = read_query(request, KeyQuery).key
    asked = await read_body(request, JoinRequest, most_bytes=MOST_BODY_BYTES)
    file = await own_upload(request, key, request.match_info["uploadId"])
    if not is_joined(file):
        if file.status is not Status.PENDING:
            raise unknown_upload()
        try:
            await _join(parts, file, asked)
        except NotFoundError:
            # Joined before by a request whose answer was lost, or given up.
            if await parts.raw.head(file.key) is None:
                raise unknown_upload() from None
        await parts.catalog.upload_ended(file.file_id)
    return reply(UploadJoined(location=await parts.multipart.address(file.key), key=file.key, bucket=file.bucket))


async def _join(parts: Parts, file: File, asked: JoinRequest) -> None:
    """Raises `NotFoundError` for an upload that the bucket does not know (any more)."""
    upload_id = file.upload_id or ""
    standing = {part.number: (part.etag, part.size_bytes or 0) for part in await parts.multipart.list_parts(file.key, upload_id)}
    named = [(part.number, part.etag.strip('"')) for part in asked.parts]
    try:
        size_bytes = joined_bytes(named, standing)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
    if size_bytes > parts.limits.max_upload_bytes:
        raise PayloadTooLargeError(
            f"parts: they are {size_bytes} bytes together, and uploads take {parts.limits.max_upload_bytes} bytes at most "
            "(VPROC_MAX_UPLOAD_BYTES)."
        )
    if file.size_bytes is not None and size_bytes != file.size_bytes:
        raise InvalidRequestError(f"parts: they are {size_bytes} bytes together, and {file.size_bytes} were announced.")
    await parts.multipart.complete(file.key, upload_id, [Part(number, etag) for number, etag in named])


async def abort_multipart(request: web.Request) -> web.Response:
    """Give the upload up and cancel its file. One that is gone or joined is left as it is."""
    parts = parts_of(request)
    file = await own_upload(request, read_query(request, KeyQuery).key, request.match_info["uploadId"])
    if not is_joined(file):
        await cancel_waiting(parts, file)
    return reply(Nothing())


async def cancel_waiting(parts: Parts, file: File) -> None:
    """Cancel a file that waits for its parts, and give these up."""

    async def cancel_and_give_up() -> None:
        if file.status is Status.PENDING:
            with suppress(ConflictError):  # it arrived and is done already
                await parts.catalog.request_cancel(file.file_id)
        if file.upload_open:
            await give_up_upload(parts, file)

    await to_its_end(cancel_and_give_up, within_s=_ENDING_WITHIN_S)


def _part_number(text: str) -> int:
    number = int(text) if len(text) <= len(str(MOST_PARTS)) else 0
    if not 1 <= number <= MOST_PARTS:
        raise InvalidRequestError(f"partNumber: takes 1 to {MOST_PARTS}.")
    return number


ROUTES = (
    Route(
        method="POST",
        path="/s3/multipart",
        handler=begin_multipart,
        access=Access.IDENTITY,
        summary="Announce a file and begin its upload in parts",
        description="`metadata.profile` says what to make of it. Use the `key` that is answered from then on.",
        answers=(Answer(200, "The upload", UploadBegun),),
        tag="s3",
        body=S3File,
        problems=(400, 408, 409, 413, 415, 422, 503),
        headers=(Header(IDEMPOTENCY_KEY, "As for POST /upload.", 255),),
        audit="multipart.begin",
    ),
    Route(
        method="GET",
        path="/s3/multipart/{uploadId}",
        handler=standing_parts,
        access=Access.IDENTITY,
        summary="Every part that stands",
        answers=(Answer(200, "The parts, by number", StandingParts),),
        tag="s3",
        query=KeyQuery,
        problems=(404, 422, 503),
    ),
    Route(
        method="GET",
        path="/s3/multipart/{uploadId}/batch",
        handler=sign_many_parts,
        access=Access.IDENTITY,
        summary="Where to put several parts",
        answers=(Answer(200, "An address for each", PartAddresses),),
        tag="s3",
        query=BatchQuery,
        problems=(404, 422, 503),
    ),
    Route(
        method="GET",
        path=r"/s3/multipart/{uploadId}/{partNumber:\d+}",
        handler=sign_one_part,
        access=Access.IDENTITY,
        summary="Where to put one part",
        description="PUT it there. Every part but the last takes 5 MiB or more.",
        answers=(Answer(200, "Its address", PartAddress),),
        tag="s3",
        query=KeyQuery,
        problems=(404, 422, 503),
    ),
    Route(
        method="POST",
        path="/s3/multipart/{uploadId}/complete",
        handler=join_parts,
        access=Access.IDENTITY,
        summary="Make the object of its parts",
        description="Takes bodies up to 1 MiB. The same again is answered the same.",
        answers=(Answer(200, "The object", UploadJoined),),
        tag="s3",
        body=JoinRequest,
        query=KeyQuery,
        problems=(400, 404, 408, 413, 415, 422, 503),
        audit="multipart.complete",
    ),
    Route(
        method="DELETE",
        path="/s3/multipart/{uploadId}",
        handler=abort_multipart,
        access=Access.IDENTITY,
        summary="Give an upload in parts up, and cancel its file",
        answers=(Answer(200, "Given up", Nothing),),
        tag="s3",
        query=KeyQuery,
        problems=(404, 422, 503),
        audit="multipart.abort",
    ),
)
