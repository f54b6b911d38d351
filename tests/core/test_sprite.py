"""The thumbnail sprite and its cues."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.sprite import plan_sprite, sprite_vtt

_CUE = re.compile(r"(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d):(\d\d):(\d\d\.\d{3})\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)\n")


def cues(text: str) -> list[tuple[float, float, str, tuple[int, ...]]]:
    def seconds(hours: str, minutes: str, rest: str) -> float:
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    return [
        (seconds(*match.groups()[:3]), seconds(*match.groups()[3:6]), match[7], tuple(map(int, match.groups()[7:])))
        for match in _CUE.finditer(text)
    ]


@pytest.mark.parametrize(
    ("size", "thumb"),
    [((1920, 1080), (160, 90)), ((1080, 1920), (160, 284)), ((64, 64), (64, 64)), ((641, 359), (160, 90)),
     ((100, 3000), (100, 200)), ((5000, 20), (160, 2))],
)  # fmt: skip
def test_thumbnails_are_160_wide_and_not_larger_than_the_source(size: tuple[int, int], thumb: tuple[int, int]) -> None:
    plan = plan_sprite(*size, 10)
    assert (plan.width, plan.height) == thumb


@pytest.mark.parametrize(
    ("duration_s", "interval_s", "count", "sheets"),
    [(0.033, 1, 1, 1), (6.0, 1, 6, 1), (6.4, 1, 6, 1), (25.6, 1, 26, 2), (100, 1, 100, 4), (101, 2, 50, 2), (7200, 72, 100, 4)],
)
def test_they_are_a_second_apart_until_there_are_a_hundred(duration_s: float, interval_s: int, count: int, sheets: int) -> None:
    plan = plan_sprite(1280, 720, duration_s)
    assert (plan.interval_s, plan.count, plan.sheets) == (interval_s, count, sheets)


def test_the_thumbnails_before_they_are_tiled_are_small() -> None:
    assert plan_sprite(1280, 720, 10).raw_bytes == 11 * 160 * 90 * 3 // 2
    assert plan_sprite(100, 9000, 20_000).raw_bytes < 8_000_000


def test_without_a_duration_the_number_is_a_bound() -> None:
    plan = plan_sprite(1280, 720, None)
    assert (plan.interval_s, plan.count, plan.sheets, plan.duration_s) == (10, 100, 4, None)
    assert len(cues(sprite_vtt(plan, str, sheets=1))) == plan.per_sheet


def test_a_cue_points_at_its_place_on_its_sheet() -> None:
    text = sprite_vtt(plan_sprite(1280, 720, 27.4), lambda sheet: f"run/sprite-{sheet + 1:03}.jpg")
    found = cues(text)
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nrun/sprite-001.jpg#xywh=0,0,160,90\n\n")
    assert found[6] == (6.0, 7.0, "run/sprite-001.jpg", (160, 90, 160, 90))
    assert found[25] == (25.0, 26.0, "run/sprite-002.jpg", (0, 0, 160, 90))


@given(st.floats(min_value=0.01, max_value=6 * 3600), st.integers(16, 8000), st.integers(16, 8000))
def test_cues_cover_the_film_without_a_hole_and_stay_on_their_sheet(duration_s: float, width: int, height: int) -> None:
    plan = plan_sprite(width, height, duration_s)
    found = cues(sprite_vtt(plan, str))
    assert len(found) == plan.count <= 100
    assert found[0][0] == 0
    assert found[-1][1] == pytest.approx(max(duration_s, found[-1][0]), abs=0.002)
    assert all(before[1] == after[0] for before, after in pairwise(found))
    for _, _, sheet, (x, y, w, h) in found:
        assert int(sheet) < plan.sheets
        assert x + w <= plan.width * plan.columns
        assert y + h <= plan.height * plan.rows
