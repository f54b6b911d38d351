"""Each encoder's options, in its own words. That ffmpeg takes them, and what comes of it: tests/ffmpeg/test_encoders.py."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.encoders import PRESETS, kept_grid, preset_of, video_options
from vproc.core.grid import KeyGrid
from vproc.core.hardware import SOFTWARE_ENCODERS, hardware_encoders
from vproc.core.ladder import Rung
from vproc.core.profile import Packaging, Profile, Quality, VideoCodec

RUNG = Rung("v720", 1280, 720, 23, 2_800_000, 5_600_000)
GRID = KeyGrid(4, 2)
HARDWARE = tuple(name for codec in VideoCodec for name in hardware_encoders(codec))
EVERY = (*SOFTWARE_ENCODERS.values(), *HARDWARE)


def profile(quality: Quality = Quality.FAST, preset: str | None = None) -> Profile:
    return Profile("p", Packaging.CMAF, VideoCodec.H264, quality=quality, preset=preset)


def options(
    encoder: str,
    rung: Rung = RUNG,
    *,
    of: Profile | None = None,
    grid: KeyGrid = GRID,
    fps: Fraction = Fraction(30),
    threads: int | None = None,
    described: tuple[str, ...] = (),
) -> list[str]:
    return video_options(rung, of or profile(), encoder=encoder, fps=fps, grid=grid, threads=threads, described=described)


def value(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def parameters(argv: list[str], option: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in value(argv, option).split(":"))


@pytest.mark.parametrize("encoder", EVERY)
def test_every_encoder_is_told_codec_cap_and_key_frames(encoder: str) -> None:
    argv = options(encoder)
    assert argv[:2] == ["-c:v", encoder]
    assert value(argv, "-force_key_frames") == GRID.force_key_frames
    assert "2800000" in argv
    assert value(argv, "-bufsize") == "5600000"
    assert len(argv) == len(options(encoder, threads=None))
    assert not [word for word in argv if not word or " " in word]
    assert argv == options(encoder)


@pytest.mark.parametrize("encoder", EVERY)
def test_a_fixed_rate_is_the_average_of_every_encoder(encoder: str) -> None:
    """And the constant quality is not told at all."""
    argv = options(encoder, replace(RUNG, bitrate_bps=2_000_000))
    assert value(argv, "-b:v") == "2000000"
    assert not {"-crf", "-cq", "-qp", "-global_quality"} & set(argv)


def test_svt_av1_takes_no_cap_with_a_fixed_rate() -> None:
    """Since 3.0 it refuses to open with both."""
    assert "-maxrate" in options("libsvtav1")
    assert "-maxrate" not in options("libsvtav1", replace(RUNG, bitrate_bps=2_000_000))


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_constant_quality_may_be_a_fraction(encoder: str) -> None:
    assert value(options(encoder, replace(RUNG, crf=22.5)), "-crf") == "22.5"


@pytest.mark.parametrize("encoder", ["libsvtav1", "libvpx-vp9"])
def test_constant_quality_is_a_whole_number_where_the_encoder_takes_no_other(encoder: str) -> None:
    assert value(options(encoder, replace(RUNG, crf=34.6)), "-crf") == "35"


@pytest.mark.parametrize("encoder", [name for name in EVERY if name != "libx265"])
def test_the_longest_distance_of_key_frames_is_the_longest_segment(encoder: str) -> None:
    """Rounded up: one frame less, and a key frame of its own would stand before each forced one."""
    assert value(options(encoder), "-g") == "120"
    assert value(options(encoder, fps=Fraction(24000, 1001)), "-g") == "96"
    assert value(options(encoder, fps=Fraction(2501, 100)), "-g") == "101"
    starts = (Fraction(0), Fraction(5), Fraction(7))
    assert value(options(encoder, grid=KeyGrid(4, 2, starts)), "-g") == "150"


def test_x265_has_it_among_its_parameters() -> None:
    told = parameters(options("libx265", fps=Fraction(24000, 1001), threads=2), "-x265-params")
    assert told == {"keyint": "96", "scenecut": "0", "open-gop": "0", "log-level": "error", "pools": "2"}
    assert "pools" not in parameters(options("libx265"), "-x265-params")


def test_each_encoder_is_bound_to_its_threads_in_its_own_way() -> None:
    assert value(options("libx264", threads=2), "-threads") == "2"
    assert value(options("libvpx-vp9", threads=2), "-threads") == "2"
    assert parameters(options("libsvtav1", threads=2), "-svtav1-params")["lp"] == "2"
    assert parameters(options("libsvtav1", threads=64), "-svtav1-params")["lp"] == "6"
    assert "lp" not in parameters(options("libsvtav1"), "-svtav1-params")
    for encoder in HARDWARE:
        assert options(encoder, threads=2) == options(encoder)


def test_gops_are_closed_and_no_scene_moves_a_key_frame() -> None:
    assert value(options("libx264"), "-sc_threshold") == "0"
    assert parameters(options("libx265"), "-x265-params").items() >= {"open-gop": "0", "scenecut": "0"}.items()
    assert value(options("libx265"), "-forced-idr") == "1"
    assert parameters(options("libsvtav1"), "-svtav1-params").items() >= {"irefresh-type": "2", "scd": "0"}.items()
    assert (value(options("h264_nvenc"), "-no-scenecut"), value(options("h264_nvenc"), "-forced-idr")) == ("1", "1")
    assert value(options("hevc_qsv"), "-forced_idr") == "1"


@pytest.mark.parametrize("encoder", EVERY)
def test_only_hevc_is_tagged_for_apple(encoder: str) -> None:
    argv = options(encoder)
    hevc = encoder in {"libx265", *hardware_encoders("hevc")}
    assert ("-tag:v" in argv) is hevc
    assert not hevc or value(argv, "-tag:v") == "hvc1"


def test_what_describes_a_high_dynamic_range_reaches_the_encoders_that_know_it() -> None:
    assert parameters(options("libx265", described=("max-cll=1000,400",)), "-x265-params")["max-cll"] == "1000,400"
    assert (
        parameters(options("libsvtav1", described=("content-light=1000,400",)), "-svtav1-params")["content-light"] == "1000,400"
    )
    assert options("libx264", described=("max-cll=1000,400",)) == options("libx264")


@pytest.mark.parametrize(
    ("encoder", "names"),
    [
        ("libx264", ["veryfast", "medium", "slow"]),
        ("h264_nvenc", ["p2", "p5", "p7"]),
        ("hevc_qsv", ["veryfast", "medium", "veryslow"]),
        ("av1_vaapi", [None, None, None]),
        ("h264_videotoolbox", [None, None, None]),
    ],
)
def test_a_quality_is_each_encoders_own_preset(encoder: str, names: list[str | None]) -> None:
    assert [preset_of(encoder, profile(quality)) for quality in (Quality.FAST, Quality.BALANCED, Quality.BEST)] == names
    assert preset_of(encoder, profile(Quality.AUTO)) == names[0]
    told = options(encoder, of=profile(Quality.BALANCED))
    assert ("-preset" in told) is (names[1] is not None)


@pytest.mark.parametrize("codec", VideoCodec)
def test_every_quality_of_a_software_encoder_is_one_of_its_presets(codec: VideoCodec) -> None:
    chosen = [preset_of(SOFTWARE_ENCODERS[codec], profile(quality)) for quality in Quality]
    assert set(chosen) <= set(PRESETS[codec])
    assert len(set(chosen)) == 3


def test_a_preset_wins_over_the_quality_in_software_alone() -> None:
    """It is a word of the software encoder; a hardware encoder has others."""
    explicit = profile(Quality.BEST, "superfast")
    assert preset_of("libx264", explicit) == "superfast"
    assert preset_of("h264_nvenc", explicit) == "p7"


@pytest.mark.parametrize(("speed", "deadline"), [("0", "good"), ("5", "good"), ("6", "realtime"), ("8", "realtime")])
def test_the_highest_speeds_of_libvpx_are_those_of_its_real_time_mode(speed: str, deadline: str) -> None:
    argv = options("libvpx-vp9", of=profile(preset=speed))
    assert (value(argv, "-deadline"), value(argv, "-cpu-used")) == (deadline, speed)


def test_libvpx_takes_the_cap_as_its_average() -> None:
    """Its constrained quality: -crf, unless that would take more than -b:v."""
    argv = options("libvpx-vp9")
    assert (value(argv, "-crf"), value(argv, "-b:v")) == ("23", "2800000")
    assert "-maxrate" not in argv


@pytest.mark.parametrize("encoder", ["h264_qsv", "hevc_vaapi", "h264_videotoolbox"])
def test_an_encoder_without_a_measure_of_quality_is_given_part_of_the_cap(encoder: str) -> None:
    argv = options(encoder)
    assert (value(argv, "-b:v"), value(argv, "-maxrate")) == ("1960000", "2800000")


def test_nvenc_is_told_a_quality_within_its_scale() -> None:
    assert (value(options("hevc_nvenc"), "-cq"), value(options("hevc_nvenc"), "-b:v")) == ("23", "0")
    assert value(options("av1_nvenc", replace(RUNG, crf=60)), "-cq") == "51"


def test_only_codecs_of_several_profiles_are_told_one() -> None:
    told = {name: value(argv, "-profile:v") for name in HARDWARE if "-profile:v" in (argv := options(name))}
    assert {name.partition("_")[0]: profile for name, profile in told.items()} == {"h264": "high", "hevc": "main"}


@pytest.mark.parametrize(("generation", "first_s"), [(5, 4), (7, 4), (8, 2), (10_000, 2)])
def test_an_older_svt_av1_has_no_short_first_segments(generation: int, first_s: int) -> None:
    assert kept_grid("libsvtav1", GRID, generation=generation) == KeyGrid(4, first_s)
    assert kept_grid("libx264", GRID, generation=generation) == GRID


def test_an_unknown_encoder_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        options("mpeg4")


@given(
    st.sampled_from(EVERY),
    st.floats(0, 63),
    st.integers(50_000, 200_000_000),
    st.none() | st.integers(50_000, 200_000_000),
    st.fractions(1, 60),
    st.sampled_from(Quality),
)
def test_any_rung_gives_words_only(
    encoder: str, crf: float, maxrate: int, bitrate: int | None, fps: Fraction, quality: Quality
) -> None:
    rung = Rung("v", 640, 360, crf, maxrate, 2 * maxrate, bitrate)
    argv = options(encoder, rung, of=profile(quality), fps=fps)
    assert all(isinstance(word, str) and word for word in argv)
    quality_told = [value(argv, option) for option in ("-crf", "-cq") if option in argv]
    assert all(re.fullmatch(r"\d{1,2}(\.\d{1,2})?", number) for number in quality_told)
