"""The other sides of the comparisons do the same work: same rungs, caps and preset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from bench.arms import TEN
from bench.commands import run_timed
from bench.daemon import environment
from bench.figures import Conditions
from bench.jobs import lowest_segments
from bench.objects import Bucket
from bench.peer import peer_configs, shim
from bench.rounds import Measured
from bench.store import Store, serve_store
from bench.suite import ARMS, COMPARISONS, arms_of, comparison_lines
from bench.usual import LADDER, Packaging, usual_commands
from vproc.profiles import builtin_profile


def encodes(commands: list[list[str]]) -> int:
    return sum(command.count("libx264") for command in commands)


@pytest.mark.parametrize(("packaging", "times"), [(Packaging.COPY, 1), (Packaging.REENCODE, 3)])
def test_the_usual_way_encodes_each_rung_once_or_once_more_for_every_packaging(packaging: Packaging, times: int) -> None:
    commands = usual_commands("ffmpeg", Path("/in.mp4"), Path("/out"), packaging)
    assert encodes(commands) == times * len(LADDER)
    text = [" ".join(command) for command in commands]
    assert sum("-f dash" in line for line in text) == 1
    assert sum("-f hls" in line for line in text) == len(LADDER)
    assert [Path(command[-1]).name for command in commands[-2:]] == ["poster.jpg", "sprite-%03d.jpg"]
    for rung in LADDER:
        assert sum(f" {rung.maxrate_bps} " in line for line in text) == (3 if times == 3 else 1)


async def test_the_usual_way_downloads_first_and_uploads_last(tmp_path: Path) -> None:
    """With a stand-in for ffmpeg that writes what it is told to write."""
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text(f"#!{sys.executable} -IS\nimport sys\nopen(sys.argv[-1], 'w').write('made')\n")
    stand_in.chmod(0o755)
    bucket = Bucket("b", tmp_path / "store")
    work = tmp_path / "work"
    work.mkdir()
    async with serve_store(Store({"b": bucket})) as url, aiohttp.ClientSession() as session:
        async with session.put(f"{url}/b/in.mp4", data=b"source") as answer:
            assert answer.status == HTTPStatus.OK
        argv = ["--packaging", "copy", "--source-url", f"{url}/b/in.mp4"]
        argv += ["--target-url", f"{url}/b/out", "--work", str(work)]
        env = environment() | {"PATH": str(tmp_path)}
        await run_timed([sys.executable, "-m", "bench.usual", *argv], log=tmp_path / "log", nice=0, env=env)
    assert (work / "source.mp4").read_bytes() == b"source"
    names = [entry.key for entry in bucket.page("out/", after="", limit=100)[0]]
    assert {"out/1080.mp4", "out/manifest.mpd", "out/hls/360.m3u8", "out/poster.jpg"} <= set(names)


def test_all_are_held_against_the_profile_that_is_measured() -> None:
    assert builtin_profile("abr").rungs == LADDER
    assert [rung.short_side_px for rung in LADDER] == [1080, 720, 360]


def test_the_peer_gets_the_ladder() -> None:
    configs = peer_configs(Path("/in.mp4"))
    assert json.loads(json.dumps(configs))["bitrate"]["video_resolutions"] == {
        "1080p": {"max_width": 1920, "max_height": 1080, "bitrates": {"h264": "5000k"}},
        "720p": {"max_width": 1280, "max_height": 720, "bitrates": {"h264": "2800k"}},
        "360p": {"max_width": 640, "max_height": 360, "bitrates": {"h264": "800k"}},
    }
    assert configs["pipeline"]["resolutions"] == ["1080p", "720p", "360p"]


def test_the_peers_ffmpeg_gets_the_preset_and_the_caps_and_every_other_argument_as_it_was(tmp_path: Path) -> None:
    tell = tmp_path / "tell"
    tell.write_text(f"#!{sys.executable} -IS\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    script = tmp_path / "ffmpeg"
    script.write_text(shim(str(tell), python=sys.executable))
    for path in (tell, script):
        path.chmod(0o755)
    given = ["-i", "a b.mp4", "-preset", "slow", "-c:v", "libx264", "-b:v", "800k", "-b:a", "128k", "pipe"]
    told = subprocess.run([script, *given], check=True, capture_output=True, text=True, env={"PATH": os.defpath})
    capped = ["-crf", "23", "-maxrate", "800000", "-bufsize", "1600000"]
    expected = ["-i", "a b.mp4", "-preset", "veryfast", "-c:v", "libx264", *capped, "-b:a", "128k", "pipe"]
    assert json.loads(told.stdout) == expected


def test_the_lowest_rungs_segments_are_found_in_the_manifest() -> None:
    def output(kind: str, key: str, **more: object) -> dict[str, object]:
        return {"kind": kind, "key": key, **more}

    manifest = {
        "outputs": [
            output("hls_media", "v720.m3u8", name="v720", height=720),
            output("hls_media", "v360.m3u8", name="v360", height=360),
            output("hls_media", "audio.m3u8", name="audio"),
            output("init", "v360/init.mp4", name="v360"),
            output("segment", "v360/0.m4s", name="v360"),
            output("segment", "v720/0.m4s", name="v720"),
        ]
    }
    assert lowest_segments(manifest) == ["v360/0.m4s"]
    assert lowest_segments({"outputs": [output("video", "v360.mp4", name="v360", height=360)]}) == []


def test_every_goal_speaks_of_arms_that_there_are() -> None:
    for comparison in COMPARISONS.values():
        assert comparison.arms
        assert {figure.arm for goal in comparison.goals for figure in (goal.figure, *goal.over)} == set(comparison.arms)
    assert list(arms_of(list(COMPARISONS))) == list(ARMS)
    assert list(arms_of(["own_cpu", "wall"])) == ["vproc", "bare"]


def test_a_section_tells_the_verdict_of_each_goal_and_what_each_arm_took() -> None:
    figures = {"wall_s": 10.0, "cpu_s": 20.0, "own_cpu_s": 0.2, "first_s": 2.0, "encode_s": 9.0}
    for comparison in COMPARISONS.values():
        measured = Measured([dict.fromkeys(comparison.arms, figures)], [Conditions(0.5, 0.0, 0.0)], "ffmpeg")
        text = "\n".join(comparison_lines(comparison, measured, seconds=30))
        assert text.count("goal ≤") + text.count("goal ≥") == len(comparison.goals)
        assert text.count("| 10.00 s | 20.00 s |") == len(comparison.arms)
    assert TEN == 10
