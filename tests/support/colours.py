"""Films of known colours, and the colours that a file shows: by arithmetic of this page's own, so that neither vproc nor ffmpeg's
conversions are their own judge.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.media import FFMPEG, FFPROBE
from vproc.core.allowlist import file_url

Colour = tuple[float, float, float]
"""Red, green, blue as non-linear signals of 0 to 1."""

PATCH_PX = 64
_KR_KB = {
    "bt709": (0.2126, 0.0722), "smpte170m": (0.299, 0.114), "bt470bg": (0.299, 0.114), "bt601": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593), "smpte240m": (0.212, 0.087),
}  # fmt: skip

BARS: tuple[Colour, ...] = (
    (0.75, 0.75, 0.75), (0.75, 0.75, 0.0), (0.0, 0.75, 0.75), (0.0, 0.75, 0.0), (0.75, 0.0, 0.75), (0.75, 0.0, 0.0),
    (0.0, 0.0, 0.75), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.8, 0.6, 0.5), (0.2, 0.4, 0.3),
)  # fmt: skip
"""75 % bars, black, white, grey, skin and leaf."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How a film of patches is written. Tags are ffmpeg's names; ``options`` go to the encoder; None: not tagged."""

    pix_fmt: str = "yuv420p"
    matrix: str | None = "bt709"
    primaries: str | None = "bt709"
    transfer: str | None = "bt709"
    full_range: bool = False
    options: str = "-c:v libx264 -preset ultrafast -qp 6"
    assumed: str = "bt709"
    """The matrix it is made with where ``matrix`` is None."""


def write_film(path: Path, colours: Sequence[Colour], coding: Coding, *, frames: int = 25, scale: int = 1) -> Path:
    """A second of a row of patches, each of `PATCH_PX` x ``scale``."""
    side = PATCH_PX * scale
    rgb = coding.pix_fmt.startswith(("gbr", "rgb", "bgr"))
    depth = 16 if coding.pix_fmt.endswith(("10le", "12le", "16le")) else 8
    planes = _rgb_planes(colours, depth) if rgb else _yuv_planes(colours, coding, depth)
    raw = bytearray()
    for plane in planes:
        row = b"".join(value.to_bytes(depth // 8, "little") * side for value in plane)
        raw += row * side
    source_fmt = ("gbrp16le" if depth == 16 else "gbrp") if rgb else ("yuv444p16le" if depth == 16 else "yuv444p")
    size = f"{side * len(colours)}x{side}"
    span = "pc" if coding.full_range or rgb else "tv"
    tags = [f"range={span}"]
    for name, value in (("colorspace", coding.matrix), ("color_primaries", coding.primaries), ("color_trc", coding.transfer)):
        tags.append(f"{name}={value or 'unknown'}")
    if rgb:
        tags[1] = "colorspace=gbr"
    # Same matrix, same range: what ffmpeg converts here is depth and chroma size alone.
    graph = f"loop=loop={frames - 1}:size=1,setpts=N/(25*TB),scale=in_range={span}:out_range={span},format={coding.pix_fmt}"
    argv = [FFMPEG, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", source_fmt, "-s", size, "-r", "25", "-i", "-"]
    argv += ["-vf", f"{graph},setparams={':'.join(tags)}", "-r", "25", *coding.options.split(), str(path)]
    subprocess.run(argv, check=True, input=bytes(raw))
    return path


def shown(path: Path, count: int, *, matrix: str | None = None, part: tuple[int, int] | None = None) -> list[Colour]:
    """The colours of a file's patches in its first picture, decoded as its own tags say. ``matrix``: of an untagged one.
    ``part``: the width and height of the row of patches, where it is not all of the picture but its corner."""
    asked = "stream=width,height,pix_fmt,color_space,color_range"
    argv = [FFPROBE, "-v", "error", "-select_streams", "v:0", "-show_entries", asked, "-of", "json", file_url(path)]
    (stream,) = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["streams"]
    width, height, pix_fmt = stream["width"], stream["height"], stream["pix_fmt"]
    is_deep = pix_fmt.endswith("10le")
    raw_fmt = "yuv444p10le" if is_deep else pix_fmt.replace("420", "444").replace("422", "444")
    # Chroma is only repeated, and nothing else is converted.
    graph = ["-vf", f"scale=flags=neighbor,format={raw_fmt}"]
    argv = [FFMPEG, "-v", "error", "-i", file_url(path), *graph, "-frames:v", "1", "-f", "rawvideo", "-"]
    raw = subprocess.run(argv, check=True, capture_output=True).stdout
    size = 2 if is_deep else 1
    levels = 1023 if is_deep else 255
    is_full = pix_fmt.startswith("yuvj") or stream.get("color_range") == "pc"
    row, tall = part or (width, height)
    found = []
    for number in range(count):
        x, y = row * (2 * number + 1) // (2 * count), tall // 2
        codes = []
        for plane in range(3):
            offset = (plane * width * height + y * width + x) * size
            codes.append(int.from_bytes(raw[offset : offset + size], "little") / levels)
        kr, kb = _KR_KB[matrix or stream.get("color_space", "bt709")]
        found.append(_to_rgb(codes, kr, kb, is_full=is_full, levels=levels))
    return found


def steps(one: Colour, other: Colour) -> float:
    """How far two colours are apart: the largest difference of a channel, in steps of eight bits."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) * 255


def _rgb_planes(colours: Sequence[Colour], depth: int) -> list[list[int]]:
    most = 2**depth - 1
    return [[round(colour[channel] * most) for colour in colours] for channel in (1, 2, 0)]


def _yuv_planes(colours: Sequence[Colour], coding: Coding, depth: int) -> list[list[int]]:
    kr, kb = _KR_KB[coding.matrix or coding.assumed]
    unit = 2 ** (depth - 8)
    planes: list[list[int]] = [[], [], []]
    for red, green, blue in colours:
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        chroma = ((blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr)))
        if coding.full_range:
            planes[0].append(round(luma * (256 * unit - 1)))
            for plane, value in zip(planes[1:], chroma, strict=True):
                plane.append(min(256 * unit - 1, round(value * (256 * unit - 1) + 128 * unit)))
        else:
            planes[0].append(round((219 * luma + 16) * unit))
            for plane, value in zip(planes[1:], chroma, strict=True):
                plane.append(round((224 * value + 128) * unit))
    return planes


def _to_rgb(codes: Sequence[float], kr: float, kb: float, *, is_full: bool, levels: int) -> Colour:
    unit = (levels + 1) / 256
    luma, cb, cr = (code * levels for code in codes)
    if is_full:
        luma, cb, cr = luma / levels, (cb - 128 * unit) / levels, (cr - 128 * unit) / levels
    else:
        luma, cb, cr = (luma / unit - 16) / 219, (cb / unit - 128) / 224, (cr / unit - 128) / 224
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    clipped = [min(1.0, max(0.0, value)) for value in (red, green, blue)]
    return clipped[0], clipped[1], clipped[2]
