"""The profile `av1` against the ladder of `abr` in x264's `medium`: bytes and processor time at equal VMAF, rung by rung.

Each codec's ladder is encoded at three qualities through the daemon; what lies between them is interpolated (`curves`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import click

from bench.curves import Point, common_vmaf, cost_at
from bench.daemon import Daemon, open_daemon
from bench.figures import MB
from bench.goals import TIMES, Figure, Goal, Round, goal_lines
from bench.jobs import run_job
from bench.renditions import fetch_renditions
from bench.results import machine
from bench.sources import make_source
from bench.usual import LADDER
from bench.vmaf import measure_vmaf

LONGEST_S = 8.0
_EVERY = 2
H264_CRF, AV1_CRF = (21, 24, 27), (29, 35, 41)
_AV1_CAP = 0.55
"""Of H.264's, as the built-in profile has it."""

GOALS = (
    Goal("Bytes saved at equal VMAF, all rungs", Figure("av1", "saved"), bound=20, at_most=False, unit="%", digits=1),
    Goal("CPU of the whole job, `av1` over x264 medium, likewise", Figure("av1", "cpu_s"), (Figure("h264", "cpu_s"),), 1.0),
)


def profiles_text() -> str:
    """A profiles file: each codec's ladder at each of its qualities."""
    h264 = [_profile(f"h264-{crf}", 'codec = "h264"\npreset = "medium"', crf, 1.0) for crf in H264_CRF]
    av1 = [_profile(f"av1-{crf}", 'codec = "av1"\nquality = "balanced"', crf, _AV1_CAP) for crf in AV1_CRF]
    return "\n".join([*h264, *av1])


def _profile(name: str, codec: str, crf: int, share: float) -> str:
    rungs = ", ".join(
        f"{{ short_side_px = {rung.short_side_px}, crf = {crf}, maxrate_kbps = {round(rung.maxrate_bps * share / 1000)} }}"
        for rung in LADDER
    )
    return f'[profiles.bench-{name}]\npackaging = "cmaf"\n{codec}\nrungs = [{rungs}]\n'


@dataclass(frozen=True, slots=True)
class Ladder:
    """One encode of the whole ladder: by height the VMAF and the bytes; the processor time of the job."""

    name: str
    rungs: Mapping[int, Point]
    cpu_s: float


Curves = Mapping[str, Sequence[Ladder]]
"""By codec: its ladders, each at another quality."""


async def measure_av1(work: Path, settings: Mapping[str, str], *, seconds: float) -> tuple[Curves, str]:
    """Both codecs' ladders, and the version of ffmpeg. ``work`` is an empty folder."""
    profiles = work / "profiles.toml"
    await anyio.Path(profiles).write_text(profiles_text())
    clip = await make_source("mix", min(seconds, LONGEST_S))
    curves: dict[str, list[Ladder]] = {"h264": [], "av1": []}
    async with open_daemon(work, {**settings, "VPROC_PROFILES_FILE": str(profiles)}) as daemon:
        ffmpeg = await daemon.ffmpeg_version()
        # Turn about, so that what others take of the machine falls on both.
        for h264, av1 in zip(H264_CRF, AV1_CRF, strict=True):
            curves["h264"].append(await _ladder(daemon, f"h264-{h264}", clip, work))
            curves["av1"].append(await _ladder(daemon, f"av1-{av1}", clip, work))
    return curves, ffmpeg


async def _ladder(daemon: Daemon, name: str, clip: Path, work: Path) -> Ladder:
    run = await run_job(daemon, f"bench-{name}", clip)
    rungs = {}
    for rendition, path in await fetch_renditions(daemon, run.file_id, work):
        vmaf = await measure_vmaf(clip, path, every=_EVERY)
        rungs[rendition.height] = Point(vmaf.mean, rendition.size_bytes)
        await anyio.Path(path).unlink()
    top = rungs[max(rungs)]
    click.echo(
        f"{name}: VMAF {top.vmaf:.2f}, {sum(point.cost for point in rungs.values()) / MB:.2f} MB, {run.cpu_s:.1f} s of CPU"
    )
    return Ladder(name, rungs, run.cpu_s)


@dataclass(frozen=True, slots=True)
class Equal:
    """Both codecs at one VMAF. ``height`` is the rung's."""

    height: int
    vmaf: float
    h264: float
    av1: float


def equal_bytes(curves: Curves) -> list[Equal]:
    """Bytes of each rung at the middle of the VMAF that both codecs cover there. Raises `BenchError` where they cover none."""
    found = []
    for height in sorted(curves["h264"][0].rungs, reverse=True):
        h264, av1 = ([ladder.rungs[height] for ladder in curves[codec]] for codec in ("h264", "av1"))
        vmaf = common_vmaf(h264, av1)
        found.append(Equal(height, vmaf, cost_at(h264, vmaf), cost_at(av1, vmaf)))
    return found


def equal_cpu(curves: Curves) -> Equal:
    """Processor time of the whole job where the top rungs are equal."""
    height = max(curves["h264"][0].rungs)
    h264, av1 = ([Point(ladder.rungs[height].vmaf, ladder.cpu_s) for ladder in curves[codec]] for codec in ("h264", "av1"))
    vmaf = common_vmaf(h264, av1)
    return Equal(height, vmaf, cost_at(h264, vmaf), cost_at(av1, vmaf))


def av1_rounds(curves: Curves) -> list[Round]:
    """What the goals speak of: one round."""
    rungs, cpu = equal_bytes(curves), equal_cpu(curves)
    saved = 1 - sum(rung.av1 for rung in rungs) / sum(rung.h264 for rung in rungs)
    return [{"av1": {"saved": saved, "cpu_s": cpu.av1}, "h264": {"cpu_s": cpu.h264}}]


def av1_lines(curves: Curves, ffmpeg: str, *, seconds: float) -> list[str]:
    """The section of `av1`."""
    cpu = equal_cpu(curves)
    return [
        *machine(ffmpeg),
        (
            "The ladder of `abr` in SVT-AV1 as `av1` has it, and in x264 `medium`, each at three qualities; 1080p30 of "
            f"{seconds:g} s, VMAF of every {_EVERY}nd frame against the source at 1080p. Interpolated to the middle of what both "
            "cover."
        ),
        "",
        *goal_lines(GOALS, av1_rounds(curves)),
        "| rung | VMAF | x264 medium | AV1 | saved |",
        "|---|---|---|---|---|",
        *map(_rung_line, equal_bytes(curves)),
        "",
        (
            f"CPU where the top rungs are at VMAF {cpu.vmaf:.1f}: {cpu.h264:.1f} s in x264, {cpu.av1:.1f} s in AV1 "
            f"({cpu.av1 / cpu.h264:.2f} {TIMES})."
        ),
        "",
        "| encode | VMAF and MB of each rung | CPU |",
        "|---|---|---|",
        *(f"| {ladder.name} | {_points(ladder)} | {ladder.cpu_s:.1f} s |" for ladders in curves.values() for ladder in ladders),
    ]


def _rung_line(rung: Equal) -> str:
    sizes = f"{rung.h264 / MB:.2f} MB | {rung.av1 / MB:.2f} MB"
    return f"| {rung.height}p | {rung.vmaf:.1f} | {sizes} | {1 - rung.av1 / rung.h264:.0%} |"


def _points(ladder: Ladder) -> str:
    points = sorted(ladder.rungs.items(), reverse=True)
    return ", ".join(f"{height}p {point.vmaf:.1f} {point.cost / MB:.2f}" for height, point in points)
