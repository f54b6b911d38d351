"""Whole files by the real ffmpeg: mp4, h264, hevc, swap, audio, copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.media import clip, encoded, packets, probe
from vproc.core.boxes import top_level
from vproc.core.verify import check_output


def boxes(path: Path) -> list[str]:
    data = path.read_bytes()
    return [box.kind for box in top_level(lambda offset, size: data[offset : offset + size], len(data))]


@pytest.mark.parametrize(
    ("name", "profile", "codecs"),
    [
        ("main.mp4", "mp4", ["h264", "h264"]),
        ("silent.mp4", "mp4", ["h264"]),
        ("short.mp4", "h264", ["h264"]),
        ("short.mp4", "hevc", ["hevc"]),
        ("tiny.mp4", "hevc", ["hevc"]),
        ("short.mp4", "swap", ["hevc"]),
        ("hevc10.mp4", "swap", ["h264"]),
        ("vp9.webm", "swap", ["h264"]),
        ("one.mkv", "mp4", ["h264"]),
        ("late-video.mp4", "h264", ["h264"]),
        ("interlaced.ts", "h264", ["h264"]),
    ],
)
def test_a_file_is_what_was_planned_and_starts_fast(name: str, profile: str, codecs: list[str]) -> None:
    done = encoded(name, profile)
    assert (done.returncode, done.stderr) == (0, "")
    assert [output.codec for output in done.plan.outputs] == codecs
    for output in done.plan.outputs:
        found = probe(output.path)
        assert not check_output(output, found).damaged
        assert found.duration_s == pytest.approx(output.duration_s, abs=0.05)
        order = boxes(output.path)
        assert order.index("moov") < order.index("mdat")


def test_hevc_is_tagged_for_apples_players() -> None:
    data = encoded("short.mp4", "hevc").path("v360").read_bytes()
    assert b"hvc1" in data
    assert b"hev1" not in data


@pytest.mark.parametrize("profile", ["h264", "hevc"])
def test_key_frames_stand_on_the_grid(profile: str) -> None:
    found = packets(encoded("gop10.mp4", profile).path("v360"), "v:0")
    keys = [float(packet["pts_time"]) for packet in found if packet["flags"].startswith("K")]
    assert keys == pytest.approx([0.0, 4.0], abs=0.001)


def test_a_ladder_of_files_has_each_rung_with_sound() -> None:
    done = encoded("main.mp4", "mp4")
    for rung, size in (("v720", (1280, 720)), ("v360", (640, 360))):
        info = done.probe(rung)
        assert info.video is not None
        assert (info.video.width, info.video.height) == size
        assert info.main_audio is not None


@pytest.mark.parametrize("name", ["main.mp4", "sound.m4a", "sound.wav", "sound.mp3", "surround.mp4", "late-sound.mp4"])
def test_sound_alone_is_an_m4a_that_starts_fast(name: str) -> None:
    done = encoded(name, "audio")
    info = done.probe("audio")
    assert (done.returncode, done.stderr, info.video) == (0, "", None)
    assert info.main_audio is not None
    assert (info.main_audio.codec, info.main_audio.channels in (1, 2)) == ("aac", True)
    order = boxes(done.path("audio"))
    assert order.index("moov") < order.index("mdat")
    source = done.info.main_audio
    assert source is not None
    assert info.duration_s == pytest.approx(source.end_s or done.info.duration_s, abs=0.05)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("main.mp4", ".mp4"),
        ("main.mkv", ".mp4"),
        ("h264.ts", ".mp4"),
        ("h264.flv", ".mp4"),
        ("h264.avi", ".mp4"),
        ("xvid.avi", ".mp4"),
        ("hevc10.mp4", ".mp4"),
        ("av1.mp4", ".mp4"),
        ("yuv422.mkv", ".mp4"),
        ("vp9.webm", ".mp4"),
        ("vp8.webm", ".webm"),
        ("live.webm", ".mp4"),
        ("theora.ogv", ".mkv"),
        ("wmv2.wmv", ".mkv"),
        ("mpeg2.mpg", ".mkv"),
        ("prores.mov", ".mkv"),
        ("odd.mkv", ".mkv"),
        ("sound.mp3", ".mp4"),
        ("sound.wav", ".mkv"),
    ],
)
def test_a_copy_holds_the_same_codecs_and_the_same_time(name: str, suffix: str) -> None:
    done = encoded(name, "copy")
    found = done.probe("copy")
    (output,) = done.plan.outputs
    assert done.returncode == 0
    assert output.path.suffix == suffix
    assert not check_output(output, found).damaged
    assert [track.codec for track in found.audio] == [track.codec for track in done.info.audio]
    if done.info.duration_s is not None:
        assert found.duration_s == pytest.approx(done.info.duration_s, abs=0.06)


def test_a_copy_keeps_each_picture_and_each_packet_of_sound() -> None:
    done = encoded("main.mkv", "copy")
    for stream in ("v:0", "a:0"):
        assert len(packets(done.path("copy"), stream)) == len(packets(clip("main.mkv"), stream))


def test_a_copy_keeps_the_rotation_and_the_languages_and_drops_the_rest() -> None:
    turned = encoded("rotated.mp4", "copy").probe("copy").video
    assert turned is not None
    assert (turned.display_width, turned.display_height) == (720, 1280)
    tracks = encoded("two-tracks.mkv", "copy").probe("copy")
    assert [track.language for track in tracks.audio] == ["deu", "eng"]
    titled = encoded("titled.mp4", "copy")
    assert b"Secret" not in titled.path("copy").read_bytes()
    cover = encoded("cover.mp4", "copy").probe("copy")
    assert cover.others == ()
