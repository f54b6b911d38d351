"""A conforming source becomes the top rung as it is, beside rungs that real ffmpegs encode on its key frames."""

from __future__ import annotations

import subprocess
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.media import FFMPEG, LIMITS, clip, probe
from tests.support.tools import Tools
from vproc.core.boxes import payload, top_level
from vproc.core.command import decode_check_argv, make_plan
from vproc.core.faststart import Extent, plan_feed, read_layout
from vproc.core.movie import SampleTable, read_video
from vproc.core.plan import OutputKind, Plan
from vproc.core.verify import check_output
from vproc.errors import TransientError
from vproc.profiles import builtin_profiles
from vproc.workers.follow import Track

ABR = builtin_profiles()["abr"]


def table_of(path: Path) -> SampleTable | None:
    data = path.read_bytes()

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    moov = next(box for box in top_level(read, len(data)) if box.kind == "moov")
    info = probe(path)
    assert info.video is not None
    return read_video(payload(read, moov), info.video.index)


def planned(path: Path, out: Path, ffmpeg: str, *, piped: bool = False) -> Plan:
    return make_plan(
        probe(path), ABR, ffmpeg=ffmpeg, source=path, out_dir=out, limits=LIMITS, threads=2, piped=piped,
        table=table_of(path),
    )  # fmt: skip


def fed(path: Path) -> bytes:
    """The file as a pipe is given it: its index first."""
    data = path.read_bytes()
    layout = read_layout([(0, data)], len(data))
    assert layout is not None
    assert layout.moov is not None
    feed = plan_feed(layout, data[layout.moov.offset + layout.moov.header : layout.moov.end], len(data))
    assert feed is not None
    return b"".join(
        data[piece.offset : piece.offset + piece.size] if isinstance(piece, Extent) else piece for piece in feed.pieces
    )


def run(plan: Plan, source: Path) -> None:
    done = subprocess.run(plan.argv, check=False, capture_output=True, input=fed(source) if plan.piped else b"")
    assert (done.returncode, done.stderr) == (0, b"")


def pictures(path: Path) -> list[str]:
    """The decoded pictures' sums."""
    argv = [FFMPEG, "-v", "error", "-i", path, "-map", "0:v:0", "-f", "framehash", "-"]
    lines = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
    return [line.rpartition(",")[2] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize(("name", "rung"), [("conforming.mp4", "v360"), ("conforming-cuts.mp4", "v720")])
def test_the_top_rung_is_the_source_and_every_rung_begins_its_segments_together(
    ffmpeg_in_use: Tools, tmp_path: Path, name: str, rung: str, *, piped: bool
) -> None:
    source = clip(name)
    plan = planned(source, tmp_path, ffmpeg_in_use.ffmpeg, piped=piped)
    assert (plan.copied, plan.copy_refused, plan.daring) == (rung, None, True)
    run(plan, source)
    tracks = [output for output in plan.outputs if output.kind is OutputKind.CMAF_VIDEO]
    assert pictures(tracks[0].path) == pictures(source)
    starts = set()
    for output in tracks:
        assert not check_output(output, probe(output.path)).damaged
        with closing(Track(output, plan.grid)) as track:
            track.finish()
            found = track.cut.index
        assert found.independent
        assert found.segments[0].start == 0
        starts.add(tuple(round(float(Fraction(part.start, found.timescale)), 3) for part in found.segments))
    assert len(starts) == 1
    assert list(next(iter(starts))) == pytest.approx([float(start) for start in plan.grid.starts], abs=0.002)
    check = subprocess.run(decode_check_argv(ffmpeg_in_use.ffmpeg, plan.outputs), check=False, capture_output=True)
    assert (check.returncode, check.stderr) == (0, b"")


def test_a_key_frame_that_needs_those_before_it_is_seen_when_it_is_cut(ffmpeg_in_use: Tools, tmp_path: Path) -> None:
    """Its index calls a recovery point a key frame: with no picture out of order the tables cannot tell."""
    source = clip("recovery-points.mp4")
    plan = planned(source, tmp_path, ffmpeg_in_use.ffmpeg)
    assert plan.copied is not None
    run(plan, source)
    copied = next(output for output in plan.outputs if output.copied)
    with closing(Track(copied, plan.grid)) as track, pytest.raises(TransientError, match="key frame that is none"):
        track.finish()


def test_a_source_that_differs_is_encoded_and_the_plan_says_why(ffmpeg_in_use: Tools, tmp_path: Path) -> None:
    plan = planned(clip("gop10.mp4"), tmp_path, ffmpeg_in_use.ffmpeg)
    assert (plan.copied, plan.daring) == (None, False)
    assert plan.copy_refused is not None


def test_a_plain_plan_copies_nothing(ffmpeg_in_use: Tools, tmp_path: Path) -> None:
    source = clip("conforming.mp4")
    plan = make_plan(probe(source), ABR, ffmpeg=ffmpeg_in_use.ffmpeg, source=source, out_dir=tmp_path, limits=LIMITS)
    assert plan.copied is None
    assert not any("copy" in argument for argument in plan.argv)
