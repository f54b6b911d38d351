"""Whether a published file plays: each playlist is fetched over HTTP as a player does it, each object that it names must
stand, and ffprobe must find streams. Which objects a playlist names is computed here, from its text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import aiohttp

from vproc.cli.child import run_tool
from vproc.cli.errors import DemoError
from vproc.tasks import task_group

_PARALLEL = 8
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_OK = 200
_SOME = (200, 206)
_URI = re.compile(r'URI="([^"]+)"')
_FIELD = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth|)(%0\d+d)?\$")
_ISO_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?")
_MPD = "{urn:mpeg:dash:schema:mpd:2011}"


def playlist_addresses(text: str, base: str) -> tuple[str, ...]:
    """Each address that an HLS playlist names (RFC 8216, section 4): playlists, initialisation sections, segments."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            found += _URI.findall(line)
        elif line.strip():
            found.append(line.strip())
    return tuple(urljoin(base, address) for address in found)


def mpd_addresses(text: str, base: str) -> tuple[str, ...]:
    """Each address that a static MPD names, by SegmentTemplate, SegmentList or BaseURL (ISO/IEC 23009-1, section 5.3.9)."""
    root = ET.fromstring(text)  # noqa: S314 - our own daemon made it
    duration_s = _seconds(root.get("mediaPresentationDuration") or "PT0S")
    found: list[str] = []
    for period in root.iter(f"{_MPD}Period"):
        length_s = _seconds(period.get("duration") or "") or duration_s
        for adaptation in period.iter(f"{_MPD}AdaptationSet"):
            for representation in adaptation.iter(f"{_MPD}Representation"):
                levels = (representation, adaptation, period, root)
                prefix = base
                for level in reversed(levels):
                    prefix = urljoin(prefix, level.findtext(f"{_MPD}BaseURL") or "")
                found += [urljoin(prefix, name) for name in _names(levels, length_s)]
    return tuple(dict.fromkeys(found))


def _names(levels: tuple[ET.Element, ...], length_s: float) -> Iterator[str]:
    """The names under one Representation, relative to its base; "" is the base itself."""
    representation = levels[0]
    for level in levels:
        if (template := level.find(f"{_MPD}SegmentTemplate")) is not None:
            fields: dict[str, str | int] = {
                "RepresentationID": representation.get("id", ""),
                "Bandwidth": int(representation.get("bandwidth", 0)),
            }
            if initialisation := template.get("initialization"):
                yield _filled(initialisation, fields)
            for number, time in _segments(template, length_s):
                yield _filled(template.get("media", ""), {**fields, "Number": number, "Time": time})
            return
        if (listed := level.find(f"{_MPD}SegmentList")) is not None:
            yield from (element.get("sourceURL", "") for element in listed.iter(f"{_MPD}Initialization"))
            yield from (element.get("media", "") for element in listed.iter(f"{_MPD}SegmentURL"))
            return
    yield ""


def _segments(template: ET.Element, length_s: float) -> Iterator[tuple[int, int]]:
    """Number and time of each segment."""
    number = int(template.get("startNumber", 1))
    timeline = template.find(f"{_MPD}SegmentTimeline")
    if timeline is None:
        duration = int(template.get("duration", 0))
        count = math.ceil(length_s * int(template.get("timescale", 1)) / duration) if duration else 0
        yield from ((number + index, index * duration) for index in range(count))
        return
    time = 0
    for entry in timeline.iter(f"{_MPD}S"):
        time = int(entry.get("t", time))
        for _ in range(int(entry.get("r", 0)) + 1):
            yield number, time
            number += 1
            time += int(entry.get("d", 0))


def _filled(name: str, fields: dict[str, str | int]) -> str:
    def value(match: re.Match[str]) -> str:
        found = fields[match[1]] if match[1] else "$"
        return (match[2] or "%s") % found

    return _FIELD.sub(value, name)


def _seconds(text: str) -> float:
    match = _ISO_DURATION.fullmatch(text)
    return sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True)) if match else 0.0


class Player:
    """Reads a published file over HTTP, as a player would."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def read(self, address: str) -> str:
        """A playlist or a manifest. Raises `DemoError` where it does not stand."""
        async with self._session.get(address, timeout=_TIMEOUT) as response:
            if response.status != _OK:
                raise DemoError(f"{address} answered {response.status}")
            return await response.text("utf-8")

    async def check_hls(self, master: str) -> int:
        """All of an HLS presentation stands; how many objects its media playlists name."""
        playlists = playlist_addresses(await self.read(master), master)
        found: list[str] = []
        for playlist in playlists:
            found += playlist_addresses(await self.read(playlist), playlist)
        return await self._check_all(found, named_by=master)

    async def check_dash(self, mpd: str) -> int:
        """All of a DASH presentation stands; how many objects its MPD names."""
        return await self._check_all(list(mpd_addresses(await self.read(mpd), mpd)), named_by=mpd)

    async def _check_all(self, addresses: list[str], *, named_by: str) -> int:
        unique = dict.fromkeys(addresses)
        if not unique:
            raise DemoError(f"{named_by} names no media")
        rest = iter(unique)

        async def check_some() -> None:
            for address in rest:
                # A byte of it: the right to read is what a player needs, and HEAD is another one.
                async with self._session.get(address, headers={"Range": "bytes=0-0"}, timeout=_TIMEOUT) as response:
                    if response.status not in _SOME or not await response.content.read(1):
                        raise DemoError(f"{named_by} names {address}, which answered {response.status}")

        async with task_group() as tasks:
            for number in range(_PARALLEL):
                tasks.start_soon(check_some, name=f"segment-check-{number}")
        return len(unique)


async def reads_dash(ffprobe: str, *, cwd: Path) -> bool:
    """Whether this ffprobe can open an MPD: a static build may have no XML reader in it."""
    told = await run_tool([ffprobe, "-hide_banner", "-v", "error", "-demuxers"], cwd=cwd)
    return any(line.split()[1:2] == ["dash"] for line in told.stdout.decode(errors="replace").splitlines())


async def check_streams(ffprobe: str, path: Path) -> None:
    """The local file opens in ffprobe, which finds a stream in it. Raises `DemoError`."""
    argv = [ffprobe, "-v", "error", "-show_entries", "stream=codec_type,width", "-of", "json", str(path)]
    probed = await run_tool(argv, cwd=path.parent)
    if probed.returncode != 0:
        reason = probed.stderr.strip().splitlines()[:2]
        raise DemoError(f"ffprobe refuses {path}: {'; '.join(reason)}")
    streams = json.loads(probed.stdout).get("streams", [])
    # Of a picture's name alone it makes a stream, which then has no size.
    if not streams or any(stream["codec_type"] == "video" and not stream.get("width") for stream in streams):
        raise DemoError(f"ffprobe finds nothing to show in {path}")
