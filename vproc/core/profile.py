"""Encoding profiles: what is made of a file, as plain data. How it is made of a given source: `core.plan`. As text:
`core.profile_file`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum

from vproc.core.runners import RunnerKind
from vproc.errors import ErrorCode, RejectedError


class Packaging(StrEnum):
    """What kind of outputs a profile gives."""

    CMAF = "cmaf"
    """A fragmented track of each rung and one of the sound, for HLS and DASH."""
    PROGRESSIVE = "progressive"
    """A fast-start MP4 of each rung, with sound."""
    AUDIO = "audio"
    PICTURES = "pictures"
    COPY = "copy"


class VideoCodec(StrEnum):
    """What is encoded, by ffmpeg's name of the codec."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"


class Quality(StrEnum):
    """How much processor time the encoder takes to need fewer bytes for the same picture."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"
    AUTO = "auto"
    """Trial encodes of the source choose each rung's rate, aimed at the profile's ``target_vmaf``."""


class HdrMode(StrEnum):
    """What becomes of a source of high dynamic range."""

    TONE_MAP = "tone-map"
    """Standard range, BT.709, 8 bits: every player shows it."""
    KEEP = "keep"
    """As it is, 10 bits, with its metadata: of HEVC and AV1. A source of standard range is encoded in 8 bits."""


class Measure(StrEnum):
    """A figure of how near an output is to its source, that the manifest is to tell of each rung."""

    SSIM = "ssim"
    VMAF = "vmaf"


@dataclass(frozen=True, slots=True)
class RungSpec:
    """A rung of the ladder. ``short_side_px``: the p of "720p"; None is the source's own size.

    The encode is of constant quality ``crf``, on the codec's own scale, fractions included, under the cap ``maxrate_bps``,
    measured over ``bufsize_bits``. With ``bitrate_bps`` it is of that average rate instead, and ``crf`` means nothing.
    """

    short_side_px: int | None
    crf: float
    maxrate_bps: int
    bufsize_bits: int
    bitrate_bps: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One encoding profile. ``codec`` is None where nothing is encoded as video, or where it follows from the source
    (``swap``). ``rungs`` are largest first.

    ``preset`` is the encoder's own word and wins over ``quality``. ``hardware``: a hardware encoder is taken where one was
    seen to work. ``copy_top_rung``: a source that conforms to the top rung becomes it as it is. ``captions``: text subtitles
    become renditions. ``audio_channels``: the most that a sound track keeps; more are mixed down. ``segment_s`` is a multiple
    of ``first_segment_s``. ``target_vmaf`` is what `Quality.AUTO` aims at, of 100. ``runner``: where its files are done; None is
    the daemon's own choice.
    """

    name: str
    packaging: Packaging
    codec: VideoCodec | None = None
    swap: bool = False
    rungs: tuple[RungSpec, ...] = ()
    quality: Quality = Quality.FAST
    preset: str | None = None
    hardware: bool = False
    hdr: HdrMode = HdrMode.TONE_MAP
    copy_top_rung: bool = False
    pictures: bool = False
    captions: bool = True
    audio_bitrate_bps: int = 128_000
    audio_channels: int = 2
    first_segment_s: int = 1
    segment_s: int = 4
    target_vmaf: float = 93.0
    measure: Measure | None = None
    runner: RunnerKind | None = None


def _rung(short_side_px: int | None, kbps: int, *, crf: float = 23) -> RungSpec:
    # Two seconds of the cap: half a segment, so that no segment is far above it.
    return RungSpec(short_side_px, crf, kbps * 1000, kbps * 2000)


_SOURCE_SIZE_KBPS = ((2160, 16000), (1440, 9000), (1080, 5000), (720, 2800), (480, 1400), (0, 800))
_SHARE = {VideoCodec.H264: 1.0, VideoCodec.HEVC: 0.65, VideoCodec.AV1: 0.55, VideoCodec.VP9: 0.7}
"""Of H.264's cap, for about the same picture."""
_CRF = {VideoCodec.H264: 23.0, VideoCodec.HEVC: 28.0, VideoCodec.AV1: 35.0, VideoCodec.VP9: 33.0}
WORST_CRF = {VideoCodec.H264: 51, VideoCodec.HEVC: 51, VideoCodec.AV1: 63, VideoCodec.VP9: 63}
"""Where each codec's own scale of constant quality ends."""


def default_crf(codec: VideoCodec) -> float:
    """About the same picture in every codec, each on its own scale."""
    return _CRF[codec]


def source_size_rung(short_side_px: int, codec: VideoCodec) -> RungSpec:
    """The rung of a source's own size: its cap by the shorter side."""
    kbps = next(kbps for floor, kbps in _SOURCE_SIZE_KBPS if short_side_px >= floor)
    return _rung(None, round(kbps * _SHARE[codec]), crf=default_crf(codec))


_NAME_SHOWN = 64
_RUNGS_BEHIND = ":"


def get_profile(reference: str, profiles: Mapping[str, Profile]) -> Profile:
    """The profile of that name, or some of its rungs: ``abr``, ``abr:720,360``. Raises `RejectedError` ``unknown_profile`` that
    lists those there are."""
    name, chosen, rungs = reference.partition(_RUNGS_BEHIND)
    profile = profiles.get(name)
    if profile is None:
        raise RejectedError(ErrorCode.UNKNOWN_PROFILE, no_profile(name, profiles))
    return _with_rungs(profile, rungs) if chosen else profile


def profile_name(reference: str) -> str:
    """The profile's name alone: one of a few, as a label is to be."""
    return reference.partition(_RUNGS_BEHIND)[0]


def with_rungs(name: str, short_sides_px: Collection[int]) -> str:
    """How those rungs of the profile are asked for; they need not be there."""
    return f"{name}{_RUNGS_BEHIND}{','.join(str(side) for side in sorted(set(short_sides_px), reverse=True))}"


def _with_rungs(profile: Profile, rungs: str) -> Profile:
    """The profile with only those rungs. Its name stays, since it is the same profile."""
    known = {str(rung.short_side_px): rung for rung in profile.rungs if rung.short_side_px is not None}
    wanted = [side.strip() for side in rungs.split(",")]
    strange = next((side for side in wanted if side not in known), None)
    if strange is not None:
        has = f"it has {', '.join(known)}" if known else "it has none to choose from"
        raise RejectedError(ErrorCode.UNKNOWN_PROFILE, f"profile {profile.name} has no rung {strange[:_NAME_SHOWN]!r}; {has}")
    return replace(profile, rungs=tuple(rung for side, rung in known.items() if side in wanted))


def no_profile(name: str, profiles: Collection[str]) -> str:
    """That there is none of that name, which one may be meant, and which there are, in their order."""
    near = get_close_matches(name[:_NAME_SHOWN], profiles, n=2, cutoff=0.5)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"there is no profile {name[:_NAME_SHOWN]!r}{meant}; there are: {', '.join(profiles)}"
