"""A source in the words of ``metadata.json``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from vproc.core.captions import CaptionTrack
from vproc.core.labels import TrackLabel
from vproc.core.media import AudioStream, MediaInfo, VideoStream


def describe(info: MediaInfo) -> dict[str, Any]:
    """What came, without what nobody knows of it. ``audio`` is the main track, ``audio_tracks`` all where there are several."""
    video, main = info.video, info.main_audio
    return known(
        {
            "container": str(info.container),
            "duration_s": info.duration_s,
            "bytes": info.size_bytes,
            "bitrate_bps": info.bitrate_bps,
            "video": _picture(video) if video else None,
            "audio": _sound(main) if main else None,
            "audio_tracks": [_sound(track) for track in info.audio] if len(info.audio) > 1 else None,
            "captions": [{"codec": stream.codec} | told_of(stream.label) for stream in info.captions] or None,
            "chapters": [known(asdict(chapter)) for chapter in info.chapters] or None,
        }
    )


def left_out(info: MediaInfo, captions: Collection[CaptionTrack]) -> list[dict[str, Any]] | None:
    """The subtitles of the source that became no captions: made of pictures, without a text, or not wanted."""
    taken = [track.stream for track in captions]
    streams: list[tuple[int | None, str | None]] = [
        (stream.index, stream.codec) for stream in info.captions if stream not in taken
    ]
    streams += [(stream.index, stream.codec) for stream in info.others if stream.kind == "subtitle"]
    return [known({"kind": "subtitles", "index": index, "codec": codec}) for index, codec in streams] or None


def told_of(label: TrackLabel) -> dict[str, Any]:
    """What a track tells of itself, the language as the container has it."""
    return known(
        {
            "language": label.language,
            "title": label.title,
            "default": label.default or None,
            "roles": sorted(role.value for role in label.roles) or None,
        }
    )


def known(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that there are."""
    return {name: value for name, value in facts.items() if value is not None}


def _picture(video: VideoStream) -> dict[str, Any]:
    return known(
        {
            "codec": video.codec,
            "width": video.display_width,
            "height": video.display_height,
            "fps": round(float(video.fps), 3) if video.fps else None,
            "rotation": video.rotation or None,
            "pix_fmt": video.pix_fmt,
        }
    )


def _sound(track: AudioStream) -> dict[str, Any]:
    return {"codec": track.codec, "channels": track.channels, "sample_rate": track.sample_rate} | told_of(track.label)
