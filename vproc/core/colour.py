"""What a stream's colours are, by its tags and by what is assumed where they lack; and what makes BT.709 SDR of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from vproc.core.media import VideoStream
from vproc.core.profile import HdrMode, Profile, VideoCodec
from vproc.core.tonemap import DEFAULT_PEAK_NITS, Gamut, ToneMap, Transfer

_HD_SHORT_SIDE_PX = 720
_RGB = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8")
# What goes with a matrix, where the source tells the matrix alone. PAL's own curve is on paper only.
_PRIMARIES = {"smpte170m": "smpte170m", "bt470bg": "bt470bg", "fcc": "bt470m", "smpte240m": "smpte240m"}
_TRANSFER = {"smpte170m": "smpte170m", "bt470bg": "smpte170m", "fcc": "smpte170m", "smpte240m": "smpte240m"}
_DOLBY_ALONE, _DOLBY_AV1 = 5, 10
# The parameters' names, and parts of one that x265 counts in (SMPTE ST 2086); SVT-AV1 takes the numbers as they are.
_PARAMETERS: Final[Mapping[str, tuple[tuple[str, str], tuple[int | None, int | None]]]] = {
    "libx265": (("master-display", "max-cll"), (50_000, 10_000)),
    "libsvtav1": (("mastering-display", "content-light"), (None, None)),
}
_LEAST_PEAK_NITS, _MOST_PEAK_NITS = 100, 10_000
_PEAK_STEP_NITS = 100
"""Peaks are rounded up to it: tables are made once for many sources."""


SDR_TAGS = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
"""BT.709, as ``setparams`` takes it."""


class VideoRange(StrEnum):
    """HLS's ``VIDEO-RANGE`` (RFC 8216bis, 4.4.6.2)."""

    SDR = "SDR"
    PQ = "PQ"
    HLG = "HLG"


def video_range(video: VideoStream) -> VideoRange:
    """By the transfer characteristics alone: a Dolby Vision stream is what its base layer is."""
    match video.color_transfer:
        case Transfer.PQ.value:
            return VideoRange.PQ
        case Transfer.HLG.value:
            return VideoRange.HLG
    return VideoRange.SDR


def has_base_layer(video: VideoStream) -> bool:
    """Whether a decoder without Dolby Vision shows the right colours. Profile 5 (of AV1: 10.0) is in a colour space of its own,
    bent from scene to scene by metadata that no free decoder applies."""
    dolby = video.dolby_vision
    return dolby is None or not (dolby.profile == _DOLBY_ALONE or (dolby.profile == _DOLBY_AV1 and dolby.compatible == 0))


def keeps_hdr(video: VideoStream, profile: Profile, codec: VideoCodec) -> bool:
    """Whether the rungs stay of high dynamic range. H.264 of ten bits plays nowhere; of VP9 few players take it."""
    able = codec in {VideoCodec.HEVC, VideoCodec.AV1}
    return profile.hdr is HdrMode.KEEP and able and video_range(video) is not VideoRange.SDR


def tone_map(video: VideoStream) -> ToneMap | None:
    """What brings the stream to BT.709 SDR; None where it is SDR of ordinary primaries, which every player shows."""
    transfer = {VideoRange.PQ: Transfer.PQ, VideoRange.HLG: Transfer.HLG, VideoRange.SDR: Transfer.SDR}[video_range(video)]
    match video.color_primaries:
        case "bt2020":
            gamut = Gamut.BT2020
        case "smpte431" | "smpte432":
            gamut = Gamut.P3
        case None if transfer is not Transfer.SDR or _has_wide_matrix(video):
            gamut = Gamut.BT2020
        case _:
            gamut = Gamut.BT709
    if transfer is Transfer.SDR and gamut is Gamut.BT709:
        return None
    return ToneMap(transfer, gamut, _peak_nits(video) if transfer is Transfer.PQ else DEFAULT_PEAK_NITS)


def as_sdr(video: VideoStream) -> VideoStream:
    """The stream as it is behind its `tone_map`."""
    return replace(
        video, pix_fmt="yuv420p", color_range="tv", color_space="bt709", color_transfer="bt709", color_primaries="bt709"
    )


def matrix(video: VideoStream) -> str:
    """The matrix that its luma and chroma were made with: what it says, else what its kind and size suggest."""
    if _has_wide_matrix(video):
        return "bt2020"
    if video.color_space is not None:
        return video.color_space
    if (tone := tone_map(video)) is not None and tone.gamut is Gamut.BT2020:
        return "bt2020"
    return "bt709" if video.short_side_px >= _HD_SHORT_SIDE_PX else "smpte170m"


def hdr_tags(video: VideoStream) -> dict[str, str]:
    """The colour tags of an HDR source's kept rungs, as ``setparams`` takes them."""
    primaries = video.color_primaries or "bt2020"
    return {"colorspace": "bt2020nc", "color_primaries": primaries, "color_trc": video.color_transfer or "smpte2084"}


def hdr_parameters(video: VideoStream, encoder: str) -> tuple[str, ...]:
    """What a kept rung's encoder is told of the source's brightness, as parameters of libx265 or libsvtav1; none where nobody
    measured it (HLG needs none), and none for another encoder."""
    if video_range(video) is not VideoRange.PQ or encoder not in _PARAMETERS:
        return ()
    (display, light), units = _PARAMETERS[encoder]
    found = []
    if (mastering := video.mastering) is not None:
        points = zip("GBR", (mastering.green, mastering.blue, mastering.red), strict=True)
        listed = "".join(f"{name}({_unit(x, units[0])},{_unit(y, units[0])})" for name, (x, y) in points)
        white = ",".join(_unit(value, units[0]) for value in mastering.white)
        lit = f"{_unit(mastering.most_nits, units[1])},{_unit(mastering.least_nits, units[1])}"
        found.append(f"{display}={listed}WP({white})L({lit})")
    if video.max_cll_nits is not None:
        found.append(f"{light}={video.max_cll_nits},{video.max_fall_nits or 0}")
    return tuple(found)


def missing_tags(video: VideoStream) -> dict[str, str]:
    """Colour tags that an SDR source lacks, as ``setparams`` takes them. Without them a player guesses by size, and a 360p rung
    would differ from a 1080p one."""
    if is_rgb(video):
        return dict(SDR_TAGS)
    space = matrix(video)
    assumed = {"colorspace": space, "color_primaries": _PRIMARIES.get(space, "bt709"), "color_trc": _TRANSFER.get(space, "bt709")}
    told = {"colorspace": video.color_space, "color_primaries": video.color_primaries, "color_trc": video.color_transfer}
    return {name: assumed[name] for name, value in told.items() if value is None}


def is_rgb(video: VideoStream) -> bool:
    """Its samples are red, green and blue."""
    return video.color_space == "gbr" or (video.pix_fmt or "").startswith(_RGB)


def _unit(value: float, unit: int | None) -> str:
    return str(round(value * unit)) if unit is not None else f"{value:.5f}".rstrip("0").rstrip(".")


def _has_wide_matrix(video: VideoStream) -> bool:
    return (video.color_space or "").startswith("bt2020")


def _peak_nits(video: VideoStream) -> int:
    """MaxCLL where it is told and sane, else the mastering display's."""
    told = (video.max_cll_nits, video.mastering.most_nits if video.mastering else None)
    peak = next((nits for nits in told if nits is not None and _LEAST_PEAK_NITS <= nits <= _MOST_PEAK_NITS), DEFAULT_PEAK_NITS)
    return -(-round(peak) // _PEAK_STEP_NITS) * _PEAK_STEP_NITS
