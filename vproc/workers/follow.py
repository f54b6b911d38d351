"""Follows the tracks that ffmpeg is writing: each segment is handed on as soon as it is there, while the rest is encoded.

ffmpeg writes fragments one after the other and never goes back, so what stands in a file before its last whole box is final. One
thing is not: whether a rest at the very end is too short to stand alone. The segment before it is handed on again then, longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BufferedReader
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from vproc.core.boxes import box_at
from vproc.core.conform import begins_with_idr
from vproc.core.fmp4 import Segment, TrackIndex, TrackWalk
from vproc.core.grid import KeyGrid, joined, segmented
from vproc.core.manifest import OutputKind
from vproc.core.plan import PlannedOutput
from vproc.core.playlist import segment_name
from vproc.errors import ErrorCode, TransientError
from vproc.workers.package import CutTrack, Item, slice_of

LOOK_EVERY_S = 0.1
_ENOUGH_BYTES = 256 * 1024
"""Of a fragment: its tables, and of its first sample what stands before the picture."""


@dataclass(slots=True)
class Track:
    """One followed track. ``items``: its header and its segments, in order; ``index`` once it is finished."""

    output: PlannedOutput
    grid: KeyGrid
    items: list[Item] = field(default_factory=list)
    index: TrackIndex | None = None
    _file: BufferedReader | None = None
    _walk: TrackWalk | None = None
    _taken: int = 0
    _open: Segment | None = None

    def look(self) -> list[Item]:
        """In a thread: what has become whole since the last look. Raises `TransientError` for a track that is malformed."""
        walk, size = self._grown()
        if walk is None:
            return []
        walk.advance(size)
        return self._header(walk) + self._segments(walk)

    def finish(self) -> list[Item]:
        """In a thread, once ffmpeg has ended: the rest, and what changed by it."""
        walk, size = self._grown()
        if walk is None:
            raise TransientError(ErrorCode.OUTPUT_INVALID, f"the output {self.output.rendition} was not written")
        whole = walk.finish(size)
        for fragment in walk.fragments[self._taken :]:
            self._check(fragment)
        news = self._header(walk)
        self.index = segmented(whole, self.grid)
        known = {(item.body.offset, item.body.size_bytes): item for item in self.items if not isinstance(item.body, bytes)}
        kept = self.items[:1]
        for number, segment in enumerate(self.index.segments):
            item = known.get((segment.offset, segment.size))
            if item is None:
                news.append(item := self._item(number, segment, whole.is_video))
            kept.append(item)
        self.items = kept
        return news

    @property
    def cut(self) -> CutTrack:
        """The finished track."""
        if self.index is None:
            raise AssertionError("it is not finished")
        return CutTrack(self.index, tuple(self.items))

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()

    def _grown(self) -> tuple[TrackWalk | None, int]:
        path = self.output.path
        if self._file is None:
            if not path.exists():
                return None, 0
            self._file = path.open("rb")
            self._walk = TrackWalk(self._read)
        return self._walk, path.stat().st_size

    def _read(self, offset: int, size: int) -> bytes:
        if self._file is None:
            raise AssertionError("read before it was opened")
        self._file.seek(offset)
        return self._file.read(size)

    def _header(self, walk: TrackWalk) -> list[Item]:
        if self.items or walk.header is None:
            return []
        folder, kind = f"{self.output.rendition}/", _media_type(is_video=walk.header.is_video)
        body = slice_of(self.output.path, 0, walk.header.init_bytes)
        self.items.append(Item(OutputKind.INIT, f"{folder}init.mp4", kind, body, {"name": self.output.rendition}))
        return self.items[:1]

    def _segments(self, walk: TrackWalk) -> list[Item]:
        """Those that no further fragment can join, but for a rest at the end."""
        header, news = walk.header, []
        if header is None:
            return []
        for fragment in walk.fragments[self._taken :]:
            self._taken += 1
            self._check(fragment)
            if self._open is not None and self._begins(header, self._open, fragment.start):
                news.append(self._close(header, self._open))
            self._open = fragment if self._open is None else joined(self._open, fragment)
            if self._begins(header, self._open, self._open.start + self._open.duration):
                news.append(self._close(header, self._open))
        return news

    def _check(self, fragment: Segment) -> None:
        """A copied stream's index may call a picture a key frame that needs those before it: no player could begin there."""
        if not self.output.copied:
            return
        if not begins_with_idr(_first_sample(self._read(fragment.offset, min(fragment.lead_bytes, _ENOUGH_BYTES)))):
            raise TransientError(ErrorCode.OUTPUT_INVALID, "the copied stream has a key frame that is none")

    def _begins(self, header: TrackIndex, segment: Segment, at: int) -> bool:
        return self.grid.begins(Fraction(segment.start, header.timescale), Fraction(at, header.timescale))

    def _close(self, header: TrackIndex, segment: Segment) -> Item:
        item = self._item(len(self.items) - 1, segment, header.is_video)
        self.items.append(item)
        self._open = None
        return item

    def _item(self, number: int, segment: Segment, is_video: bool) -> Item:
        path, name = f"{self.output.rendition}/{segment_name(number)}", self.output.rendition
        body = slice_of(self.output.path, segment.offset, segment.size)
        return Item(OutputKind.SEGMENT, path, _media_type(is_video=is_video), body, {"name": name})


class Follower:
    """Follows the tracks of one encode. ``on_item`` hears of each object, once more where it changed at the end; it must not
    wait. Use it as a context: it holds files open."""

    def __init__(self, outputs: Sequence[PlannedOutput], grid: KeyGrid, *, on_item: Callable[[Item], None]) -> None:
        self.tracks = [Track(output, grid) for output in outputs if output.is_track]
        self._on_item = on_item

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for track in self.tracks:
            track.close()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while self.tracks:
            await anyio.sleep(LOOK_EVERY_S)
            await self._hand_on(lambda: [item for track in self.tracks for item in track.look()])

    async def finish(self) -> dict[str, CutTrack]:
        """After ffmpeg's end, and `run`'s: the tracks by their rendition."""
        await self._hand_on(lambda: [item for track in self.tracks for item in track.finish()])
        return {track.output.rendition: track.cut for track in self.tracks}

    async def _hand_on(self, look: Callable[[], list[Item]]) -> None:
        with anyio.CancelScope(shield=True):  # what was found is found once
            for item in await anyio.to_thread.run_sync(look):
                self._on_item(item)


def _first_sample(fragment: bytes) -> bytes:
    """What is given of a fragment's first sample."""
    offset = 0
    while offset < len(fragment):
        box = box_at(fragment[offset : offset + 16], offset, 1 << 63)
        if box.kind == "mdat":
            return fragment[offset + box.header :]
        offset = box.end
    return b""


def _media_type(*, is_video: bool) -> str:
    return "video/mp4" if is_video else "audio/mp4"
