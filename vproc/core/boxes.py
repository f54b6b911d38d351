"""The boxes of an ISO base media file (ISO/IEC 14496-12): finding them, no meaning. What a track holds: `core.fmp4`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vproc.errors import ErrorCode, TransientError

Read = Callable[[int, int], bytes]
"""``read(offset, size)``: that many bytes of the file, fewer only at its end."""

_SHORT_HEADER = 8
_LONG_HEADER = 16
_LARGEST_METADATA = 64 * 1024 * 1024
_MOST_BOXES = 1_000_000
_MOST_CHILDREN = 10_000


def malformed(detail: str) -> TransientError:
    """What is raised for a file that is not what an encoder writes: another encode may be whole."""
    return TransientError(ErrorCode.OUTPUT_INVALID, f"the fragmented MP4 is malformed: {detail}")


@dataclass(frozen=True, slots=True)
class Box:
    """Where a box stands. ``kind`` is its four letters; the payload begins at ``offset + header``."""

    kind: str
    offset: int
    size: int
    header: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.size


def top_level(read: Read, size: int, *, start: int = 0) -> Iterator[Box]:
    """The boxes of a file of ``size`` bytes from ``start`` on, without reading their payload. Raises `TransientError`
    ``output_invalid``."""
    offset = start
    for _ in range(_MOST_BOXES):
        if offset == size:
            return
        box = box_at(read(offset, _LONG_HEADER), offset, size)
        yield box
        offset = box.end
    raise malformed(f"more than {_MOST_BOXES} boxes")


def whole_boxes(read: Read, start: int, size: int) -> Iterator[Box]:
    """The boxes from ``start`` on that lie whole within the first ``size`` bytes of a file that may grow. One that goes to the
    file's end is none of them."""
    offset = start
    while size - offset >= _SHORT_HEADER:
        head = read(offset, _LONG_HEADER)
        length = int.from_bytes(head[:4], "big")
        if length == 0 or (length == 1 and size - offset < _LONG_HEADER):
            return
        box = box_at(head, offset, 1 << 63)
        if box.end > size:
            return
        yield box
        offset = box.end


def payload(read: Read, box: Box) -> bytes:
    """A metadata box's payload."""
    length = box.size - box.header
    if length > _LARGEST_METADATA:
        raise malformed(f"{box.kind} of {length} bytes")
    data = read(box.offset + box.header, length)
    if len(data) != length:
        raise malformed(f"{box.kind} is cut short")
    return data


def children(data: bytes, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """Kind and payload of each box in ``data`` from ``start`` on."""
    offset = start
    for _ in range(_MOST_CHILDREN):
        if offset >= len(data):
            return
        box = box_at(data[offset : offset + _LONG_HEADER], offset, len(data))
        yield box.kind, data[offset + box.header : box.end]
        offset = box.end
    raise malformed(f"more than {_MOST_CHILDREN} boxes in one")


def child(data: bytes, *path: str) -> bytes:
    """The payload of the first box on a path of kinds. Raises `TransientError` ``output_invalid`` where there is none."""
    for kind in path:
        found = next((inner for name, inner in children(data) if name == kind), None)
        if found is None:
            raise malformed(f"no {kind}")
        data = found
    return data


def box_at(head: bytes, offset: int, end: int) -> Box:
    """The box whose first bytes (16, or all that there are) are ``head``, in a file or a parent that ends at ``end``."""
    if len(head) < _SHORT_HEADER:
        raise malformed(f"{end - offset} bytes at its end are no box")
    size, kind, header = int.from_bytes(head[:4], "big"), head[4:8].decode("latin-1"), _SHORT_HEADER
    if size == 1:
        if len(head) < _LONG_HEADER:
            raise malformed(f"the header of {kind!r} is cut short")
        size, header = int.from_bytes(head[8:16], "big"), _LONG_HEADER
    elif size == 0:  # to the end of the file
        size = end - offset
    if size < header or offset + size > end:
        raise malformed(f"{kind!r} at {offset} claims {size} bytes")
    return Box(kind, offset, size, header)
