"""Feeding a movie to a reader that cannot seek: its index first, wherever it stands in the file, then the data in order.

Nothing is rewritten in the store: the pieces of the file are taken in another order, and the index's offsets are those of that
order. Written for ffmpeg's demuxer, which reads samples by their place in the file when its input is a pipe.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from vproc.core.boxes import Box, children, malformed, top_level
from vproc.core.movie import chunk_offsets, edit_list
from vproc.errors import TransientError

HEADER_BYTES = 16
"""What must be known from where a box begins."""

_PATH = frozenset({"trak", "mdia", "minf", "stbl"})
_LARGEST_SHORT_OFFSET = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of the file."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Feed:
    """What a reader is given, in order: bytes that are made, and extents of the file. Every byte of the file but its index and
    nothing twice."""

    pieces: tuple[bytes | Extent, ...]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(piece.size if isinstance(piece, Extent) else len(piece) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Layout:
    """The boxes of a file as far as its known bytes tell. ``wanted``: where the next header stands, of which `HEADER_BYTES`
    are to be read; None once no more need be known."""

    boxes: tuple[Box, ...]
    wanted: int | None

    @property
    def moov(self) -> Box | None:
        """The index."""
        return next((box for box in self.boxes if box.kind == "moov"), None)

    @property
    def index_first(self) -> bool:
        """The index stands before all data: the file can be read as it arrives."""
        kinds = [box.kind for box in self.boxes]
        return "moov" in kinds and not {"mdat", "moof"} & set(kinds[: kinds.index("moov")])


def read_layout(known: Sequence[tuple[int, bytes]], size: int) -> Layout | None:
    """The layout of a file of ``size`` bytes of which these are known, each with its offset. None for what is no movie.

    Where the index stands first, no more is asked for than that.
    """
    boxes: list[Box] = []

    def read(offset: int, length: int) -> bytes:
        for start, data in known:
            if start <= offset and min(offset + length, size) <= start + len(data):
                return data[offset - start : offset - start + length]
        raise _UnknownError(offset)

    try:
        for box in top_level(read, size):
            boxes.append(box)
            layout = Layout(tuple(boxes), None)
            if layout.index_first:
                return layout
    except _UnknownError as error:
        return Layout(tuple(boxes), error.offset)
    except TransientError:
        return None
    return Layout(tuple(boxes), None)


def plan_feed(layout: Layout, moov: bytes, size: int) -> Feed | None:
    """How to feed a file of ``size`` bytes. ``moov`` is the payload of its index, ``layout`` is complete.

    None where it must be read as a file: two indexes, or a fragmented or compressed one behind the data; samples that are not
    in order, or whose reader would have to go back for an edit; offsets that point beside the data. A pipe gives no chapters
    and no timecode: ffmpeg seeks to read those.
    """
    try:
        if not _in_order(moov):
            return None
        if layout.index_first:
            return Feed((Extent(0, size),))
        return _index_moved(layout, moov, size)
    except TransientError:
        return None


class _UnknownError(Exception):
    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class _Move:
    """From the file's order to the feed's: ``lead`` bytes stay in front, the index stood from ``moov`` to ``moov_end``."""

    lead: int
    moov: int
    moov_end: int
    size: int
    index_bytes: int

    def offsets(self, old: Sequence[int]) -> Sequence[int]:
        """The new offsets of chunks."""
        if self.lead <= min(old) and max(old) < self.moov:  # nearly always
            return [offset + self.index_bytes for offset in old]
        return [self._offset(offset) for offset in old]

    def _offset(self, old: int) -> int:
        if self.lead <= old < self.moov:
            return old + self.index_bytes
        if self.moov_end <= old < self.size:
            return old + self.index_bytes - (self.moov_end - self.moov)
        raise malformed(f"a chunk at {old}")


def _index_moved(layout: Layout, moov: bytes, size: int) -> Feed | None:
    kinds = [box.kind for box in layout.boxes]
    inside = [kind for kind, _ in children(moov)]
    if layout.moov is None or kinds.count("moov") > 1 or "moof" in kinds or {"mvex", "cmov"} & set(inside):
        return None
    first, at = layout.boxes[0], layout.moov
    lead = first.end if first.kind == "ftyp" else 0
    for wide in (False, True):
        index_bytes = 8 + len(_rewritten(moov, None, wide=wide))
        if wide or size + index_bytes <= _LARGEST_SHORT_OFFSET:
            break
    move = _Move(lead, at.offset, at.end, size, index_bytes)
    index = _box("moov", _rewritten(moov, move, wide=wide))
    parts = (Extent(0, lead), index, Extent(lead, at.offset - lead), Extent(at.end, size - at.end))
    return Feed(tuple(part for part in parts if isinstance(part, bytes) or part.size))


def _rewritten(data: bytes, move: _Move | None, *, wide: bool) -> bytes:
    """A container's payload with its chunk offsets moved, or only widened to 64 bits."""
    parts = []
    for kind, inner in children(data):
        if kind in _PATH:
            parts.append(_box(kind, _rewritten(inner, move, wide=wide)))
        elif kind in {"stco", "co64"}:
            old = chunk_offsets({kind: inner}) if inner[4:8] != bytes(4) else ()
            new = move.offsets(old) if move is not None and old else old
            name, width = ("co64", "Q") if wide or kind == "co64" else ("stco", "I")
            parts.append(_box(name, bytes(4) + struct.pack(f">I{len(new)}{width}", len(new), *new)))
        else:
            parts.append(_box(kind, inner))
    return b"".join(parts)


def _in_order(moov: bytes) -> bool:
    """Whether each track's samples follow each other in the file and are shown by one edit at most."""
    for kind, track in children(moov):
        if kind != "trak":
            continue
        tables = _tables(track)
        if "saio" in tables or sum(time >= 0 for _, time, _ in edit_list(track)) > 1:
            return False
        for name in ("stco", "co64"):
            if tables.get(name, b"")[4:8].strip(b"\0"):
                offsets = chunk_offsets({name: tables[name]})
                if list(offsets) != sorted(offsets):
                    return False
    return True


def _tables(track: bytes) -> dict[str, bytes]:
    data = track
    for kind in ("mdia", "minf", "stbl"):
        data = next((inner for name, inner in children(data) if name == kind), b"")
    return dict(children(data))


def _box(kind: str, data: bytes) -> bytes:
    return struct.pack(">I", len(data) + 8) + kind.encode("latin-1") + data
