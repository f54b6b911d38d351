"""A bucket whose objects come down only as far as a test allows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio

from tests.support.memory import MemoryStore, MemoryStoreOptions
from vproc.core.files import ObjectVersion

PIECE_BYTES = 64 * 1024


class SlowStore(MemoryStore):
    """Gives a download only up to where a test allows, 64 KiB at a time. ``fetched``: the parts that were fetched ahead."""

    def __init__(self) -> None:
        super().__init__("raw", MemoryStoreOptions(piece_bytes=PIECE_BYTES))
        self.allowed = 0
        self.fetched: list[tuple[int, int]] = []
        self._more = anyio.Event()

    def allow(self, size: int) -> None:
        """Let so much come down, counted from the start."""
        self.allowed = size
        self._more.set()
        self._more = anyio.Event()

    async def download(self, version: ObjectVersion, to: Path, *, on_piece: Callable[[int, int], None] | None = None) -> None:
        """As the port says."""
        body = self.body(version.key)
        # The whole file's length at once, as the adapter takes it.
        await anyio.Path(to).write_bytes(bytes(len(body)))
        for offset in range(0, len(body), PIECE_BYTES):
            piece = body[offset : offset + PIECE_BYTES]
            while self.allowed < offset + len(piece):
                await self._more.wait()
            async with await anyio.open_file(to, "r+b") as file:
                await file.seek(offset)
                await file.write(piece)
            if on_piece is not None:
                on_piece(offset, len(piece))

    async def fetch(self, version: ObjectVersion, to: Path, *, start: int, end: int) -> None:
        """As the port says."""
        self.fetched.append((start, end))
        await super().fetch(version, to, start=start, end=end)
