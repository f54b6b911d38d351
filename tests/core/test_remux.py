"""Which container keeps a source's streams as they are."""

from __future__ import annotations

import pytest

from tests.support.samples import audio, media, video
from vproc.core.remux import choose_container
from vproc.errors import RejectedError


@pytest.mark.parametrize(
    ("codecs", "suffix"),
    [
        (("h264", "aac"), ".mp4"),
        (("hevc",), ".mp4"),
        (("av1", "opus"), ".mp4"),
        (("mpeg4", "mp3", "ac3"), ".mp4"),
        (("vp9", "vorbis"), ".webm"),
        (("vp8", "opus"), ".webm"),
        (("h264", "vorbis"), ".mkv"),
        (("mpeg2video", "mp2"), ".mkv"),
        (("prores", "pcm_s16le"), ".mkv"),
    ],
)
def test_mp4_before_webm_before_matroska(codecs: tuple[str, ...], suffix: str) -> None:
    tracks = [audio(number + 1, codec=codec) for number, codec in enumerate(codecs[1:])]
    assert choose_container(media(video(codec=codecs[0]), *tracks)).suffix == suffix


def test_sound_alone_is_kept_too() -> None:
    assert choose_container(media(None, audio(codec="flac"))).suffix == ".mp4"
    assert choose_container(media(None, audio(codec="pcm_s24le"))).suffix == ".mkv"


def test_what_no_container_takes_is_refused_by_name() -> None:
    with pytest.raises(RejectedError, match=r"profile copy .* no container takes dvvideo, nellymoser") as caught:
        choose_container(media(video(codec="dvvideo"), audio(codec="aac"), audio(2, codec="nellymoser")))
    assert caught.value.code == "unsupported_media"
