"""Where segments begin: one grid for every track of a run, so that a player may change the rung at any of them.

A fragment (one GOP of video, some seconds of sound) is the atom; a segment is one or more of them. Nothing here reads a file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from vproc.core.fmp4 import LEAST_LAST_S, Segment, TrackIndex

SLACK_S = Fraction(1, 4)
"""A segment may be so much shorter than asked for: sound ends on its own frames, and an AV1 encoder on whole ones."""


@dataclass(frozen=True, slots=True)
class KeyGrid:
    """Segments of ``step_s``; the first is of ``first_s``, of which ``step_s`` is a multiple, and as long as they fit in
    ``step_s`` twice the next ones double the time: 0, 1, 2, 4, 8, 12 … for 1 and 4. A player begins sooner.

    ``starts``: where they begin instead, in seconds from 0, when the top rung is copied and its key frames are the source's.
    """

    step_s: int
    first_s: int
    starts: tuple[Fraction, ...] = ()

    def __post_init__(self) -> None:
        if self.step_s < 1 or self.first_s < 1 or self.step_s % self.first_s:
            raise ValueError(f"segments of {self.step_s} s are no multiple of first ones of {self.first_s} s")

    @property
    def force_key_frames(self) -> str:
        """The value of ffmpeg's option. By time, not by frames: the grid of all rungs and of every run is the same."""
        if self.starts:
            # To the microsecond and never late: the option takes the first picture at or after the time.
            return ",".join(f"{float(start - Fraction(1, 1_000_000)):.6f}" if start else "0" for start in self.starts)
        short = len(self._short)
        if short == 1:
            return f"expr:gte(t,n_forced*{self.step_s})"
        doubling = f"if(n_forced,pow(2,n_forced-1),0)*{self.first_s}"
        return f"expr:gte(t,if(lt(n_forced,{short}),{doubling},(n_forced-{short - 1})*{self.step_s}))"

    @property
    def _short(self) -> tuple[int, ...]:
        """Where the segments before ``step_s`` begin."""
        starts = [0]
        while (following := starts[-1] * 2 or self.first_s) * 2 <= self.step_s:
            starts.append(following)
        return tuple(starts)

    @property
    def fragment_s(self) -> int:
        """How long a fragment of sound lasts: it fits into every segment."""
        return self.first_s

    @property
    def longest_s(self) -> Fraction:
        """The longest segment of video, the last left out."""
        pairs = zip(self.starts, self.starts[1:], strict=False)
        return max((after - before for before, after in pairs), default=Fraction(self.step_s))

    def without_short_first(self) -> KeyGrid:
        """The same with equal segments: for encoders that put key frames at a fixed distance."""
        return replace(self, first_s=self.step_s)

    def begins(self, segment_start_s: Fraction, fragment_start_s: Fraction) -> bool:
        """Whether a new segment begins with this fragment, when the present one began at ``segment_start_s``."""
        if self.starts:
            reached = bisect_right(self.starts, fragment_start_s + SLACK_S / 10)
            return reached > bisect_right(self.starts, segment_start_s + SLACK_S / 10)
        if segment_start_s >= self.step_s - SLACK_S:
            return fragment_start_s - segment_start_s >= self.step_s - SLACK_S
        number = bisect_right(self._short, segment_start_s + SLACK_S)
        wanted = [*self._short, self.step_s][number] - self._short[number - 1]
        return fragment_start_s - segment_start_s >= wanted - SLACK_S


def segment_starts(key_frames_s: Sequence[Fraction], grid: KeyGrid) -> tuple[Fraction, ...]:
    """Of given key frames, those at which segments begin; the first always."""
    starts: list[Fraction] = []
    for at in key_frames_s:
        if not starts or grid.begins(starts[-1], at):
            starts.append(at)
    return tuple(starts)


def group(fragments: Sequence[Segment], grid: KeyGrid, timescale: int) -> tuple[Segment, ...]:
    """Fragments joined to segments. A rest at the end that is too short to stand alone joins the segment before it."""
    segments: list[Segment] = []
    for fragment in fragments:
        if segments and not grid.begins(Fraction(segments[-1].start, timescale), Fraction(fragment.start, timescale)):
            segments[-1] = joined(segments[-1], fragment)
        else:
            segments.append(fragment)
    while len(segments) > 1 and Fraction(segments[-1].duration, timescale) < LEAST_LAST_S:
        rest = segments.pop()
        segments[-1] = joined(segments[-1], rest)
    return tuple(segments)


def segmented(index: TrackIndex, grid: KeyGrid) -> TrackIndex:
    """A track's fragments joined to segments."""
    return replace(index, segments=group(index.segments, grid, index.timescale))


def joined(first: Segment, second: Segment) -> Segment:
    """One of two that follow each other."""
    return replace(
        first,
        size=second.offset + second.size - first.offset,
        duration=second.start + second.duration - first.start,
        samples=first.samples + second.samples,
    )
