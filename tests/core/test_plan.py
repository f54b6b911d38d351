"""What is made of a source, and what each file must turn out to be."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import audio, media, video
from vproc.core.container import Container
from vproc.core.media import DolbyVision, MediaInfo
from vproc.core.plan import OutputKind, PlannedOutput, decide, declared_s, estimated_bytes, outputs_of, target_codec
from vproc.core.profile import HdrMode, Profile, VideoCodec
from vproc.errors import RejectedError
from vproc.profiles import builtin_profile, builtin_profiles

OUT = Path("/scratch/out")
HD = media(video(), audio())


def outputs(profile: str, info: MediaInfo = HD) -> dict[str, PlannedOutput]:
    encode = decide(info, builtin_profile(profile))
    return {output.rendition: output for output in outputs_of(encode, info, OUT)}


@pytest.mark.parametrize(
    ("profile", "renditions", "target"),
    [
        ("abr", ["v1080", "v720", "v360", "audio", "poster", "sprite"], "h264"),
        ("mp4", ["v1080", "v720", "v360"], "h264"),
        ("h264", ["v1080"], "h264"),
        ("hevc", ["v1080"], "hevc"),
        ("swap", ["v1080"], "hevc"),
        ("audio", ["audio"], "aac"),
        ("thumbnails", ["poster", "sprite"], None),
        ("copy", ["copy"], "h264"),
    ],
)
def test_each_profile_gives_its_outputs_in_their_order(profile: str, renditions: list[str], target: str | None) -> None:
    assert list(outputs(profile)) == renditions
    assert target_codec(decide(HD, builtin_profile(profile)), HD) == target


def test_swap_makes_h264_of_all_but_h264() -> None:
    found = outputs("swap", media(video(codec="vp9"), audio()))
    assert found["v1080"].codec == "h264"


@pytest.mark.parametrize("profile", ["abr", "mp4", "h264", "hevc", "swap", "thumbnails"])
def test_a_profile_of_pictures_refuses_sound_alone(profile: str) -> None:
    with pytest.raises(RejectedError, match=f"profile {profile} takes a video stream") as caught:
        decide(media(None, audio()), builtin_profile(profile))
    assert caught.value.code == "unsupported_media"


DOLBY_5 = media(video(codec="hevc", dolby_vision=DolbyVision(5, 0)), audio())


@pytest.mark.parametrize("profile", ["abr", "mp4", "h264", "hevc", "swap", "thumbnails"])
def test_dolby_vision_without_a_compatible_base_layer_is_refused_in_words(profile: str) -> None:
    with pytest.raises(RejectedError, match="no compatible base layer") as caught:
        decide(DOLBY_5, builtin_profile(profile))
    assert caught.value.code == "unsupported_media"


@pytest.mark.parametrize("profile", ["audio", "copy"])
def test_what_shows_no_picture_takes_any_dolby_vision(profile: str) -> None:
    assert decide(DOLBY_5, builtin_profile(profile)).rungs == ()


PQ = media(video(color_transfer="smpte2084", color_primaries="bt2020", color_space="bt2020nc"), audio())


@pytest.mark.parametrize(
    ("profile", "ranges"),
    [
        (builtin_profile("abr"), {"SDR"}),
        (replace(builtin_profile("abr"), codec=VideoCodec.HEVC, hdr=HdrMode.KEEP), {"PQ"}),
        (replace(builtin_profile("mp4"), codec=VideoCodec.AV1, hdr=HdrMode.KEEP), {"PQ"}),
        (replace(builtin_profile("abr"), codec=VideoCodec.VP9, hdr=HdrMode.KEEP), {"SDR"}),
        (replace(builtin_profile("abr"), hdr=HdrMode.KEEP), {"SDR"}),
        (builtin_profile("copy"), {"PQ"}),
    ],
    ids=["abr", "kept-hevc", "kept-av1", "vp9", "h264", "copy"],
)
def test_each_rungs_range_is_told(profile: Profile, ranges: set[str]) -> None:
    found = outputs_of(decide(PQ, profile), PQ, OUT)
    assert {output.video_range for output in found if output.width is not None and output.is_media} == ranges
    assert all(output.video_range == "SDR" for output in found if not output.is_media)


def test_only_what_shows_pictures_has_a_tone_map() -> None:
    mapped = {name for name, profile in builtin_profiles().items() if decide(PQ, profile).tone_map is not None}
    assert mapped == {"abr", "mp4", "h264", "hevc", "swap", "thumbnails", "av1", "hdr", "auto"}
    assert all(decide(HD, profile).tone_map is None for profile in builtin_profiles().values())


def test_a_profile_of_sound_refuses_a_silent_film() -> None:
    with pytest.raises(RejectedError, match="profile audio takes a sound track"):
        decide(media(video()), builtin_profile("audio"))


def test_a_silent_film_has_no_sound_output() -> None:
    silent = media(video())
    assert "audio" not in outputs("abr", silent)
    assert outputs("mp4", silent)["v720"].audio_codec is None


def test_every_file_is_in_the_directory_under_its_own_name() -> None:
    for profile in builtin_profiles():
        paths = [path for output in outputs(profile).values() for path in output.paths]
        assert all(path.parent == OUT for path in paths)
        assert len(paths) == len(set(paths))


def test_tracks_of_their_own_have_the_length_of_their_own_stream() -> None:
    info = media(video(end_s=8.0), audio(end_s=9.5))
    found = outputs("abr", info)
    assert (found["v720"].duration_s, found["audio"].duration_s) == (8.0, 9.5)
    assert outputs("mp4", info)["v720"].duration_s == 9.5
    assert outputs("copy", info)["copy"].duration_s == 9.5


def test_a_stream_whose_end_nobody_tells_promises_no_length() -> None:
    untold = media(video(end_s=None), audio(end_s=None))
    assert outputs("abr", untold)["v720"].duration_s is None
    assert outputs("mp4", untold)["v720"].duration_s is None
    assert outputs("abr", media(video(end_s=None)))["v720"].duration_s == 10.0
    guessed = replace(HD, container=Container.MPEG)
    assert outputs("abr", guessed)["v720"].duration_s is None


LONGER_SOUND = media(video(end_s=6.0), audio(end_s=8.0), audio(2, default=False, end_s=9.0), duration_s=20.0)


@pytest.mark.parametrize(("profile", "seconds"), [("abr", 9.0), ("mp4", 9.0), ("audio", 8.0), ("thumbnails", 6.0), ("copy", 9.0)])
def test_what_is_declared_is_the_longest_of_the_streams_that_are_used(profile: str, seconds: float) -> None:
    """Subtitles, a second film or a track of data may go on longer than anything that is made of the file."""
    assert declared_s(decide(LONGER_SOUND, builtin_profile(profile)), LONGER_SOUND) == seconds


@pytest.mark.parametrize("profile", ["abr", "audio", "thumbnails", "copy"])
def test_a_stream_whose_end_nobody_tells_lasts_as_long_as_the_file(profile: str) -> None:
    flv = replace(HD, container=Container.FLV, video=video(end_s=None), audio=(audio(end_s=None),))
    assert declared_s(decide(flv, builtin_profile(profile)), flv) == 10.0
    untold = replace(flv, duration_s=None)
    assert declared_s(decide(untold, builtin_profile(profile)), untold) is None
    guessed = replace(HD, container=Container.MPEG)
    assert declared_s(decide(guessed, builtin_profile(profile)), guessed) is None


def test_the_poster_has_720_lines_at_most_and_the_sheets_their_size() -> None:
    found = outputs("abr", media(video(3840, 2160)))
    assert (found["poster"].width, found["poster"].height) == (1280, 720)
    assert (found["sprite"].width, found["sprite"].height) == (800, 450)
    assert outputs("abr", media(video(240, 320)))["poster"].width == 240


@pytest.mark.parametrize(("duration_s", "at_s"), [(0.04, 0.01), (4.0, 1.0), (12.0, 3.0), (7200.0, 3.0), (None, 3.0)])
def test_the_poster_is_near_three_seconds_or_a_quarter(duration_s: float | None, at_s: float) -> None:
    info = media(video(end_s=duration_s), duration_s=duration_s)
    assert decide(info, builtin_profile("abr")).poster_at_s == at_s


def test_a_long_film_gives_several_sheets() -> None:
    sheets = outputs("thumbnails", media(video(end_s=60.0), duration_s=60.0))["sprite"].paths
    assert [sheet.name for sheet in sheets] == ["sprite-001.jpg", "sprite-002.jpg", "sprite-003.jpg"]


@pytest.mark.parametrize(
    ("profile", "duration_s", "only"), [("thumbnails", 599.0, False), ("thumbnails", 600.0, True), ("abr", 9000.0, False)]
)
def test_only_pictures_of_a_long_film_skip_to_its_intra_frames(profile: str, duration_s: float, only: bool) -> None:
    info = media(video(end_s=duration_s), duration_s=duration_s)
    assert decide(info, builtin_profile(profile)).keyframes_only is only


MANY = media(video(), *(audio(number, default=number == 3, end_s=float(number)) for number in range(1, 13)))


def test_every_sound_is_a_rendition_of_its_own_the_main_one_first_and_eight_at_most() -> None:
    found = outputs("abr", MANY)
    sounds = {name: [track.index for track in output.sounds] for name, output in found.items() if output.sounds}
    assert sounds == {
        "audio": [3], "audio-2": [1], "audio-3": [2], "audio-4": [4], "audio-5": [5], "audio-6": [6], "audio-7": [7],
        "audio-8": [8],
    }  # fmt: skip
    assert [found[name].duration_s for name in ("audio", "audio-2", "audio-8")] == [3.0, 1.0, 8.0]


@pytest.mark.parametrize(
    ("profile", "wanted"), [("mp4", [3, 1, 2, 4, 5, 6, 7, 8]), ("audio", [3]), ("thumbnails", []), ("copy", list(range(1, 13)))]
)
def test_the_other_profiles_take_all_sounds_or_the_main_one(profile: str, wanted: list[int]) -> None:
    assert [track.index for track in decide(MANY, builtin_profile(profile)).audio] == wanted


def test_every_track_counts_in_what_is_expected_to_be_written() -> None:
    one, two = (media(video(), *(audio(number) for number in range(1, count + 1))) for count in (1, 2))
    one_bytes, two_bytes = (estimated_bytes(decide(info, builtin_profile("audio")), info) for info in (one, two))
    assert one_bytes == two_bytes
    one_bytes, two_bytes = (estimated_bytes(decide(info, builtin_profile("abr")), info) for info in (one, two))
    assert two_bytes - one_bytes == pytest.approx(128_000 / 8 * 10 * 1.1, abs=1)


def test_pictures_take_no_sound() -> None:
    assert decide(HD, builtin_profile("thumbnails")).audio == ()


def test_the_rate_is_the_sources() -> None:
    assert decide(media(video(fps=Fraction(25), base_fps=Fraction(25))), builtin_profile("abr")).fps == 25


def test_the_estimate_is_the_caps_and_the_copys_is_the_source() -> None:
    def estimate(profile: str, info: MediaInfo = HD) -> int:
        return estimated_bytes(decide(info, builtin_profile(profile)), info)

    assert estimate("h264") == round((5_000_000 + 128_000) / 8 * 10 * 1.1)
    assert estimate("mp4") == round((8_600_000 + 3 * 128_000) / 8 * 10 * 1.1)
    thumbs = 11 * 160 * 90 * 3 // 2
    assert estimate("abr") == round((8_600_000 + 128_000) / 8 * 10 * 1.1) + 2 * 2_000_000 + thumbs
    assert estimate("copy") == round(5_000_000 * 1.1)
    assert estimate("h264", media(video(), duration_s=None)) == 15_000_000


@given(
    st.integers(16, 8192),
    st.integers(16, 4320),
    st.none() | st.floats(0.001, 20_000),
    st.sampled_from(sorted(builtin_profiles())),
)
def test_any_film_gives_outputs_of_every_profile(width: int, height: int, duration_s: float | None, profile: str) -> None:
    info = media(video(width, height, end_s=duration_s), audio(end_s=None), duration_s=duration_s)
    found = outputs(profile, info)
    assert found
    assert all((output.width is None) == (output.kind in {OutputKind.CMAF_AUDIO, OutputKind.AUDIO}) for output in found.values())
    assert estimated_bytes(decide(info, builtin_profile(profile)), info) > 0
