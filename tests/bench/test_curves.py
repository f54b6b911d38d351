"""Rate against quality: what is interpolated, and what is refused."""

from __future__ import annotations

import math

import pytest

from bench.curves import Point, common_vmaf, cost_at
from bench.processes import BenchError

POINTS = (Point(95, 4000), Point(85, 1000), Point(90, 2000))


def test_between_two_points_the_logarithm_of_the_cost_is_linear() -> None:
    assert cost_at(POINTS, 90) == pytest.approx(2000)
    assert cost_at(POINTS, 87.5) == pytest.approx(math.sqrt(1000 * 2000))
    assert cost_at((Point(90, 7), Point(90, 7)), 90) == pytest.approx(7)


@pytest.mark.parametrize("vmaf", [84.9, 95.1])
def test_outside_of_the_points_nothing_is_guessed(vmaf: float) -> None:
    with pytest.raises(BenchError, match=r"outside of what was measured \(85.0 to 95.0\)"):
        cost_at(POINTS, vmaf)


def test_two_curves_are_compared_in_the_middle_of_what_both_cover() -> None:
    assert common_vmaf(POINTS, (Point(80, 1), Point(91, 2))) == 88
    with pytest.raises(BenchError, match="no common quality"):
        common_vmaf(POINTS, (Point(96, 1), Point(99, 2)))
