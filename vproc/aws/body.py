"""A part of a local file as the body of a request, read while it is sent: what is in memory is a chunk, not the part."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread

from vproc.errors import ErrorCode, TransientError

CHUNK_BYTES = 256 * 1024


class FileBody:
    """What botocore and aiohttp both take: botocore measures it and, before another try, seeks to its start; aiohttp iterates
    over it, from the start each time. It holds no open file.

    ``fault`` is why it could not be read: aiohttp shows whatever a body raises as a broken connection.
    """

    def __init__(self, path: Path, offset: int, size_bytes: int) -> None:
        self.fault: TransientError | None = None
        self._path = path
        self._offset = offset
        self._size_bytes = size_bytes
        self._position = 0

    def __len__(self) -> int:
        return self._size_bytes

    def tell(self) -> int:
        """Where `read` goes on."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file's."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        """As a file's. botocore wants it of a body, and would call it only to sign the payload, which `session` switches off."""
        left = self._size_bytes - self._position
        chunk = _read(self._path, self._offset + self._position, left if size < 0 else min(size, left))
        self._position += len(chunk)
        return chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for start in range(0, self._size_bytes, CHUNK_BYTES):
                size = min(CHUNK_BYTES, self._size_bytes - start)
                yield await anyio.to_thread.run_sync(_read, self._path, self._offset + start, size)
        except TransientError as error:
            self.fault = error
            raise

    async def sha256(self) -> bytes:
        """The digest of all of it. Raises `TransientError` where the file has become shorter."""
        return await anyio.to_thread.run_sync(self._digest)

    def _digest(self) -> bytes:
        digest = hashlib.sha256()
        for start in range(0, self._size_bytes, CHUNK_BYTES):
            digest.update(_read(self._path, self._offset + start, min(CHUNK_BYTES, self._size_bytes - start)))
        return digest.digest()


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        chunk = os.pread(file.fileno(), size, offset)
    if len(chunk) != size:
        raise TransientError(ErrorCode.OUTPUT_INVALID, f"{path.name} became shorter while it was uploaded")
    return chunk
