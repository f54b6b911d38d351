"""The DASH manifest (ISO/IEC 23009-1, isoff-live profile, static) over the segments that HLS plays too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil
from xml.etree import ElementTree as ET

from vproc.core.labels import TrackLabel, TrackRole, track_names
from vproc.core.playlist import peak_bps, starts, target_duration_s
from vproc.core.presentation import CaptionRendition, Presentation, Rendition

_NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
_PROFILE = "urn:mpeg:dash:profile:isoff-live:2011"
_CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
_ROLES = "urn:mpeg:dash:role:2011"
_PURPOSES = "urn:tva:metadata:cs:AudioPurposeCS:2007"
_CICP = "urn:mpeg:mpegB:cicp:TransferCharacteristics"

_TRANSFER = {"PQ": "16", "HLG": "18"}
"""By ISO/IEC 23091-2; what is not said is BT.709."""
_CONFIGURATIONS = {7: "11", 8: "12"}
"""ISO/IEC 23001-8: up to 5.1 the number of channels is the number of the layout; 7 stands for 7.1 with front wides."""


def dash_manifest(presentation: Presentation) -> str:
    """The MPD of one presentation: a set of videos to switch between, a set of its own for each sound and each captions file."""
    tracks = [*presentation.videos, *presentation.sounds]
    mpd = ET.Element(
        "MPD",
        {
            "xmlns": _NAMESPACE,
            "profiles": _PROFILE,
            "type": "static",
            "mediaPresentationDuration": f"PT{presentation.duration_s:.3f}S",
            "maxSegmentDuration": f"PT{max(map(_longest_segment_s, tracks)):.3f}S",
            "minBufferTime": f"PT{target_duration_s(presentation.videos[0].index)}S",
        },
    )
    period = ET.SubElement(mpd, "Period", {"id": "0", "start": "PT0S"})
    _add_videos(period, presentation.videos)
    names = iter(_labels(presentation))
    for number, sound in enumerate(presentation.sounds):
        _add_sound(period, number, sound, next(names))
    for number, captions in enumerate(presentation.captions):
        _add_captions(period, 1 + len(presentation.sounds) + number, captions, next(names))
    ET.indent(mpd)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(mpd, encoding="unicode") + "\n"


def _labels(presentation: Presentation) -> Iterable[str | None]:
    """What a player's menu calls each track; nothing where it would only repeat the language."""
    for group, otherwise in ((presentation.sounds, "audio"), (presentation.captions, "captions")):
        labels = [track.label for track in group]
        for label, name in zip(labels, track_names(labels, otherwise=otherwise), strict=True):
            yield name if name not in {label.tag, otherwise} else None


def _add_videos(period: ET.Element, videos: tuple[Rendition, ...]) -> None:
    pictures = _set(period, 0, "video", videos)
    pictures.set("maxWidth", str(max(video.index.width for video in videos)))
    pictures.set("maxHeight", str(max(video.index.height for video in videos)))
    for transfer in sorted({_TRANSFER[video.video_range] for video in videos if video.video_range in _TRANSFER}):
        _describe(pictures, "SupplementalProperty", _CICP, transfer)
    for video in videos:
        size = {"width": str(video.index.width), "height": str(video.index.height)}
        _representation(pictures, video, {**size, "frameRate": _rate(video.index.frame_rate), "sar": "1:1"})


def _add_sound(period: ET.Element, number: int, sound: Rendition, name: str | None) -> None:
    tones = _set(period, 1 + number, "audio", [sound])
    _speak(tones, sound.label)
    # The order of these elements is the schema's.
    if sound.label.has(TrackRole.VISUAL_IMPAIRED):
        _describe(tones, "Accessibility", _PURPOSES, "1")
    if sound.label.has(TrackRole.HEARING_IMPAIRED):
        _describe(tones, "Accessibility", _PURPOSES, "2")
    for role in _sound_roles(sound.label, is_main=number == 0):
        _describe(tones, "Role", _ROLES, role)
    _name(tones, name)
    _representation(tones, sound, {"audioSamplingRate": str(sound.index.sample_rate)})


def _sound_roles(label: TrackLabel, *, is_main: bool) -> Iterable[str]:
    yield "main" if is_main else "alternate"
    for role, word in ((TrackRole.DUB, "dub"), (TrackRole.COMMENT, "commentary"), (TrackRole.VISUAL_IMPAIRED, "description")):
        if label.has(role):
            yield word


def _add_captions(period: ET.Element, number: int, captions: CaptionRendition, name: str | None) -> None:
    texts = ET.SubElement(period, "AdaptationSet", {"id": str(number), "contentType": "text", "mimeType": "text/vtt"})
    _speak(texts, captions.label)
    if captions.label.has(TrackRole.HEARING_IMPAIRED):
        _describe(texts, "Accessibility", _PURPOSES, "2")
    for role in _caption_roles(captions.label):
        _describe(texts, "Role", _ROLES, role)
    _name(texts, name)
    representation = ET.SubElement(texts, "Representation", {"id": captions.name, "bandwidth": str(max(1, captions.bps))})
    ET.SubElement(representation, "BaseURL").text = captions.file_uri


def _caption_roles(label: TrackLabel) -> Iterable[str]:
    if label.has(TrackRole.FORCED):
        yield "forced-subtitle"
    else:
        yield "caption" if label.has(TrackRole.HEARING_IMPAIRED) else "subtitle"
    if label.default:
        yield "main"
    if label.has(TrackRole.COMMENT):
        yield "commentary"


def _set(period: ET.Element, number: int, kind: str, tracks: Sequence[Rendition]) -> ET.Element:
    made = ET.SubElement(
        period, "AdaptationSet",
        {"id": str(number), "contentType": kind, "mimeType": f"{kind}/mp4", "segmentAlignment": "true"},
    )  # fmt: skip
    if all(track.index.independent for track in tracks):
        made.set("startWithSAP", "1")
    return made


def _speak(adaptation: ET.Element, label: TrackLabel) -> None:
    if label.tag is not None:
        adaptation.set("lang", label.tag)


def _describe(parent: ET.Element, kind: str, scheme: str, value: str) -> None:
    ET.SubElement(parent, kind, {"schemeIdUri": scheme, "value": value})


def _name(adaptation: ET.Element, name: str | None) -> None:
    if name is not None:
        ET.SubElement(adaptation, "Label").text = name


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
        configuration = _CONFIGURATIONS.get(index.channels, str(index.channels))
        ET.SubElement(representation, "AudioChannelConfiguration", {"schemeIdUri": _CHANNELS, "value": configuration})
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
