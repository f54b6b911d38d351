"""A small S3 over HTTP whose objects lie on disk (`objects`): what the daemon, its clients and presigned addresses use, by
path-style addresses on loopback. No versions, no signatures: never put it on a network.

It keeps no object in memory, so that what is measured beside it is the daemon. What it does not know it refuses with 501.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

import anyio.to_thread
from aiohttp import hdrs, web

from bench.bandwidth import Line
from bench.objects import Bucket, Entry, Header, Piece, S3Error

READ_BYTES = 1024 * 1024
PACED_BYTES = 64 * 1024
"""On a line with a limit a chunk is so small that several connections share it evenly."""
WRITE_BYTES = 1024 * 1024
_CHECKSUM = "x-amz-checksum-sha256"
_META = "x-amz-meta-"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_MOST_KEYS = 1000

OnCreated = Callable[[str, Entry, str], Awaitable[None]]
"""Told of each new object: the bucket, the object, the event's name (``ObjectCreated:Put``)."""


@dataclass(slots=True)
class PartsIn:
    """What came in as parts so far: ``received_bytes`` whether or not the part was ended, ``parts`` that were, and how many are
    coming in now."""

    received_bytes: int = 0
    parts: int = 0
    arriving: int = 0


@asynccontextmanager
async def serve_store(store: Store, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve until the block ends; gives the address."""
    app = web.Application(client_max_size=1 << 62)
    app.router.add_route("*", "/{tail:.*}", store.handle)
    runner = web.AppRunner(app, access_log=None, read_bufsize=WRITE_BYTES, auto_decompress=False, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


class Store:
    """Buckets by name, and what S3 answers to a request on them. ``calls`` counts the requests so far, ``parts_in`` what uploads
    in parts sent.

    ``limit_mb_per_s`` bounds the bodies of all connections together, each direction by itself; 0 is without a limit.
    """

    def __init__(self, buckets: Mapping[str, Bucket], *, on_created: OnCreated | None = None, limit_mb_per_s: float = 0) -> None:
        self.calls = 0
        self.parts_in = PartsIn()
        self._buckets = buckets
        self._on_created = on_created
        self._limited = limit_mb_per_s > 0
        self._up, self._down = Line(limit_mb_per_s), Line(limit_mb_per_s)

    def limit(self, mb_per_s: float) -> None:
        """From now on so fast."""
        self._limited = mb_per_s > 0
        self._up.limit(mb_per_s)
        self._down.limit(mb_per_s)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request; an error is S3's XML."""
        self.calls += 1
        try:
            return await self._answer(request)
        except S3Error as error:
            body = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
            return _xml(body, error.status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name, _, raw_key = request.rel_url.raw_path.removeprefix("/").partition("/")
        bucket = self._buckets.get(unquote(name))
        if bucket is None:
            raise S3Error(HTTPStatus.NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist.")
        key = unquote(raw_key)
        if not key:
            return await self._on_bucket(request, bucket)
        if "uploadId" in request.query:
            return await self._on_upload(request, bucket, key)
        match request.method:
            case "GET" | "HEAD":
                return await self._read(request, bucket.entry(key))
            case "PUT":
                return await self._put(request, bucket, key)
            case "POST" if "uploads" in request.query:
                return _begin(request, bucket, key)
            case "DELETE":
                bucket.require(key, if_match=request.headers.get(hdrs.IF_MATCH))
                bucket.remove(key)
                return web.Response(status=HTTPStatus.NO_CONTENT)
        raise _unknown(request)

    async def _on_upload(self, request: web.Request, bucket: Bucket, key: str) -> web.Response:
        match request.method:
            case "GET":
                return _list_parts(request, bucket, key)
            case "PUT":
                return await self._put_part(request, bucket, key)
            case "POST":
                return await self._complete(request, bucket, key)
            case "DELETE":
                bucket.abort(key, request.query["uploadId"])
                return web.Response(status=HTTPStatus.NO_CONTENT)
        raise _unknown(request)

    async def _on_bucket(self, request: web.Request, bucket: Bucket) -> web.Response:
        query = request.query
        if request.method == "HEAD":
            return web.Response()
        if request.method == "GET" and query.get("list-type") == "2" and "delimiter" not in query:
            return _list(request, bucket)
        if request.method == "GET" and "uploads" in query:
            return _list_uploads(request, bucket)
        if request.method == "POST" and "delete" in query:
            for key in _texts(await request.read(), "Key"):
                bucket.remove(key)
            return _xml("<DeleteResult/>")
        raise _unknown(request)

    async def _put(self, request: web.Request, bucket: Bucket, key: str) -> web.Response:
        absent = request.headers.get(hdrs.IF_NONE_MATCH)
        bucket.require(key, if_none_match=absent)
        piece = await self._receive(request, bucket)
        try:
            bucket.require(key, if_none_match=absent)
        except S3Error:
            piece.path.unlink()
            raise
        entry = bucket.put(key, piece, _header(request))
        await self._tell(bucket, entry, "ObjectCreated:Put")
        return web.Response(headers={hdrs.ETAG: f'"{entry.etag}"', _CHECKSUM: entry.checksum})

    async def _complete(self, request: web.Request, bucket: Bucket, key: str) -> web.Response:
        bucket.require(key, if_none_match=request.headers.get(hdrs.IF_NONE_MATCH))
        body = await request.read()
        listed = zip(map(int, _texts(body, "PartNumber")), (etag.strip('"') for etag in _texts(body, "ETag")), strict=True)
        size = request.headers.get("x-amz-mp-object-size")
        entry = bucket.complete(key, request.query["uploadId"], list(listed), size_bytes=int(size) if size else None)
        await self._tell(bucket, entry, "ObjectCreated:CompleteMultipartUpload")
        return _xml(
            f'<CompleteMultipartUploadResult xmlns="{_NAMESPACE}"><Bucket>{bucket.name}</Bucket><Key>{escape(key)}</Key>'
            f"<ETag>&quot;{entry.etag}&quot;</ETag><ChecksumSHA256>{entry.checksum}</ChecksumSHA256>"
            "</CompleteMultipartUploadResult>"
        )

    async def _tell(self, bucket: Bucket, entry: Entry, event: str) -> None:
        if self._on_created is not None:
            await self._on_created(bucket.name, entry, event)

    async def _receive(self, request: web.Request, bucket: Bucket, *, on_bytes: Callable[[int], None] | None = None) -> Piece:
        """Bring a body to disk, and hold it against the checksum that came with it. ``on_bytes`` hears of each piece."""
        if "aws-chunked" in request.headers.get(hdrs.CONTENT_ENCODING, ""):
            # Over plain HTTP botocore puts a checksum in a header and the body as it is.
            raise S3Error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "This store takes no aws-chunked bodies.")
        intake = bucket.intake()
        try:
            pending = bytearray()
            async for chunk in request.content.iter_any():
                await self._up.passed(len(chunk))
                if on_bytes is not None:
                    on_bytes(len(chunk))
                pending += chunk
                if len(pending) >= WRITE_BYTES:
                    await anyio.to_thread.run_sync(intake.add, pending)
                    pending = bytearray()
            await anyio.to_thread.run_sync(intake.add, pending)
            piece = intake.done()
            _check(request, piece)
        except BaseException:
            intake.drop()
            raise
        return piece

    async def _put_part(self, request: web.Request, bucket: Bucket, key: str) -> web.Response:
        upload_id = request.query["uploadId"]
        bucket.upload(key, upload_id)
        self.parts_in.arriving += 1
        try:
            piece = await self._receive(request, bucket, on_bytes=self._part_came)
        finally:
            self.parts_in.arriving -= 1
        self.parts_in.parts += 1
        try:
            bucket.add_part(key, upload_id, int(request.query["partNumber"]), piece)
        except S3Error:
            piece.path.unlink()
            raise
        return web.Response(headers={hdrs.ETAG: f'"{piece.etag}"', _CHECKSUM: piece.checksum})

    def _part_came(self, size_bytes: int) -> None:
        self.parts_in.received_bytes += size_bytes

    async def _read(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        if_match = request.headers.get(hdrs.IF_MATCH)
        if if_match is not None and if_match.strip('"') != entry.etag:
            raise S3Error(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", "A precondition did not hold.")
        start, end = _range(request.headers.get(hdrs.RANGE), entry.size_bytes)
        response = web.StreamResponse(headers=_headers_of(entry))
        if request.headers.get("x-amz-checksum-mode") == "ENABLED" and entry.header.checksummed:
            response.headers[_CHECKSUM] = entry.checksum
        if hdrs.RANGE in request.headers:
            response.set_status(HTTPStatus.PARTIAL_CONTENT)
            response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{entry.size_bytes}"
        response.content_length = end - start
        await response.prepare(request)
        if request.method == "GET":
            for path, offset, extent in entry.extents(start, end):
                async with await anyio.open_file(path, "rb", buffering=0) as file:
                    await file.seek(offset)
                    left = extent
                    while left and (chunk := await file.read(min(left, PACED_BYTES if self._limited else READ_BYTES))):
                        await self._down.passed(len(chunk))
                        await response.write(chunk)
                        left -= len(chunk)
        await response.write_eof()
        return response


def _check(request: web.Request, piece: Piece) -> None:
    if piece.size_bytes != (request.content_length or 0):
        raise S3Error(HTTPStatus.BAD_REQUEST, "IncompleteBody", "The body ended before its announced length.")
    if request.headers.get(_CHECKSUM, piece.checksum) != piece.checksum:
        raise S3Error(HTTPStatus.BAD_REQUEST, "BadDigest", "The SHA256 you specified did not match what we received.")


def _begin(request: web.Request, bucket: Bucket, key: str) -> web.Response:
    upload_id = bucket.begin(key, _header(request))
    return _xml(
        f'<InitiateMultipartUploadResult xmlns="{_NAMESPACE}"><Bucket>{bucket.name}</Bucket><Key>{escape(key)}</Key>'
        f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
    )


def _range(header: str | None, size_bytes: int) -> tuple[int, int]:
    """The first byte and the one after the last. Raises `S3Error` ``InvalidRange``."""
    if header is None:
        return 0, size_bytes
    match = _RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        raise S3Error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "This store knows ranges of one part only.")
    first, last = match.groups()
    start = int(first) if first else max(0, size_bytes - int(last))
    end = min(int(last) + 1, size_bytes) if first and last else size_bytes
    if start >= end:
        raise S3Error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange", "The requested range is not satisfiable.")
    return start, end


def _header(request: web.Request) -> Header:
    metadata = {
        name.lower().removeprefix(_META): value for name, value in request.headers.items() if name.lower().startswith(_META)
    }
    checksummed = _CHECKSUM in request.headers or request.headers.get("x-amz-checksum-algorithm") == "SHA256"
    return Header(request.headers.get(hdrs.CONTENT_TYPE, "binary/octet-stream"), metadata, checksummed)


def _headers_of(entry: Entry) -> dict[str, str]:
    return {
        hdrs.ETAG: f'"{entry.etag}"',
        hdrs.CONTENT_TYPE: entry.header.content_type,
        hdrs.LAST_MODIFIED: format_datetime(entry.modified_at, usegmt=True),
        hdrs.ACCEPT_RANGES: "bytes",
        **{f"{_META}{name}": value for name, value in entry.header.metadata.items()},
    }


def _list(request: web.Request, bucket: Bucket) -> web.Response:
    query = request.query
    limit = min(int(query.get("max-keys", _MOST_KEYS)), _MOST_KEYS)
    after = unquote(query.get("continuation-token", query.get("start-after", "")))
    entries, more = bucket.page(query.get("prefix", ""), after=after, limit=limit)
    shown: Callable[[str], str] = quote if query.get("encoding-type") == "url" else escape
    contents = "".join(
        f"<Contents><Key>{shown(entry.key)}</Key><LastModified>{_instant(entry.modified_at)}</LastModified>"
        f"<ETag>&quot;{entry.etag}&quot;</ETag><Size>{entry.size_bytes}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for entry in entries
    )
    token = f"<NextContinuationToken>{quote(entries[-1].key)}</NextContinuationToken>" if more else ""
    encoding = "<EncodingType>url</EncodingType>" if shown is quote else ""
    return _xml(
        f'<ListBucketResult xmlns="{_NAMESPACE}"><Name>{bucket.name}</Name>{encoding}<KeyCount>{len(entries)}</KeyCount>'
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
    )


def _list_uploads(request: web.Request, bucket: Bucket) -> web.Response:
    shown: Callable[[str], str] = quote if request.query.get("encoding-type") == "url" else escape
    uploads = "".join(
        f"<Upload><Key>{shown(upload.key)}</Key><UploadId>{upload_id}</UploadId>"
        f"<Initiated>{_instant(upload.begun_at)}</Initiated></Upload>"
        for upload_id, upload in bucket.uploads(request.query.get("prefix", ""))
    )
    encoding = "<EncodingType>url</EncodingType>" if shown is quote else ""
    return _xml(
        f'<ListMultipartUploadsResult xmlns="{_NAMESPACE}"><Bucket>{bucket.name}</Bucket>{encoding}'
        f"<IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
    )


def _list_parts(request: web.Request, bucket: Bucket, key: str) -> web.Response:
    upload_id = request.query["uploadId"]
    after = int(request.query.get("part-number-marker") or 0)
    found = bucket.upload(key, upload_id).parts
    standing = [(number, found[number]) for number in sorted(found) if number > after]
    shown = standing[:_MOST_KEYS]
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{piece.etag}&quot;</ETag><Size>{piece.size_bytes}</Size></Part>"
        for number, piece in shown
    )
    more = len(standing) > len(shown)
    marker = f"<NextPartNumberMarker>{shown[-1][0]}</NextPartNumberMarker>" if more else ""
    return _xml(
        f'<ListPartsResult xmlns="{_NAMESPACE}"><Bucket>{bucket.name}</Bucket><Key>{escape(key)}</Key>'
        f"<UploadId>{upload_id}</UploadId><IsTruncated>{str(more).lower()}</IsTruncated>{marker}{parts}</ListPartsResult>"
    )


def _texts(body: bytes, tag: str) -> list[str]:
    """The texts of all elements of that name. The clients are our own: no hostile XML comes here."""
    return [element.text or "" for element in ET.fromstring(body).iter() if element.tag.rpartition("}")[2] == tag]  # noqa: S314


def _instant(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _xml(body: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>\n{body}', status=status, content_type="application/xml")


def _unknown(request: web.Request) -> S3Error:
    return S3Error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", f"This store does not know {request.method} with this query.")
