"""Uploads of what is no file of this machine: bytes that come one after the other, of a length that need not be known.

A part is held in memory until it stands, so that it can be sent again; what was read cannot be read again, and so a stream that
breaks off is given up as a whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from uuid import UUID

import anyio

from vproc.client.api import ApiClient
from vproc.client.errors import ApiError, StoreError
from vproc.client.multipart import DELAYS_S, MIB, PARALLEL_PARTS, file_id_of, part_bytes_for
from vproc.client.part import PartBody, send_part
from vproc.client.parts import PartsApi
from vproc.client.resume import BegunUpload
from vproc.client.transfer import CHUNK_BYTES
from vproc.core.parts import MOST_PARTS
from vproc.tasks import task_group

UNTOLD_PART_BYTES = 8 * MIB
"""Of a stream of unknown length: ten thousand of these are 78 GiB, more than an upload may be by default."""

Read = Callable[[int], Awaitable[bytes]]
"""The next bytes: exactly so many, and fewer only at the end."""


async def upload_stream(
    client: ApiClient,
    name: str,
    read: Read,
    *,
    size_bytes: int | None = None,
    profile: str | None = None,
    on_bytes: Callable[[int], None] | None = None,
    delays_s: Sequence[float] = DELAYS_S,
) -> UUID:
    """Upload what ``read`` gives as a file of that name; its id. Raises `ApiError`, after which nothing of it is left.

    At most five parts are in memory: 40 MiB up to 78 GiB. ``on_bytes`` hears how many bytes have arrived.
    """
    part_bytes = UNTOLD_PART_BYTES if size_bytes is None else part_bytes_for(size_bytes)
    first = await read(part_bytes)
    if not first:
        raise ApiError(f"{name}: there was nothing in it")
    api = PartsApi(client, delays_s)
    key, upload_id = await api.begin(PurePath(name), size_bytes, profile=profile)
    begun = BegunUpload(key=key, upload_id=upload_id, size_bytes=size_bytes or 0, mtime_ns=0, part_bytes=part_bytes)
    sending = _Stream(api, begun, name, read, first, on_bytes or _untold)
    try:
        await sending.run(size_bytes)
        await api.join(replace(begun, joining=tuple(sending.etags[number] for number in sorted(sending.etags))))
    except BaseException:
        with anyio.move_on_after(5, shield=True), suppress(ApiError):
            await api.give_up(begun)
        raise
    return file_id_of(begun)


@dataclass(slots=True)
class _Stream:
    api: PartsApi
    begun: BegunUpload
    name: str
    read: Read
    held: bytes
    on_bytes: Callable[[int], None]
    ended: bool = False
    number: int = 0
    arrived_bytes: int = 0
    etags: dict[int, str] = field(default_factory=dict)
    reading: anyio.Lock = field(default_factory=anyio.Lock)

    async def run(self, size_bytes: int | None) -> None:
        """Send all of it, which must be ``size_bytes`` where that is told."""
        self.on_bytes(0)
        async with task_group() as tasks:
            for number in range(PARALLEL_PARTS):
                tasks.start_soon(self._send_some, name=f"upload-{number}")
        if size_bytes is not None and self.arrived_bytes != size_bytes:
            raise StoreError(f"{self.name}: {self.arrived_bytes} bytes came of {size_bytes}")

    async def _next(self) -> bytes:
        """The next part, in its order; empty at the end."""
        part, self.held = self.held, b""
        if not part:
            part = await self.read(self.begun.part_bytes)
        self.ended = len(part) < self.begun.part_bytes
        return part

    async def _send_some(self) -> None:
        while True:
            async with self.reading:
                part = b"" if self.ended else await self._next()
                if not part:
                    return
                self.number += 1
                number = self.number
            if number > MOST_PARTS:
                raise StoreError(f"{self.name} is longer than {MOST_PARTS} parts of {self.begun.part_bytes} bytes")
            self.etags[number] = await send_part(
                self.api,
                self.begun,
                number,
                what=f"part {number} of {self.name}",
                length_bytes=len(part),
                opened=lambda part=part: _opened(part),  # type: ignore[misc]
            )
            self.arrived_bytes += len(part)
            self.on_bytes(self.arrived_bytes)


@asynccontextmanager
async def _opened(part: bytes) -> AsyncIterator[PartBody]:
    yield _HeldPart(part)


@dataclass(frozen=True, slots=True)
class _HeldPart:
    """A part in memory."""

    part: bytes
    fault: StoreError | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        for begin in range(0, len(self.part), CHUNK_BYTES):
            yield self.part[begin : begin + CHUNK_BYTES]


def _untold(_arrived_bytes: int) -> None:
    """Nobody wants to know."""
