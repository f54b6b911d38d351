"""Which rungs a source gives, and at what rate."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.samples import video
from vproc.core.ladder import even_within, output_fps, rungs
from vproc.core.profile import VideoCodec
from vproc.profiles import builtin_profile

ABR, H264 = builtin_profile("abr"), builtin_profile("h264")
SIDES = st.integers(min_value=16, max_value=16384)
FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


def sizes(width: int, height: int) -> list[tuple[str, int, int]]:
    return [(rung.name, rung.width, rung.height) for rung in rungs(width, height, ABR, codec=VideoCodec.H264)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((3840, 2160), [("v1080", 1920, 1080), ("v720", 1280, 720), ("v360", 640, 360)]),
        ((1920, 1080), [("v1080", 1920, 1080), ("v720", 1280, 720), ("v360", 640, 360)]),
        ((1080, 1920), [("v1080", 1080, 1920), ("v720", 720, 1280), ("v360", 360, 640)]),
        ((1920, 800), [("v720", 1728, 720), ("v360", 864, 360)]),
        ((1280, 719), [("v360", 640, 360)]),
        ((720, 720), [("v720", 720, 720), ("v360", 360, 360)]),
        ((641, 359), [("v358", 640, 358)]),
        ((240, 320), [("v240", 240, 320)]),
        ((64, 64), [("v64", 64, 64)]),
        ((17, 4001), [("v16", 16, 4000)]),
    ],
)
def test_a_ladder_has_what_the_shorter_side_reaches(source: tuple[int, int], expected: list[tuple[str, int, int]]) -> None:
    assert sizes(*source) == expected


def test_a_rung_of_its_own_size_has_the_lowest_rungs_rates() -> None:
    (own,) = rungs(320, 240, ABR, codec=VideoCodec.H264)
    assert (own.crf, own.maxrate_bps, own.bufsize_bits) == (23, 800_000, 1_600_000)


def test_a_profile_without_a_ladder_gives_the_sources_size() -> None:
    (own,) = rungs(2560, 1441, H264, codec=VideoCodec.H264)
    assert (own.name, own.width, own.height, own.maxrate_bps) == ("v1440", 2560, 1440, 9_000_000)


@given(SIDES, SIDES, st.sampled_from([ABR, H264]))
@example(16, 16384, ABR)
def test_rungs_are_even_within_the_source_distinct_and_largest_first(width: int, height: int, profile: object) -> None:
    found = rungs(width, height, profile, codec=VideoCodec.H264)  # type: ignore[arg-type]
    assert found
    for rung in found:
        assert rung.width % 2 == rung.height % 2 == 0
        assert 2 <= rung.width <= width
        assert 2 <= rung.height <= height
        assert rung.name == f"v{min(rung.width, rung.height)}"
    assert len({rung.name for rung in found}) == len(found)
    assert [rung.width * rung.height for rung in found] == sorted((rung.width * rung.height for rung in found), reverse=True)


@given(SIDES, SIDES)
def test_rungs_keep_the_aspect_ratio_to_the_even_pixel(width: int, height: int) -> None:
    for rung in rungs(width, height, ABR, codec=VideoCodec.H264):
        scale = max(rung.width / width, rung.height / height)
        assert abs(rung.width - width * scale) <= 2
        assert abs(rung.height - height * scale) <= 2


@given(st.floats(min_value=0, max_value=1e6), st.integers(min_value=2, max_value=16384))
def test_an_even_length_is_even_and_within(length: float, most: int) -> None:
    found = even_within(length, most)
    assert found % 2 == 0
    assert 2 <= found <= most


@pytest.mark.parametrize(
    ("average", "grid", "rate"),
    [
        (Fraction(30), Fraction(30), 30),
        (FILM, FILM, FILM),
        (NTSC, NTSC, NTSC),
        (Fraction(60), Fraction(60), 60),
        (Fraction(60006, 1000), Fraction(60), 60),
        (Fraction(120), Fraction(120), 60),
        (Fraction(100), Fraction(100), 50),
        (Fraction(240), Fraction(240), 60),
        (Fraction(1), Fraction(1), 1),
        (Fraction(1, 5), Fraction(1, 5), 1),
        (Fraction(15), Fraction(15), 15),
        (Fraction(20), Fraction(30), 30),
        (Fraction(2993, 100), Fraction(60), 30),
        (Fraction(2987, 100), Fraction(90000), NTSC),
        (Fraction(58), Fraction(90000), Fraction(60000, 1001)),
        (Fraction(30), Fraction(15), NTSC),
        (None, Fraction(25), 25),
        (Fraction(25), None, 25),
        (None, None, 30),
    ],
)
def test_the_encodes_rate_is_the_grid_that_the_source_uses(
    average: Fraction | None, grid: Fraction | None, rate: Fraction
) -> None:
    assert output_fps(video(fps=average, base_fps=grid)) == rate


def test_fields_are_not_counted_as_frames() -> None:
    assert output_fps(video(fps=Fraction(25), base_fps=Fraction(50), field_order="tt")) == 25
    assert output_fps(video(fps=Fraction(15), base_fps=Fraction(15), field_order="tt")) == 15


_RATES = st.none() | st.fractions(min_value=Fraction(1, 1000), max_value=10**6, max_denominator=1001)


@given(_RATES, _RATES, st.sampled_from(["progressive", "tt"]))
def test_any_rate_gives_one_to_sixty(average: Fraction | None, grid: Fraction | None, order: str) -> None:
    rate = output_fps(video(fps=average, base_fps=grid, field_order=order))
    assert 1 <= rate <= 60 * Fraction(101, 100)
    assert rate.denominator <= 1001
