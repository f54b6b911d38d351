"""What a job is thought to take, by its source and its profile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.samples import audio, media, video
from vproc.core.cost import Cost, cost_of
from vproc.core.encoders import PRESETS
from vproc.core.hardware import HardwareTrial
from vproc.core.ladder import rungs
from vproc.core.media import MediaInfo
from vproc.core.memory import MIB, pictures_of
from vproc.core.plan import decide
from vproc.core.profile import Profile, Quality, VideoCodec
from vproc.profiles import builtin_profile

HD = media(video(1920, 1080), audio())
SMALL = media(video(640, 360), audio())
SOUND = media(None, audio(0))


def cost(info: MediaInfo, profile: Profile | str, *, processors: int = 8, **changes: Any) -> Cost:
    made_by = builtin_profile(profile) if isinstance(profile, str) else profile
    encode = decide(info, replace(made_by, **changes), trials=TRIALS if changes.get("hardware") else ())
    pictures = None
    if encode.video is not None and (encode.encoded or encode.poster_px):
        pictures = pictures_of(encode.video.width, encode.video.height, 8, encode.encoded, encoder=encode.encoder, deep=False)
    return cost_of(encode, info, pictures, threads=None, processors=processors)


TRIALS = (HardwareTrial("h264_nvenc", works=True),)


def lasting(info: MediaInfo, seconds: float) -> MediaInfo:
    """The same source, so long."""
    picture = replace(info.video, end_s=seconds) if info.video else None
    return replace(info, video=picture, audio=tuple(replace(track, end_s=seconds) for track in info.audio), duration_s=seconds)


# --- cores -----------------------------------------------------------------------------------------------------------


def test_a_large_picture_in_several_rungs_keeps_more_cores_busy_than_a_small_one() -> None:
    ladder, alone, small = cost(HD, "abr").cores, cost(HD, "h264").cores, cost(SMALL, "abr").cores
    assert 7 <= ladder <= 9
    assert 4 <= alone < ladder
    assert 2 <= small < alone


def test_two_cores_have_room_for_no_more_than_one_encode() -> None:
    """A picture of 270 rows and more keeps both busy, as was measured: half of what it could use is more than one."""
    assert cost(SMALL, "h264").cores >= 2


@pytest.mark.parametrize(("info", "profile"), [(SOUND, "audio"), (HD, "audio"), (HD, "copy"), (SOUND, "copy")])
def test_sound_and_copies_take_a_core(info: MediaInfo, profile: str) -> None:
    assert cost(info, profile).cores == 1


def test_pictures_alone_are_decoded_by_some() -> None:
    assert 1 < cost(HD, "thumbnails").cores < cost(HD, "h264").cores


def test_hardware_leaves_the_cores_alone() -> None:
    hardware = cost(HD, "h264", hardware=True)
    assert hardware.cores < 2
    assert hardware.work_s < cost(HD, "h264").work_s


# --- memory ----------------------------------------------------------------------------------------------------------


def test_memory_is_what_was_measured_and_not_what_is_allowed() -> None:
    """Figures of docs/decisions/0021-memory-of-a-child.md, in MiB: two cores, resident."""
    measured = [
        ((640, 360), "abr", None, 97), ((1920, 1080), "abr", None, 477), ((1920, 1080), "abr", 16, 995),
        ((1920, 1080), "abr", 64, 2292), ((4096, 2160), "abr", None, 578), ((8192, 4320), "abr", None, 1154),
        ((8192, 4320), "abr", 16, 2678), ((8192, 4320), "h264", None, 4050), ((8192, 4320), "hevc", None, 5230),
        ((1920, 1080), "av1", None, 958),
    ]  # fmt: skip
    encoders = {"hevc": ("hevc", "libx265"), "av1": ("av1", "libsvtav1")}
    for (width, height), name, threads, resident in measured:
        codec, encoder = encoders.get(name, ("h264", "libx264"))
        ladder = rungs(width, height, builtin_profile(name), codec=VideoCodec(codec))
        pictures = pictures_of(width, height, 8, ladder, encoder=encoder, deep=False)
        expected = pictures.expected_bytes(threads=threads, cores=2) / MIB
        allowed = (pictures.memory(threads=threads, cores=2).data_bytes or 0) / MIB
        assert resident <= expected <= 1.6 * resident, (width, height, name, threads)
        assert expected < allowed


def test_what_decodes_no_picture_holds_little() -> None:
    assert cost(HD, "copy").memory_bytes == cost(SOUND, "audio").memory_bytes == 128 * MIB


# --- work ------------------------------------------------------------------------------------------------------------


def test_work_grows_with_duration_pictures_and_rungs() -> None:
    assert cost(lasting(HD, 3600), "abr").work_s > 100 * cost(HD, "abr").work_s
    assert cost(HD, "abr").work_s > cost(HD, "h264").work_s > cost(SMALL, "h264").work_s


def test_a_clip_is_much_smaller_than_a_film_and_not_than_another_clip() -> None:
    film, clip, sound = cost(lasting(HD, 5400), "abr"), cost(HD, "abr"), cost(lasting(SOUND, 300), "audio")
    assert clip.work_s * 8 < film.work_s
    assert sound.work_s * 8 < film.work_s
    assert clip.work_s < 8 * cost(SMALL, "abr").work_s * 8


@pytest.mark.parametrize("quality", [Quality.FAST, Quality.BALANCED, Quality.BEST])
def test_other_codecs_are_no_less_work_than_h264(quality: Quality) -> None:
    plain = cost(HD, "h264", quality=quality).work_s
    for codec in (VideoCodec.HEVC, VideoCodec.AV1, VideoCodec.VP9):
        assert cost(HD, "h264", quality=quality, codec=codec).work_s >= plain


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_every_preset_has_its_weight_and_the_better_ones_are_more_work(codec: VideoCodec) -> None:
    works = [cost(lasting(HD, 600), "h264", codec=codec, preset=preset).work_s for preset in PRESETS[codec]]
    slower = works if codec in {VideoCodec.H264, VideoCodec.HEVC} else works[::-1]
    assert slower == sorted(slower)
    assert slower[-1] > 5 * slower[0]


def test_trials_count_as_the_encode_does() -> None:
    assert cost(lasting(HD, 600), "h264", quality=Quality.AUTO).work_s > 1.5 * cost(lasting(HD, 600), "h264").work_s


def test_a_source_that_does_not_tell_its_duration_is_judged_by_its_size() -> None:
    nameless = replace(lasting(HD, 0.0), duration_s=None, size_bytes=10**9)
    assert cost(nameless, "abr").work_s > cost(lasting(HD, 1800), "abr").work_s


def test_a_copy_is_as_much_work_as_it_has_bytes() -> None:
    assert cost(replace(HD, size_bytes=10**10), "copy").work_s == pytest.approx(101)
    assert cost(SOUND, "audio").work_s >= 1
