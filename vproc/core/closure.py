"""Do the playlists that were written hold together? Read back from their text, as a player reads them, so that a mistake in
writing them is found before anything is published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import dirname, normpath
from xml.etree import ElementTree as ET

from vproc.errors import ErrorCode, TransientError

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_NUMBER = re.compile(r"\$Number%0(\d)d\$")
_MPD = "{urn:mpeg:dash:schema:mpd:2011}"
_TICK_S = 0.000_001
"""Durations are written in microseconds."""


@dataclass(frozen=True, slots=True)
class _Part:
    uri: str
    duration_s: float
    byte_range: tuple[int, int] | None


@dataclass(slots=True)
class _Media:
    """A media playlist."""

    parts: list[_Part] = field(default_factory=list)
    header: str | None = None
    target_s: int = 0
    is_whole: bool = False
    only_keys: bool = False


def check_closure(playlists: Mapping[str, str], sizes: Mapping[str, int], durations_s: Mapping[str, float]) -> None:
    """Raise `TransientError` ``output_invalid`` unless all that is linked stands, and all media that stand are linked.

    ``playlists``: the texts of ``master.m3u8``, ``manifest.mpd`` and every media playlist, by the path that their links are
    relative to. ``sizes``: the bytes of every object but the entry points, by path. ``durations_s``: of each media playlist.

    Checked: links and byte ranges; that each playlist is whole, adds up to its track's duration and keeps to its target
    duration; that the timelines of DASH are those of HLS.
    """
    medias = {path: _read_media(text) for path, text in playlists.items() if path in durations_s}
    master, mpd = playlists["master.m3u8"], playlists["manifest.mpd"]
    listed = {_resolved("master.m3u8", uri) for uri in _master_links(master)}
    if listed != medias.keys():
        raise _broken("master.m3u8", f"links {min(listed ^ medias.keys())}, or does not, where it should")
    linked: dict[str, tuple[float, ...]] = {}
    for path, media in medias.items():
        _check_media(path, media, durations_s[path], sizes)
        if not media.only_keys:
            linked |= {header: times for header, times in [_timeline(path, media)] if header}
    for header, times, uris in _dash_timelines(mpd):
        for uri in (header, *uris):
            _require("manifest.mpd", uri, sizes)
        if times and not _alike(times, linked.get(header, ())):
            raise _broken("manifest.mpd", f"tells other times than HLS does of {header}")
        linked.pop(header, None)
    if linked:
        raise _broken("manifest.mpd", f"lacks {min(linked)}")
    reached = {_resolved(path, part.uri) for path, media in medias.items() for part in media.parts}
    if orphans := sorted(path for path in sizes if path.endswith(".m4s") and path not in reached):
        raise _broken(orphans[0], "is linked by no playlist")


def _check_media(path: str, media: _Media, duration_s: float, sizes: Mapping[str, int]) -> None:
    if not media.is_whole or not media.parts:
        raise _broken(path, "is not whole")
    if media.header is not None:
        _require(path, _resolved(path, media.header), sizes)
    for part in media.parts:
        size = _require(path, _resolved(path, part.uri), sizes)
        if part.byte_range is not None and sum(part.byte_range) > size:
            raise _broken(path, f"wants more of {part.uri} than there is")
        if int(part.duration_s + 0.5) > media.target_s:
            raise _broken(path, f"has a segment of {part.duration_s} s above its target of {media.target_s} s")
    told_s = sum(part.duration_s for part in media.parts)
    if abs(told_s - duration_s) > _TICK_S * (1 + len(media.parts)):
        raise _broken(path, f"lasts {told_s:.3f} s and its track {duration_s:.3f} s")


def _timeline(path: str, media: _Media) -> tuple[str | None, tuple[float, ...]]:
    """By its header, how long each of its segments lasts."""
    header = None if media.header is None else _resolved(path, media.header)
    return header, tuple(part.duration_s for part in media.parts)


def _alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= _TICK_S for a, b in zip(one, other, strict=True))


def _require(path: str, target: str, sizes: Mapping[str, int]) -> int:
    size = sizes.get(target, 0)
    if not size:
        raise _broken(path, f"links {target}, which is not there")
    return size


def _resolved(path: str, uri: str) -> str:
    return normpath(f"{dirname(path)}/{uri}").lstrip("/")


def _master_links(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            yield line
        elif "URI=" in line:
            yield _attributes(line)["URI"]


def _attributes(line: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


def _read_media(text: str) -> _Media:
    media, duration_s, byte_range = _Media(), 0.0, None
    for line in text.splitlines():
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-TARGETDURATION":
                media.target_s = int(value)
            case "#EXT-X-MAP":
                media.header = _attributes(line)["URI"]
            case "#EXT-X-I-FRAMES-ONLY":
                media.only_keys = True
            case "#EXT-X-ENDLIST":
                media.is_whole = True
            case "#EXTINF":
                duration_s = float(value.partition(",")[0])
            case "#EXT-X-BYTERANGE":
                length, _, offset = value.partition("@")
                byte_range = (int(length), int(offset))
            case _ if not line.startswith("#"):
                media.parts.append(_Part(line, duration_s, byte_range))
                duration_s, byte_range = 0.0, None
    return media


def _dash_timelines(text: str) -> Iterator[tuple[str, tuple[float, ...], list[str]]]:
    """Of each representation: its header, how long each segment lasts, their links. Of a captions file: the file alone."""
    for representation in ET.fromstring(text).iter(f"{_MPD}Representation"):  # noqa: S314 - our own text
        template = representation.find(f"{_MPD}SegmentTemplate")
        if template is None:
            yield representation.findtext(f"{_MPD}BaseURL", ""), (), []
            continue
        timescale, times = int(template.get("timescale", "1")), []
        for entry in template.iter(f"{_MPD}S"):
            times += [int(entry.get("d", "0")) / timescale] * (1 + int(entry.get("r", "0")))
        media, first = template.get("media", ""), int(template.get("startNumber", "1"))
        yield template.get("initialization", ""), tuple(times), [_filled(media, first + n) for n in range(len(times))]


def _filled(template: str, number: int) -> str:
    return _NUMBER.sub(lambda width: f"{number:0{width[1]}}", template)


def _broken(path: str, what: str) -> TransientError:
    return TransientError(ErrorCode.OUTPUT_INVALID, f"{path} {what}")
