"""Rounds: every arm once, one after another, against one daemon; the next round in the opposite order, with a new daemon.

So what is compared was measured within minutes of each other, on a machine that may be shared.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import anyio
import anyio.to_thread
import click

from bench.arms import Arm, Clips, Commands, Stand
from bench.commands import CommandWatch, making
from bench.daemon import open_daemon
from bench.figures import Conditions
from bench.goals import Figures, Round
from bench.jobs import run_job
from bench.memory import conditions
from bench.processes import BenchError, cpu_times
from bench.sources import make_source

SHORT_SHARE = 5
"""The short clip is a fifth of the long one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds, what went on beside each, and the version of ffmpeg."""

    rounds: list[Round]
    conditions: list[Conditions]
    ffmpeg: str


async def make_bench_clips(seconds: float) -> Clips:
    """The clips of that length, from the cache where they are."""
    return Clips(
        mix=await make_source("mix", seconds),
        conforming=await make_source("conforming", seconds),
        short=await make_source("mix", seconds / SHORT_SHARE),
    )


async def measure_rounds(
    arms: Mapping[str, Arm], clips: Clips, folder: Path, *, runs: int, settings: Mapping[str, str]
) -> Measured:
    """So many rounds of all arms in the order given, every other one backwards. Raises `BenchError` where an arm fails."""
    commands = await find_commands(clips, folder / "commands", settings)
    rounds: list[Round] = []
    ffmpeg = ""
    beside: list[Conditions] = []
    for number in range(1, runs + 1):
        order = list(arms) if number % 2 else list(arms)[::-1]
        work = folder / f"round-{number}"
        load, begun = os.getloadavg()[0], monotonic()
        measured: dict[str, Figures] = {}
        await anyio.Path(work).mkdir()
        async with open_daemon(work, settings) as daemon:
            ffmpeg = await daemon.ffmpeg_version()
            times = cpu_times(daemon.pid, daemon.backend_pid)
            stand = Stand(daemon, clips, commands, work, settings)
            for name in order:
                measured[name] = await arms[name](stand)
                click.echo(f"round {number} of {runs}: {name}: {measured[name]['wall_s']:.2f} s")
            beside.append(conditions(load, times, cpu_times(daemon.pid, daemon.backend_pid), monotonic() - begun))
        await anyio.to_thread.run_sync(shutil.rmtree, work)
        rounds.append(measured)
    return Measured(rounds, beside, ffmpeg)


async def find_commands(clips: Clips, work: Path, settings: Mapping[str, str]) -> dict[str, Commands]:
    """What the daemon runs for the profile `abr`, by the clip: seen in jobs that are not timed, which also warm it all up."""
    await anyio.Path(work).mkdir()
    found: dict[str, Commands] = {}
    async with open_daemon(work, settings) as daemon:
        for name in ("mix", "short"):
            watch = CommandWatch(daemon.pid)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch.look)
                run = await run_job(daemon, "abr", getattr(clips, name))
                tasks.cancel_scope.cancel()
            argv = making(watch.commands, daemon.scratch)
            if not argv:
                raise BenchError("the daemon was not seen to run ffmpeg")
            found[name] = Commands(tuple(argv), daemon.scratch, run.bytes_out)
    await anyio.to_thread.run_sync(shutil.rmtree, work)
    return found
