"""The profile `auto` over an easy, a middle and a hard clip: does each top rung reach the VMAF that is stated, and what does that
save over a ladder of fixed rates. An encode gives the same bytes every time, so each is made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import click

from bench.daemon import Daemon, open_daemon
from bench.figures import MB
from bench.goals import Figure, Goal, Round, goal_lines
from bench.jobs import run_job
from bench.renditions import fetch_renditions
from bench.results import machine
from bench.sources import make_source
from bench.usual import LADDER
from bench.vmaf import measure_vmaf

CLIPS = ("easy", "middle", "hard")
LONGEST_S = 12.0
AUTO, FIXED = "auto", "bench-fixed"
TARGET_VMAF = 93.0
_WITHIN_VMAF = 1.0
_SAVED = 25.0

GOALS = (
    Goal("Farthest from the stated VMAF, of the top rungs", Figure("auto", "off_vmaf"), bound=_WITHIN_VMAF, unit="points"),
    Goal("Saved over fixed rates, bytes of all video", Figure("auto", "saved"), bound=_SAVED, at_most=False, unit="%", digits=1),
)


def fixed_ladder() -> str:
    """A profiles file with the ladder of `abr` at its caps as fixed rates, same preset."""
    rungs = ", ".join(
        f"{{ short_side_px = {rung.short_side_px}, bitrate_kbps = {rung.maxrate_bps // 1000}, "
        f"maxrate_kbps = {rung.maxrate_bps // 1000}, bufsize_kbits = {rung.bufsize_bits // 1000} }}"
        for rung in LADDER
    )
    return f'[profiles.{FIXED}]\npackaging = "cmaf"\ncodec = "h264"\nrungs = [{rungs}]\n'


@dataclass(frozen=True, slots=True)
class Encoded:
    """One clip by one profile: the bytes of each rung by its height, largest first; the top rung's VMAF; what it took."""

    rungs: tuple[tuple[int, int], ...]
    vmaf: float
    cpu_s: float

    @property
    def size_bytes(self) -> int:
        """Of all video."""
        return sum(size for _, size in self.rungs)


Pairs = Mapping[str, tuple[Encoded, Encoded]]
"""By clip: `auto`, and fixed."""


async def measure_quality(work: Path, settings: Mapping[str, str], *, seconds: float) -> tuple[Pairs, str]:
    """All clips by both profiles, and the version of ffmpeg. ``work`` is an empty folder."""
    profiles = work / "profiles.toml"
    await anyio.Path(profiles).write_text(fixed_ladder())
    pairs = {}
    async with open_daemon(work, {**settings, "VPROC_PROFILES_FILE": str(profiles)}) as daemon:
        ffmpeg = await daemon.ffmpeg_version()
        for name in CLIPS:
            clip = await make_source(name, min(seconds, LONGEST_S))
            auto, fixed = [await _encode(daemon, profile, clip, work) for profile in (AUTO, FIXED)]
            pairs[name] = (auto, fixed)
            click.echo(f"{name}: VMAF {auto.vmaf:.2f}, {auto.size_bytes / MB:.2f} MB against {fixed.size_bytes / MB:.2f} MB")
    return pairs, ffmpeg


async def _encode(daemon: Daemon, profile: str, clip: Path, work: Path) -> Encoded:
    run = await run_job(daemon, profile, clip)
    renditions = await fetch_renditions(daemon, run.file_id, work)
    top = renditions[0][1]
    vmaf = await measure_vmaf(clip, top)
    for _, path in renditions:
        await anyio.Path(path).unlink()
    rungs = tuple((rendition.height, rendition.size_bytes) for rendition, _ in renditions)
    return Encoded(rungs, vmaf.mean, run.cpu_s)


def quality_rounds(pairs: Pairs, *, target: float = TARGET_VMAF) -> list[Round]:
    """What the goals speak of: one round."""
    auto, fixed = (sum(pair[side].size_bytes for pair in pairs.values()) for side in (0, 1))
    off = max(abs(pair[0].vmaf - target) for pair in pairs.values())
    return [{"auto": {"off_vmaf": off, "saved": 1 - auto / fixed}}]


def quality_lines(pairs: Pairs, ffmpeg: str, *, seconds: float, target: float = TARGET_VMAF) -> list[str]:
    """The section of `quality`."""
    return [
        *machine(ffmpeg),
        (
            f"Profile `auto`, which states VMAF {target:g}, against the ladder of `abr` at its caps as fixed rates, same preset; "
            f"1080p30 clips of {seconds:g} s, VMAF of every frame against the source at 1080p."
        ),
        "",
        *goal_lines(GOALS, quality_rounds(pairs, target=target)),
        "| clip | top rung's VMAF, `auto` | fixed | video, `auto` | fixed | saved | rungs, `auto` (kb/s) | CPU, `auto` | fixed |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_line(name, auto, fixed, seconds) for name, (auto, fixed) in pairs.items()),
    ]


def _line(name: str, auto: Encoded, fixed: Encoded, seconds: float) -> str:
    rungs = ", ".join(f"{height}p {_kbps(size, seconds):.0f}" for height, size in auto.rungs)
    saved = 1 - auto.size_bytes / fixed.size_bytes
    return (
        f"| {name} | {auto.vmaf:.2f} | {fixed.vmaf:.2f} | {auto.size_bytes / MB:.2f} MB | {fixed.size_bytes / MB:.2f} MB "
        f"| {saved:.0%} | {rungs} | {auto.cpu_s:.1f} s | {fixed.cpu_s:.1f} s |"
    )


def _kbps(size_bytes: int, seconds: float) -> float:
    return size_bytes * 8 / seconds / 1000
