"""The profiles that come with vproc, as values: what the contract says of them, and what each is for."""

from __future__ import annotations

from importlib import resources

import pytest

from vproc.core.profile import HdrMode, Packaging, Profile, Quality, VideoCodec
from vproc.core.profile_file import parse_profiles
from vproc.errors import RejectedError
from vproc.profiles import FILE, builtin_profile, builtin_profiles

TEXT = resources.files("vproc.profiles").joinpath(FILE).read_text(encoding="utf-8")


def test_all_the_documented_profiles_are_there() -> None:
    assert list(builtin_profiles()) == [
        *("abr", "mp4", "h264", "hevc", "swap", "audio", "thumbnails", "copy"),
        *("av1", "hdr", "auto"),
    ]
    assert all(builtin_profile(name).name == name for name in builtin_profiles())


def test_they_are_read_once_and_nobody_changes_them() -> None:
    assert builtin_profiles() is builtin_profiles()
    with pytest.raises(TypeError):
        builtin_profiles()["abr"] = Profile("abr", Packaging.COPY)  # type: ignore[index]


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(RejectedError, match="'web'; there are: abr, mp4, h264, hevc"):
        builtin_profile("web")


def test_only_what_shows_a_picture_of_it_makes_pictures() -> None:
    pictured = [name for name, profile in builtin_profiles().items() if profile.pictures]
    assert pictured == ["abr", "thumbnails", "av1", "hdr", "auto"]


@pytest.mark.parametrize("name", ["abr", "mp4"])
def test_the_ladder_is_1080_720_360_capped(name: str) -> None:
    rungs = builtin_profile(name).rungs
    assert [rung.short_side_px for rung in rungs] == [1080, 720, 360]
    assert [rung.maxrate_bps for rung in rungs] == [5_000_000, 2_800_000, 800_000]
    assert all(rung.bufsize_bits == 2 * rung.maxrate_bps and rung.crf == 23 for rung in rungs)


def test_each_way_of_packaging_has_a_profile() -> None:
    assert {profile.packaging for profile in builtin_profiles().values()} == set(Packaging)


def test_no_rung_has_a_fixed_rate() -> None:
    """Constant quality under a cap, whatever the codec."""
    assert not [rung for profile in builtin_profiles().values() for rung in profile.rungs if rung.bitrate_bps is not None]


def test_swap_alone_decides_by_its_source() -> None:
    assert [name for name, profile in builtin_profiles().items() if profile.swap] == ["swap"]


def test_av1_is_the_ladder_of_abr_for_fewer_bytes() -> None:
    av1, abr = builtin_profile("av1"), builtin_profile("abr")
    assert (av1.codec, av1.packaging, av1.copy_top_rung) == (VideoCodec.AV1, Packaging.CMAF, False)
    assert [rung.short_side_px for rung in av1.rungs] == [rung.short_side_px for rung in abr.rungs]
    assert all(new.maxrate_bps < 0.6 * old.maxrate_bps for new, old in zip(av1.rungs, abr.rungs, strict=True))


def test_hdr_alone_keeps_the_range_up_to_4k() -> None:
    assert [name for name, profile in builtin_profiles().items() if profile.hdr is HdrMode.KEEP] == ["hdr"]
    assert builtin_profile("hdr").codec is VideoCodec.HEVC
    assert builtin_profile("hdr").rungs[0].short_side_px == 2160


def test_auto_leaves_room_above_the_caps_of_abr() -> None:
    """A hard source may need more than the fixed ladder gives to reach the target."""
    auto, abr = builtin_profile("auto"), builtin_profile("abr")
    assert (auto.quality, auto.target_vmaf) == (Quality.AUTO, 93)
    assert [name for name, profile in builtin_profiles().items() if profile.quality is Quality.AUTO] == ["auto"]
    assert all(new.maxrate_bps > old.maxrate_bps for new, old in zip(auto.rungs, abr.rungs, strict=True))


def test_a_user_may_write_each_of_them() -> None:
    """Nothing of the built-in profiles is out of a user's reach: the same file, the same rules."""
    assert parse_profiles(TEXT) == dict(builtin_profiles())
