"""VMAF estimated: near what libvmaf measured of real encodes, and sane for figures that nobody measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.comparison import FrameFigures
from vproc.core.quality import estimate_vmaf, terms

FIGURES = st.builds(FrameFigures, vif=st.floats(-1, 2), kept=st.floats(-1, 2), motion=st.floats(min_value=-1, max_value=255))
PERFECT = FrameFigures(1.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("clip", "side_px", "vif", "kept", "motion", "vmaf"),
    [
        ("animated film, 720p", 720, 0.8441, 0.9594, 3.21, 89.2),
        ("animated film, 720p", 720, 0.9003, 0.9737, 3.61, 94.4),
        ("bicycle race, 272p", 272, 0.8817, 0.9768, 3.74, 94.7),
        ("bicycle race, 272p", 272, 0.8139, 0.9619, 3.74, 88.7),
        ("city, 360p", 360, 0.8299, 0.9782, 4.43, 91.9),
        ("crowd, enlarged to 1080p, with noise", 1080, 0.6997, 0.9597, 15.35, 89.5),
        ("speaker, 720p", 720, 0.9534, 0.9936, 0.02, 94.9),
        ("speaker, 720p", 720, 0.9327, 0.9913, 0.02, 92.9),
        ("camera, 1080p", 1080, 0.8853, 0.9737, 0.40, 89.9),
        ("camera, 1080p", 1080, 0.9220, 0.9810, 0.40, 92.8),
        ("trailer, enlarged to 1080p, with noise", 1080, 0.8368, 0.9551, 1.81, 87.0),
        ("phone, 720p", 720, 0.8769, 0.9665, 0.97, 90.2),
        ("street, 360p", 360, 0.9476, 0.9931, 0.27, 95.1),
        ("street, 360p", 360, 0.9026, 0.9880, 0.27, 92.3),
    ],
)
def test_an_estimate_is_near_the_measure(clip: str, side_px: int, vif: float, kept: float, motion: float, vmaf: float) -> None:
    """Means over the frames of encodes, as they were measured."""
    assert estimate_vmaf([FrameFigures(vif, kept, motion)], side_px) == pytest.approx(vmaf, abs=2.5), clip


@pytest.mark.parametrize("side_px", [360, 720, 1080])
def test_an_encode_without_loss_is_as_good_as_can_be(side_px: int) -> None:
    assert estimate_vmaf([PERFECT], side_px) > 97


def test_an_estimate_is_the_mean_over_the_frames() -> None:
    good, bad = FrameFigures(0.9, 0.98, 2.0), FrameFigures(0.8, 0.95, 2.0)
    both = (estimate_vmaf([good], 720) + estimate_vmaf([bad], 720)) / 2
    assert estimate_vmaf([good, bad], 720) == pytest.approx(both)


def test_nothing_is_not_estimated() -> None:
    with pytest.raises(ValueError, match="a frame at least"):
        estimate_vmaf([], 720)


@given(st.lists(FIGURES, min_size=1, max_size=5), st.integers(16, 8192))
def test_an_estimate_is_a_vmaf(frames: list[FrameFigures], side_px: int) -> None:
    assert 0 <= estimate_vmaf(frames, side_px) <= 100


@given(FIGURES, st.integers(16, 8192))
def test_there_is_a_term_for_each_weight(figures: FrameFigures, side_px: int) -> None:
    found = terms(figures, side_px)
    assert (len(found), found[0]) == (15, 1.0)


@given(
    st.floats(min_value=0.75, max_value=0.97),
    st.floats(min_value=0.945, max_value=0.995),
    st.floats(min_value=0, max_value=20),
    st.sampled_from([360, 720, 1080]),
    st.floats(min_value=0, max_value=0.02),
)
def test_losing_more_is_never_better(vif: float, kept: float, motion: float, side_px: int, more: float) -> None:
    """Where trials lie: what an encode loses of detail it loses of both. A quadratic turns round a hundredth of a point early."""
    lost, whole = FrameFigures(vif - 2 * more, kept - more, motion), FrameFigures(vif, kept, motion)
    assert estimate_vmaf([lost], side_px) <= estimate_vmaf([whole], side_px) + 0.05
