"""Limits on what is taken, and which stream counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.samples import LIMITS, audio, media, video
from vproc.core.container import Container
from vproc.core.media import MediaLimits, check_limits
from vproc.errors import RejectedError


def test_what_is_within_the_limits_passes() -> None:
    assert check_limits(media(video(), audio()), LIMITS) is None
    assert check_limits(media(video(), duration_s=None), LIMITS) is None
    assert check_limits(media(None, audio()), MediaLimits(10, 1)) is None


@pytest.mark.parametrize(
    ("info", "code", "numbers"),
    [
        (media(video(), duration_s=11.0), "too_large", ("11 s", "10 s")),
        (media(video(4000, 3000)), "too_large", ("12000000 pixels", "4000x3000", "at most 9000000")),
        (media(video(20000, 400)), "too_large", ("20000", "16384")),
        (media(video(640, 8)), "unsupported_media", ("640x8", "at least 16")),
        (media(video(320, 240, display_width=8)), "unsupported_media", ("8x240", "at least 16")),
    ],
)
def test_a_file_over_a_limit_is_refused_with_both_numbers(info: object, code: str, numbers: tuple[str, ...]) -> None:
    with pytest.raises(RejectedError) as caught:
        check_limits(info, MediaLimits(max_duration_s=10, max_pixels=9_000_000))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert all(number in caught.value.detail for number in numbers)


def test_the_main_sound_is_the_default_track_else_the_first() -> None:
    assert media(video(), audio(2), audio(1)).main_audio == audio(1)
    assert media(video(), audio(2), audio(3)).main_audio == audio(2)
    assert media(video()).main_audio is None


def test_the_codec_of_a_file_is_its_videos_else_its_sounds() -> None:
    assert media(video(codec="vp9"), audio()).codec == "vp9"
    assert media(None, audio(codec="mp3")).codec == "mp3"
    assert media().codec is None


@pytest.mark.parametrize(
    ("order", "interlaced"), [("tt", True), ("bt", True), ("progressive", False), ("unknown", False), (None, False)]
)
def test_the_field_order_says_whether_it_is_interlaced(order: str | None, interlaced: bool) -> None:
    assert video(field_order=order).interlaced is interlaced


def test_a_duration_guessed_from_the_bitrate_is_no_promise() -> None:
    assert media(video()).declares_duration
    assert not media(video(), duration_s=None).declares_duration
    assert not replace(media(None, audio()), container=Container.AAC).declares_duration
