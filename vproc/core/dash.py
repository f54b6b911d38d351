"""The DASH manifest (ISO/IEC 23009-1, isoff-live profile, static) over the segments that HLS plays too."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from xml.etree import ElementTree as ET

from vproc.core.playlist import Rendition, peak_bps, starts, target_duration_s

_NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
_PROFILE = "urn:mpeg:dash:profile:isoff-live:2011"
_CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"


def dash_manifest(videos: Sequence[Rendition], audio: Rendition | None) -> str:
    """The MPD of one presentation: a set of videos to switch between (one at least) and the sound, if any."""
    tracks = [*videos, *([audio] if audio else [])]
    longest_s = max(track.index.shown_s for track in tracks)
    mpd = ET.Element(
        "MPD",
        {
            "xmlns": _NAMESPACE,
            "profiles": _PROFILE,
            "type": "static",
            "mediaPresentationDuration": f"PT{longest_s:.3f}S",
            "maxSegmentDuration": f"PT{max(map(_longest_segment_s, tracks)):.3f}S",
            "minBufferTime": f"PT{target_duration_s(videos[0].index)}S",
        },
    )
    period = ET.SubElement(mpd, "Period", {"id": "0", "start": "PT0S"})
    pictures = ET.SubElement(
        period,
        "AdaptationSet",
        {
            "id": "0",
            "contentType": "video",
            "mimeType": "video/mp4",
            "segmentAlignment": "true",
            "startWithSAP": "1",
            "maxWidth": str(max(video.index.width for video in videos)),
            "maxHeight": str(max(video.index.height for video in videos)),
        },
    )
    for video in videos:
        size = {"width": str(video.index.width), "height": str(video.index.height)}
        _representation(pictures, video, {**size, "frameRate": _rate(video.index.frame_rate), "sar": "1:1"})
    if audio is not None:
        attributes = {
            "id": "1", "contentType": "audio", "mimeType": "audio/mp4", "segmentAlignment": "true", "startWithSAP": "1",
        }  # fmt: skip
        if audio.language:
            attributes["lang"] = audio.language
        sound = ET.SubElement(period, "AdaptationSet", attributes)
        _representation(sound, audio, {"audioSamplingRate": str(audio.index.sample_rate)})
    ET.indent(mpd)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(mpd, encoding="unicode") + "\n"


def _longest_segment_s(track: Rendition) -> float:
    """In whole milliseconds, rounded up."""
    return ceil(max(segment.duration for segment in track.index.segments) * 1000 / track.index.timescale) / 1000


def _representation(parent: ET.Element, track: Rendition, attributes: dict[str, str]) -> None:
    index = track.index
    representation = ET.SubElement(
        parent, "Representation",
        {"id": track.name, "bandwidth": str(peak_bps(index)), "codecs": index.codecs, **attributes},
    )  # fmt: skip
    if not index.is_video:
        ET.SubElement(representation, "AudioChannelConfiguration", {"schemeIdUri": _CHANNELS, "value": str(index.channels)})
    template = {
        "timescale": str(index.timescale), "initialization": track.init_uri, "media": track.media_template, "startNumber": "1",
    }  # fmt: skip
    if first := index.segments[0].start:
        template["presentationTimeOffset"] = str(first)
    timeline = ET.SubElement(ET.SubElement(representation, "SegmentTemplate", template), "SegmentTimeline")
    for start, duration, count in starts(index.segments):
        entry = {"t": str(start), "d": str(duration)}
        if count > 1:
            entry["r"] = str(count - 1)
        ET.SubElement(timeline, "S", entry)


def _rate(rate: Fraction) -> str:
    """``30`` or ``30000/1001``."""
    near = rate.limit_denominator(1001)
    return str(near.numerator) if near.denominator == 1 else f"{near.numerator}/{near.denominator}"
