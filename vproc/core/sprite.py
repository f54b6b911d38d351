"""The thumbnail sprite: how many pictures, how far apart, on which sheets, and the WebVTT that points into them. How ffmpeg makes
them: `core.graph`, `core.command`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from vproc.core.ladder import even_within
from vproc.core.vtt import clock

_THUMB_WIDTH_PX = 160
_MOST_THUMBS = 100
_SIDE = 5
_UNKNOWN_INTERVAL_S = 10
_UNKNOWN_THUMBS = 100


@dataclass(frozen=True, slots=True)
class SpritePlan:
    """``count`` thumbnails of ``width`` x ``height``, one every ``interval_s``, on sheets of ``columns`` x ``rows``.

    ``duration_s`` is the video's, None where unknown; then ``count`` is a bound.
    """

    width: int
    height: int
    interval_s: int
    count: int
    columns: int
    rows: int
    duration_s: float | None

    @property
    def per_sheet(self) -> int:
        """Thumbnails on a full sheet."""
        return self.columns * self.rows

    @property
    def sheets(self) -> int:
        """Sheets that hold ``count``."""
        return ceil(self.count / self.per_sheet)

    @property
    def raw_bytes(self) -> int:
        """All thumbnails before they are tiled, 12 bits a pixel, the one that only opens their file included."""
        return (self.count + 1) * self.width * self.height * 3 // 2


def plan_sprite(display_width: int, display_height: int, duration_s: float | None) -> SpritePlan:
    """About a hundred thumbnails at most, a second apart at least, 160 pixels wide (the source's width if it is smaller)."""
    width = even_within(_THUMB_WIDTH_PX, display_width)
    # Upright films and ribbons: no thumbnail is taller than two of its widths.
    height = even_within(min(width * display_height / display_width, 2 * width), display_height)
    if duration_s is None:
        return SpritePlan(width, height, _UNKNOWN_INTERVAL_S, _UNKNOWN_THUMBS, _SIDE, _SIDE, None)
    interval_s = max(1, ceil(duration_s / _MOST_THUMBS))
    # Rounded, so that a frame more or less than the container declares leaves no cue without a picture.
    return SpritePlan(width, height, interval_s, max(1, round(duration_s / interval_s)), _SIDE, _SIDE, duration_s)


def sprite_vtt(plan: SpritePlan, uri_of: Callable[[int], str], *, sheets: int | None = None) -> str:
    """WebVTT with a cue for each thumbnail: ``{uri_of(sheet)}#xywh=x,y,w,h``. Sheets count from 0.

    ``sheets``: how many there really are, where the plan's number is only a bound.
    """
    count = plan.count if sheets is None else min(plan.count, sheets * plan.per_sheet)
    lines = ["WEBVTT", ""]
    for number in range(count):
        sheet, place = divmod(number, plan.per_sheet)
        row, column = divmod(place, plan.columns)
        start_s, end_s = float(number * plan.interval_s), float((number + 1) * plan.interval_s)
        if number == count - 1 and plan.duration_s is not None:
            end_s = max(plan.duration_s, start_s + 0.001)
        box = f"{column * plan.width},{row * plan.height},{plan.width},{plan.height}"
        lines += [f"{clock(round(start_s * 1000))} --> {clock(round(end_s * 1000))}", f"{uri_of(sheet)}#xywh={box}", ""]
    return "\n".join(lines)
