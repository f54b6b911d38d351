"""HLS playlists (RFC 8216) written from the index of each track. DASH over the same segments: `core.dash`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from vproc.core.fmp4 import Segment, TrackIndex

_AUDIO_GROUP = "audio"
_VERSION = 7
"""Fragmented MP4 in a media playlist (RFC 8216, section 7)."""


@dataclass(frozen=True, slots=True)
class Rendition:
    """A packaged track. The URIs are relative to the manifest that names them.

    ``media_template`` is DASH's: ``run/v720/seg-$Number%05d$.m4s``, numbers from 1. ``language``: BCP 47, None if unknown.
    """

    name: str
    index: TrackIndex
    playlist_uri: str
    init_uri: str
    media_template: str
    language: str | None = None


def media_playlist(index: TrackIndex, uri_of: Callable[[int], str], init_uri: str) -> str:
    """The playlist of one track. ``uri_of(i)`` names segment ``i``, counted from 0."""
    durations = [segment.duration / index.timescale for segment in index.segments]
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{_VERSION}",
        f"#EXT-X-TARGETDURATION:{target_duration_s(index)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
    ]
    if index.independent:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    lines.append(f'#EXT-X-MAP:URI="{init_uri}"')
    for number, duration_s in enumerate(durations):
        lines += [f"#EXTINF:{duration_s:.6f},", uri_of(number)]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def target_duration_s(index: TrackIndex) -> int:
    """No segment, rounded to the nearest second, is longer (RFC 8216, 4.3.3.1)."""
    return max(1, *(floor(segment.duration / index.timescale + 0.5) for segment in index.segments))


def master_playlist(videos: Sequence[Rendition], audio: Rendition | None) -> str:
    """The multivariant playlist: one variant for each video, in the order given, all with the one sound track."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{_VERSION}"]
    if all(video.index.independent for video in videos):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if audio is not None:
        language = f',LANGUAGE="{audio.language}"' if audio.language else ""
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{_AUDIO_GROUP}",NAME="{audio.name}"{language},DEFAULT=YES,AUTOSELECT=YES,'
            f'CHANNELS="{audio.index.channels}",URI="{audio.playlist_uri}"'
        )
    for video in videos:
        tracks = [video.index, *([audio.index] if audio else [])]
        attributes = [
            f"BANDWIDTH={sum(map(peak_bps, tracks))}",
            f"AVERAGE-BANDWIDTH={sum(map(average_bps, tracks))}",
            f'CODECS="{",".join(track.codecs for track in tracks)}"',
            f"RESOLUTION={video.index.width}x{video.index.height}",
            f"FRAME-RATE={float(video.index.frame_rate):.3f}",
            "VIDEO-RANGE=SDR",
        ]
        if audio is not None:
            attributes.append(f'AUDIO="{_AUDIO_GROUP}"')
        lines += ["#EXT-X-STREAM-INF:" + ",".join(attributes), video.playlist_uri]
    return "\n".join([*lines, ""])


def average_bps(index: TrackIndex) -> int:
    """All segments' bits over all their time, rounded up."""
    ticks = sum(segment.duration for segment in index.segments)
    return ceil(sum(segment.size for segment in index.segments) * 8 * index.timescale / ticks)


def peak_bps(index: TrackIndex) -> int:
    """The largest rate of any run of segments that lasts between half and one and a half target durations (RFC 8216, 4.1),
    rounded up; of all together where they are shorter."""
    target = target_duration_s(index) * index.timescale
    peak = 0.0
    for first in range(len(index.segments)):
        bits = ticks = 0
        for segment in index.segments[first:]:
            bits, ticks = bits + segment.size * 8, ticks + segment.duration
            if ticks > 1.5 * target:
                break
            if ticks >= 0.5 * target:
                peak = max(peak, bits / ticks)
    return max(ceil(peak * index.timescale), average_bps(index))


def segment_name(number: int) -> str:
    """The file of segment ``number``, counted from 0, as DASH's ``seg-$Number%05d$.m4s`` names it."""
    return f"seg-{number + 1:05}.m4s"


def starts(segments: Sequence[Segment]) -> list[tuple[int, int, int]]:
    """Runs of equal segments without a hole: (start, duration, how many)."""
    runs: list[tuple[int, int, int]] = []
    for segment in segments:
        if runs:
            start, duration, count = runs[-1]
            if segment.duration == duration and segment.start == start + count * duration:
                runs[-1] = (start, duration, count + 1)
                continue
        runs.append((segment.start, segment.duration, 1))
    return runs
