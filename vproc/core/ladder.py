"""Which rungs a source gives: sizes in pixels and the rate that the encode runs at."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vproc.core.media import VideoStream
from vproc.core.profile import Profile, RungSpec, VideoCodec, source_size_rung

MAX_FPS = 60
"""With 1 % of slack, since timestamps in milliseconds make 60.0x of it."""
_FALLBACK_FPS = Fraction(30)
_CINEMA_FPS = 24
_STANDARD_FPS = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30),
    Fraction(48), Fraction(50), Fraction(60000, 1001), Fraction(60),
)  # fmt: skip
_CLOCK_FPS = 240
"""A finest grid beyond it is the container's clock and no frame rate (Android writes 90,000)."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One size to encode. ``name`` is ``v`` and the shorter side: ``v720``. Both sides are even. Rates as of `RungSpec`."""

    name: str
    width: int
    height: int
    crf: float
    maxrate_bps: int
    bufsize_bits: int
    bitrate_bps: int | None = None


def rungs(display_width: int, display_height: int, profile: Profile, *, codec: VideoCodec) -> tuple[Rung, ...]:
    """The rungs, largest first: never empty, none larger than the source on either side (which takes two pixels at least).

    A ladder gives what the source's shorter side reaches; a source below its lowest rung gives one rung of its own size,
    at that rung's rates. A profile without a ladder gives the source's size.
    """
    short = min(display_width, display_height)
    if not profile.rungs:
        return (_sized(display_width, display_height, short, source_size_rung(short, codec)),)
    reached = [spec for spec in profile.rungs if spec.short_side_px is not None and spec.short_side_px <= short]
    if not reached:
        return (_sized(display_width, display_height, short, profile.rungs[-1]),)
    return tuple(_sized(display_width, display_height, spec.short_side_px or short, spec) for spec in reached)


def _sized(display_width: int, display_height: int, short_side_px: int, spec: RungSpec) -> Rung:
    scale = Fraction(short_side_px, min(display_width, display_height))
    width, height = even_within(display_width * scale, display_width), even_within(display_height * scale, display_height)
    return Rung(f"v{min(width, height)}", width, height, spec.crf, spec.maxrate_bps, spec.bufsize_bits, spec.bitrate_bps)


def even_within(length: Fraction | float, most: int) -> int:
    """The even number nearest to ``length`` that is neither above ``most`` nor below 2: 4:2:0 halves both sides."""
    return max(2, min(2 * round(length / 2), most - most % 2))


def output_fps(video: VideoStream) -> Fraction:
    """The constant rate of the encode: the source's, from 1 up to `MAX_FPS`.

    Constant, since a variable one would move the key frames off the segments' grid and give decode times that run ahead of
    the pictures. Of a variable source it is the grid that its timestamps fall on, thinned to what it really shows.
    """
    average, grid = video.fps or video.base_fps, video.base_fps or video.fps
    if average is None or grid is None:
        return _FALLBACK_FPS
    if grid > _CLOCK_FPS or grid < average * Fraction(97, 100):
        grid = next((rate for rate in _STANDARD_FPS if rate >= average * Fraction(97, 100)), average)
    wanted = min(max(average * Fraction(97, 100), Fraction(_CINEMA_FPS)), Fraction(MAX_FPS))
    if video.interlaced:
        wanted = average * Fraction(97, 100)  # the grid counts fields, a deinterlaced frame is two
    thinning = max(1, int(grid / wanted)) if grid > wanted else 1
    while grid / thinning > MAX_FPS * Fraction(101, 100):
        thinning += 1
    return max(Fraction(1), (grid / thinning).limit_denominator(1001))
