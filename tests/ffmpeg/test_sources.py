"""Every kind of source through the real ffprobe: what it is taken for, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.media import LIMITS, clip, probe, truncated
from tests.support.tools import in_use
from vproc.core.container import Container, sniff
from vproc.core.media import check_limits
from vproc.core.probe import ffprobe_argv
from vproc.errors import RejectedError


@pytest.mark.parametrize(
    ("name", "container", "video", "audio"),
    [
        ("main.mp4", "mov", "h264", "aac"),
        ("moov-last.mov", "mov", "h264", "aac"),
        ("hevc10.mp4", "mov", "hevc", "aac"),
        ("av1.mp4", "mov", "av1", "aac"),
        ("prores.mov", "mov", "prores", "pcm_s16le"),
        ("main.mkv", "matroska", "h264", "aac"),
        ("vp9.webm", "matroska", "vp9", "opus"),
        ("vp8.webm", "matroska", "vp8", "vorbis"),
        ("xvid.avi", "avi", "mpeg4", "mp3"),
        ("h264.ts", "mpegts", "h264", "aac"),
        ("h264.m2ts", "mpegts", "h264", "ac3"),
        ("h264.flv", "flv", "h264", "aac"),
        ("wmv2.wmv", "asf", "wmv2", "wmav2"),
        ("mpeg2.mpg", "mpeg", "mpeg2video", "mp2"),
        ("mpeg2.mxf", "mxf", "mpeg2video", "pcm_s16le"),
        ("theora.ogv", "ogg", "theora", "vorbis"),
        ("sound.m4a", "mov", None, "aac"),
        ("sound.wav", "wav", None, "pcm_s16le"),
        ("sound.mp3", "mp3", None, "mp3"),
        ("silent.mp4", "mov", "h264", None),
    ],
)
def test_each_container_is_recognised_and_read(name: str, container: str, video: str | None, audio: str | None) -> None:
    info = probe(clip(name))
    assert info.container == container
    assert (info.video.codec if info.video else None) == video
    assert (info.main_audio.codec if info.main_audio else None) == audio
    check_limits(info, LIMITS)


@pytest.mark.parametrize(
    ("name", "display", "rate"),
    [
        ("rotated.mp4", (720, 1280), 30),
        ("anamorphic.mp4", (1024, 576), 25),
        ("odd.mkv", (641, 359), 30),
        ("small.mp4", (240, 320), 30),
        ("slow.mp4", (640, 360), 1),
        ("film.mp4", (640, 360), Fraction(24000, 1001)),
    ],
)
def test_what_a_viewer_sees_is_told(name: str, display: tuple[int, int], rate: Fraction) -> None:
    video = probe(clip(name)).video
    assert video is not None
    assert (video.display_width, video.display_height) == display
    assert video.fps == rate


def test_ten_bits_fields_and_a_variable_rate_are_seen() -> None:
    ten, fields, variable = (probe(clip(name)).video for name in ("hevc10.mp4", "interlaced.ts", "vfr.mp4"))
    assert ten is not None
    assert ten.bit_depth == 10
    assert fields is not None
    assert fields.interlaced
    assert variable is not None
    assert variable.fps != variable.base_fps


def test_cover_art_is_listed_apart_and_the_default_sound_is_found() -> None:
    cover = probe(clip("cover.mp4"))
    assert cover.video is not None
    assert (cover.video.codec, cover.others[0].codec) == ("h264", "mjpeg")
    tracks = probe(clip("two-tracks.mkv"))
    assert [track.language for track in tracks.audio] == ["deu", "eng"]
    assert tracks.main_audio is not None
    assert tracks.main_audio.language == "eng"


def test_a_browsers_recording_has_no_duration() -> None:
    assert probe(clip("live.webm")).duration_s is None


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        (lambda: clip("magic.mkv"), "unsupported_media", "magicyuv"),
        (lambda: clip("cover.jpg"), "unsupported_media", "JPEG"),
        (lambda: truncated("moov-last.mov", 0.5), "corrupt_media", "cut short"),
        (lambda: truncated("main.mkv", 0.00001), "corrupt_media", ""),
    ],
    ids=["codec", "picture", "no-moov", "header-only"],
)
def test_what_cannot_be_processed_is_refused_with_its_reason(path: object, code: str, words: str) -> None:
    with pytest.raises(RejectedError) as caught:
        probe(path())  # type: ignore[operator]
    assert caught.value.code == code
    assert words in caught.value.detail


def test_a_playlist_named_mp4_reads_no_other_file(tmp_path: Path) -> None:
    """ffmpeg itself would open it as concat and play the canary."""
    disguised = tmp_path / "c.mp4"
    disguised.write_text(f"ffconcat version 1.0\nfile {clip('short.mp4')}\n")
    with pytest.raises(RejectedError, match="a list of other files"):
        probe(disguised)


def test_a_playlist_behind_a_true_magic_is_refused_by_the_forced_demuxer(tmp_path: Path) -> None:
    disguised = tmp_path / "h.mp4"
    disguised.write_bytes(b"\x00\x00\x00\x08free#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n" + str(clip("short.mp4")).encode())
    with disguised.open("rb") as file:
        assert sniff(file.read()) is Container.MOV
    with pytest.raises(RejectedError):
        probe(disguised)


def test_a_frame_over_the_limit_is_an_error_of_ffprobe_itself() -> None:
    import subprocess  # noqa: PLC0415 - only here

    argv = ffprobe_argv(in_use().ffprobe, clip("main.mp4"), Container.MOV, max_pixels=1000)
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert "Picture size 1280x720" in done.stderr
