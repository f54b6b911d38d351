"""What an ffmpeg can do, read from what it tells of itself: version, encoders, decoders, filters, muxers. Text in, a value out;
no text makes these functions raise.

Which program is asked and chosen is in `workers.ffmpeg`; what a job needs of it, in `core.needs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vproc.core.allowlist import AUDIO_DECODERS, VIDEO_DECODERS
from vproc.core.hardware import HardwareTrial

NEWEST: Final = 10_000
"""The generation of a build whose version holds no number: made from a repository, after the last release or nearly so."""

QUERIES: Final[tuple[str, ...]] = ("-version", "-encoders", "-decoders", "-filters", "-muxers")
"""The options that make an ffmpeg tell what `read_capabilities` reads."""

TEN_BIT_QUERIES: Final[tuple[str, ...]] = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
"""Encoders of which a build may take eight bits only; ``-h encoder=NAME`` tells."""

_VERSION = re.compile(r"^ff(?:mpeg|probe) version (\S+)", re.MULTILINE)
_RELEASE = re.compile(r"n?(\d{1,3})\.(\d{1,4})(?:\.(\d{1,4}))?(?![\d.])")
# Flags, a name, a description; the legend above the list has `=` for a name.
_LISTED = re.compile(r"^ [A-Z.]{2,6} +([^\s=]\S*)", re.MULTILINE)
_DECODER = re.compile(r"^ [VAS][A-Z.]{5} +([^\s=]\S*)(?:.*\(codec (\S+)\))?", re.MULTILINE)
# One column each for demuxing, muxing and, since ffmpeg 7, devices.
_FORMAT = re.compile(r"^ [D ][E ][d ]? (\S+)", re.MULTILINE)
_PIXEL_FORMATS = re.compile(r"^ *Supported pixel formats:(.*)$", re.MULTILINE)
_TEN_BITS = re.compile(r"\b(?:yuv420p10|p010)")

# Beside what the allow-list names: ffmpeg's own AV1 decoder is a shell around a graphics card's.
_HARDWARE_ONLY = frozenset({"av1"})

REQUIRED_ENCODERS: Final = frozenset({"libx264", "aac", "mjpeg", "rawvideo"})
REQUIRED_FILTERS: Final = frozenset(
    {
        *("aformat", "alimiter", "aresample", "bwdif", "format", "fps", "lut3d", "null", "pan", "scale", "select"),
        *("setparams", "setpts", "setrange", "setsar", "settb", "sidedata", "split", "tile", "tpad", "trim"),
    }
)
REQUIRED_MUXERS: Final = frozenset({"image2", "ipod", "matroska", "mp4", "null", "nut", "webm"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one build of ffmpeg can do. ``version`` is its own word; names are ffmpeg's.

    ``decoders`` are those that the allow-list lets through; ``codecs`` is what they decode without a graphics card, by
    ffprobe's name. ``ten_bit`` are the encoders that take ten bits a sample. ``trials`` are the test encodes of hardware
    encoders, none where no profile asks for hardware.
    """

    version: str
    encoders: frozenset[str] = frozenset()
    decoders: frozenset[str] = frozenset()
    codecs: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    muxers: frozenset[str] = frozenset()
    ten_bit: frozenset[str] = frozenset()
    trials: tuple[HardwareTrial, ...] = ()

    @property
    def release(self) -> tuple[int, ...]:
        """The version's numbers, to compare builds by."""
        return release_of(self.version)

    @property
    def generation(self) -> int:
        """The major version; `NEWEST` for a build without a number."""
        return self.release[0]

    def has_encoder(self, name: str) -> bool:
        """Whether this build has an encoder, by ffmpeg's name (``libsvtav1``)."""
        return name in self.encoders

    def has_filter(self, name: str) -> bool:
        """Whether this build has a filter (``zscale``)."""
        return name in self.filters

    def has_muxer(self, name: str) -> bool:
        """Whether this build writes a format (``webm``)."""
        return name in self.muxers

    def decodes(self, codec: str) -> bool:
        """Whether this build decodes a codec, by ffprobe's name (``av1``), with a decoder that is allowed."""
        return codec in self.codecs

    def takes_ten_bits(self, encoder: str) -> bool:
        """Whether an encoder of this build takes ten bits a sample."""
        return encoder in self.ten_bit


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a build has not, and what follows, for an operator. ``harmless``: no job is refused for it."""

    name: str
    consequence: str
    harmless: bool = False


def read_capabilities(told: Mapping[str, str]) -> Capabilities | None:
    """From the standard output of each of `QUERIES`, and of ``-h encoder=NAME`` under the encoder's name. None where
    ``-version`` was not answered as ffmpeg answers it."""
    version = parse_version(told.get("-version", ""))
    if version is None:
        return None
    decoders = parse_decoders(told.get("-decoders", ""))
    return Capabilities(
        version=version,
        encoders=parse_names(told.get("-encoders", "")),
        decoders=frozenset(decoders),
        codecs=frozenset(codec for name, codec in decoders.items() if name not in _HARDWARE_ONLY),
        filters=parse_names(told.get("-filters", "")),
        muxers=parse_formats(told.get("-muxers", "")),
        ten_bit=frozenset(name for name in TEN_BIT_QUERIES if takes_ten_bits(told.get(name, ""))),
    )


def parse_version(text: str) -> str | None:
    """The version in what ``-version`` says (``5.1.9-0+deb12u1``, ``n8.1.2``, ``N-113007-g8d24a28d06``); None where there is
    none."""
    found = _VERSION.search(text)
    return found[1] if found else None


def release_of(version: str) -> tuple[int, ...]:
    """The numbers of a version, the major one first; `NEWEST` alone where there is no number: a git build."""
    found = _RELEASE.match(version)
    return tuple(int(part) for part in found.groups(default="0")) if found else (NEWEST,)


def parse_names(text: str) -> frozenset[str]:
    """The names in what ``-encoders`` or ``-filters`` says."""
    return frozenset(_LISTED.findall(text))


def parse_decoders(text: str) -> dict[str, str]:
    """The allowed decoders in what ``-decoders`` says, each with its codec by ffprobe's name."""
    allowed = {*VIDEO_DECODERS, *AUDIO_DECODERS}
    return {name: codec or name for name, codec in _DECODER.findall(text) if name in allowed}


def parse_formats(text: str) -> frozenset[str]:
    """The names in what ``-muxers`` says; a format of several names has each."""
    return frozenset(name for names in _FORMAT.findall(text) for name in names.split(","))


def takes_ten_bits(text: str) -> bool:
    """Whether what ``-h encoder=NAME`` says names a format of ten bits a sample."""
    found = _PIXEL_FORMATS.search(text)
    return found is not None and _TEN_BITS.search(found[1]) is not None


def unfit(capabilities: Capabilities) -> tuple[str, ...]:
    """What a build lacks of what every daemon needs; with any of it the build is of no use."""
    return (
        *_absent("the encoder", REQUIRED_ENCODERS, capabilities.encoders),
        *_absent("the filter", REQUIRED_FILTERS, capabilities.filters),
        *_absent("the muxer", REQUIRED_MUXERS, capabilities.muxers),
        *_absent("a decoder of", {"h264", "hevc", "aac"}, capabilities.codecs),
    )


def _absent(what: str, wanted: Iterable[str], there: frozenset[str]) -> list[str]:
    return [f"{what} {name}" for name in sorted(wanted) if name not in there]


def lacks(capabilities: Capabilities) -> tuple[Lack, ...]:
    """What a usable build has not of what some jobs need or others are used to, each with what follows."""
    made = (("libx265", "HEVC"), ("libsvtav1", "AV1"), ("libvpx-vp9", "VP9"), ("libopus", "Opus"))
    read = ("av1", "vp9", "prores", "mpeg2video", "theora", "vc1")
    found = [Lack(name, f"profiles that make {codec} are refused") for name, codec in made if not capabilities.has_encoder(name)]
    if capabilities.has_encoder("libx265") and not capabilities.takes_ten_bits("libx265"):
        found.append(Lack("libx265 of ten bits", "profiles that keep HDR as 10-bit HEVC are refused"))
    found += [
        Lack(f"a decoder of {codec}", f"sources in {codec} are refused, unless the profile copies them")
        for codec in read
        if not capabilities.decodes(codec)
    ]
    if not capabilities.decodes("png"):
        found.append(Lack("a decoder of png", "PNG cover art is passed over", harmless=True))
    if not capabilities.has_filter("zscale"):
        found.append(Lack("zscale", "HDR is tone-mapped by lut3d all the same", harmless=True))
    return tuple(found)
