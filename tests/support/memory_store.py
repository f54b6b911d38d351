"""A bucket in memory with S3's manners, and the notification that it sends of a new object."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import anyio

from tests.support.faults import Faults, faulty
from tests.support.memory_queue import MemoryQueue
from vproc.core.files import ObjectVersion
from vproc.errors import ErrorCode, TransientError
from vproc.ports import FileSlice, StoredObject
from vproc.usage import current_usage


@dataclass(frozen=True, slots=True)
class _Stored:
    version: ObjectVersion
    body: bytes
    changed_at: datetime


@dataclass(slots=True)
class MemoryStoreOptions:
    """How a store differs from S3's default. ``events``: the queue that hears of each new object."""

    versioned: bool = False
    keeps_checksums: bool = True
    piece_bytes: int = 64 * 1024
    events: MemoryQueue | None = None


class MemoryStore(Faults):
    """One bucket. Without versioning the ETag tells one upload from the next, as with S3."""

    def __init__(self, bucket: str, options: MemoryStoreOptions | None = None) -> None:
        super().__init__()
        self.bucket = bucket
        self.options = options or MemoryStoreOptions()
        self.uploads: list[tuple[str, str, datetime]] = []
        self._versions: dict[str, list[_Stored]] = {}
        self._numbers = itertools.count(1)

    @property
    def keys(self) -> list[str]:
        """Keys of all objects that stand, sorted."""
        return sorted(self._versions)

    def body(self, key: str) -> bytes:
        """The bytes that stand there."""
        return self._versions[key][-1].body

    def upload(
        self, key: str, body: bytes, *, content_type: str = "video/mp4", metadata: Mapping[str, str] | None = None
    ) -> ObjectVersion:
        """Put an object as a client would, past the port; its event goes to the queue."""
        version = ObjectVersion(
            bucket=self.bucket,
            key=key,
            etag=hashlib.md5(body, usedforsecurity=False).hexdigest(),
            size_bytes=len(body),
            version_id=f"version-{next(self._numbers)}" if self.options.versioned else None,
            content_type=content_type,
            metadata=tuple(sorted((metadata or {}).items())),
        )
        earlier = self._versions.get(key, []) if self.options.versioned else []
        self._versions[key] = [*earlier, _Stored(version, body, datetime.now(UTC))]
        if self.options.events is not None:
            self.options.events.put(s3_event(version))
        return version

    def corrupt(self, key: str) -> None:
        """Flip one bit of what stands; its ETag and length stay."""
        stored = self._versions[key][-1]
        damaged = bytes([stored.body[0] ^ 1]) + stored.body[1:]
        self._versions[key][-1] = _Stored(stored.version, damaged, stored.changed_at)

    def lose(self, key: str) -> None:
        """Remove an object behind everybody's back."""
        del self._versions[key]

    async def begin(self, method: str) -> BaseException | None:
        """Counted for the job too, as the adapter does: one request to a call."""
        current_usage().s3_requests[method] += 1
        return await super().begin(method)

    @faulty
    async def head(self, key: str, *, version_id: str | None = None) -> ObjectVersion | None:
        """As the port says."""
        for stored in reversed(self._versions.get(key, [])):
            if version_id is None or stored.version.version_id == version_id:
                return stored.version
        return None

    @faulty
    async def download(self, version: ObjectVersion, to: Path, *, on_piece: Callable[[int, int], None] | None = None) -> None:
        """As the port says, in pieces of ``piece_bytes``."""
        async with await anyio.open_file(to, "wb") as file:
            for offset in range(0, max(1, version.size_bytes), self.options.piece_bytes):
                piece = self._same(version).body[offset : offset + self.options.piece_bytes]
                await file.write(piece)
                if on_piece is not None:
                    # As of a disk: what is told of is there.
                    await file.flush()
                    on_piece(offset, len(piece))

    @faulty
    async def fetch(self, version: ObjectVersion, to: Path, *, start: int, end: int) -> None:
        """As the port says."""
        async with await anyio.open_file(to, "r+b") as file:
            await file.seek(start)
            await file.write(self._same(version).body[start:end])

    @faulty
    async def get(self, key: str) -> bytes | None:
        """As the port says."""
        return self.body(key) if key in self._versions else None

    @faulty
    async def put(self, key: str, body: bytes, *, content_type: str, if_absent: bool = False) -> bool:
        """As the port says."""
        if if_absent and key in self._versions:
            return False
        self.upload(key, body, content_type=content_type)
        return True

    @faulty
    async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
        """As the port says. Bytes that do not have the digest are refused, as S3 does."""
        async with await anyio.open_file(part.path, "rb") as file:
            await file.seek(part.offset)
            body = await file.read(part.size_bytes)
        if len(body) != part.size_bytes or hashlib.sha256(body).hexdigest() != part.sha256:
            raise TransientError(ErrorCode.OUTPUT_INVALID, f"the bytes sent for {key} do not have the digest that was announced")
        self.upload(key, body, content_type=content_type)
        return _base64_sha256(body)

    @faulty
    async def stat(self, key: str) -> StoredObject | None:
        """As the port says."""
        if key not in self._versions:
            return None
        body = self.body(key)
        return StoredObject(key, len(body), _base64_sha256(body) if self.options.keeps_checksums else None)

    @faulty
    async def read_sha256(self, key: str) -> str | None:
        """As the port says."""
        return hashlib.sha256(self.body(key)).hexdigest() if key in self._versions else None

    @faulty
    async def delete(self, version: ObjectVersion) -> bool:
        """As the port says. Nothing there: deleted already."""
        stored = self._versions.get(version.key, [])
        left = [other for other in stored if other.version.identity != version.identity]
        if version.version_id is None and left:
            return False
        if left:
            self._versions[version.key] = left
        else:
            self._versions.pop(version.key, None)
        return True

    @faulty
    async def delete_prefix(self, prefix: str) -> int:
        """As the port says."""
        doomed = [key for key in self._versions if key.startswith(prefix)]
        for key in doomed:
            del self._versions[key]
        return len(doomed)

    @faulty
    async def check(self) -> None:
        """As the port says."""

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int, datetime]]:
        """As the port says, sorted by key. A failure is raised at the first object."""
        late = await self.begin("list")
        for key in [key for key in self.keys if key.startswith(prefix)]:
            if key in self._versions:
                stored = self._versions[key][-1]
                yield key, len(stored.body), stored.changed_at
        if late is not None:
            raise late

    async def unfinished_uploads(self) -> AsyncIterator[tuple[str, str, datetime]]:
        """As the port says; a test puts them into ``uploads``."""
        late = await self.begin("unfinished_uploads")
        for upload in list(self.uploads):
            yield upload
        if late is not None:
            raise late

    @faulty
    async def abort_upload(self, key: str, upload_id: str) -> None:
        """As the port says."""
        self.uploads = [upload for upload in self.uploads if upload[:2] != (key, upload_id)]

    def _same(self, version: ObjectVersion) -> _Stored:
        for stored in self._versions.get(version.key, []):
            if stored.version.identity == version.identity:
                return stored
        raise TransientError(ErrorCode.SOURCE_CHANGED, f"{version.key} was replaced or removed while it was read")


def _base64_sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def s3_event(version: ObjectVersion, *, event_name: str = "ObjectCreated:Put") -> str:
    """The body of a bucket's notification of one object, its key form-encoded as S3 does."""
    described: dict[str, Any] = {"key": quote_plus(version.key, safe="/"), "size": version.size_bytes, "eTag": version.etag}
    if version.version_id is not None:
        described["versionId"] = version.version_id
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": event_name,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": version.bucket}, "object": described},
    }
    return json.dumps({"Records": [record]})
