"""Rate against quality: what an encoder takes at a quality that lies between the points measured. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.processes import BenchError


@dataclass(frozen=True, slots=True)
class Point:
    """One encode: its VMAF, and what it took (bytes, or seconds of processor)."""

    vmaf: float
    cost: float


def cost_at(points: Sequence[Point], vmaf: float) -> float:
    """What it takes at that VMAF: linear in the logarithm of the cost between the two points around it.

    Raises `BenchError` outside of the points: no guess is made there.
    """
    ordered = sorted(points, key=lambda point: point.vmaf)
    for low, high in pairwise(ordered):
        if low.vmaf <= vmaf <= high.vmaf:
            share = (vmaf - low.vmaf) / (high.vmaf - low.vmaf) if high.vmaf > low.vmaf else 0.0
            return math.exp((1 - share) * math.log(low.cost) + share * math.log(high.cost))
    reach = f"{ordered[0].vmaf:.1f} to {ordered[-1].vmaf:.1f}" if ordered else "nothing"
    raise BenchError(f"VMAF {vmaf:.1f} lies outside of what was measured ({reach})")


def common_vmaf(one: Sequence[Point], other: Sequence[Point]) -> float:
    """The middle of the range that both cover. Raises `BenchError` where there is none."""
    low = max(min(point.vmaf for point in points) for points in (one, other))
    high = min(max(point.vmaf for point in points) for points in (one, other))
    if low > high:
        raise BenchError(f"no common quality: the one ends at VMAF {high:.1f} and the other begins at {low:.1f}")
    return (low + high) / 2
