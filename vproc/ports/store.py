"""The buckets, and addresses that are signed for somebody else. Adapters: `aws.s3`, `aws.presign`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from vproc.core.files import ObjectVersion


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What stands in the store. ``sha256``: base64 as in ``x-amz-checksum-sha256`` (with ``-N`` where it was uploaded in
    N parts); None where the store keeps none."""

    key: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A part of a local file: the body of an upload. ``sha256`` is the hex digest of those bytes."""

    path: Path
    offset: int
    size_bytes: int
    sha256: str


class ObjectStore(Protocol):
    """One bucket."""

    bucket: str

    async def head(self, key: str, *, version_id: str | None = None) -> ObjectVersion | None:
        """The object's current version; None where there is none."""
        ...

    async def download(self, version: ObjectVersion, to: Path, *, on_piece: Callable[[int, int], None] | None = None) -> None:
        """Fetch exactly that version by parallel ranges, from the start on. Raises `TransientError` ``source_changed`` when it
        was replaced or removed. ``on_piece`` hears the offset and the size of each piece written, no byte twice."""
        ...

    async def fetch(self, version: ObjectVersion, to: Path, *, start: int, end: int) -> None:
        """Fetch the bytes from ``start`` up to ``end`` into their place in a file that `download` is filling. Raises likewise."""
        ...

    async def get(self, key: str) -> bytes | None:
        """A small object's bytes; None where there is none."""
        ...

    async def put(self, key: str, body: bytes, *, content_type: str, if_absent: bool = False) -> bool:
        """Write a small object. False: ``if_absent`` was asked and one stands already."""
        ...

    async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
        """Write a local file, or a part of it, in parts when it is large; the checksum that `stat` should tell of it."""
        ...

    async def stat(self, key: str) -> StoredObject | None:
        """Size and checksum of what stands; None where nothing does."""
        ...

    async def read_sha256(self, key: str) -> str | None:
        """Hex SHA-256 by reading the whole object: for stores that keep no checksum. None where nothing stands."""
        ...

    async def delete(self, version: ObjectVersion) -> bool:
        """Delete that version only. False: another version stands there by now, and nothing was deleted."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object under the prefix, and multipart uploads begun there; how many objects that were."""
        ...

    def list(self, prefix: str) -> AsyncIterator[tuple[str, int, datetime]]:
        """Key, size in bytes and time of last change (aware UTC) of every object under the prefix, sorted by key."""
        ...

    def unfinished_uploads(self) -> AsyncIterator[tuple[str, str, datetime]]:
        """Key, upload id and time of begin (aware UTC) of every upload in parts that was neither completed nor aborted."""
        ...

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Give up an upload in parts. One that is gone already is no error."""
        ...

    async def check(self) -> None:
        """Return when the bucket answers; raise `UnavailableError` otherwise."""
        ...


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request that anybody may make until ``expires_at`` (aware UTC). The headers are signed: send them as they are."""

    method: str
    url: str
    headers: dict[str, str]
    expires_at: datetime


class Presigner(Protocol):
    """Signs addresses. It makes no request."""

    async def put(self, key: str, *, content_type: str, size_bytes: int | None, metadata: Mapping[str, str]) -> PresignedRequest:
        """Address of one upload to the raw bucket."""
        ...

    async def get_raw(self, key: str, *, file_name: str) -> PresignedRequest:
        """Address to download an original, saved under ``file_name``."""
        ...

    async def get_processed(self, key: str, *, file_name: str | None = None) -> PresignedRequest:
        """Address of an output; saved under ``file_name`` where given."""
        ...
