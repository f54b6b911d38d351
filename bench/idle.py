"""What a daemon takes that has nothing to do: processor time and calls of SQS, an hour's by computation from a minute's."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic, time

import anyio

from bench.backend import CALLS
from bench.daemon import open_daemon
from bench.figures import Conditions
from bench.goals import Figure, Goal, Round, goal_lines, rounds_table
from bench.jobs import cpu_of
from bench.memory import conditions
from bench.processes import BenchError, cpu_times
from bench.results import machine

IDLE_S = 60.0
_SETTLED_S = 65.0
"""The test event that stands in the queue at the start makes the daemon read its gauges once more after a minute."""
_HOUR_S = 3600.0
GAUGE_CALLS_PER_HOUR = 20
"""Both queues' depth every six minutes, which a minute seldom sees."""

GOALS = (
    Goal("CPU", Figure("idle", "cpu_s"), (Figure("idle", "wall_s"),), bound=0.2, unit="%", digits=3),
    Goal("Calls of SQS an hour", Figure("idle", "sqs_calls_per_hour"), bound=200, unit="", digits=0),
)


def calls_per_hour(at: Sequence[float]) -> float:
    """From the times of some calls: their distance counts, not how many happened to fall within the minute.

    Raises `BenchError` for fewer than two.
    """
    if len(at) < 2 or at[-1] <= at[0]:  # noqa: PLR2004 - a distance takes two
        raise BenchError("the idle daemon was not seen to poll twice")
    return (len(at) - 1) / (at[-1] - at[0]) * _HOUR_S


async def measure_idle(
    work: Path, settings: Mapping[str, str], *, seconds: float = IDLE_S, settled_s: float = _SETTLED_S
) -> tuple[Round, Conditions, str]:
    """One run with a new daemon, and the version of its ffmpeg. ``work`` is an empty folder."""
    load, begun = os.getloadavg()[0], monotonic()
    async with open_daemon(work, settings) as daemon:
        times = cpu_times(daemon.pid, daemon.backend_pid)
        await anyio.sleep(settled_s)
        before, from_at, from_s = cpu_of(daemon.pid), time(), monotonic()
        await anyio.sleep(seconds)
        after, wall_s = cpu_of(daemon.pid), monotonic() - from_s
        told = await daemon.backend.tell(CALLS)
        ffmpeg = await daemon.ffmpeg_version()
        beside = conditions(load, times, cpu_times(daemon.pid, daemon.backend_pid), monotonic() - begun)
    seen = [at for at in told["sqs_at"] if at >= from_at]
    took = {
        "wall_s": wall_s,
        "cpu_s": after.own_s + after.children_s - before.own_s - before.children_s,
        "sqs_calls_per_hour": calls_per_hour(seen) + GAUGE_CALLS_PER_HOUR,
    }
    return {"idle": took}, beside, ffmpeg


def idle_lines(rounds: Sequence[Round], beside: Sequence[Conditions], ffmpeg: str) -> list[str]:
    """The section of `idle`."""
    seconds = rounds[0]["idle"]["wall_s"]
    return [
        *machine(ffmpeg),
        (
            f"`vproc serve` with its defaults and nothing to do, over {seconds:.0f} s. The calls are those between the first and "
            f"the last of that time, and {GAUGE_CALLS_PER_HOUR} an hour for the gauges of both queues, read every six minutes."
        ),
        "",
        *goal_lines(GOALS, rounds),
        *rounds_table(beside),
    ]
