"""Fragments and segments: where they begin, and that nothing is lost between them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.fmp4 import Segment
from vproc.core.grid import KeyGrid, group, segment_starts

GRID = KeyGrid(4, 2)


def fragments(*durations: int, start: int = 0) -> list[Segment]:
    """Fragments of these durations one after the other, of ten bytes each."""
    found, at = [], start
    for number, duration in enumerate(durations):
        found.append(Segment(100 + 10 * number, 10, at, duration, 5, starts_with_sync=True))
        at += duration
    return found


def lengths(grid: KeyGrid, *durations: int, timescale: int = 1000) -> list[int]:
    return [segment.duration for segment in group(fragments(*durations), grid, timescale)]


def test_the_first_segments_are_short_and_the_others_long() -> None:
    assert lengths(GRID, *[2000] * 9) == [2000, 2000, 4000, 4000, 4000, 2000]
    assert lengths(KeyGrid(4, 4), *[2000] * 5) == [4000, 4000, 2000]
    assert lengths(KeyGrid(4, 1), *[1000] * 17) == [1000, 1000, 2000, 4000, 4000, 4000, 1000]
    assert lengths(KeyGrid(6, 2), *[2000] * 7) == [2000, 4000, 6000, 2000]
    assert lengths(KeyGrid(10, 1), *[1000] * 20) == [1000, 1000, 2000, 6000, 10000]


def test_sound_that_ends_on_its_own_frames_keeps_to_the_grid() -> None:
    """Fragments of AAC are 2.0053 s and 1.9840 s long; in an hour they do not drift off the pictures."""
    found = [Fraction(length, 48000) for length in lengths(GRID, *[96256, 95232, 96256] * 600, timescale=48000)]
    assert len(found) == 2 + (len([0] * 1800) - 2) // 2
    assert max(found) < Fraction(42, 10)
    assert min(found[2:]) > Fraction(38, 10)


def test_fixed_distances_that_are_not_whole_seconds_do_not_drift() -> None:
    """120 frames at 29.97 a second, as an encoder cuts that knows no times."""
    assert set(lengths(KeyGrid(4, 4), *[120120] * 2000, timescale=30000)) == {120120}


def test_a_rest_shorter_than_half_a_second_joins_the_segment_before_it() -> None:
    """Every byte, every sample and all their time are still there."""
    whole = fragments(4000, 4000, 499)
    first, last = group(whole, KeyGrid(4, 4), 1000)
    assert first == whole[0]
    assert (last.offset, last.size, last.start, last.duration, last.samples) == (110, 20, 4000, 4499, 10)


def test_half_a_second_stands_alone_and_so_does_an_only_segment() -> None:
    assert lengths(KeyGrid(4, 4), 4000, 4000, 500) == [4000, 4000, 500]
    assert lengths(KeyGrid(4, 4), 1) == [1]


def test_a_hole_before_the_rest_changes_no_time() -> None:
    parts = [Segment(100, 10, 0, 4000, 1, True), Segment(110, 10, 4000, 4000, 1, True), Segment(120, 10, 8100, 40, 1, True)]
    assert [(part.start, part.duration) for part in group(parts, KeyGrid(4, 4), 1000)] == [(0, 4000), (4000, 4140)]


def test_given_starts_are_kept_to_by_every_track() -> None:
    """The copied rung has a fragment at each of its key frames, the encoded one only where segments begin."""
    keys = [Fraction(at, 10) for at in (0, 7, 25, 31, 60, 85, 100, 120)]
    grid = KeyGrid(4, 2, starts=segment_starts(keys, GRID))
    assert grid.starts == tuple(Fraction(at, 10) for at in (0, 25, 60, 100))
    copied = lengths(grid, 700, 1800, 600, 2900, 2500, 1500, 2000, 2000)
    assert copied == lengths(grid, 2500, 3500, 4000, 4000) == [2500, 3500, 4000, 4000]
    assert grid.longest_s == 4


def test_the_option_names_the_grid_by_times() -> None:
    assert KeyGrid(4, 4).force_key_frames == "expr:gte(t,n_forced*4)"
    doubled = "if(n_forced,pow(2,n_forced-1),0)"
    assert GRID.force_key_frames == f"expr:gte(t,if(lt(n_forced,2),{doubled}*2,(n_forced-1)*4))"
    assert KeyGrid(4, 1).force_key_frames == f"expr:gte(t,if(lt(n_forced,3),{doubled}*1,(n_forced-2)*4))"
    assert KeyGrid(4, 2, (Fraction(0), Fraction(5, 2))).force_key_frames == "0,2.499999"
    assert GRID.without_short_first() == KeyGrid(4, 4)


@pytest.mark.parametrize(("step_s", "first_s"), [(4, 3), (0, 1), (4, 0), (2, 4)])
def test_first_segments_fit_into_the_others(step_s: int, first_s: int) -> None:
    with pytest.raises(ValueError, match="no multiple"):
        KeyGrid(step_s, first_s)


@given(
    st.lists(st.integers(1, 9000), min_size=1, max_size=40),
    st.sampled_from([KeyGrid(4, 1), KeyGrid(4, 2), KeyGrid(4, 4), KeyGrid(6, 1)]),
)
def test_nothing_is_lost_whatever_the_fragments(durations: list[int], grid: KeyGrid) -> None:
    parts = fragments(*durations)
    found = group(parts, grid, 1000)
    assert found[0].offset == 100
    assert all(one.offset + one.size == other.offset for one, other in pairwise(found))
    assert all(one.start + one.duration == other.start for one, other in pairwise(found))
    assert sum(part.samples for part in found) == 5 * len(parts)
    assert len(found) == 1 or found[-1].duration >= 500
    if durations[-1] >= 500:
        keys = [Fraction(part.start, 1000) for part in parts]
        assert [Fraction(part.start, 1000) for part in found] == list(segment_starts(keys, grid))
