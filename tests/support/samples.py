"""Probed sources as values, and fragmented MP4 files built box by box: what `core` is tested on without ffmpeg."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from vproc.core.capabilities import REQUIRED_ENCODERS, REQUIRED_FILTERS, REQUIRED_MUXERS, Capabilities
from vproc.core.container import Container
from vproc.core.fmp4 import Segment, TrackIndex
from vproc.core.labels import TrackLabel, TrackRole
from vproc.core.media import AudioStream, MediaInfo, MediaLimits, VideoStream
from vproc.core.presentation import CaptionRendition, Presentation, Rendition
from vproc.workers.ffmpeg import PairSource, ToolPair

LIMITS = MediaLimits(max_duration_s=6 * 3600, max_pixels=8192 * 4320)


def video(width: int = 1920, height: int = 1080, **changes: Any) -> VideoStream:
    """An ordinary H.264 stream of ten seconds; the display size is the coded one unless said."""
    stream = VideoStream(
        index=0, codec="h264", width=width, height=height, display_width=width, display_height=height, pix_fmt="yuv420p",
        fps=Fraction(30), base_fps=Fraction(30), field_order="progressive", end_s=10.0,
    )  # fmt: skip
    return replace(stream, **changes)


def label(language: str | None = None, *roles: TrackRole, title: str | None = None, default: bool = False) -> TrackLabel:
    """What a track tells of itself."""
    return TrackLabel(language, title, default, frozenset(roles))


def audio(
    index: int = 1, *, language: str | None = None, default: bool | None = None, roles: Collection[TrackRole] = (), **changes: Any
) -> AudioStream:
    """An ordinary AAC track of ten seconds; the first stream but one is the default."""
    told = TrackLabel(language, default=index == 1 if default is None else default, roles=frozenset(roles))
    track = AudioStream(index=index, codec="aac", channels=2, sample_rate=48000, label=told, end_s=10.0)
    return replace(track, **changes)


def media(picture: VideoStream | None = None, *tracks: AudioStream, **changes: Any) -> MediaInfo:
    """A probed MP4 of ten seconds with just these streams."""
    info = MediaInfo(
        container=Container.MOV, duration_s=10.0, start_s=0.0, size_bytes=5_000_000, bitrate_bps=4_000_000, video=picture,
        audio=tracks,
    )  # fmt: skip
    return replace(info, **changes)


def capabilities(**changes: Any) -> Capabilities:
    """An ffmpeg that lacks nothing."""
    whole = Capabilities(
        version="9.0",
        encoders=REQUIRED_ENCODERS | {"libx265", "libsvtav1", "libvpx-vp9", "libopus"},
        codecs=frozenset(CODECS),
        filters=REQUIRED_FILTERS | {"zscale"},
        muxers=REQUIRED_MUXERS,
        ten_bit=frozenset({"libx264", "libx265", "libsvtav1", "libvpx-vp9"}),
    )
    return replace(whole, **changes)


CODECS = (
    "h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "prores", "mpeg2video", "theora", "vc1", "png", "aac", "mp2", "mp3", "opus",
    "pcm_s24le",
)  # fmt: skip


def tool_pair(ffmpeg: str = "/bin/ffmpeg", ffprobe: str = "/bin/ffprobe", **changes: Any) -> ToolPair:
    """Such an ffmpeg with its ffprobe."""
    return ToolPair(ffmpeg, ffprobe, PairSource.PATH, capabilities(**changes))


def track(
    *durations: int, timescale: int = 1000, size: int = 1000, start: int = 0, lead: int = 100, **changes: Any
) -> TrackIndex:
    """The index of a video with segments of these durations, each of ``size`` bytes and two samples."""
    segments = []
    for number, duration in enumerate(durations):
        segments.append(Segment(800 + number * size, size, start, duration, 2, starts_with_sync=True, lead_bytes=lead))
        start += duration
    index = TrackIndex("video", "avc1.64001f", timescale, 800, tuple(segments), width=1280, height=720)
    return replace(index, **changes)


def sound(*durations: int, timescale: int = 48000, size: int = 500, edit_start: int = 1024) -> TrackIndex:
    """The index of a stereo AAC track, likewise."""
    made = track(*durations, timescale=timescale, size=size)
    return TrackIndex("audio", "mp4a.40.2", timescale, 700, made.segments, edit_start, sample_rate=48000, channels=2)


def rendition(name: str, index: TrackIndex, told: TrackLabel | None = None) -> Rendition:
    """A packaged track under ``run/``."""
    return Rendition(
        name, index, f"run/{name}/playlist.m3u8", f"run/{name}/init.mp4", f"run/{name}/seg-$Number%05d$.m4s", told or label()
    )


def captions(name: str, told: TrackLabel | None = None, *, size_bytes: int = 400, duration_s: float = 8.0) -> CaptionRendition:
    """A packaged captions file, likewise."""
    folder = f"run/{name}"
    return CaptionRendition(name, f"{folder}/playlist.m3u8", f"{folder}/captions.vtt", size_bytes, duration_s, told or label())


def presentation(*tracks: Rendition | CaptionRendition) -> Presentation:
    """Of these tracks, each where it belongs."""
    media = [one for one in tracks if isinstance(one, Rendition)]
    return Presentation(
        tuple(one for one in media if one.index.is_video),
        tuple(one for one in media if not one.index.is_video),
        tuple(one for one in tracks if isinstance(one, CaptionRendition)),
    )


# --- boxes -----------------------------------------------------------------------------------------------------------


def box(kind: str, *parts: bytes) -> bytes:
    """A box with a short header."""
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind.encode("latin-1") + body


def full(kind: str, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A full box: version and flags first."""
    return box(kind, bytes([version]), flags.to_bytes(3, "big"), *parts)


AVCC = box("avcC", bytes([1, 0x64, 0x00, 0x1F, 0xFF, 0xE1, 0, 0]))
ESDS = full("esds", bytes.fromhex("031900010004114015000000000000000000000005021190060102"))


def avc_entry(width: int = 1280, height: int = 720) -> bytes:
    """A visual sample entry."""
    return box("avc1", bytes(24), struct.pack(">HH", width, height), bytes(50), AVCC)


def aac_entry() -> bytes:
    """An audio sample entry: stereo, 48 kHz."""
    return box("mp4a", bytes(16), struct.pack(">HHHHH", 2, 16, 0, 0, 48000), bytes(2), ESDS)


def moov(
    entry: bytes,
    *,
    handler: bytes = b"vide",
    timescale: int = 1000,
    track_id: int = 1,
    edits: Sequence[int] = (),
    tracks: int = 1,
) -> bytes:
    """A header of one track (or several alike) with an edit list of these media times."""
    elst = full("elst", struct.pack(">I", len(edits)), *(struct.pack(">Iihh", 0, time, 1, 0) for time in edits))
    trak = box(
        "trak",
        full("tkhd", struct.pack(">III", 0, 0, track_id), bytes(68)),
        box("edts", elst) if edits else b"",
        box(
            "mdia",
            full("mdhd", struct.pack(">IIII", 0, 0, timescale, 0), bytes(4)),
            full("hdlr", bytes(4), handler, bytes(13)),
            box("minf", box("stbl", full("stsd", struct.pack(">I", 1), entry))),
        ),
    )
    trex = full("trex", struct.pack(">IIIII", track_id, 1, 100, 10, 0x10000))
    return box("moov", trak * tracks, box("mvex", trex))


def fragment(
    start: int,
    samples: Sequence[tuple[int, int]],
    *,
    track_id: int = 1,
    sync: bool = True,
    data: int | None = None,
    long: bool = False,
) -> bytes:
    """A moof and its mdat: samples as (duration, size). ``data``: how many bytes the mdat holds, if not what they need."""
    flags = 0x1 | 0x4 | 0x100 | 0x200
    rows = b"".join(struct.pack(">II", *sample) for sample in samples)
    first = 0x02000000 if sync else 0x01010000
    tfdt = full("tfdt", struct.pack(">Q", start), version=1) if long else full("tfdt", struct.pack(">I", start))
    moof = box(
        "moof",
        full("mfhd", bytes(4)),
        box(
            "traf",
            full("tfhd", struct.pack(">I", track_id), flags=0x020000),
            tfdt,
            full("trun", struct.pack(">IiI", len(samples), 0, first), rows, flags=flags),
        ),
    )
    return moof + box("mdat", bytes(sum(size for _, size in samples) if data is None else data))


FTYP = box("ftyp", b"iso6", bytes(4), b"cmfc")
