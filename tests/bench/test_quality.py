"""The sections of `quality`, `av1` and `idle`: what their goals are reckoned from, and what their files and lines say."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from bench import av1, idle, quality
from bench.av1 import Ladder, av1_lines, av1_rounds, equal_bytes, equal_cpu
from bench.curves import Point
from bench.figures import Conditions
from bench.idle import GAUGE_CALLS_PER_HOUR, calls_per_hour, idle_lines
from bench.processes import BenchError
from bench.quality import Encoded, fixed_ladder, quality_lines, quality_rounds
from bench.renditions import published
from bench.usual import LADDER

AUTO = Encoded(rungs=((1080, 2_000_000), (720, 700_000), (360, 300_000)), vmaf=93.5, cpu_s=20)
FIXED = Encoded(rungs=((1080, 3_000_000), (720, 700_000), (360, 300_000)), vmaf=96.0, cpu_s=18)


def held(goals: tuple[object, ...], rounds: list[object]) -> list[bool]:
    return [goal.held(rounds) for goal in goals]  # type: ignore[attr-defined]


def test_the_farthest_clip_and_the_bytes_of_all_decide() -> None:
    pairs = {"easy": (AUTO, FIXED), "hard": (replace(AUTO, vmaf=92.2), FIXED)}
    assert held(quality.GOALS, quality_rounds(pairs, target=93)) == [True, True]
    off = pairs | {"middle": (replace(AUTO, vmaf=94.1), FIXED)}
    assert held(quality.GOALS, quality_rounds(off, target=93)) == [False, True]
    large = pairs | {"middle": (FIXED, FIXED)}
    assert held(quality.GOALS, quality_rounds(large, target=96)) == [False, False]


def test_a_clips_line_tells_its_rungs_and_what_was_saved() -> None:
    lines = quality_lines({"easy": (AUTO, FIXED)}, "8.1", seconds=8, target=93)
    saved = "| 25% | 1080p 2000, 720p 700, 360p 300 | 20.0 s | 18.0 s |"
    assert lines[-1] == f"| easy | 93.50 | 96.00 | 3.00 MB | 4.00 MB {saved}"
    assert any("25.0 %; goal ≥ 25 %: held" in line for line in lines)


def test_the_fixed_ladder_has_the_rungs_and_caps_of_abr() -> None:
    (profile,) = tomllib.loads(fixed_ladder())["profiles"].values()
    told = [(rung["short_side_px"], rung["bitrate_kbps"], rung["bufsize_kbits"]) for rung in profile["rungs"]]
    assert told == [(rung.short_side_px, rung.maxrate_bps // 1000, rung.bufsize_bits // 1000) for rung in LADDER]


def curves() -> dict[str, list[Ladder]]:
    """AV1 takes three quarters of the bytes and nine tenths of the time, everywhere."""
    rates = {90: 1000, 94: 2000, 96: 4000}

    def ladder(name: str, vmaf: float, size: float, cpu_s: float) -> Ladder:
        return Ladder(name, {1080: Point(vmaf, size), 360: Point(vmaf - 20, size / 4)}, cpu_s)

    h264 = [ladder(f"h264-{vmaf}", vmaf, size, size / 100) for vmaf, size in rates.items()]
    av1 = [ladder(f"av1-{vmaf}", vmaf, size * 0.75, size / 100 * 0.9) for vmaf, size in rates.items()]
    return {"h264": h264, "av1": av1}


def test_codecs_are_compared_at_equal_quality_rung_by_rung() -> None:
    rungs = equal_bytes(curves())
    assert [(rung.height, rung.vmaf) for rung in rungs] == [(1080, 93), (360, 73)]
    assert [rung.av1 / rung.h264 for rung in rungs] == pytest.approx([0.75, 0.75])
    cpu = equal_cpu(curves())
    assert cpu.av1 / cpu.h264 == pytest.approx(0.9)
    assert held(av1.GOALS, av1_rounds(curves())) == [True, True]
    lines = av1_lines(curves(), "8.1", seconds=8)
    assert any("25.0 %; goal ≥ 20 %: held" in line for line in lines)
    assert any(line.startswith("CPU where the top rungs are at VMAF 93.0") for line in lines)


def test_both_codecs_ladders_are_described_at_every_quality() -> None:
    profiles = tomllib.loads(av1.profiles_text())["profiles"]
    wanted = [f"bench-h264-{crf}" for crf in av1.H264_CRF] + [f"bench-av1-{crf}" for crf in av1.AV1_CRF]
    assert list(profiles) == wanted
    assert {profile["codec"] for profile in profiles.values()} == {"h264", "av1"}
    assert all(len(profile["rungs"]) == len(LADDER) for profile in profiles.values())


def test_polls_are_counted_by_their_distance() -> None:
    """Three polls or four may fall within a minute; twenty seconds they are apart."""
    assert calls_per_hour([0, 20, 40]) == 180
    assert calls_per_hour([5, 25, 45, 65]) == 180
    with pytest.raises(BenchError, match="not seen to poll"):
        calls_per_hour([5])


def test_an_idle_minute_is_judged() -> None:
    calls = 180 + GAUGE_CALLS_PER_HOUR
    minute = {"idle": {"wall_s": 60.0, "cpu_s": 0.12, "sqs_calls_per_hour": calls}}
    assert held(idle.GOALS, [minute]) == [True, True]
    assert held(idle.GOALS, [{"idle": minute["idle"] | {"cpu_s": 0.13, "sqs_calls_per_hour": calls + 1}}]) == [False, False]
    assert any("goal ≤ 200: held" in line for line in idle_lines([minute], [Conditions(0, 0, 0)], "8.1"))


def test_published_video_is_its_header_and_its_segments_in_their_order() -> None:
    def output(kind: str, key: str, name: str, **more: object) -> dict[str, object]:
        return {"kind": kind, "key": key, "name": name, "bytes": 10, **more}

    manifest = {
        "outputs": [
            output("hls_media", "v360/p.m3u8", "v360", height=360),
            output("segment", "v360/seg-00002.m4s", "v360"),
            output("segment", "v360/seg-00001.m4s", "v360"),
            output("init", "v360/init.mp4", "v360"),
            output("hls_media", "v720/p.m3u8", "v720", height=720),
            output("init", "v720/init.mp4", "v720"),
            output("hls_media", "audio/p.m3u8", "audio"),
            output("segment", "audio/seg-00001.m4s", "audio"),
        ]
    }
    large, small = published(manifest)
    assert (large.name, large.keys, large.size_bytes) == ("v720", ("v720/init.mp4",), 10)
    assert small.keys == ("v360/init.mp4", "v360/seg-00001.m4s", "v360/seg-00002.m4s")
    with pytest.raises(BenchError, match="no video"):
        published({"outputs": []})
