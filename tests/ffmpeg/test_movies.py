"""Sample tables and feeds of real files: what we read of them is what ffprobe reads, and a pipe gives the same pictures."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.media import FFMPEG, FFPROBE, clip
from vproc.core.allowlist import file_url
from vproc.core.boxes import payload
from vproc.core.faststart import Layout, plan_feed, read_layout
from vproc.core.movie import SampleTable, read_video


def opened(path: Path) -> tuple[Layout, bytes]:
    """Layout and index of a file."""
    data = path.read_bytes()
    layout = read_layout([(0, data)], len(data))
    assert layout is not None
    assert layout.moov is not None
    return layout, payload(lambda offset, size: data[offset : offset + size], layout.moov)


def table(name: str, stream: int = 0) -> SampleTable | None:
    return read_video(opened(clip(name))[1], stream)


def probed(name: str) -> list[dict[str, str]]:
    """ffprobe's packets of the first video, without editing them away."""
    argv = [FFPROBE, "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,size,pos,flags"]
    done = subprocess.run([*argv, "-of", "compact=p=0", file_url(clip(name))], check=True, capture_output=True, text=True)
    rows = (line.rstrip("|").split("|") for line in done.stdout.splitlines() if line)
    return [dict(pair.split("=", 1) for pair in row if "=" in pair) for row in rows]


@pytest.mark.parametrize(
    ("name", "rate", "closed"),
    [
        ("main.mp4", Fraction(30), True),
        ("moov-last.mov", Fraction(30), True),
        ("pyramid.mp4", Fraction(30), True),
        ("pyramid.mov", Fraction(30), True),
        ("open-gop.mp4", Fraction(30), False),
        ("film.mp4", Fraction(24000, 1001), True),
        ("late-video.mp4", Fraction(30), True),
        ("vfr.mp4", None, True),
        ("fast.mp4", Fraction(120), True),
        ("hevc10.mp4", Fraction(30), True),
        ("prores.mov", Fraction(30), True),
        ("one.mp4", None, True),
    ],
)
def test_key_frames_are_those_that_ffprobe_lists(name: str, rate: Fraction | None, closed: bool) -> None:
    found, packets = table(name), probed(name)
    assert found is not None
    keys = [number for number, packet in enumerate(packets) if packet["flags"].startswith("K")]
    assert [f"{float(at):.6f}" for at in found.keyframes_s] == [packets[key]["pts_time"] for key in keys]
    assert found.keyframe_offsets == tuple(int(packets[key]["pos"]) for key in keys)
    sizes = [int(packet["size"]) for packet in packets]
    bounds = zip(keys, [*keys[1:], len(packets)], strict=True)
    assert found.gop_bytes == tuple(sum(sizes[key:after]) for key, after in bounds)
    assert (found.samples, found.constant_rate, found.closed_gops, found.whole) == (len(packets), rate, closed, True)


def test_a_cut_by_an_edit_list_is_not_whole() -> None:
    found = table("cut.mp4")
    assert found is not None
    assert not found.whole


def test_sound_and_fragments_have_no_tables(tmp_path: Path) -> None:
    assert table("main.mp4", 1) is None
    path = tmp_path / "fragmented.mp4"
    command = [FFMPEG, "-v", "error", "-i", str(clip("pyramid.mp4")), "-c", "copy", "-movflags", "frag_keyframe+empty_moov"]
    subprocess.run([*command, str(path)], check=True)
    assert read_video(opened(path)[1], 0) is None


def frames(source: str, fed: bytes | None = None) -> list[str]:
    """The checksum of every decoded picture and of all sound, with their times."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-f", "mov", "-i", source, "-map", "0:v?", "-map", "0:a?"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], input=fed, check=True, capture_output=True)
    assert done.stderr == b""
    return [line for line in done.stdout.decode().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    "name",
    [
        "main.mp4", "moov-last.mov", "pyramid.mp4", "pyramid.mov", "cut.mp4", "faststart.mp4", "late-sound.mp4", "prores.mov",
        "cover.mp4", "sound.m4a", "rotated.mp4", "titled.mp4",
    ],
)  # fmt: skip
def test_what_is_fed_through_a_pipe_decodes_to_the_same(name: str) -> None:
    path = clip(name)
    data, (layout, moov) = path.read_bytes(), opened(path)
    feed = plan_feed(layout, moov, len(data))
    assert feed is not None
    pieces = [piece if isinstance(piece, bytes) else data[piece.offset : piece.offset + piece.size] for piece in feed.pieces]
    whole = frames(file_url(path))
    assert whole
    assert frames("pipe:0", b"".join(pieces)) == whole


def test_without_the_feed_the_index_would_come_too_late() -> None:
    """What makes the feed needed: the same bytes in the file's own order cannot be read from a pipe."""
    command = [FFMPEG, "-v", "error", "-f", "mov", "-i", "pipe:0", "-f", "null", "-"]
    done = subprocess.run(command, input=clip("moov-last.mov").read_bytes(), check=False, capture_output=True)
    assert done.returncode != 0
