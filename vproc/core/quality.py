"""VMAF, estimated where ffmpeg has no libvmaf: from `core.comparison.FrameFigures`, frame by frame.

VMAF is a fixed function of detail loss (ADM), visual information fidelity at four scales, and motion. The table is a quadratic in
stand-ins for them that any ffmpeg measures and the size, fitted by ``bench/calibrate.py``. How far it is off, and for what, is in
``docs/decisions/0012-vmaf-without-libvmaf.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vproc.core.comparison import FrameFigures

_FARTHEST = 2.5
"""Beyond it no encode was measured, and a quadratic turns round."""


def terms(figures: FrameFigures, short_side_px: int) -> tuple[float, ...]:
    """The terms that the table weighs: 1, four values brought to about one size, and their products two by two."""
    # VMAF goes by how much is lost, not by how much is left, and less by each further loss. Large pictures are softer.
    raw = (
        (-math.log10(1.01 - min(1.0, max(0.0, figures.vif))) - 0.9) * 4,
        (-math.log10(1.003 - min(1.0, max(0.0, figures.kept))) - 1.3) * 2,
        (math.log10(max(0.0, figures.motion) + 0.5) - 0.4) * 2.5,
        math.log2(short_side_px / 540),
    )
    values = tuple(min(_FARTHEST, max(-_FARTHEST, value)) for value in raw)
    return (1.0, *values, *(value * other for place, value in enumerate(values) for other in values[place:]))


_TABLE = (88.99, 5.025, 3.554, 2.673, 0.3745, -0.7886, -2.302, -0.419, -0.6228, 1.205, 0.1639, 0.4212, 0.6345, -0.3808, 0.3855)


def estimate_vmaf(frames: Sequence[FrameFigures], short_side_px: int) -> float:
    """The mean VMAF of an encode of that size, 0 to 100. Raises `ValueError` where there is no frame."""
    if not frames:
        raise ValueError("VMAF is estimated of a frame at least")
    scores = (sum(weight * term for weight, term in zip(_TABLE, terms(frame, short_side_px), strict=True)) for frame in frames)
    return sum(min(100.0, max(0.0, score)) for score in scores) / len(frames)
