"""How much memory an ffmpeg is given, from the pictures that it holds and the threads that it starts.

The figures are twice what was measured and more: docs/decisions/0021-memory-of-a-child.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from vproc.core.ladder import Rung

MIB = 1024**2
GIB = 1024 * MIB
LEAST_DATA_BYTES = GIB
LEAST_ADDRESS_BYTES = 8 * GIB
"""Of address space: what a child has whose pictures nobody knows."""
_SAFETY = 2
_PROGRAM_BYTES = 128 * MIB
_STACK_BYTES = 8 * MIB
_ARENA_BYTES = 64 * MIB
"""glibc reserves so much address space for the heap of a thread, up to eight heaps for each core."""
_MOST_DECODER_THREADS = 16
_ROWS_A_THREAD = 32
"""x264 starts no more than one thread for two rows of macroblocks."""
_OTHER_THREADS = 40
"""Of demuxers, muxers, filters and small encoders."""
_SVT_THREADS = 50
_BITS_OF_A_BYTE = 8
_EXPECTED_MARGIN = 1.25
"""x265 holds so much more than x264."""
_SVT_HOLDS = 2.3
"""Times what x264 does."""


@dataclass(frozen=True, slots=True)
class Memory:
    """``data_bytes`` is what a child may fill (RLIMIT_DATA; None: not bounded), ``address_bytes`` what it may reserve
    (RLIMIT_AS)."""

    data_bytes: int | None
    address_bytes: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a command decodes and encodes: bytes of a decoded picture, and of each rung's with its height."""

    source_bytes: int
    rungs: tuple[tuple[int, int], ...] = ()
    svt: bool = False

    def memory(self, *, threads: int | None, cores: int) -> Memory:
        """What such a command is given. ``threads``: of the decoder and each encoder; None lets them choose by ``cores``."""
        decoding, encoding = self._threads(threads, cores)
        started = _OTHER_THREADS + 2 * cores + decoding + sum(self._started(number) for number in encoding)
        # A decoder holds the pictures that others refer to, and one a thread; an encoder those that it looks ahead at.
        held = self.source_bytes * (16 + ceil(1.5 * decoding))
        held += sum(size * (110 + 8 * number) for (size, _), number in zip(self.rungs, encoding, strict=True))
        data = max(LEAST_DATA_BYTES, _SAFETY * (_PROGRAM_BYTES + _STACK_BYTES * started + held))
        return Memory(data, max(LEAST_ADDRESS_BYTES, data + _ARENA_BYTES * started + 2 * GIB))

    def expected_bytes(self, *, threads: int | None, cores: int) -> int:
        """What such a command holds at its peak, resident: what was measured, not what it is allowed."""
        decoding, encoding = self._threads(threads, cores)
        # A decoder starts no more threads than that, however many it is given.
        held = self.source_bytes * (4 + min(decoding, _MOST_DECODER_THREADS))
        rungs = sum(size * (52 + 6.5 * number) for (size, _), number in zip(self.rungs, encoding, strict=True))
        return round(_EXPECTED_MARGIN * (_PROGRAM_BYTES / 2 + held + rungs * (_SVT_HOLDS if self.svt else 1)))

    def _threads(self, threads: int | None, cores: int) -> tuple[int, list[int]]:
        """Of the decoder, and of each encoder."""
        decoding = threads or min(cores + 1, _MOST_DECODER_THREADS)
        return decoding, [threads or min(ceil(1.5 * cores), max(1, height_px // _ROWS_A_THREAD)) for _, height_px in self.rungs]

    def _started(self, threads: int) -> int:
        return _SVT_THREADS + 3 * threads if self.svt else ceil(1.3 * threads)


def pictures_of(width: int, height: int, bit_depth: int, encoded: Sequence[Rung], *, encoder: str | None, deep: bool) -> Pictures:
    """Of a source of that size and its rungs, ``deep`` where they have ten bits. A source may have 4:4:4 for all that is known
    beforehand; rungs have 4:2:0."""
    per_px = 3 if bit_depth <= _BITS_OF_A_BYTE else 6
    rungs = tuple((rung.width * rung.height * (6 if deep else 3) // 2, rung.height) for rung in encoded)
    return Pictures(width * height * per_px, rungs, svt=encoder == "libsvtav1")
