"""What a job needs of an ffmpeg, and which of several builds does it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.samples import audio, capabilities, media, video
from vproc.core.capabilities import Capabilities
from vproc.core.hardware import HardwareTrial
from vproc.core.media import MediaInfo
from vproc.core.needs import Needs, choose_build, missing, needs_of, needs_of_profile, unavailable
from vproc.core.profile import HdrMode, Packaging, Profile, VideoCodec
from vproc.errors import RejectedError
from vproc.profiles import builtin_profile, builtin_profiles

FILM = media(video(), audio())
AV1 = media(video(codec="av1"), audio(codec="opus"))
SOUND = media(None, audio(codec="mp3"))

OLD = capabilities(version="5.1")
NEW = capabilities(version="8.1", codecs=OLD.codecs - {"av1"})
BARE = capabilities(version="9.0", encoders=OLD.encoders - {"libx265"})


@pytest.mark.parametrize(
    ("info", "profile", "encoders", "decoded"),
    [
        (FILM, "abr", {"libx264", "aac", "mjpeg"}, {"h264", "aac"}),
        (AV1, "mp4", {"libx264", "aac"}, {"av1", "opus"}),
        (AV1, "hevc", {"libx265", "aac"}, {"av1", "opus"}),
        (FILM, "swap", {"libx265", "aac"}, {"h264", "aac"}),
        (AV1, "swap", {"libx264", "aac"}, {"av1", "opus"}),
        (AV1, "audio", {"aac"}, {"opus"}),
        (AV1, "thumbnails", {"mjpeg"}, {"av1"}),
        (AV1, "copy", set(), set()),
        (SOUND, "audio", {"aac"}, {"mp3"}),
    ],
)
def test_a_job_needs_the_encoders_of_its_outputs_and_decoders_of_what_it_decodes(
    info: MediaInfo, profile: str, encoders: set[str], decoded: set[str]
) -> None:
    assert needs_of(info, builtin_profile(profile)) == Needs(profile, frozenset(encoders), frozenset(decoded))


@pytest.mark.parametrize("name", builtin_profiles())
def test_no_source_makes_a_profile_need_an_encoder_that_it_does_not_own_up_to(name: str) -> None:
    profile = builtin_profile(name)
    for info in (FILM, AV1, SOUND):
        assert needs_of(info, profile).encoders <= needs_of_profile(profile).encoders


def test_swap_may_need_either_encoder() -> None:
    assert needs_of_profile(builtin_profile("swap")).encoders == {"libx264", "libx265", "aac"}


@pytest.mark.parametrize(
    ("info", "profile", "builds", "place"),
    [
        (FILM, "abr", [NEW, OLD], 0),
        (AV1, "abr", [NEW, OLD], 1),
        (AV1, "copy", [NEW, OLD], 0),
        (FILM, "hevc", [BARE, NEW, OLD], 1),
        (AV1, "hevc", [BARE, NEW, OLD], 2),
    ],
)
def test_the_first_build_that_does_it_all_is_chosen(
    info: MediaInfo, profile: str, builds: list[Capabilities], place: int
) -> None:
    assert choose_build(needs_of(info, builtin_profile(profile)), builds) == place


def test_a_source_that_nothing_decodes_is_unsupported_media_and_says_what_is_missing() -> None:
    with pytest.raises(RejectedError) as caught:
        choose_build(needs_of(AV1, builtin_profile("abr")), [NEW])
    assert caught.value.code == "unsupported_media"
    assert caught.value.detail == "reading this file takes a decoder of av1, which the ffmpeg of this daemon (8.1) lacks"


def test_an_encoder_that_nothing_has_is_named_with_the_profile() -> None:
    with pytest.raises(RejectedError) as caught:
        choose_build(needs_of(AV1, builtin_profile("hevc")), [BARE, replace(BARE, version="8.0")])
    assert caught.value.code == "unsupported_profile"
    assert caught.value.detail == (
        "the profile hevc takes the encoder libx265, which the ffmpeg of this daemon (9.0 and 8.0) lacks"
    )


def test_encoders_are_of_use_only_in_one_build() -> None:
    """What one build has and another lacks does not add up: a job is one command line."""
    needs = Needs("web", frozenset({"libx265", "libsvtav1"}))
    without = capabilities(encoders=OLD.encoders - {"libsvtav1"})
    assert unavailable(needs, [BARE, without]) == ("the encoder libx265",)
    assert unavailable(needs, [BARE, OLD]) == ()
    assert missing(needs, without) == ("the encoder libsvtav1",)


def test_two_builds_that_each_do_half_refuse_with_what_the_newest_lacks() -> None:
    """One decodes and does not encode, the other encodes and does not decode."""
    with pytest.raises(RejectedError, match="a decoder of av1"):
        choose_build(needs_of(AV1, builtin_profile("hevc")), [NEW, replace(BARE)])


# --- ten bits and hardware -------------------------------------------------------------------------------------------

HDR = Profile("hdr", Packaging.PROGRESSIVE, VideoCodec.HEVC, hdr=HdrMode.KEEP)
FAST = Profile("fast", Packaging.PROGRESSIVE, VideoCodec.H264, hardware=True)


def test_a_profile_that_keeps_hdr_takes_an_encoder_of_ten_bits() -> None:
    eight = capabilities(version="8.1", ten_bit=frozenset({"libx264"}))
    needs = needs_of(replace(FILM, video=video(color_transfer="smpte2084")), HDR)
    assert needs.ten_bit == {"libx265"} == needs_of_profile(HDR).ten_bit
    assert needs_of(FILM, HDR).ten_bit == set()
    assert missing(needs, eight) == ("the encoder libx265 of ten bits",)
    assert choose_build(needs, [eight, OLD]) == 1
    assert choose_build(needs_of(FILM, builtin_profile("hevc")), [eight, OLD]) == 0
    with pytest.raises(RejectedError, match="takes the encoder libx265 of ten bits") as caught:
        choose_build(needs, [eight])
    assert caught.value.code == "unsupported_profile"


def test_an_encoder_that_is_not_there_lacks_no_bits() -> None:
    assert missing(needs_of(FILM, HDR), BARE) == ("the encoder libx265",)


@pytest.mark.parametrize(
    ("worked", "place"),
    [((False, False), 0), ((False, True), 1), ((True, True), 0)],
    ids=["nowhere", "with-the-older", "with-both"],
)
def test_a_build_whose_hardware_works_is_preferred_where_the_profile_asks(worked: tuple[bool, bool], place: int) -> None:
    """One that none has is no failure: software is the fallback."""
    builds = [replace(OLD, trials=(HardwareTrial("h264_vaapi", works),)) for works in worked]
    assert choose_build(needs_of(FILM, FAST), builds) == place
    assert choose_build(needs_of(FILM, builtin_profile("h264")), builds) == 0


def test_hardware_is_wanted_for_what_is_encoded() -> None:
    assert needs_of(FILM, FAST).hardware == needs_of_profile(FAST).hardware == "h264"
    assert needs_of(SOUND, replace(FAST, packaging=Packaging.AUDIO, codec=None)).hardware is None
