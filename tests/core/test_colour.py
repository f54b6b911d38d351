"""What a stream's colours are taken for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.samples import video
from vproc.core.colour import (
    VideoRange,
    as_sdr,
    has_base_layer,
    hdr_parameters,
    hdr_tags,
    is_rgb,
    matrix,
    missing_tags,
    tone_map,
    video_range,
)
from vproc.core.media import DolbyVision, MasteringDisplay
from vproc.core.tonemap import Gamut, ToneMap, Transfer

PQ = {"color_transfer": "smpte2084", "color_primaries": "bt2020", "color_space": "bt2020nc"}
HLG = PQ | {"color_transfer": "arib-std-b67"}
DISPLAY = MasteringDisplay((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329), 1000.0, 0.0001)


@pytest.mark.parametrize(
    ("transfer", "expected"),
    [("smpte2084", "PQ"), ("arib-std-b67", "HLG"), ("bt709", "SDR"), ("bt2020-10", "SDR"), (None, "SDR"), ("linear", "SDR")],
)
def test_the_range_is_told_by_the_transfer_characteristics(transfer: str | None, expected: str) -> None:
    assert video_range(video(color_transfer=transfer)) is VideoRange(expected)


@pytest.mark.parametrize(
    ("tags", "tone"),
    [
        (PQ, ToneMap(Transfer.PQ, Gamut.BT2020)),
        (HLG, ToneMap(Transfer.HLG, Gamut.BT2020)),
        ({"color_transfer": "smpte2084"}, ToneMap(Transfer.PQ, Gamut.BT2020)),
        (PQ | {"color_primaries": "smpte432"}, ToneMap(Transfer.PQ, Gamut.P3)),
        (PQ | {"color_primaries": "bt709"}, ToneMap(Transfer.PQ, Gamut.BT709)),
        (PQ | {"color_transfer": "bt2020-10"}, ToneMap(Transfer.SDR, Gamut.BT2020)),
        ({"color_space": "bt2020nc"}, ToneMap(Transfer.SDR, Gamut.BT2020)),
        ({"color_primaries": "smpte432", "color_transfer": "bt709"}, ToneMap(Transfer.SDR, Gamut.P3)),
        ({"color_primaries": "bt709", "color_transfer": "iec61966-2-1"}, None),
        ({"color_primaries": "bt470bg", "color_space": "bt470bg"}, None),
        ({}, None),
    ],
)
def test_what_players_do_not_show_as_it_is_is_mapped(tags: dict[str, str], tone: ToneMap | None) -> None:
    assert tone_map(video(**tags)) == tone


@pytest.mark.parametrize(
    ("told", "peak"),
    [
        ({"max_cll_nits": 640, "mastering": DISPLAY}, 700),
        ({"mastering": DISPLAY}, 1000),
        ({"max_cll_nits": 3, "mastering": DISPLAY}, 1000),
        ({"max_cll_nits": 65_535}, 1000),
        ({"max_cll_nits": 4000}, 4000),
        ({}, 1000),
    ],
)
def test_the_peak_is_the_brightest_sample_or_the_display_or_a_thousand(told: dict[str, Any], peak: int) -> None:
    tone = tone_map(video(**PQ, **told))
    assert tone is not None
    assert tone.peak_nits == peak


def test_hlg_has_the_one_display_that_it_is_meant_for() -> None:
    tone = tone_map(video(**HLG, max_cll_nits=4000))
    assert tone == ToneMap(Transfer.HLG, Gamut.BT2020, 1000)


@pytest.mark.parametrize(
    ("profile", "compatible", "shown"),
    [
        (5, 0, False),
        (8, 1, True),
        (8, 4, True),
        (8, 2, True),
        (7, 6, True),
        (4, 2, True),
        (9, 2, True),
        (10, 0, False),
        (10, 1, True),
    ],
)
def test_dolby_vision_is_shown_by_its_base_layer_where_it_has_one(profile: int, compatible: int, shown: bool) -> None:
    assert has_base_layer(video(dolby_vision=DolbyVision(profile, compatible))) is shown
    assert has_base_layer(video())


def test_a_mapped_stream_is_bt709_in_every_respect() -> None:
    mapped = as_sdr(video(**PQ, pix_fmt="yuv420p10le", color_range="pc"))
    assert (mapped.color_space, mapped.color_primaries, mapped.color_transfer) == ("bt709",) * 3
    assert (mapped.pix_fmt, mapped.color_range) == ("yuv420p", "tv")
    assert tone_map(mapped) is None
    assert missing_tags(mapped) == {}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"color_space": "bt2020nc"}, "bt2020"),
        ({"color_space": "bt2020c"}, "bt2020"),
        ({"color_transfer": "arib-std-b67"}, "bt2020"),
        ({"color_space": "bt470bg"}, "bt470bg"),
        ({"color_transfer": "smpte2084", "color_primaries": "smpte432"}, "bt709"),
        ({}, "bt709"),
        ({"width": 720, "height": 480}, "smpte170m"),
        ({"width": 480, "height": 848}, "smpte170m"),
    ],
)
def test_the_matrix_is_the_told_one_or_what_its_kind_suggests(tags: dict[str, Any], expected: str) -> None:
    assert matrix(video(**tags)) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}),
        ({"width": 640, "height": 360}, {"colorspace": "smpte170m", "color_primaries": "smpte170m", "color_trc": "smpte170m"}),
        ({"color_space": "bt470bg"}, {"color_primaries": "bt470bg", "color_trc": "smpte170m"}),
        ({"width": 640, "height": 360, "color_space": "bt709"}, {"color_primaries": "bt709", "color_trc": "bt709"}),
        ({"color_space": "smpte170m", "color_primaries": "bt709"}, {"color_trc": "smpte170m"}),
        ({"color_space": "ycgco"}, {"color_primaries": "bt709", "color_trc": "bt709"}),
        ({"pix_fmt": "gbrp", "color_space": "gbr"}, {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}),
    ],
)
def test_tags_that_lack_are_those_that_go_with_what_is_told(tags: dict[str, Any], expected: dict[str, str]) -> None:
    assert missing_tags(video(**tags)) == expected


@pytest.mark.parametrize(("pix_fmt", "expected"), [("bgr0", True), ("gbrp10le", True), ("rgb48be", True), ("yuv444p", False)])
def test_rgb_is_known_by_its_pixel_format(pix_fmt: str, expected: bool) -> None:
    assert is_rgb(video(pix_fmt=pix_fmt)) is expected


def test_kept_rungs_carry_the_sources_tags() -> None:
    assert hdr_tags(video(**HLG)) == {"colorspace": "bt2020nc", "color_primaries": "bt2020", "color_trc": "arib-std-b67"}
    assert hdr_tags(video(color_transfer="smpte2084", color_primaries="smpte432"))["color_primaries"] == "smpte432"


def test_each_encoder_is_told_the_brightness_in_its_own_units() -> None:
    film = video(**PQ, mastering=DISPLAY, max_cll_nits=900, max_fall_nits=350)
    assert hdr_parameters(film, "libx265") == (
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)",
        "max-cll=900,350",
    )
    assert hdr_parameters(film, "libsvtav1") == (
        "mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)WP(0.3127,0.329)L(1000,0.0001)",
        "content-light=900,350",
    )
    assert hdr_parameters(film, "hevc_nvenc") == ()


def test_what_nobody_measured_is_not_told() -> None:
    assert hdr_parameters(video(**PQ), "libx265") == ()
    assert hdr_parameters(video(**PQ, max_cll_nits=900), "libx265") == ("max-cll=900,0",)
    assert hdr_parameters(video(**HLG, max_cll_nits=900), "libx265") == ()
