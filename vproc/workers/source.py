"""A source on its way: downloaded in the background, looked at and read while it still arrives.

What can be read before it is whole is decided in `core.faststart`; how bytes come, behind `ports.ObjectStore`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.to_thread

from vproc.core.container import HEAD_BYTES, Container, sniff
from vproc.core.faststart import HEADER_BYTES, Extent, plan_feed, read_layout
from vproc.core.faststart import Feed as Pieces
from vproc.core.faststart import Layout as MovieLayout
from vproc.core.files import ObjectVersion
from vproc.errors import ErrorCode, TransientError
from vproc.ports import Feed, ObjectStore

STREAM_FROM_BYTES = 4 * 1024 * 1024
"""A smaller object is here before ffmpeg has started."""
PROBE_BYTES = {Container.MOV: 2 * 1024 * 1024, Container.MATROSKA: 3 * 1024 * 1024, Container.MPEGTS: 6 * 1024 * 1024}
"""What ffprobe reads to know the streams, beside the index: of a transport stream all of its ``probesize`` of 5 MB, else a few
pictures."""
TAIL_BYTES = 1024 * 1024
"""Where a transport stream tells its last time, and Matroska its tags."""
LARGEST_INDEX_BYTES = 64 * 1024 * 1024
READ_BYTES = 512 * 1024
_MOST_BOXES = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a source before it is whole. ``feed``: how it can be read from its start on; None: only whole.
    ``moov``: the index of an MP4, without its box's header. ``readable_bytes``: how much of the start a probe reads."""

    container: Container
    feed: Pieces | None = None
    moov: bytes | None = None
    readable_bytes: int = 0


class Source:
    """One object version, arriving in ``path``. `run` beside everything else fills it; the rest waits for what it needs."""

    def __init__(
        self, store: ObjectStore, version: ObjectVersion, path: Path, *, on_bytes: Callable[[int], None] = lambda _: None
    ) -> None:
        self.path = path
        self.size_bytes = version.size_bytes
        self._store = store
        self._version = version
        self._on_bytes = on_bytes
        self._ready_bytes = 0
        self._ahead: dict[int, int] = {}
        self._changed = anyio.Event()
        self._whole = False
        self._fetched_from = version.size_bytes

    async def run(self) -> None:
        """Download it. Raises as `ports.ObjectStore.download`, and where the file is not as long as was announced."""
        await self._store.download(self._version, self.path, on_piece=self._on_piece)
        size = (await anyio.to_thread.run_sync(self.path.stat)).st_size
        if size != self.size_bytes:
            raise TransientError(
                ErrorCode.SOURCE_CHANGED, f"{size} bytes arrived instead of the {self.size_bytes} that were announced"
            )
        self._whole = True
        self._tell(self.size_bytes)

    @property
    def whole(self) -> bool:
        """All of it is here."""
        return self._whole

    async def until(self, end: int) -> None:
        """Return when every byte before ``end`` is here."""
        while self._ready_bytes < min(end, self.size_bytes):
            await self._changed.wait()

    async def until_whole(self) -> None:
        """Return when all of it is here, and seen to be."""
        while not self._whole:
            await self._changed.wait()

    def _on_piece(self, offset: int, size: int) -> None:
        self._on_bytes(size)
        self._ahead[offset] = offset + size
        ready = self._ready_bytes
        while (end := self._ahead.pop(ready, None)) is not None:
            ready = end
        if ready != self._ready_bytes:
            self._tell(ready)

    def _tell(self, ready: int) -> None:
        self._ready_bytes = ready
        self._changed.set()
        self._changed = anyio.Event()

    # --- looking ------------------------------------------------------------------------------------------------------

    async def look(self) -> Layout:
        """Which container it is and whether it can be read while it arrives; returns when a probe finds what it needs in the
        file, as early as that is. Raises `RejectedError` for what is no media."""
        await self.until(HEAD_BYTES)
        container = sniff(await self._read(0, HEAD_BYTES))
        if self.size_bytes < STREAM_FROM_BYTES:
            await self.until_whole()
            return replace(await self._lay_out(container), feed=None)
        layout = await self._lay_out(container)
        if layout.feed is None:
            await self.until_whole()
        else:
            await self.until(layout.readable_bytes)
        return layout

    async def _lay_out(self, container: Container) -> Layout:
        match container:
            case Container.MOV:
                return await self._lay_out_movie()
            case Container.MATROSKA | Container.MPEGTS if not self._whole:
                start = max(0, self.size_bytes - TAIL_BYTES)
                await self._store.fetch(self._version, self.path, start=start, end=self.size_bytes)
                return Layout(container, Pieces((Extent(0, self.size_bytes),)), None, PROBE_BYTES[container])
        return Layout(container)

    async def _lay_out_movie(self) -> Layout:
        """Find the index, wherever it stands. A movie that cannot be fed is still waited for whole, with its index known."""
        layout = await self._boxes()
        moov = layout.moov if layout else None
        if layout is None or moov is None or moov.size > LARGEST_INDEX_BYTES:
            return Layout(Container.MOV)
        await self._have(moov.offset, moov.end)
        index = await self._read(moov.offset + moov.header, moov.size - moov.header)
        feed = await anyio.to_thread.run_sync(_feed_of, layout, index, self.size_bytes)
        read = PROBE_BYTES[Container.MOV] + (moov.end if layout.index_first else 0)
        return Layout(Container.MOV, feed, index, read)

    async def _boxes(self) -> MovieLayout | None:
        """The file's top-level boxes, as far as they must be known; None where it is too broken to say. What stands behind the
        media is fetched ahead of it."""
        known = [(0, await self._read(0, min(HEAD_BYTES, self.size_bytes)))]
        while True:
            layout = read_layout(known, self.size_bytes)
            if layout is None or layout.wanted is None:
                return layout
            if len(known) > _MOST_BOXES:
                return None
            await self._have(layout.wanted, min(layout.wanted + HEADER_BYTES, self.size_bytes))
            known.append((layout.wanted, await self._read(layout.wanted, HEADER_BYTES)))

    async def _have(self, start: int, end: int) -> None:
        """Return when those bytes are here. What the download reaches only later is fetched, up to the file's end where that is
        near: an index is wanted whole."""
        if start >= self._fetched_from:
            return
        if end <= self._ready_bytes + READ_BYTES:
            await self.until(end)
            return
        if self.size_bytes - start <= LARGEST_INDEX_BYTES:
            end = self.size_bytes
            self._fetched_from = start
        await self._store.fetch(self._version, self.path, start=start, end=end)

    async def _read(self, offset: int, size: int) -> bytes:
        return await anyio.to_thread.run_sync(_read_at, self.path, offset, size)

    # --- feeding ------------------------------------------------------------------------------------------------------

    def feeder(self, pieces: Pieces) -> Feed:
        """Writes the whole source in that order, each byte as soon as it is here."""

        async def feed(write: Callable[[bytes], Awaitable[bool]]) -> None:
            for piece in pieces.pieces:
                if isinstance(piece, bytes):
                    if not await write(piece):
                        return
                    continue
                for offset, size in _chunks(piece):
                    await self.until(offset + size)
                    if not await write(await self._read(offset, size)):
                        return

        return feed


def _feed_of(layout: MovieLayout, moov: bytes, size: int) -> Pieces | None:
    """A fragmented movie tells its length nowhere but all over the file: it is probed whole."""
    return None if b"mvex" in moov else plan_feed(layout, moov, size)


def _chunks(extent: Extent) -> Iterator[tuple[int, int]]:
    end = extent.offset + extent.size
    for start in range(extent.offset, end, READ_BYTES):
        yield start, min(READ_BYTES, end - start)


def _read_at(path: Path, offset: int, size: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(handle, size, offset)
    finally:
        os.close(handle)
