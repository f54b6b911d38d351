"""Reading ffmpeg's ``-progress`` lines. Nothing here runs ffmpeg or watches a clock."""

from __future__ import annotations

import re
from fractions import Fraction

_WHOLE = re.compile(r"\d{1,17}", re.ASCII)
_SPEED = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?(?:e[+-]?\d{1,2})?)x", re.ASCII)


class ProgressParser:
    """Feed it each line of standard output. It takes anything and never goes backwards.

    ``fps``: the constant rate of the first video output (`Plan.fps`), None where there is none. ffmpeg's own time is that of
    the output that is furthest (up to 6) or least far (7 and 8, where pictures, a millisecond apart, hold it at the start; 9
    counts how long a thumbnail stands for, and may be one of them ahead); the frames of the first output tell it in every
    version.
    """

    def __init__(self, duration_s: float | None, *, fps: Fraction | None = None) -> None:
        self._duration_s = duration_s
        self._fps = fps
        self.out_time_s = 0.0
        """How far into the source the output has come."""
        self.speed: float | None = None
        """Seconds of source in a second; None before ffmpeg knows."""
        self.ended = False
        """ffmpeg said that it ended; whether it ended well, its exit code and the outputs say."""

    @property
    def fraction(self) -> float:
        """0.0 to 1.0; 0.0 until the end where the duration is unknown."""
        if self.ended:
            return 1.0
        return min(1.0, self.out_time_s / self._duration_s) if self._duration_s else 0.0

    def feed(self, line: str) -> bool:
        """Take one line; whether the encode has come further since the last."""
        name, _, value = line.strip().partition("=")
        if name == "progress":
            news = value == "end" and not self.ended
            self.ended = self.ended or value == "end"
            return news
        if name == "speed":
            if match := _SPEED.fullmatch(value):
                self.speed = float(match[1])
            return False
        reached_s = self._reached_s(name, value.strip())
        if reached_s <= self.out_time_s:
            return False
        self.out_time_s = reached_s
        return True

    def _reached_s(self, name: str, value: str) -> float:
        if not _WHOLE.fullmatch(value):
            return 0.0
        if name == "frame" and self._fps is not None:
            return float(int(value) / self._fps)
        # `out_time_ms` holds microseconds too, in every version: an old mistake of ffmpeg's. One of the two is enough.
        return int(value) / 1_000_000 if name == "out_time_us" else 0.0
