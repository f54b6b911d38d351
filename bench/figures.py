"""Figures: what was measured in one run and in several, and how they read. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MB = 1_000_000


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so much of all of them does not exceed (nearest rank)."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(values: Sequence[float], unit: str, *, digits: int = 0) -> str:
    """The median, and the least and the greatest of several runs."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    named = f"{middle} {unit}".rstrip()
    return named if low == high else f"{named} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What went on beside: the load average before the run, and the share of the machine (0 to 1) that others took during it."""

    load: float
    others: float
    stolen: float


@dataclass(frozen=True, slots=True)
class MemoryRun:
    """Bytes resident in the daemon's own process, the greatest of each phase; ``peak_bytes`` is the kernel's own high-water mark
    over the life of the process. ``seconds`` by phase."""

    input_bytes: int
    output_bytes: int
    resident_bytes: dict[str, int]
    peak_bytes: int
    seconds: dict[str, float]
    samples: int
    conditions: Conditions
    ffmpeg: str


@dataclass(frozen=True, slots=True)
class LatencyRun:
    """``latencies_ms`` under load, one for each probe that was answered; ``lateness_ms``: how late the prober itself was."""

    files: int
    completed: int
    seconds: float
    upload_s: float
    idle_ms: tuple[float, ...]
    latencies_ms: tuple[float, ...]
    lateness_ms: tuple[float, ...]
    unanswered: int
    slots: int
    most_in_progress: int
    slot_samples: int
    nices: tuple[int, ...]
    encoders_seen: int
    peak_bytes: int
    conditions: Conditions
    ffmpeg: str
