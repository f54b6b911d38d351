"""The built-in profiles."""

from __future__ import annotations

import pytest

from vproc.core.profile import BUILTIN_PROFILES, Packaging, VideoCodec, get_profile, source_size_rung
from vproc.errors import RejectedError


def test_all_the_documented_profiles_are_there() -> None:
    assert set(BUILTIN_PROFILES) == {"abr", "mp4", "h264", "hevc", "swap", "audio", "thumbnails", "copy"}
    assert all(get_profile(name).name == name for name in BUILTIN_PROFILES)


def test_only_what_shows_a_picture_of_it_makes_pictures() -> None:
    assert [name for name, profile in BUILTIN_PROFILES.items() if profile.pictures] == ["abr", "thumbnails"]


@pytest.mark.parametrize("name", ["abr", "mp4"])
def test_the_ladder_is_1080_720_360_capped(name: str) -> None:
    rungs = get_profile(name).rungs
    assert [rung.short_side_px for rung in rungs] == [1080, 720, 360]
    assert [rung.maxrate_bps for rung in rungs] == [5_000_000, 2_800_000, 800_000]
    assert all(rung.bufsize_bits == 2 * rung.maxrate_bps and rung.crf == 23 for rung in rungs)


def test_an_unknown_profile_is_refused_with_those_there_are() -> None:
    with pytest.raises(RejectedError, match="'web'; there are: abr, audio, copy") as caught:
        get_profile("web")
    assert caught.value.code == "unknown_profile"


def test_an_unknown_name_is_shown_no_longer_than_needed() -> None:
    with pytest.raises(RejectedError) as caught:
        get_profile("x" * 10_000)
    assert len(caught.value.detail) < 250


@pytest.mark.parametrize(("side", "kbps"), [(4320, 16000), (2160, 16000), (1440, 9000), (1080, 5000), (719, 1400), (100, 800)])
def test_a_single_file_is_capped_by_its_size(side: int, kbps: int) -> None:
    assert source_size_rung(side, VideoCodec.H264).maxrate_bps == kbps * 1000
    assert source_size_rung(side, VideoCodec.HEVC).maxrate_bps < kbps * 1000


def test_each_way_of_packaging_has_a_profile() -> None:
    assert {profile.packaging for profile in BUILTIN_PROFILES.values()} == set(Packaging)
