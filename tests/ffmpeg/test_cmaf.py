"""The profile abr by the real ffmpeg: tracks, segments, playlists, sound in time with the picture."""

from __future__ import annotations

import array
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import m3u8
import pytest
from mpegdash.parser import MPEGDASHParser

from tests.support.media import FFMPEG, FFPROBE, Encoded, clip, encode, encoded, index, packets, probe
from vproc.core.dash import dash_manifest
from vproc.core.ladder import output_fps
from vproc.core.plan import OutputKind
from vproc.core.playlist import master_playlist, media_playlist, segment_name
from vproc.core.presentation import Presentation, Rendition
from vproc.core.verify import check_output

SOURCES = (
    "main.mp4", "silent.mp4", "hevc10.mp4", "yuv422.mkv", "vp9.webm", "h264.ts", "h264.avi", "mpeg2.mpg", "odd.mkv", "tiny.mp4",
    "small.mp4", "slow.mp4", "fast.mp4", "film.mp4", "vfr.mp4", "interlaced.ts", "anamorphic.mp4", "longer-sound.mp4",
    "late-video.mp4", "late-sound.mp4", "cover.mp4", "rotated.mp4", "one.mp4", "one.mkv", "live.webm", "jpeg-range.mov",
    "rgb.mkv",
)  # fmt: skip


def tracks(done: Encoded, kind: OutputKind) -> list[str]:
    return [output.rendition for output in done.plan.outputs if output.kind is kind]


def presentation(done: Encoded) -> Presentation:
    """The tracks of an encode, packaged beside each other."""

    def made(name: str) -> Rendition:
        return Rendition(
            name, index(done.path(name)), f"{name}/playlist.m3u8", f"{name}/init.mp4", f"{name}/seg-$Number%05d$.m4s"
        )

    videos, sounds = tracks(done, OutputKind.CMAF_VIDEO), tracks(done, OutputKind.CMAF_AUDIO)
    return Presentation(tuple(map(made, videos)), tuple(map(made, sounds)))


@pytest.mark.parametrize("name", SOURCES)
def test_every_track_is_what_was_planned_and_as_long_as_its_source(name: str) -> None:
    done = encoded(name, "abr")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.info.video is not None
    frame_s = float(1 / output_fps(done.info.video))
    for output in done.plan.outputs:
        if not output.is_media:
            continue
        assert not check_output(output, probe(output.path)).damaged
        found = index(output.path)
        # ffmpeg 5 counts AAC's last frame whole (21 ms); AVI tells one length for all, a transport stream guesses short.
        slack_s = max(0.09, frame_s * 1.5)
        if output.duration_s is not None and done.info.duration_s is not None:
            assert output.duration_s - slack_s <= found.shown_s <= done.info.duration_s + slack_s
        assert found.independent
        assert found.segments[0].start == 0


@pytest.mark.parametrize("name", ["main.mp4", "film.mp4", "slow.mp4", "vfr.mp4", "rotated.mp4"])
def test_key_frames_stand_on_the_grid_in_every_rung(name: str) -> None:
    done = encoded(name, "abr")
    assert done.info.video is not None
    frame_s = float(1 / output_fps(done.info.video))
    grids = []
    for rung in tracks(done, OutputKind.CMAF_VIDEO):
        found = index(done.path(rung))
        starts = [segment.start / found.timescale for segment in found.segments]
        assert starts == pytest.approx([0.0, 1.0, 2.0, 4.0, 8.0][: len(starts)], abs=frame_s)
        assert len([packet for packet in packets(done.path(rung), "v:0") if "K" in packet["flags"]]) == len(starts)
        grids.append(starts)
    assert all(grid == grids[0] for grid in grids)


def test_a_rest_of_a_few_frames_is_no_segment_of_its_own_in_any_track(tmp_path: Path) -> None:
    """8.1 s of film: one second twice, two, and then all the rest, alike in every rung, and it decodes with only its header."""
    done = encoded("rest.mp4", "abr")
    grids = set()
    for output in done.plan.outputs:
        if not output.is_media:
            continue
        found, data = index(output.path), output.path.read_bytes()
        assert [part.duration / found.timescale for part in found.segments] == pytest.approx([1.0, 1.0, 2.0, 4.1], abs=0.05)
        last = found.segments[-1]
        assert data[last.offset : last.offset + last.size].count(b"moof") == (2 if found.is_video else 5)
        assert data[last.offset + last.size :][4:8] == b"mfra"
        if found.is_video:
            grids.add(tuple((Fraction(part.start, found.timescale), part.samples) for part in found.segments))
        joined = tmp_path / "joined.mp4"
        joined.write_bytes(data[: found.init_bytes] + data[last.offset : last.offset + last.size])
        stream = "v:0" if found.is_video else "a:0"
        assert len(packets(joined, stream)) == last.samples
    assert grids == {((Fraction(0), 30), (Fraction(1), 30), (Fraction(2), 60), (Fraction(4), 123))}
    assert len(tracks(done, OutputKind.CMAF_VIDEO)) == 2


def test_one_segment_follows_another_and_header_and_segments_decode(tmp_path: Path) -> None:
    done = encoded("main.mp4", "abr")
    for name in ("v720", "v360", "audio"):
        found, data = index(done.path(name)), done.path(name).read_bytes()
        assert all(before.start + before.duration == after.start for before, after in pairwise(found.segments))
        second = found.segments[1]
        joined = tmp_path / f"{name}.mp4"
        joined.write_bytes(data[: found.init_bytes] + data[second.offset : second.offset + second.size])
        check = subprocess.run(
            [FFMPEG, "-v", "error", "-i", joined, "-f", "null", "-"], check=False, capture_output=True, text=True
        )
        assert (check.returncode, check.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("main.mp4", [(1280, 720), (640, 360)]),
        ("rotated.mp4", [(720, 1280), (360, 640)]),
        ("anamorphic.mp4", [(640, 360)]),
        ("odd.mkv", [(640, 358)]),
        ("small.mp4", [(240, 320)]),
        ("tiny.mp4", [(64, 64)]),
    ],
)
def test_the_rungs_are_upright_square_and_even(name: str, sizes: list[tuple[int, int]]) -> None:
    done = encoded(name, "abr")
    for rung, size in zip(tracks(done, OutputKind.CMAF_VIDEO), sizes, strict=True):
        video = done.probe(rung).video
        assert video is not None
        assert (video.width, video.height, video.sar, video.rotation) == (*size, 1, 0)


@pytest.mark.parametrize("name", ["hevc10.mp4", "yuv422.mkv", "odd.mkv", "rgb.mkv", "jpeg-range.mov", "main.mp4"])
def test_every_source_becomes_8_bit_420_of_limited_range_with_colour_tags(name: str) -> None:
    done = encoded(name, "abr")
    video = done.probe(tracks(done, OutputKind.CMAF_VIDEO)[-1]).video
    assert video is not None
    assert (video.pix_fmt, video.color_range, video.profile) == ("yuv420p", "tv", "High")
    assert None not in (video.color_space, video.color_primaries, video.color_transfer)


@pytest.mark.parametrize(("name", "rate"), [("fast.mp4", 60), ("interlaced.ts", 25), ("vfr.mp4", 30), ("slow.mp4", 1)])
def test_the_rate_is_constant_and_at_most_sixty(name: str, rate: int) -> None:
    rung = index(encoded(name, "abr").path("v360"))
    assert rung.frame_rate == rate


def test_interlaced_pictures_come_out_progressive() -> None:
    video = encoded("interlaced.ts", "abr").probe("v360").video
    assert video is not None
    assert not video.interlaced


@pytest.mark.parametrize(
    ("name", "channels"), [("mono.mp4", 1), ("main.mp4", 2), ("surround.mp4", 2), ("seven.mkv", 2), ("two-tracks.mkv", 2)]
)
def test_sound_is_stereo_and_mono_stays_mono(name: str, channels: int) -> None:
    found = index(encoded(name, "abr").path("audio"))
    assert (found.codecs, found.channels, found.sample_rate in (44100, 48000)) == ("mp4a.40.2", channels, True)


@pytest.mark.parametrize(
    ("name", "picture_s", "sound_s"),
    [("longer-sound.mp4", 2.0, 4.0), ("shorter-sound.mp4", 6.0, 3.0), ("late-video.mp4", 2.7, 2.0), ("late-sound.mp4", 2.0, 2.7)],
)
def test_picture_and_sound_begin_together_whoever_is_late_or_longer(name: str, picture_s: float, sound_s: float) -> None:
    done = encoded(name, "abr")
    picture, tone = index(done.path("v360")), index(done.path("audio"))
    assert (picture.segments[0].start, tone.segments[0].start) == (0, 0)
    assert picture.shown_s == pytest.approx(picture_s, abs=0.04)
    assert tone.shown_s == pytest.approx(sound_s, abs=0.04)


def test_a_flash_and_a_beep_stay_together() -> None:
    """As a player shows them: the picture by its decode times, the sound less the priming of its edit list."""
    done = encoded("flash.mp4", "abr")
    graph = f"movie={done.path('v360')},signalstats"
    shown = subprocess.run(
        [FFPROBE, "-v", "error", "-f", "lavfi", graph, "-show_entries", "frame_tags=lavfi.signalstats.YAVG", "-of", "csv=p=0"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    flash_s = next(number for number, brightness in enumerate(shown) if float(brightness.strip(",")) > 150) / 30
    heard = subprocess.run(
        [FFMPEG, "-v", "error", "-i", done.path("audio"), "-f", "s16le", "-ac", "1", "-"], check=True, capture_output=True
    ).stdout
    tone = index(done.path("audio"))
    beep_s = next(number for number, sample in enumerate(array.array("h", heard)) if abs(sample) > 3000) / tone.timescale
    assert tone.edit_start == 1024
    assert beep_s - tone.edit_start / tone.timescale == pytest.approx(flash_s, abs=0.005)
    assert beep_s == pytest.approx(flash_s, abs=1 / 30), "a player that reads no edit lists is within a frame"


@pytest.mark.parametrize("name", ["main.mp4", "silent.mp4", "film.mp4", "one.mp4"])
def test_players_parsers_read_the_playlists(name: str) -> None:
    done = encoded(name, "abr")
    shown = presentation(done)
    master = m3u8.loads(master_playlist(shown))
    assert len(master.playlists) == len(shown.videos)
    assert all(variant.stream_info.bandwidth >= variant.stream_info.average_bandwidth > 0 for variant in master.playlists)
    assert len(master.media) == len(shown.sounds)
    for rendition in (*shown.videos, *shown.sounds):
        media = m3u8.loads(media_playlist(rendition.index, segment_name, "init.mp4"))
        assert sum(part.duration for part in media.segments) == pytest.approx(rendition.index.duration_s, abs=1e-3)
    mpd = MPEGDASHParser.parse(dash_manifest(shown))
    assert len(mpd.periods[0].adaptation_sets[0].representations) == len(shown.videos)


def test_ffmpeg_itself_plays_the_hls_that_was_written(tmp_path: Path) -> None:
    shown = presentation(encoded("main.mp4", "abr"))
    for rendition in (*shown.videos, *shown.sounds):
        folder, data = tmp_path / rendition.name, encoded("main.mp4", "abr").path(rendition.name).read_bytes()
        folder.mkdir()
        (folder / "init.mp4").write_bytes(data[: rendition.index.init_bytes])
        for number, part in enumerate(rendition.index.segments):
            (folder / segment_name(number)).write_bytes(data[part.offset : part.offset + part.size])
        (folder / "playlist.m3u8").write_text(media_playlist(rendition.index, segment_name, "init.mp4"))
    (tmp_path / "master.m3u8").write_text(master_playlist(shown))
    (tmp_path / "manifest.mpd").write_text(dash_manifest(shown))
    for entry in ("master.m3u8", "manifest.mpd"):
        argv = [FFMPEG, "-v", "error", "-allowed_extensions", "ALL"] if entry.endswith("m3u8") else [FFMPEG, "-v", "error"]
        played = subprocess.run([*argv, "-i", tmp_path / entry, "-map", "0:v", "-map", "0:a", "-f", "null", "-"], check=False,
                                capture_output=True, text=True)  # fmt: skip
        assert (played.returncode, played.stderr) == (0, ""), entry


def test_nothing_that_the_uploader_wrote_is_published() -> None:
    done = encoded("titled.mp4", "abr")
    for output in done.plan.outputs:
        data = output.path.read_bytes()
        assert b"Secret" not in data
        assert b"+48.8577" not in data


def test_the_same_source_gives_the_same_segments_and_the_same_sound(tmp_path: Path) -> None:
    """Not the same bytes of pictures: under a cap x264 goes by how fast its threads are."""
    first = encoded("short.mp4", "abr")
    second = encode(clip("short.mp4"), "abr", tmp_path)
    for output in first.plan.outputs:
        if output.kind is OutputKind.CMAF_AUDIO:
            assert output.path.read_bytes() == second.path(output.rendition).read_bytes()
        if output.is_track:
            one, other = index(output.path).segments, index(second.path(output.rendition)).segments
            assert [(part.start, part.duration, part.samples) for part in one] == [
                (part.start, part.duration, part.samples) for part in other
            ]


def test_progress_comes_to_the_end_of_the_source() -> None:
    done = encoded("main.mp4", "abr")
    assert done.progress.ended
    assert done.progress.out_time_s == pytest.approx(6.0, abs=0.1)
    assert done.progress.speed is not None
