"""The index of a fragmented MP4 of one track: its header, its segments and their times, from the boxes alone.

A file may still grow: `TrackWalk` takes the boxes that are whole by now. Fragments become segments in `core.grid`. Media data is
never read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from vproc.core.boxes import Box, Read, child, children, malformed, payload, top_level, whole_boxes
from vproc.core.codecs import audio_channels, audio_codec_string, video_codec_string

_BEFORE_FRAGMENT = frozenset({"styp", "prft", "emsg"})
_ASIDE = frozenset({"free", "skip", "sidx", "ssix", "mfra", "uuid", "meta", "pdin"})
_NOT_SYNC = 0x10000  # sample_is_non_sync_sample

LEAST_LAST_S = Fraction(1, 2)
"""A shorter last segment is no segment of its own: a few milliseconds of sound keep hls.js from ever reaching the end."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes and times of one fragment, or of several that were joined. ``start`` and ``duration`` in the track's timescale;
    ``start`` is a decode time, which of our encodes is also the time of its first picture or sample. ``lead_bytes``: as much
    of its beginning as holds the first sample, which is all that trick play reads."""

    offset: int
    size: int
    start: int
    duration: int
    samples: int
    starts_with_sync: bool
    lead_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TrackIndex:
    """A track. The header (initialisation segment) is the file's first ``init_bytes``.

    ``edit_start``: media time, in the timescale, that is shown at time zero, by the edit list. Width and height are 0 for
    sound; sample rate and channels are 0 for video.
    """

    kind: str
    codecs: str
    timescale: int
    init_bytes: int
    segments: tuple[Segment, ...]
    edit_start: int = 0
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0

    @property
    def is_video(self) -> bool:
        """Video, not sound."""
        return self.kind == "video"

    @property
    def duration_s(self) -> float:
        """All segments together."""
        return sum(segment.duration for segment in self.segments) / self.timescale

    @property
    def shown_s(self) -> float:
        """What of it is presented: without the encoder's priming."""
        return max(0.0, self.duration_s - self.edit_start / self.timescale)

    @property
    def frame_rate(self) -> Fraction:
        """Average samples a second."""
        ticks = sum(segment.duration for segment in self.segments)
        return Fraction(sum(segment.samples for segment in self.segments) * self.timescale, max(1, ticks))

    @property
    def independent(self) -> bool:
        """Every segment starts with a key frame."""
        return all(segment.starts_with_sync for segment in self.segments)


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What a sample has where its fragment does not say."""

    duration: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True)
class _Header:
    track_id: int
    defaults: _Defaults
    index: TrackIndex


def index_track(read: Read, size: int) -> TrackIndex:
    """Index a file of ``size`` bytes, each fragment as a segment. Raises `TransientError` ``output_invalid`` for anything but
    one fragmented track with a fragment."""
    walk = TrackWalk(read)
    walk.advance(size)
    return walk.finish(size)


class TrackWalk:
    """Indexes a file that may still grow. Everything raises `TransientError` ``output_invalid`` for a malformed one."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._offset = 0
        self._header: _Header | None = None
        self._segments: list[Segment] = []
        self._start: int | None = None
        self._moof: Box | None = None

    @property
    def header(self) -> TrackIndex | None:
        """The track without fragments; None while its header has not come."""
        return self._header.index if self._header else None

    @property
    def fragments(self) -> list[Segment]:
        """Those that are whole by now."""
        return self._segments

    def advance(self, size: int) -> None:
        """Take every box that is whole within the first ``size`` bytes."""
        for box in whole_boxes(self._read, self._offset, size):
            self._take(box)
            self._offset = box.end

    def _take(self, box: Box) -> None:
        match box.kind:
            case "moov" if self._header is None:
                self._header = _read_header(payload(self._read, box), box.end)
            case "moof" if self._header is not None and self._moof is None:
                self._moof = box
                self._begin(box)
            case "mdat":
                self._segments.append(self._segment(box))
                self._moof = self._start = None
            case "ftyp" if not box.offset:
                pass
            case kind if kind in _BEFORE_FRAGMENT:
                self._begin(box)
            case kind if kind not in _ASIDE:
                raise malformed(f"{kind!r} at {box.offset} is unknown or out of place")

    def finish(self, size: int) -> TrackIndex:
        """The file has ``size`` bytes and grows no more: its index, each fragment as a segment."""
        for box in top_level(self._read, size, start=self._offset):
            self._take(box)
            self._offset = box.end
        if self._header is None or not self._segments or self._moof is not None:
            raise malformed("no segment, or the last has no data")
        return replace(self._header.index, segments=tuple(self._segments))

    def _begin(self, box: Box) -> None:
        self._start = box.offset if self._start is None else self._start

    def _segment(self, mdat: Box) -> Segment:
        if self._header is None or self._moof is None or self._start is None:
            raise malformed("an mdat without a moof: it is not fragmented")
        before = self._segments[-1] if self._segments else None
        return _segment(payload(self._read, self._moof), self._header, self._start, mdat, before)


def _read_header(moov: bytes, end: int) -> _Header:
    tracks = [data for kind, data in children(moov) if kind == "trak"]
    if len(tracks) != 1:
        raise malformed(f"{len(tracks)} tracks")
    track = tracks[0]
    tkhd, mdhd, hdlr = child(track, "tkhd"), child(track, "mdia", "mdhd"), child(track, "mdia", "hdlr")
    trex = child(moov, "mvex", "trex")
    timescale = _u32(mdhd, 20 if _version(mdhd) else 12)
    if not timescale:
        raise malformed("a timescale of 0")
    kind, entry = next(iter(children(child(track, "mdia", "minf", "stbl", "stsd"), 8)), ("", b""))
    handler = hdlr[8:12]
    edit_start = _edit_start(track)
    if handler == b"vide":
        index = TrackIndex(
            "video", video_codec_string(kind, entry), timescale, end, (), edit_start, _u16(entry, 24), _u16(entry, 26)
        )
    elif handler == b"soun":
        index = TrackIndex(
            "audio", audio_codec_string(kind, entry), timescale, end, (), edit_start,
            channels=audio_channels(kind, entry), sample_rate=_u16(entry, 24),
        )  # fmt: skip
    else:
        raise malformed(f"a track of kind {handler!r}")
    return _Header(_u32(tkhd, 20 if _version(tkhd) else 12), _Defaults(_u32(trex, 12), _u32(trex, 16), _u32(trex, 20)), index)


def _edit_start(track: bytes) -> int:
    """The media time of the first edit that shows something; an empty edit (-1) is a pause before it."""
    edits = next((data for kind, data in children(track) if kind == "edts"), None)
    if edits is None:
        return 0
    elst = child(edits, "elst")
    long = _version(elst) == 1
    length = 20 if long else 12
    for number in range(min(_u32(elst, 4), (len(elst) - 8) // length)):
        at = 8 + number * length
        (time,) = struct.unpack_from(">q", elst, at + 8) if long else struct.unpack_from(">i", elst, at + 4)
        if time >= 0:
            return int(time)
    return 0


def _segment(moof: bytes, header: _Header, start: int, mdat: Box, before: Segment | None) -> Segment:
    fragments = [data for kind, data in children(moof) if kind == "traf"]
    if len(fragments) != 1:
        raise malformed(f"{len(fragments)} track fragments in one moof")
    fragment = fragments[0]
    defaults = _fragment_defaults(child(fragment, "tfhd"), header)
    tfdt = child(fragment, "tfdt")
    decode_time = _u64(tfdt, 4) if _version(tfdt) else _u32(tfdt, 4)
    runs = [_run(trun, defaults) for kind, trun in children(fragment) if kind == "trun"]
    duration, samples = sum(run.duration for run in runs), sum(run.samples for run in runs)
    if not samples or not duration:
        raise malformed("a segment without samples or without duration")
    if sum(run.size for run in runs) > mdat.size - mdat.header:
        raise malformed("a segment whose samples are longer than its data")
    if before is not None and decode_time < before.start + before.duration:
        raise malformed("a segment that starts before the last one ends")
    first = next(run for run in runs if run.samples)
    lead_bytes = mdat.offset + mdat.header + first.first_size - start
    return Segment(start, mdat.end - start, decode_time, duration, samples, first.starts_with_sync, lead_bytes)


def _fragment_defaults(tfhd: bytes, header: _Header) -> _Defaults:
    flags, at = _flags(tfhd), 8
    if _u32(tfhd, 4) != header.track_id:
        raise malformed("a fragment of another track")
    at += (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
    values = []
    for bit, default in ((0x8, header.defaults.duration), (0x10, header.defaults.size), (0x20, header.defaults.flags)):
        values.append(_u32(tfhd, at) if flags & bit else default)
        at += 4 if flags & bit else 0
    return _Defaults(*values)


class _Run(NamedTuple):
    duration: int
    samples: int
    size: int
    starts_with_sync: bool
    first_size: int


def _run(trun: bytes, defaults: _Defaults) -> _Run:
    flags, count, at = _flags(trun), _u32(trun, 4), 8
    at += 4 if flags & 0x1 else 0
    first_flags = _u32(trun, at) if flags & 0x4 else None
    at += 4 if flags & 0x4 else 0
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    width = 4 * len(fields)
    if len(trun) < at + count * width:
        raise malformed("a trun that is cut short")
    if not width:
        sync = not (defaults.flags if first_flags is None else first_flags) & _NOT_SYNC
        return _Run(count * defaults.duration, count, count * defaults.size, sync, defaults.size)
    columns = dict(
        zip(fields, zip(*struct.iter_unpack(f">{len(fields)}I", trun[at : at + count * width]), strict=True), strict=False)
    )
    durations, sizes, sample_flags = columns.get(0x100), columns.get(0x200), columns.get(0x400)
    if first_flags is None:
        first_flags = sample_flags[0] if sample_flags else defaults.flags
    return _Run(
        sum(durations) if durations else count * defaults.duration,
        count,
        sum(sizes) if sizes else count * defaults.size,
        not first_flags & _NOT_SYNC,
        sizes[0] if sizes else defaults.size,
    )


def _version(data: bytes) -> int:
    return data[0] if data else 0


def _flags(data: bytes) -> int:
    return int.from_bytes(data[1:4], "big")


def _number(data: bytes, at: int, length: int) -> int:
    if len(data) < at + length:
        raise malformed("a box that is cut short")
    return int.from_bytes(data[at : at + length], "big")


def _u16(data: bytes, at: int) -> int:
    return _number(data, at, 2)


def _u32(data: bytes, at: int) -> int:
    return _number(data, at, 4)


def _u64(data: bytes, at: int) -> int:
    return _number(data, at, 8)
