"""Bulk transfer: ranged parallel download of one pinned version, upload in checksummed parts. Memory is bounded by
chunk size times parallelism, whatever the size of a part; files are read and written in threads; every write to the store
has a deadline.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
from botocore.exceptions import BotoCoreError, ClientError

from vproc.aws.body import FileBody
from vproc.aws.errors import MISSING_CODES, PRECONDITION_CODES, code_of, translated
from vproc.core.files import ObjectVersion
from vproc.core.manifest import base64_of_hex
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.ports import FileSlice
from vproc.tasks import task_group
from vproc.telemetry import Metrics

RANGE_BYTES = 16 * 1024 * 1024
FIRST_RANGE_BYTES = 512 * 1024
RANGES_AT_A_TIME = 4
CHUNK_BYTES = 512 * 1024
RESUMES_WITHOUT_PROGRESS = 4
SINGLE_PUT_BYTES = 8 * 1024 * 1024
PARTS_AT_A_TIME = 3
MOST_PARTS = 10_000
_SLOWEST_BYTES_PER_S = 128 * 1024


def write_budget_s(size_bytes: int) -> float:
    """How long one write may take. The SDK's own time-outs do not cover a store that never says "100 Continue", nor one
    that stops reading."""
    return 15 + size_bytes / _SLOWEST_BYTES_PER_S


class Download:
    """One object version into one local file. ``on_piece`` hears the offset and the size of what was written."""

    def __init__(
        self, client: Any, version: ObjectVersion, to: Path, *, metrics: Metrics, on_piece: Callable[[int, int], None] | None
    ) -> None:
        self._client = client
        self._version = version
        self._to = to
        self._metrics = metrics
        self._on_piece = on_piece
        self._limiter = anyio.CapacityLimiter(RANGES_AT_A_TIME)

    async def run(self) -> None:
        """Fetch it. The file then has exactly the version's size."""
        handle = await anyio.to_thread.run_sync(self._open)
        try:
            async with task_group() as tasks:
                for start, end in ranges(self._version.size_bytes):
                    await self._limiter.acquire_on_behalf_of(start)
                    tasks.start_soon(self._range, handle, start, end)
        finally:
            os.close(handle)

    async def part(self, start: int, end: int) -> None:
        """Fetch those bytes into their place in a file that stands, beside `run`."""
        handle = await anyio.to_thread.run_sync(os.open, self._to, os.O_RDWR | os.O_CLOEXEC)
        try:
            await self._limiter.acquire_on_behalf_of(start)
            await self._range(handle, start, end)
        finally:
            os.close(handle)

    def _open(self) -> int:
        """Open the file and take its space at once, so that a disk too small is known before the transfer."""
        try:
            handle = os.open(self._to, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                if self._version.size_bytes:
                    _take_space(handle, self._version.size_bytes)
            except OSError:
                os.close(handle)
                raise
        except OSError as error:
            raise _disk_error(error) from error
        return handle

    async def _range(self, handle: int, start: int, end: int) -> None:
        """One range, resumed where it broke off."""
        position, without_progress = start, 0
        try:
            while position < end:
                reached = await self._attempt(handle, position, end)
                without_progress = 0 if reached > position else without_progress + 1
                position = reached
                if without_progress > RESUMES_WITHOUT_PROGRESS:
                    raise UnavailableError("cannot download the source: the store breaks the connection off each time")
                if without_progress:
                    await anyio.sleep(0.2 * 2**without_progress)
        finally:
            self._limiter.release_on_behalf_of(start)

    async def _attempt(self, handle: int, start: int, end: int) -> int:
        """Read from ``start`` on; the position reached. A connection that breaks is not raised: the caller resumes."""
        position = start
        pinned = {"VersionId": self._version.version_id} if self._version.version_id else {}
        with translated("download the source"), self._metrics.s3_request("get"):
            try:
                answer = await self._client.get_object(
                    Bucket=self._version.bucket,
                    Key=self._version.key,
                    Range=f"bytes={start}-{end - 1}",
                    IfMatch=f'"{self._version.etag}"',
                    **pinned,
                )
            except ClientError as error:
                if code_of(error) in {*PRECONDITION_CODES, *MISSING_CODES, "InvalidRange"}:
                    raise TransientError(
                        ErrorCode.SOURCE_CHANGED, "the object was replaced or removed while it was read"
                    ) from error
                raise
            async with answer["Body"] as body:
                # A page of somebody else's has no ETag: its bytes would stand in the source's place.
                if answer["ETag"].strip('"') != self._version.etag:
                    raise UnavailableError("cannot download the source: the answer is of another object")
                _require_range(answer.get("ContentRange"), start)
                with suppress(aiohttp.ClientError, BotoCoreError, TimeoutError, ConnectionError):
                    while position < end and (chunk := await body.read(CHUNK_BYTES)):
                        chunk = chunk[: end - position]
                        await self._write(handle, chunk, position)
                        position += len(chunk)
        return position

    async def _write(self, handle: int, chunk: bytes, position: int) -> None:
        try:
            await anyio.to_thread.run_sync(_write_all, handle, chunk, position)
        except OSError as error:
            raise _disk_error(error) from error
        self._metrics.transferred.labels("in").inc(len(chunk))
        if self._on_piece is not None:
            self._on_piece(position, len(chunk))


def ranges(size_bytes: int) -> Iterator[tuple[int, int]]:
    """Start and end of each range, in order. Small ones first: several that arrive side by side leave holes until each is
    whole, and whoever reads from the start waits for the first."""
    length, start, number = min(FIRST_RANGE_BYTES, RANGE_BYTES), 0, 0
    while start < size_bytes:
        end = min(start + length, size_bytes)
        yield start, end
        start, number = end, number + 1
        if number % RANGES_AT_A_TIME == 0:
            length = min(2 * length, RANGE_BYTES)


class Upload:
    """One local file, or a part of one, into one object."""

    def __init__(self, client: Any, bucket: str, key: str, part: FileSlice, *, content_type: str, metrics: Metrics) -> None:
        self._client = client
        self._target = {"Bucket": bucket, "Key": key}
        self._part = part
        self._content_type = content_type
        self._metrics = metrics

    async def run(self) -> str:
        """Send it; the checksum that the store should keep (base64, with ``-N`` for N parts)."""
        if self._part.size_bytes <= SINGLE_PUT_BYTES:
            return await self._single()
        return await self._multipart()

    async def _single(self) -> str:
        checksum = base64_of_hex(self._part.sha256)
        body = FileBody(self._part.path, self._part.offset, self._part.size_bytes)
        with _sent("upload an output", body, metrics=self._metrics), anyio.fail_after(write_budget_s(len(body))):
            await self._client.put_object(
                **self._target,
                Body=body,
                ContentType=self._content_type,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
            )
        return checksum

    async def _multipart(self) -> str:
        with translated("begin a multipart upload"), self._metrics.s3_request("put"):
            begun = await self._client.create_multipart_upload(
                **self._target, ContentType=self._content_type, ChecksumAlgorithm="SHA256"
            )
        upload_id = begun["UploadId"]
        try:
            parts = await self._send_parts(upload_id)
            with translated("complete a multipart upload"), self._metrics.s3_request("put"), anyio.fail_after(120):
                await self._client.complete_multipart_upload(
                    **self._target,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    MpuObjectSize=self._part.size_bytes,
                )
        except BaseException:
            # Whatever comes of it, what is raised is why the upload failed; the bucket's lifecycle aborts what is left.
            with anyio.move_on_after(10, shield=True), suppress(Exception), self._metrics.s3_request("delete"):
                await self._client.abort_multipart_upload(**self._target, UploadId=upload_id)
            raise
        digests = b"".join(base64.b64decode(part["ChecksumSHA256"]) for part in parts)
        return f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-{len(parts)}"

    async def _send_parts(self, upload_id: str) -> list[dict[str, Any]]:
        size = max(SINGLE_PUT_BYTES, -(-self._part.size_bytes // MOST_PARTS))
        limiter = anyio.CapacityLimiter(PARTS_AT_A_TIME)
        parts: dict[int, dict[str, Any]] = {}

        async def send(number: int, offset: int, length: int) -> None:
            try:
                parts[number] = await self._send_part(upload_id, number, offset, length)
            finally:
                limiter.release_on_behalf_of(number)

        async with task_group() as tasks:
            for number, offset in enumerate(range(0, self._part.size_bytes, size), 1):
                await limiter.acquire_on_behalf_of(number)
                tasks.start_soon(send, number, offset, min(size, self._part.size_bytes - offset))
        return [parts[number] for number in sorted(parts)]

    async def _send_part(self, upload_id: str, number: int, offset: int, length: int) -> dict[str, Any]:
        body = FileBody(self._part.path, self._part.offset + offset, length)
        checksum = base64.b64encode(await body.sha256()).decode()
        with _sent("upload a part", body, metrics=self._metrics), anyio.fail_after(write_budget_s(length)):
            answer = await self._client.upload_part(
                **self._target, UploadId=upload_id, PartNumber=number, Body=body, ChecksumSHA256=checksum
            )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}


@contextmanager
def _sent(action: str, body: FileBody, *, metrics: Metrics) -> Iterator[None]:
    """Around one write of a body. That its file could not be read is told as such, and not as the store's fault."""
    try:
        with translated(action), metrics.s3_request("put"):
            yield
    except UnavailableError:
        if body.fault is not None:
            raise body.fault from None
        raise
    metrics.transferred.labels("out").inc(len(body))


def _require_range(told: str | None, start: int) -> None:
    """A store may leave a range out and send the whole (RFC 9110, 14.2): right only for a range that begins at 0."""
    if not (told or "bytes 0-").startswith(f"bytes {start}-"):
        raise UnavailableError("cannot download the source: the store sends other bytes than were asked for")


def _take_space(handle: int, size_bytes: int) -> None:
    """Reserve the whole file's space; on a file system that cannot, at least give the file its length."""
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
        os.ftruncate(handle, size_bytes)


def _write_all(handle: int, chunk: bytes, position: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(handle, view, position)
        view, position = view[written:], position + written


def _disk_error(error: OSError) -> Exception:
    """A full or broken scratch disk is the machine's fault."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError("the scratch disk is full", code=ErrorCode.OUT_OF_DISK)
    return UnavailableError(f"cannot use the scratch directory: {error.strerror}", code=ErrorCode.OUT_OF_DISK)
