"""Profiles as TOML: what a file may say, and what is said of one that is wrong."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.encoders import PRESETS
from vproc.core.profile import HdrMode, Measure, Packaging, Profile, Quality, RungSpec, VideoCodec, default_crf
from vproc.core.profile_file import SWAP, Described, parse_profiles
from vproc.core.runners import RunnerKind
from vproc.errors import ConfigError

WEB = """
[profiles.web]
packaging = "cmaf"
codec = "h264"
preset = "fast"
audio_bitrate_kbps = 96
segment_s = 6
rungs = [
  { short_side_px = 720, crf = 22, maxrate_kbps = 2500, bufsize_kbits = 3000 },
  { short_side_px = 360, maxrate_kbps = 700 },
]
"""

FULL = """
[profiles.full]
packaging = "cmaf"
codec = "av1"
rungs = [{ short_side_px = 1080, crf = 34.5, maxrate_kbps = 3000, bufsize_kbits = 4000 }, { short_side_px = 480, maxrate_kbps = 900 }]
quality = "auto"
preset = 8
target_vmaf = 90.5
measure = "ssim"
hardware = false
hdr = "keep"
copy_top_rung = false
segment_s = 6
first_segment_s = 3
captions = false
pictures = false
audio_bitrate_kbps = 192
audio_channels = 6
runner = "docker"
"""  # noqa: E501


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_profiles(text)
    return "\n".join(caught.value.faults)


def one(body: str) -> Profile:
    (profile,) = parse_profiles(f"[profiles.mine]\n{body}").values()
    return profile


def fault(body: str) -> str:
    return faults(f"[profiles.mine]\n{body}")


CMAF = 'packaging = "cmaf"\ncodec = "h264"\nrungs = [{ short_side_px = 720, maxrate_kbps = 2500 }]\n'
MP4 = 'packaging = "progressive"\ncodec = "h264"\n'


def test_every_field_arrives_in_the_profile() -> None:
    assert parse_profiles(FULL) == {
        "full": Profile(
            "full",
            Packaging.CMAF,
            VideoCodec.AV1,
            rungs=(RungSpec(1080, 34.5, 3_000_000, 4_000_000), RungSpec(480, 35, 900_000, 1_800_000)),
            quality=Quality.AUTO,
            preset="8",
            target_vmaf=90.5,
            measure=Measure.SSIM,
            hdr=HdrMode.KEEP,
            segment_s=6,
            first_segment_s=3,
            captions=False,
            pictures=False,
            audio_bitrate_bps=192_000,
            audio_channels=6,
            runner=RunnerKind.DOCKER,
        )
    }
    assert Described.model_fields.keys() - {line.split(" = ")[0] for line in FULL.splitlines()} == set()


@pytest.mark.parametrize(
    ("body", "pictures"),
    [
        ('packaging = "progressive"\ncodec = "hevc"', False),
        ('packaging = "progressive"\ncodec = "vp9"', False),
        ('packaging = "audio"', False),
        ('packaging = "copy"', False),
        ('packaging = "pictures"', True),
    ],
)
def test_a_profile_may_be_a_line_or_two(body: str, pictures: bool) -> None:
    profile = one(body)
    assert (profile.name, profile.pictures, profile.rungs) == ("mine", pictures, ())
    assert (profile.quality, profile.preset, profile.segment_s, profile.first_segment_s) == (Quality.FAST, None, 4, 1)


def test_the_codecs_are_those_there_are_and_swap() -> None:
    field = Described.model_fields["codec"].annotation
    words = {word for literal in get_args(field) for word in get_args(literal)}
    assert words == {*VideoCodec, SWAP}


@pytest.mark.parametrize("codec", VideoCodec)
def test_a_rung_without_a_quality_has_the_codecs_own(codec: VideoCodec) -> None:
    profile = one(CMAF.replace("h264", codec))
    assert profile.codec is codec
    assert profile.rungs == (RungSpec(720, default_crf(codec), 2_500_000, 5_000_000),)


def test_swap_takes_its_codec_from_the_source() -> None:
    profile = one('packaging = "progressive"\ncodec = "swap"')
    assert (profile.swap, profile.codec) == (True, None)


def test_a_rung_may_have_a_fixed_rate() -> None:
    (rung,) = one(MP4 + "rungs = [{ short_side_px = 720, bitrate_kbps = 2000 }]").rungs
    assert (rung.bitrate_bps, rung.maxrate_bps, rung.bufsize_bits) == (2_000_000, 3_000_000, 6_000_000)
    (rung,) = one(MP4 + "rungs = [{ short_side_px = 720, bitrate_kbps = 2000, maxrate_kbps = 2000, bufsize_kbits = 900 }]").rungs
    assert (rung.bitrate_bps, rung.maxrate_bps, rung.bufsize_bits) == (2_000_000, 2_000_000, 900_000)


@pytest.mark.parametrize("segment_s", [1, 2, 3, 4, 10])
def test_the_first_segment_lasts_a_second_unless_it_is_said(segment_s: int) -> None:
    assert one(CMAF + f"segment_s = {segment_s}").first_segment_s == 1
    assert one(CMAF + f"segment_s = {segment_s}\nfirst_segment_s = {segment_s}").first_segment_s == segment_s


def test_a_preset_may_be_written_as_a_number() -> None:
    assert one(CMAF.replace("h264", "vp9") + "preset = 4").preset == "4"
    assert one(CMAF.replace("h264", "av1") + 'preset = "12"').preset == "12"


@pytest.mark.parametrize("codec", VideoCodec)
def test_a_preset_is_one_of_its_encoder(codec: VideoCodec) -> None:
    for preset in PRESETS[codec]:
        assert one(CMAF.replace("h264", codec) + f'preset = "{preset}"').preset == preset
    told = fault(CMAF.replace("h264", codec) + 'preset = "placebo"')
    assert told == (f"VPROC_PROFILES_FILE: profiles.mine.preset: takes one of {', '.join(PRESETS[codec])} with codec {codec}")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('"h264"', '"vp6"'), "profiles.web.codec: takes 'h264', 'hevc', 'av1', 'vp9' or 'swap'"),
        (('"cmaf"', '"flash"'), "profiles.web.packaging: takes 'cmaf', 'progressive', 'audio', 'pictures' or 'copy'"),
        (('"fast"', '"quick"'), "profiles.web.preset: takes one of ultrafast, superfast"),
        (('"fast"', "8"), "profiles.web.preset: takes one of ultrafast, superfast"),
        (("crf = 22", "crf = 52"), "profiles.web.rungs.0.crf: takes 51 or less with codec h264"),
        (("crf = 22", "crf = -1"), "profiles.web.rungs.0.crf: takes greater than or equal to 0"),
        (("crf = 22", "crf = nan"), "profiles.web.rungs.0.crf: takes a finite number"),
        (("short_side_px = 720", "short_side_px = 721"), "profiles.web.rungs.0.short_side_px: takes a multiple of 2"),
        (("segment_s = 6", "segment_s = 60"), "profiles.web.segment_s: takes less than or equal to 10"),
        (("segment_s = 6", "first_segment_s = 3"), "profiles.web.first_segment_s: takes what segment_s (4) is a multiple of"),
        (("maxrate_kbps = 700", "maxrate = 700"), "profiles.web.rungs.1.maxrate: unknown"),
        ((", maxrate_kbps = 2500", ""), "profiles.web.rungs.0.maxrate_kbps: takes the cap of the rate"),
        (("crf = 22", "bitrate_kbps = 3000"), "profiles.web.rungs.0.maxrate_kbps: takes 3000 (bitrate_kbps) or more"),
        (("crf = 22", "crf = 22, bitrate_kbps = 300"), "profiles.web.rungs.0.crf: takes no bitrate_kbps beside it"),
        (('codec = "h264"\n', ""), "profiles.web.codec: packaging cmaf takes one of h264, hevc, av1, vp9"),
        (('"h264"', '"swap"'), "profiles.web.codec: packaging cmaf takes one of h264, hevc, av1, vp9"),
        (('"cmaf"', '"audio"'), "profiles.web.codec: only taken with packaging cmaf or progressive"),
        (('"cmaf"', '"audio"'), "profiles.web.rungs: only taken with packaging cmaf or progressive"),
        (("short_side_px = 360", "short_side_px = 1080"), "profiles.web.rungs: takes each short_side_px once, the largest first"),
        (("profiles.web", 'profiles."My Web"'), "profiles.My Web: "),
        (("[profiles.web]", "[profile.web]"), "profiles: Field required"),
        (("[profiles.web]", "[profiles.web"), "not TOML"),
    ],
)
def test_a_fault_names_the_field_and_what_it_takes(change: tuple[str, str], fault: str) -> None:
    told = faults(WEB.replace(*change))
    assert fault in told
    assert all(line.startswith("VPROC_PROFILES_FILE: ") for line in told.splitlines())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (CMAF + 'hdr = "keep"', "hdr: takes 'keep' only with codec hevc or av1"),
        (CMAF.replace("h264", "vp9") + 'hdr = "keep"', "hdr: takes 'keep' only with codec hevc or av1"),
        (CMAF.replace("h264", "hevc") + 'hdr = "keep"\nhardware = true', "hardware: takes no hdr = 'keep' beside it"),
        (CMAF.replace("h264", "hevc") + "copy_top_rung = true", "copy_top_rung: takes codec h264"),
        (MP4 + "copy_top_rung = true", "copy_top_rung: only taken with packaging cmaf"),
        (MP4 + "captions = false", "captions: only taken with packaging cmaf"),
        (MP4 + "pictures = true", "pictures: only taken with packaging cmaf or pictures"),
        ('packaging = "copy"\naudio_channels = 2', "audio_channels: only taken with packaging cmaf or progressive or audio"),
        ('packaging = "copy"\nquality = "best"', "quality: only taken with packaging cmaf or progressive"),
        (CMAF + 'quality = "best"\npreset = "slow"', "preset: takes no quality beside it but auto"),
        (CMAF + "target_vmaf = 90", "target_vmaf: takes quality = 'auto' beside it"),
        (CMAF + "audio_channels = 5", "audio_channels: takes 1, 2 or 6"),
        (CMAF + 'measure = "psnr"', "measure: takes 'ssim' or 'vmaf'"),
        (CMAF + 'hdr = "on"', "hdr: takes 'tone-map' or 'keep'"),
        (CMAF + 'quality = "good"', "quality: takes 'fast', 'balanced', 'best' or 'auto'"),
        (
            MP4 + 'quality = "auto"\nrungs = [{ short_side_px = 720, bitrate_kbps = 900 }]',
            "rungs.0.bitrate_kbps: quality auto chooses the rates and takes none",
        ),
        (
            MP4.replace("h264", "swap") + "rungs = [{ short_side_px = 720, maxrate_kbps = 900 }]",
            "rungs: codec swap takes none",
        ),
        ('packaging = "progressive"', "codec: packaging progressive takes one of h264, hevc, av1, vp9, swap"),
        ('packaging = "cmaf"\ncodec = "h264"', "rungs: packaging cmaf takes one at least"),
    ],
)
def test_what_does_not_go_together_is_refused(body: str, told: str) -> None:
    assert f"VPROC_PROFILES_FILE: profiles.mine.{told}" in fault(body)
    assert len(fault(body).splitlines()) == 1


def test_a_preset_goes_with_quality_auto() -> None:
    """The trials choose the rates, the preset how long the encoder takes."""
    assert one(CMAF + 'quality = "auto"\npreset = "slow"').preset == "slow"


def test_all_faults_are_told_at_once() -> None:
    told = faults(WEB.replace("crf = 22", "crf = 99").replace('"fast"', '"quick"') + WEB.replace("web", "other") + "hdr = 'keep'")
    assert [line.split(": ")[1] for line in told.splitlines()] == [
        "profiles.web.preset",
        "profiles.web.rungs.0.crf",
        "profiles.other.hdr",
    ]


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_profiles(WEB + WEB.replace("web", "abr"), taken={"abr", "copy"})
    assert caught.value.faults == ("VPROC_PROFILES_FILE: profiles.abr: the name of a built-in profile; takes another",)


def test_a_fault_is_told_of_the_file_that_it_is_in() -> None:
    with pytest.raises(ConfigError, match=r"^builtin\.toml: profiles.a.packaging: takes"):
        parse_profiles('[profiles.a]\npackaging = "x"', source="builtin.toml")


@given(st.text(max_size=200))
def test_no_file_breaks_the_reader(text: str) -> None:
    try:
        told: object = parse_profiles(text)
    except ConfigError as error:
        told = error.faults
    assert isinstance(told, dict | tuple)
