"""The pictures of ffprobe's answer: which stream is the video, its size as shown, its colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from vproc.core.entries import Entry, codec, entries, flag, fraction, integer, number, tag, word
from vproc.core.media import DolbyVision, MasteringDisplay, VideoStream

SIDE_DATA = (
    "displaymatrix,rotation,max_content,max_average,red_x,red_y,green_x,green_y,blue_x,blue_y,white_point_x,white_point_y,"
    "min_luminance,max_luminance,dv_profile,dv_bl_signal_compatibility_id,bl_present_flag"
)
"""What is asked of a stream's and a frame's side data."""
DISPOSITIONS = "default,attached_pic,timed_thumbnails,still_image,dependent"

_MAX_SIDE = 2**16
_MAX_NITS = 10_000
_DEPTH = re.compile(r"p0?(9|10|12|14|16)(le|be)?$")
_PICTURE_CODECS = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000"})
_ONE_DEGREE = 1


def find_video(streams: Sequence[Entry]) -> Entry | None:
    """The stream that is the video: the largest, and of equal ones the default, then the first.

    Cover art, timed thumbnails, the tiles of a HEIF picture, an enhancement layer of Dolby Vision and the like come as video
    streams too. None of them is it; a film of JPEG pictures is, where there is no other.
    """
    found = [stream for stream in streams if stream.get("codec_type") == "video" and _is_film(stream)]
    return min(found, key=_rank, default=None)


def read_video(stream: Entry, *, start_s: float, end_s: float | None) -> VideoStream | None:
    """The stream as a value; None where it cannot be decoded."""
    index, name, size = integer(stream.get("index")), codec(stream), _size(stream)
    if index is None or name is None or size is None:
        return None
    width, height = size
    sar = fraction(stream.get("sample_aspect_ratio"), separator=":") or Fraction(1)
    if not Fraction(1, 16) <= sar <= 16:  # noqa: PLR2004 - beyond any camera's: a lie
        sar = Fraction(1)
    side_data = entries(stream.get("side_data_list"))
    rotation = _rotation(side_data)
    shown = (max(1, round(width * sar)), height)
    # ffmpeg turns a picture only by whole quarters; any other angle leaves the frame's size. Reflection never changes it.
    is_lying = abs(rotation % 180 - 90) < _ONE_DEGREE
    display_width, display_height = reversed(shown) if is_lying else shown
    pix_fmt = word(stream.get("pix_fmt"))
    max_cll_nits, max_fall_nits = light_levels(side_data)
    return VideoStream(
        index=index,
        codec=name,
        width=width,
        height=height,
        display_width=display_width,
        display_height=display_height,
        profile=word(stream.get("profile")),
        rotation=rotation,
        mirrored=_mirrored(side_data),
        sar=sar,
        pix_fmt=pix_fmt,
        bit_depth=_bit_depth(stream, pix_fmt),
        fps=fraction(stream.get("avg_frame_rate")),
        base_fps=fraction(stream.get("r_frame_rate")),
        nb_frames=integer(stream.get("nb_frames")),
        field_order=tag(stream, "field_order"),
        color_range=tag(stream, "color_range"),
        color_space=tag(stream, "color_space"),
        color_transfer=tag(stream, "color_transfer"),
        color_primaries=tag(stream, "color_primaries"),
        mastering=mastering_display(side_data),
        max_cll_nits=max_cll_nits,
        max_fall_nits=max_fall_nits,
        dolby_vision=_dolby_vision(side_data),
        bitrate_bps=integer(stream.get("bit_rate")),
        start_s=start_s,
        end_s=end_s,
    )


def mastering_display(side_data: Sequence[Entry]) -> MasteringDisplay | None:
    """SMPTE ST 2086 of a stream's or a frame's side data; None where any of it lacks or makes no sense."""
    for data in side_data:
        points = [(_share(data, f"{name}_x"), _share(data, f"{name}_y")) for name in ("red", "green", "blue", "white_point")]
        known = [(x, y) for x, y in points if x is not None and y is not None]
        most, least = fraction(data.get("max_luminance")), _ratio(data.get("min_luminance"))
        if len(known) == len(points) and most is not None and least is not None and least < most <= _MAX_NITS:
            red, green, blue, white = known
            return MasteringDisplay(red, green, blue, white, float(most), least)
    return None


def light_levels(side_data: Sequence[Entry]) -> tuple[int | None, int | None]:
    """MaxCLL and MaxFALL of a stream's or a frame's side data; 0 says that nobody measured it."""
    for data in side_data:
        most = integer(data.get("max_content"))
        if most:
            return most, integer(data.get("max_average")) or None
    return None, None


def _is_film(stream: Entry) -> bool:
    if any(flag(stream, name) for name in ("attached_pic", "timed_thumbnails", "still_image", "dependent")):
        return False
    dolby = _dolby_vision(entries(stream.get("side_data_list")))
    return (
        integer(stream.get("index")) is not None
        and codec(stream) is not None
        and _size(stream) is not None
        and (dolby is None or dolby.has_base)
    )


def _rank(stream: Entry) -> tuple[bool, int, bool]:
    width, height = _size(stream) or (0, 0)
    is_still = codec(stream) in _PICTURE_CODECS or integer(stream.get("nb_frames")) == 1
    return is_still, -width * height, not flag(stream, "default")


def _size(stream: Entry) -> tuple[int, int] | None:
    width, height = integer(stream.get("width")), integer(stream.get("height"))
    return (width, height) if width and height and max(width, height) <= _MAX_SIDE else None


def _rotation(side_data: Sequence[Entry]) -> int:
    for data in side_data:
        angle = number(data.get("rotation"))
        if angle is not None and abs(angle) <= 360:  # noqa: PLR2004 - degrees
            return round(angle)
    return 0


def _mirrored(side_data: Sequence[Entry]) -> bool:
    """By the matrix's determinant: ffprobe's angle is of no use for a reflection."""
    for data in side_data:
        lines = str(data.get("displaymatrix", ""))[:512].splitlines()
        rows = [[int(value) for value in re.findall(r"-?\d{1,10}", line.partition(":")[2])] for line in lines if ":" in line]
        if [len(row) for row in rows] == [3, 3, 3]:
            (a, b, _), (c, d, _), _ = rows
            return a * d - b * c < 0
    return False


def _dolby_vision(side_data: Sequence[Entry]) -> DolbyVision | None:
    for data in side_data:
        profile = integer(data.get("dv_profile"))
        if profile is not None:
            compatible = integer(data.get("dv_bl_signal_compatibility_id")) or 0
            return DolbyVision(profile, compatible, has_base=integer(data.get("bl_present_flag")) != 0)
    return None


def _bit_depth(stream: Entry, pix_fmt: str | None) -> int:
    told = integer(stream.get("bits_per_raw_sample"))
    if told and 8 <= told <= 16:  # noqa: PLR2004 - what a pixel format may have
        return told
    match = _DEPTH.search(pix_fmt or "")
    return int(match[1]) if match else 8


def _share(data: Entry, name: str) -> float | None:
    found = _ratio(data.get(name))
    return found if found is not None and found <= 1 else None


def _ratio(value: object) -> float | None:
    """A fraction that may be zero."""
    if isinstance(value, str) and re.fullmatch(r"0{1,10}/\d{1,10}", value):
        return 0.0
    found = fraction(value)
    return float(found) if found is not None else None
