"""The user's own profiles: what a file may say, and what is said of one that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.profile import BUILTIN_PROFILES, Packaging, Profile, RungSpec, VideoCodec
from vproc.core.profile_file import parse_profiles
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


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_profiles(text)
    return "\n".join(caught.value.faults)


def test_every_field_arrives_in_the_profile() -> None:
    assert parse_profiles(WEB) == {
        "web": Profile(
            "web",
            Packaging.CMAF,
            VideoCodec.H264,
            rungs=(RungSpec(720, 22, 2_500_000, 3_000_000), RungSpec(360, 23, 700_000, 1_400_000)),
            pictures=True,
            preset="fast",
            audio_bitrate_bps=96_000,
            segment_s=6,
        )
    }


@pytest.mark.parametrize(
    ("body", "pictures"),
    [
        ('packaging = "progressive"\ncodec = "hevc"', False),
        ('packaging = "audio"', False),
        ('packaging = "copy"', False),
        ('packaging = "pictures"', True),
    ],
)
def test_a_profile_may_be_one_line(body: str, pictures: bool) -> None:
    (profile,) = parse_profiles(f"[profiles.mine]\n{body}").values()
    assert (profile.name, profile.pictures, profile.rungs) == ("mine", pictures, ())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('"h264"', '"vp6"'), "profiles.web.codec: takes 'h264', 'hevc', 'av1' or 'vp9'"),
        (('"cmaf"', '"flash"'), "profiles.web.packaging: takes 'cmaf', 'progressive', 'audio', 'pictures' or 'copy'"),
        (('"fast"', '"quick"'), "profiles.web.preset: takes 'ultrafast'"),
        (("crf = 22", "crf = 99"), "profiles.web.rungs.0.crf: takes less than or equal to 51"),
        (("short_side_px = 720", "short_side_px = 721"), "profiles.web.rungs.0.short_side_px: takes a multiple of 2"),
        (("segment_s = 6", "segment_s = 60"), "profiles.web.segment_s"),
        (("maxrate_kbps = 700", "maxrate = 700"), "profiles.web.rungs.1.maxrate: unknown"),
        (("maxrate_kbps = 700", "maxrate = 700"), "profiles.web.rungs.1.maxrate_kbps: Field required"),
        (('codec = "h264"\n', ""), "codec: packaging cmaf takes one of h264, hevc"),
        (('"cmaf"', '"audio"'), "packaging audio encodes no picture"),
        (("short_side_px = 360", "short_side_px = 1080"), "the largest first"),
        (("profiles.web", "profiles.abr"), "profiles.abr: the name of a built-in profile"),
        (("profiles.web", 'profiles."My Web"'), "My Web"),
        (("[profiles.web]", "[profile.web]"), "profiles: Field required"),
        (("[profiles.web]", "[profiles.web"), "not TOML"),
    ],
)
def test_a_fault_names_the_field_and_what_it_takes(change: tuple[str, str], fault: str) -> None:
    told = faults(WEB.replace(*change))
    assert fault in told
    assert all(line.startswith("VPROC_PROFILES_FILE: ") for line in told.splitlines())


def test_all_faults_are_told_at_once() -> None:
    assert len(faults(WEB.replace("crf = 22", "crf = 99").replace('"fast"', '"quick"')).splitlines()) == 2


def test_rungs_are_needed_where_a_player_chooses_between_them() -> None:
    assert "rungs: packaging cmaf takes one at least" in faults('[profiles.a]\npackaging = "cmaf"\ncodec = "h264"')


def test_pictures_are_asked_for_where_there_can_be_some() -> None:
    assert "pictures: only packaging" in faults('[profiles.a]\npackaging = "copy"\npictures = true')


def test_the_built_in_ladder_can_be_written_as_a_file() -> None:
    """Nothing of the built-in profiles is out of a user's reach."""
    rungs = ", ".join(
        f"{{ short_side_px = {rung.short_side_px}, crf = {rung.crf}, maxrate_kbps = {rung.maxrate_bps // 1000} }}"
        for rung in BUILTIN_PROFILES["abr"].rungs
    )
    (mine,) = parse_profiles(f'[profiles.mine]\npackaging = "cmaf"\ncodec = "h264"\nrungs = [{rungs}]').values()
    assert (mine.rungs, mine.pictures) == (BUILTIN_PROFILES["abr"].rungs, True)


@given(st.text(max_size=200))
def test_no_file_breaks_the_reader(text: str) -> None:
    try:
        told: object = parse_profiles(text)
    except ConfigError as error:
        told = error.faults
    assert isinstance(told, dict | tuple)
