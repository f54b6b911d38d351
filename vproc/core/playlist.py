"""HLS playlists (RFC 8216bis) written from the index of each track. DASH over the same segments: `core.dash`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor

from vproc.core.fmp4 import Segment, TrackIndex
from vproc.core.labels import TrackLabel, TrackRole, track_names
from vproc.core.presentation import CaptionRendition, Presentation, Rendition

_AUDIO_GROUP, _CAPTION_GROUP = "audio", "captions"
_VERSION = 7
"""Fragmented MP4 in a media playlist (RFC 8216, section 7)."""

# Apple's words for what a track does for those who hear or see little.
_SOUND_CHARACTERISTICS = {
    TrackRole.VISUAL_IMPAIRED: "public.accessibility.describes-video",
    TrackRole.HEARING_IMPAIRED: "public.accessibility.enhances-speech-intelligibility",
}
_CAPTION_CHARACTERISTICS = {
    TrackRole.HEARING_IMPAIRED: "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound",
}


def media_playlist(index: TrackIndex, uri_of: Callable[[int], str], init_uri: str) -> str:
    """The playlist of one track. ``uri_of(i)`` names segment ``i``, counted from 0."""
    lines = _opening(target_duration_s(index))
    if index.independent:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    lines.append(f'#EXT-X-MAP:URI="{init_uri}"')
    for number, segment in enumerate(index.segments):
        lines += [_extinf(segment.duration / index.timescale), uri_of(number)]
    return _closed(lines)


def iframe_playlist(index: TrackIndex, uri_of: Callable[[int], str], init_uri: str) -> str:
    """The key frames that segments begin with, for trick play (RFC 8216bis, 4.4.3.6): of each its fragment's header and the
    first picture. A segment that begins with no key frame gives none, and the one before is shown for longer."""
    lines: list[str] = []
    shown: list[tuple[int, Segment, int]] = []
    for number, segment in enumerate(index.segments):
        if segment.starts_with_sync:
            shown.append((number, segment, segment.duration))
        elif shown:
            first, key, duration = shown[-1]
            shown[-1] = (first, key, duration + segment.duration)
    longest_s = max((duration for _, _, duration in shown), default=0) / index.timescale
    lines = [*_opening(_rounded_s(longest_s)), "#EXT-X-I-FRAMES-ONLY", f'#EXT-X-MAP:URI="{init_uri}"']
    for number, segment, duration in shown:
        lines += [_extinf(duration / index.timescale), f"#EXT-X-BYTERANGE:{segment.lead_bytes}@0", uri_of(number)]
    return _closed(lines)


def caption_playlist(duration_s: float, uri: str) -> str:
    """The playlist of a WebVTT file: one segment as long as the film."""
    return _closed([*_opening(_rounded_s(duration_s)), _extinf(duration_s), uri])


def _opening(target_s: int) -> list[str]:
    return [
        "#EXTM3U", f"#EXT-X-VERSION:{_VERSION}", f"#EXT-X-TARGETDURATION:{target_s}", "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
    ]  # fmt: skip


def _extinf(duration_s: float) -> str:
    return f"#EXTINF:{duration_s:.6f},"


def _closed(lines: Iterable[str]) -> str:
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def target_duration_s(index: TrackIndex) -> int:
    """No segment, rounded to the nearest second, is longer (RFC 8216, 4.3.3.1)."""
    return _rounded_s(max(segment.duration for segment in index.segments) / index.timescale)


def _rounded_s(duration_s: float) -> int:
    return max(1, floor(duration_s + 0.5))


def master_playlist(presentation: Presentation) -> str:
    """The multivariant playlist: a variant for each video, in the order given, all with the same sounds and captions."""
    videos, sounds, captions = presentation.videos, presentation.sounds, presentation.captions
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{_VERSION}"]
    if all(track.index.independent for track in (*videos, *sounds)):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    lines += [_media(attributes) for attributes in _sound_attributes(sounds)]
    lines += [_media(attributes) for attributes in _caption_attributes(captions)]
    for video in videos:
        lines += ["#EXT-X-STREAM-INF:" + ",".join(_variant_attributes(video, sounds, captions)), video.playlist_uri]
    for video in videos:
        if video.iframes_uri is not None:
            rates = f"BANDWIDTH={iframe_peak_bps(video.index)}"
            shown = ",".join([rates, f'CODECS="{video.index.codecs}"', *_picture_attributes(video)])
            lines.append(f'#EXT-X-I-FRAME-STREAM-INF:{shown},URI="{video.iframes_uri}"')
    return "\n".join([*lines, ""])


def _media(attributes: Iterable[str]) -> str:
    return "#EXT-X-MEDIA:" + ",".join(attributes)


def _variant_attributes(video: Rendition, sounds: Sequence[Rendition], captions: Sequence[CaptionRendition]) -> list[str]:
    """Rates are of the video with the largest of the tracks that may go with it (RFC 8216bis, 4.4.6.2)."""
    text_bps = max((track.bps for track in captions), default=0)
    peak = peak_bps(video.index) + max((peak_bps(sound.index) for sound in sounds), default=0) + text_bps
    average = average_bps(video.index) + max((average_bps(sound.index) for sound in sounds), default=0) + text_bps
    codecs = dict.fromkeys([video.index.codecs, *(sound.index.codecs for sound in sounds)])
    attributes = [
        f"BANDWIDTH={peak}",
        f"AVERAGE-BANDWIDTH={average}",
        f'CODECS="{",".join(codecs)}"',
        *_picture_attributes(video),
        f"FRAME-RATE={float(video.index.frame_rate):.3f}",
    ]
    if sounds:
        attributes.append(f'AUDIO="{_AUDIO_GROUP}"')
    if captions:
        attributes.append(f'SUBTITLES="{_CAPTION_GROUP}"')
    # Whatever stands in the pictures themselves is offered as captions, or was not wanted.
    return [*attributes, "CLOSED-CAPTIONS=NONE"]


def _picture_attributes(video: Rendition) -> list[str]:
    return [f"RESOLUTION={video.index.width}x{video.index.height}", f"VIDEO-RANGE={video.video_range}"]


def _sound_attributes(sounds: Sequence[Rendition]) -> Iterable[list[str]]:
    """The first is what is played where nobody chooses. What a player may choose by itself differs in language or purpose
    (RFC 8216bis, 4.4.6.1.1), and comments are played to who asks for them."""
    labels = [sound.label for sound in sounds]
    told: set[tuple[str | None, str | None]] = set()
    for number, (sound, name) in enumerate(zip(sounds, track_names(labels, otherwise=_AUDIO_GROUP), strict=True)):
        label, purpose = sound.label, _characteristics(sound.label, _SOUND_CHARACTERISTICS)
        automatic = number == 0 or (not label.has(TrackRole.COMMENT) and (label.tag, purpose) not in told)
        told.add((label.tag, purpose))
        yield [
            *_group_attributes("AUDIO", _AUDIO_GROUP, name, label, default=number == 0, automatic=automatic),
            *([f'CHARACTERISTICS="{purpose}"'] if purpose else []),
            f'CHANNELS="{sound.index.channels}"',
            f'URI="{sound.playlist_uri}"',
        ]


def _caption_attributes(captions: Sequence[CaptionRendition]) -> Iterable[list[str]]:
    """None is shown unasked, unless the file wants one to be."""
    labels = [track.label for track in captions]
    wanted = next((number for number, label in enumerate(labels) if label.default), None)
    told: set[tuple[str | None, str | None, bool]] = set()
    for number, (track, name) in enumerate(zip(captions, track_names(labels, otherwise=_CAPTION_GROUP), strict=True)):
        label, purpose = track.label, _characteristics(track.label, _CAPTION_CHARACTERISTICS)
        forced = label.has(TrackRole.FORCED)
        automatic = number == wanted or (not label.has(TrackRole.COMMENT) and (label.tag, purpose, forced) not in told)
        told.add((label.tag, purpose, forced))
        yield [
            *_group_attributes("SUBTITLES", _CAPTION_GROUP, name, label, default=number == wanted, automatic=automatic),
            f"FORCED={_yes(forced)}",
            *([f'CHARACTERISTICS="{purpose}"'] if purpose else []),
            f'URI="{track.playlist_uri}"',
        ]


def _group_attributes(kind: str, group: str, name: str, label: TrackLabel, *, default: bool, automatic: bool) -> list[str]:
    return [
        f"TYPE={kind}",
        f'GROUP-ID="{group}"',
        f'NAME="{name}"',
        *([f'LANGUAGE="{label.tag}"'] if label.tag else []),
        f"DEFAULT={_yes(default)}",
        f"AUTOSELECT={_yes(automatic)}",
    ]


def _characteristics(label: TrackLabel, words: dict[TrackRole, str]) -> str | None:
    return ",".join(word for role, word in words.items() if label.has(role)) or None


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


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


def iframe_peak_bps(index: TrackIndex) -> int:
    """The largest rate of a key frame over the time for which it is shown, rounded up."""
    return max(ceil(segment.lead_bytes * 8 * index.timescale / segment.duration) for segment in index.segments)


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
