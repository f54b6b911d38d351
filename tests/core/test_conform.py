"""Which sources become the top rung as they are, and why the others do not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from tests.support.samples import video
from vproc.core.conform import begins_with_idr, choose_copy
from vproc.core.grid import KeyGrid
from vproc.core.ladder import Rung
from vproc.core.movie import SampleTable
from vproc.profiles import builtin_profiles

ABR = builtin_profiles()["abr"]
TOP = Rung("v1080", 1920, 1080, 23, 5_000_000, 10_000_000)
VIDEO = video(1920, 1080, profile="High", pix_fmt="yuv420p", field_order="progressive")
GRID = KeyGrid(4, 2)


def table(*keys_s: float, end_s: float, bps: int = 4_000_000, **changes: Any) -> SampleTable:
    """The index of a film of constant rate with key frames at these times."""
    at = [round(key * 15360) for key in (*keys_s, end_s)]
    gops = tuple((after - before) * bps // 8 // 15360 for before, after in pairwise(at))
    return replace(
        SampleTable(1, "avc1", 15360, 900, 0, at[-1], tuple(at[:-1]), tuple(at[:-1]), gops, Fraction(30), True, True), **changes
    )


REGULAR = table(*range(0, 30, 2), end_s=30)


def reason(changed: SampleTable | None = REGULAR, **differing: Any) -> str:
    choice = choose_copy(replace(VIDEO, **differing), ABR, TOP, Fraction(30), GRID, changed)
    assert choice.grid is None
    assert choice.reason is not None
    return choice.reason


def test_a_conforming_source_is_copied_and_its_key_frames_are_the_grid() -> None:
    choice = choose_copy(VIDEO, ABR, TOP, Fraction(30), GRID, REGULAR)
    assert choice.reason is None
    assert choice.grid == KeyGrid(4, 2, tuple(map(Fraction, (0, 2, 4, 8, 12, 16, 20, 24, 28))))


def test_irregular_key_frames_are_joined_to_segments_of_about_the_length() -> None:
    scene_cuts = table(0, 0.5, 3, 3.5, 8, 9, 12.2, 20, end_s=25)
    choice = choose_copy(VIDEO, ABR, TOP, Fraction(30), GRID, scene_cuts)
    assert choice.grid is not None
    assert [float(start) for start in choice.grid.starts] == pytest.approx([0, 3, 8, 12.2, 20], abs=0.001)


@pytest.mark.parametrize(
    ("differing", "words"),
    [
        ({"codec": "hevc"}, "hevc and not h264"),
        ({"width": 1280, "height": 720}, "1280x720 and the top rung 1920x1080"),
        ({"rotation": 180}, "turned"),
        ({"display_width": 1440}, "stretched"),
        ({"profile": "High 10", "pix_fmt": "yuv420p10le", "bit_depth": 10}, "High 10, yuv420p10le"),
        ({"pix_fmt": "yuvj420p"}, "yuvj420p"),
        ({"profile": "Extended"}, "Extended"),
        ({"profile": None}, "unknown profile"),
        ({"field_order": "tt"}, "interlaced"),
        ({"color_transfer": "arib-std-b67"}, "high dynamic range"),
    ],
)
def test_pictures_that_are_not_the_rungs_are_encoded(differing: dict[str, Any], words: str) -> None:
    assert words in reason(**differing)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (None, "no index"),
        (replace(REGULAR, entry="avc3"), "avc3"),
        (replace(REGULAR, whole=False), "edit list"),
        (replace(REGULAR, start=512), "begins late"),
        (replace(REGULAR, constant_rate=None), "equally far apart"),
        (replace(REGULAR, constant_rate=Fraction(25)), "equally far apart"),
        (replace(REGULAR, closed_gops=False), "open"),
        (table(0, 9, end_s=18), "up to 9.0 s apart"),
        (table(0, end_s=5.3), "no key frame but the first"),
        (table(0, 8, end_s=20), "up to 12.0 s apart"),
        (table(*range(0, 30, 2), end_s=30, bps=5_100_000), "5100 kb/s"),
        (replace(REGULAR, gop_bytes=(4_000_000, *REGULAR.gop_bytes[1:-4], 1, 1, 1, 1)), "in a segment"),
        (table(*(number * 3 for number in range(17000)), end_s=51000), "segments"),
    ],
)
def test_samples_that_fit_no_segments_are_encoded(changed: SampleTable | None, words: str) -> None:
    assert words in reason(changed)


def test_a_film_of_one_segment_may_be_one_gop() -> None:
    assert choose_copy(VIDEO, ABR, TOP, Fraction(30), GRID, table(0, end_s=3)).grid == KeyGrid(4, 2, (Fraction(0),))


def test_a_rate_that_only_its_clock_rounds_is_constant() -> None:
    near = replace(REGULAR, constant_rate=Fraction(30000, 1001))
    assert choose_copy(VIDEO, ABR, TOP, Fraction(30000, 1001), GRID, near).grid is not None


@pytest.mark.parametrize("profile", ["mp4", "h264", "hevc", "swap", "audio", "thumbnails", "copy"])
def test_other_profiles_never_copy_a_rung_and_give_no_reason(profile: str) -> None:
    choice = choose_copy(VIDEO, builtin_profiles()[profile], TOP, Fraction(30), GRID, REGULAR)
    assert (choice.grid, choice.reason) == (None, None)


def nal(kind: int, size: int = 5) -> bytes:
    return size.to_bytes(4, "big") + bytes([0x60 | kind]) + bytes(size - 1)


def test_a_sample_begins_anew_only_with_an_idr_picture() -> None:
    assert begins_with_idr(nal(5))
    assert begins_with_idr(nal(9) + nal(6, 700) + nal(7) + nal(8) + nal(5)[:5])
    assert not begins_with_idr(nal(6) + nal(1))  # a recovery point: decoders begin there, and need what was before
    assert not begins_with_idr(nal(6))
    assert not begins_with_idr(b"")
    assert not begins_with_idr(bytes(3))
