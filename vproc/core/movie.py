"""The sample tables of a movie (ISO/IEC 14496-12, and QuickTime): when each key frame of a video track is shown, where it
stands, and what each GOP weighs.

They say whether a source may be copied as it is. A track whose tables are not understood to the last entry has none: it is
decoded like any other. Fragmented movies keep their samples elsewhere: `core.fmp4`.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain, pairwise, repeat
from operator import add, mul, sub

from vproc.core.boxes import child, children, malformed
from vproc.errors import TransientError

MOST_SAMPLES = 1_500_000
"""Seven hours at 60 frames a second. Longer tables are not read: they would take seconds and hundreds of megabytes."""

MOST_CHUNKS = 3_000_000
_MOST_EDITS = 10_000
_RATE_ONE = 0x10000  # 16.16


@dataclass(frozen=True, slots=True)
class SampleTable:
    """What the tables say of a video track. Times are in the ``timescale`` and count from the movie's time 0, as ffprobe
    tells them: by the edit list.

    ``entry`` is the sample entry's four letters. ``start`` is when the first picture is shown, ``end`` when the last one ends.
    ``keyframes`` are shown at these times, begin at the file's ``keyframe_offsets``, and ``gop_bytes`` are the bytes of the
    samples from each to the next. ``constant_rate``: pictures a second, if they are equally far apart but for the rounding of
    their times to ticks. ``closed_gops``: of no key frame is a picture decoded after it shown before it, nor the other way
    round. ``whole``: the edit list shows every picture once, in order, at its own speed.
    """

    track_id: int
    entry: str
    timescale: int
    samples: int
    start: int
    end: int
    keyframes: tuple[int, ...]
    keyframe_offsets: tuple[int, ...]
    gop_bytes: tuple[int, ...]
    constant_rate: Fraction | None
    closed_gops: bool
    whole: bool

    @property
    def start_s(self) -> Fraction:
        """When the first picture is shown."""
        return Fraction(self.start, self.timescale)

    @property
    def duration_s(self) -> Fraction:
        """From the first picture's start to the last one's end."""
        return Fraction(self.end - self.start, self.timescale)

    @property
    def keyframes_s(self) -> tuple[Fraction, ...]:
        """When each key frame is shown."""
        return tuple(Fraction(at, self.timescale) for at in self.keyframes)

    @property
    def longest_gop_s(self) -> Fraction:
        """From one key frame to the next, or to the end, at most."""
        return Fraction(max(after - at for at, after in pairwise((*self.keyframes, self.end))), self.timescale)

    def peak_bps(self, over_s: int) -> float:
        """The highest rate of GOPs in a row that last ``over_s`` or longer; of the whole where it is shorter."""
        at, before, peak = (*self.keyframes, self.end), tuple(accumulate(self.gop_bytes, initial=0)), 0.0
        for first, begins in enumerate(self.keyframes):
            last = bisect_left(at, begins + over_s * self.timescale)
            if last == len(at) and first:
                break
            last = min(last, len(at) - 1)
            if at[last] > begins:
                peak = max(peak, (before[last] - before[first]) * 8 * self.timescale / (at[last] - begins))
        return peak


def read_video(moov: bytes, stream: int) -> SampleTable | None:
    """The tables of a track, from the payload of the ``moov``. ``stream`` is ffprobe's index of it.

    None for a track that is no video, for a fragmented or compressed movie, and for tables that contradict themselves. Takes a
    second for the largest: call it in a thread.
    """
    try:
        return _read(moov, stream)
    except TransientError:
        return None


def _read(moov: bytes, stream: int) -> SampleTable:
    boxes = list(children(moov))
    tracks = [data for kind, data in boxes if kind == "trak"]
    if any(kind in {"mvex", "cmov"} for kind, _ in boxes) or stream >= len(tracks):
        raise malformed(f"no track {stream} whose samples stand in its tables")
    track = tracks[stream]
    tkhd, mdhd, hdlr = child(track, "tkhd"), child(track, "mdia", "mdhd"), child(track, "mdia", "hdlr")
    timescale = _number(mdhd, 20 if _long(mdhd) else 12)
    if hdlr[8:12] != b"vide" or not timescale:
        raise malformed("no video, or a timescale of 0")
    tables = dict(reversed(list(children(child(track, "mdia", "minf", "stbl")))))  # of several alike the first
    entries = list(children(_table(tables, "stsd"), 8))
    if len(entries) != 1:
        raise malformed(f"{len(entries)} sample entries")
    sizes = _sizes(tables)
    deltas = array("q", _runs(_table(tables, "stts"), len(sizes), least=0))
    times = _presented(deltas, tables)
    keys = _keys(tables, len(sizes))
    before = array("q", accumulate(sizes, initial=0))
    shift, whole = _edits(moov, track, timescale, first=min(times), last=max(times))
    return SampleTable(
        track_id=_number(tkhd, 20 if _long(tkhd) else 12),
        entry=entries[0][0],
        timescale=timescale,
        samples=len(sizes),
        start=min(times) + shift,
        end=max(times) + deltas[-1] + shift,
        keyframes=tuple(times[key] + shift for key in keys),
        keyframe_offsets=_offsets(tables, keys, before),
        gop_bytes=tuple(before[after] - before[key] for key, after in pairwise((*keys, len(sizes)))),
        constant_rate=_constant_rate(array("q", sorted(times)), timescale),
        closed_gops="stps" not in tables and _closed(times, keys),
        whole=whole,
    )


def _sizes(tables: Mapping[str, bytes]) -> Sequence[int]:
    """Bytes of each sample."""
    if "stsz" in tables:
        data = tables["stsz"]
        size, count = _number(data, 4), _count(data, MOST_SAMPLES, at=8)
        return [size] * count if size else _numbers(data, 12, count)
    data = _table(tables, "stz2")
    bits, count = _number(data, 4) & 0xFF, _count(data, MOST_SAMPLES, at=8)
    length = (count * bits + 7) // 8
    if bits not in {4, 8, 16} or len(data) < 12 + length:
        raise malformed(f"sample sizes of {bits} bits, or cut short")
    packed = data[12 : 12 + length]
    if bits == 16:  # noqa: PLR2004 - two bytes each
        return struct.unpack(f">{count}H", packed)
    return packed if bits == 8 else [half for byte in packed for half in (byte >> 4, byte & 15)][:count]  # noqa: PLR2004


def _presented(deltas: Sequence[int], tables: Mapping[str, bytes]) -> Sequence[int]:
    """When each sample is shown, in the order of decoding, before any edit."""
    decoded = accumulate(chain((0,), deltas))
    if "ctts" not in tables:
        return array("q", decoded)[:-1]
    # Version 0 is unsigned by the standard, but QuickTime writes negative ones with it; ffmpeg reads them signed too.
    return array("q", map(add, decoded, _runs(tables["ctts"], len(deltas))))


def _keys(tables: Mapping[str, bytes], samples: int) -> Sequence[int]:
    """Which samples are key frames, counted from 0."""
    if "stss" not in tables:
        return range(samples)
    numbers = _numbers(tables["stss"], 8, _count(tables["stss"], samples))
    ascending = all(before < after for before, after in pairwise(numbers))
    if numbers[0] != 1 or numbers[-1] > samples or not ascending:
        raise malformed("key frames out of order, or none at the start")
    return [number - 1 for number in numbers]


def _offsets(tables: Mapping[str, bytes], keys: Sequence[int], before: Sequence[int]) -> tuple[int, ...]:
    """Where in the file each key frame begins. ``before``: the bytes of all samples before each."""
    chunks = chunk_offsets(tables)
    rows = _numbers(_table(tables, "stsc"), 8, 3 * _count(_table(tables, "stsc"), len(chunks)))
    firsts, each = rows[::3], rows[1::3]
    lengths = list(map(sub, (*firsts[1:], len(chunks) + 1), firsts))
    if firsts[0] != 1 or min(lengths) < 1 or sum(map(mul, each, lengths)) != len(before) - 1:
        raise malformed("chunks that are not those of its samples")
    samples = array("q", accumulate(chain.from_iterable(map(repeat, each, lengths)), initial=0))
    found = []
    for key in keys:
        chunk = bisect_right(samples, key) - 1
        found.append(chunks[chunk] + before[key] - before[samples[chunk]])
    return tuple(found)


def chunk_offsets(tables: Mapping[str, bytes]) -> Sequence[int]:
    """Where a track's chunks begin, by its ``stco`` or ``co64``. Raises `TransientError` ``output_invalid`` without one."""
    if "stco" in tables:
        return _numbers(tables["stco"], 8, _count(tables["stco"], MOST_CHUNKS))
    data = _table(tables, "co64")
    return _numbers(data, 8, _count(data, MOST_CHUNKS), width=8)


def _edits(moov: bytes, track: bytes, timescale: int, *, first: int, last: int) -> tuple[int, bool]:
    """What the edit list adds to every time, and whether it shows all from ``first`` to ``last``."""
    edits = edit_list(track)
    shown = [edit for edit in edits if edit[1] >= 0]
    if not edits:
        return 0, True
    if not shown:
        return 0, False
    mvhd = child(moov, "mvhd")
    movie_scale = _number(mvhd, 20 if _long(mvhd) else 12)
    if not movie_scale:
        raise malformed("a movie timescale of 0")
    pause = 0
    for duration, time, _ in edits:
        if time >= 0:
            break
        pause += duration
    duration, time, rate = shown[0]
    simple = len(shown) == 1 and edits[-1] == shown[0] and rate == _RATE_ONE
    ends = time + duration * timescale // movie_scale
    return (2 * pause * timescale + movie_scale) // (2 * movie_scale) - time, simple and time <= first and last < ends


def edit_list(track: bytes) -> list[tuple[int, int, int]]:
    """Duration (in the movie's timescale), media time (-1: nothing is shown) and rate (16.16) of each edit of a ``trak``."""
    edits = next((data for kind, data in children(track) if kind == "edts"), None)
    if edits is None:
        return []
    data = child(edits, "elst")
    form, count = struct.Struct(">QqI" if _long(data) else ">IiI"), _count(data, _MOST_EDITS, least=0)
    if len(data) < 8 + count * form.size:
        raise malformed("an edit list that is cut short")
    return list(form.iter_unpack(data[8 : 8 + count * form.size]))


def _closed(times: Sequence[int], keys: Sequence[int]) -> bool:
    earliest_after = array("q", accumulate(reversed(times), min))
    latest_before = array("q", accumulate(times, max))
    return all(
        earliest_after[-1 - key] == times[key] and (not key or latest_before[key - 1] < times[key]) for key in keys
    )  # fmt: skip


def _constant_rate(times: Sequence[int], timescale: int) -> Fraction | None:
    """``times`` ascend."""
    steps = set(map(sub, times[1:], times))
    if not steps or min(steps) < 1 or max(steps) - min(steps) > 2:  # noqa: PLR2004 - what rounding both ends makes
        return None
    if len(steps) == 1:
        return Fraction(timescale, steps.pop())
    average = Fraction((len(times) - 1) * timescale, times[-1] - times[0])
    whole = max(1, round(average))
    for rate in (Fraction(whole), Fraction(whole * 1000, 1001), average.limit_denominator(1001)):
        ideal = range(0, len(times) * timescale * rate.denominator, timescale * rate.denominator)
        errors = [(at - times[0]) * rate.numerator - wanted for at, wanted in zip(times, ideal, strict=True)]
        if -rate.numerator <= min(errors) and max(errors) <= rate.numerator:
            return rate
    return None


def _runs(data: bytes, samples: int, *, least: int = -(1 << 31)) -> Iterator[int]:
    """A run-length table's values, one a sample."""
    entries = _count(data, samples)
    if len(data) < 8 + 8 * entries:
        raise malformed("a table that is cut short")
    rows = struct.unpack_from(f">{2 * entries}i", data, 8)
    lengths, values = rows[::2], rows[1::2]
    if sum(lengths) != samples or min(lengths) < 0 or min(values) < least:
        raise malformed("a table that is not that of its samples")
    return chain.from_iterable(map(repeat, values, lengths))


def _table(tables: Mapping[str, bytes], kind: str) -> bytes:
    if kind not in tables:
        raise malformed(f"no {kind}")
    return tables[kind]


def _long(data: bytes) -> bool:
    """A full box of version 1, whose times have 64 bits."""
    return data[:1] == b"\x01"


def _count(data: bytes, most: int, *, at: int = 4, least: int = 1) -> int:
    """How many entries a table has."""
    count = _number(data, at)
    if not least <= count <= most:
        raise malformed(f"a table of {count} entries")
    return count


def _number(data: bytes, at: int) -> int:
    return _numbers(data, at, 1)[0]


def _numbers(data: bytes, at: int, count: int, *, width: int = 4) -> Sequence[int]:
    """Kept as machine numbers: those of hours of film would take tens of megabytes as objects."""
    if len(data) < at + count * width:
        raise malformed("a table that is cut short")
    letter = "Q" if width == 8 else "I"  # noqa: PLR2004 - bytes
    return array(letter, struct.unpack_from(f">{count}{letter}", data, at))
