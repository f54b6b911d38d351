"""Objects on disk for the bench's S3: bodies in files, the index in memory. No HTTP here, and no thread.

One loop owns a bucket, and nothing in it waits between a look and a change: that is what makes conditional writes atomic.
"""

from __future__ import annotations

import base64
import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


class S3Error(Exception):
    """What S3 answers instead: a status, its own code, a sentence."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, and the SHA-256 of what is in it."""

    path: Path
    size_bytes: int
    sha256: bytes

    @property
    def etag(self) -> str:
        """Opaque, equal for equal bytes. S3's own is an MD5, which nobody may rely on; this one is at hand."""
        return self.sha256.hex()[:32]

    @property
    def checksum(self) -> str:
        """As S3 tells it."""
        return base64.b64encode(self.sha256).decode()


@dataclass(frozen=True, slots=True)
class Header:
    """What a client says of an object beside its bytes. ``checksummed``: the checksum was asked for, and is told."""

    content_type: str
    metadata: Mapping[str, str]
    checksummed: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One object. One of several parts stays in several files."""

    key: str
    pieces: tuple[Piece, ...]
    etag: str
    checksum: str
    header: Header
    modified_at: datetime
    size_bytes: int

    def extents(self, start: int, end: int) -> Iterator[tuple[Path, int, int]]:
        """The files, and in each the offset and the number of bytes, that hold the bytes from ``start`` to before ``end``."""
        position = 0
        for piece in self.pieces:
            low, high = max(start, position), min(end, position + piece.size_bytes)
            if low < high:
                yield piece.path, low - position, high - low
            position += piece.size_bytes


@dataclass(slots=True)
class Multipart:
    """An upload in parts that was begun."""

    key: str
    header: Header
    begun_at: datetime
    parts: dict[int, Piece] = field(default_factory=dict)


class Intake:
    """One body while it comes in. `add` blocks: call it in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._file: BinaryIO = path.open("xb", buffering=0)

    def add(self, chunk: bytes | bytearray) -> None:
        """Write and hash some more."""
        self._digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[self._file.write(view) :]
        self._size_bytes += len(chunk)

    def done(self) -> Piece:
        """The whole body."""
        self._file.close()
        return Piece(self._path, self._size_bytes, self._digest.digest())

    def drop(self) -> None:
        """Forget it."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class Bucket:
    """The objects and the begun uploads of one bucket, below a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder
        self._numbers = count()
        self._entries: dict[str, Entry] = {}
        self._uploads: dict[str, Multipart] = {}
        folder.mkdir(parents=True)

    def intake(self) -> Intake:
        """A new body, in a file of its own."""
        return Intake(self._folder / f"{next(self._numbers):08d}")

    def entry(self, key: str) -> Entry:
        """The object. Raises `S3Error` ``NoSuchKey``."""
        entry = self._entries.get(key)
        if entry is None:
            raise S3Error(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
        return entry

    def require(self, key: str, *, if_match: str | None = None, if_none_match: str | None = None) -> None:
        """Raise `S3Error` ``PreconditionFailed`` where a condition on what stands does not hold."""
        entry = self._entries.get(key)
        absent_wanted = if_none_match == "*" and entry is not None
        if absent_wanted or (if_match is not None and entry is not None and if_match.strip('"') != entry.etag):
            raise S3Error(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", "A precondition did not hold.")

    def put(self, key: str, piece: Piece, header: Header) -> Entry:
        """Write an object of one piece."""
        return self._stand(key, (piece,), etag=piece.etag, checksum=piece.checksum, header=header)

    def remove(self, key: str) -> None:
        """Delete an object, if it stands."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            _unlink(entry.pieces)

    def page(self, prefix: str, *, after: str, limit: int) -> tuple[list[Entry], bool]:
        """The next objects in the order of their keys, and whether there are more."""
        keys = sorted((key for key in self._entries if key.startswith(prefix)), key=os.fsencode)
        begin = bisect_right(keys, os.fsencode(after), key=os.fsencode) if after else 0
        return [self._entries[key] for key in keys[begin : begin + limit]], begin + limit < len(keys)

    def begin(self, key: str, header: Header) -> str:
        """Begin an upload in parts; its id."""
        upload_id = uuid4().hex
        self._uploads[upload_id] = Multipart(key, header, datetime.now(UTC))
        return upload_id

    def uploads(self, prefix: str) -> list[tuple[str, Multipart]]:
        """The uploads that were begun and not ended."""
        return [(upload_id, upload) for upload_id, upload in self._uploads.items() if upload.key.startswith(prefix)]

    def upload(self, key: str, upload_id: str) -> Multipart:
        """An upload that was begun. Raises `S3Error` ``NoSuchUpload``."""
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise S3Error(HTTPStatus.NOT_FOUND, "NoSuchUpload", "The specified multipart upload does not exist.")
        return upload

    def add_part(self, key: str, upload_id: str, number: int, piece: Piece) -> None:
        """Keep a part; one of the same number is replaced."""
        upload = self.upload(key, upload_id)
        _unlink(filter(None, [upload.parts.pop(number, None)]))
        upload.parts[number] = piece

    def complete(self, key: str, upload_id: str, listed: Sequence[tuple[int, str]], *, size_bytes: int | None) -> Entry:
        """Make the object of the parts that the client lists, number and ETag. Raises `S3Error` where they are not what came."""
        upload = self.upload(key, upload_id)
        numbers = [number for number, _ in listed]
        if not numbers or numbers != sorted(set(numbers)):
            raise S3Error(HTTPStatus.BAD_REQUEST, "InvalidPartOrder", "The list of parts was not in ascending order.")
        pieces = tuple(
            upload.parts[number] for number, etag in listed if number in upload.parts and upload.parts[number].etag == etag
        )
        if len(pieces) != len(listed):
            raise S3Error(HTTPStatus.BAD_REQUEST, "InvalidPart", "A part was not found, or had another ETag.")
        if size_bytes is not None and size_bytes != sum(piece.size_bytes for piece in pieces):
            raise S3Error(HTTPStatus.BAD_REQUEST, "InvalidRequest", "The object has another size than was announced.")
        digest = hashlib.sha256(b"".join(piece.sha256 for piece in pieces)).digest()
        del self._uploads[upload_id]
        _unlink(piece for piece in upload.parts.values() if piece not in pieces)
        checksum = f"{base64.b64encode(digest).decode()}-{len(pieces)}"
        return self._stand(key, pieces, etag=f"{digest.hex()[:32]}-{len(pieces)}", checksum=checksum, header=upload.header)

    def abort(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts."""
        upload = self.upload(key, upload_id)
        del self._uploads[upload_id]
        _unlink(upload.parts.values())

    def _stand(self, key: str, pieces: tuple[Piece, ...], *, etag: str, checksum: str, header: Header) -> Entry:
        self.remove(key)
        size_bytes = sum(piece.size_bytes for piece in pieces)
        entry = Entry(key, pieces, etag, checksum, header, datetime.now(UTC), size_bytes)
        self._entries[key] = entry
        return entry


def _unlink(pieces: Iterable[Piece]) -> None:
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
