"""One, two and four daemons, each with the same share of a core, work off the same queue: jobs a minute, and what each job asks
of S3, SQS and the database."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic

import anyio
import click

from bench.cgroups import beside, capped
from bench.clips import run_ffmpeg
from bench.cloud import RAW
from bench.figures import Conditions, spread
from bench.fleet import Fleet, Member, open_fleet
from bench.goals import Figure, Goal, Round, goal_lines, rounds_table
from bench.jobs import cpu_of
from bench.memory import conditions
from bench.processes import BenchError, cpu_times
from bench.results import machine
from vproc.tasks import task_group

DAEMONS = (1, 2, 4)
JOBS = 200
WARM_JOBS = 6
"""For each daemon, before it counts: what it loads and learns once, it has loaded then."""
CORES = 0.2
"""Of one and the same processor for all daemons, and the other is for S3, SQS and the database: two that are threads of one core
slow each other down, and four daemons would then be compared with one that had the core to itself."""
_PROFILE = "h264"
_LOOK_EVERY_S = 0.25
_WITHIN_S = 1200.0
_CLIP_S = 2
_SOURCE = f"testsrc2=s=480x270:r=25:d={_CLIP_S}"
_SETTINGS = {"VPROC_CONCURRENCY": "2", "VPROC_PROFILE": _PROFILE}

_MOST, _ONE = str(DAEMONS[-1]), str(DAEMONS[0])
GOALS = (
    Goal(
        "Jobs a minute of four daemons, over those of one",
        Figure(_MOST, "jobs_per_minute"),
        (Figure(_ONE, "jobs_per_minute"),),
        bound=3.7,
        at_most=False,
    ),
    *(
        Goal(f"{text} for each job, four daemons over one", Figure(_MOST, name), (Figure(_ONE, name),), bound=1.1)
        for name, text in (("s3", "Requests to S3"), ("sqs", "Requests to SQS"), ("statements", "Statements to the catalog"))
    ),
    Goal("Of their share that four daemons got of the machine", Figure(_MOST, "share_used"), bound=90, at_most=False, unit="%"),
    Goal("What S3, SQS and the database took meanwhile of a core", Figure(_MOST, "beside_cores"), bound=0.5, unit="cores"),
)


async def measure_scale(work: Path, *, number: int) -> tuple[Round, Conditions, str]:
    """One round, every other one backwards, each arm with new daemons; and the version of their ffmpeg."""
    load, begun, times = os.getloadavg()[0], monotonic(), cpu_times()
    clip = await _make_clip(work)
    measured: dict[str, Mapping[str, float]] = {}
    ffmpeg = ""
    for daemons in DAEMONS if number % 2 else DAEMONS[::-1]:
        folder = work / f"{daemons}-daemons"
        await anyio.Path(folder).mkdir()
        with anyio.fail_after(_WITHIN_S):
            measured[str(daemons)], ffmpeg = await _arm(folder, daemons, clip)
        told = measured[str(daemons)]
        click.echo(f"{daemons} daemons: {told['jobs_per_minute']:.1f} jobs a minute, {told['wall_s']:.1f} s")
    return measured, conditions(load, times, cpu_times(), monotonic() - begun), ffmpeg


async def _make_clip(folder: Path) -> bytes:
    clip = folder / "clip.mp4"
    await run_ffmpeg(
        *("-f", "lavfi", "-i", _SOURCE, "-f", "lavfi", "-i", f"sine=d={_CLIP_S}", "-c:v", "libx264", "-preset", "veryfast"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", str(clip)),
    )
    return await anyio.Path(clip).read_bytes()


async def _arm(work: Path, daemons: int, clip: bytes) -> tuple[Mapping[str, float], str]:
    """So many daemons and the whole queue: from when all are ready and it is full."""
    cpu = min(os.sched_getaffinity(0))
    async with AsyncExitStack() as stack:
        stack.enter_context(beside(cpu))
        fleet = await stack.enter_async_context(open_fleet(work))
        groups = [await stack.enter_async_context(capped(f"{number}", CORES, cpu=cpu)) for number in range(daemons)]
        members = [fleet.member(number, _SETTINGS, within=group.words) for number, group in enumerate(groups)]
        keys = await _put_silently(fleet, JOBS + WARM_JOBS * daemons, clip)
        async with task_group() as running:
            for member in members:
                running.start_soon(member.run)
            for member in members:
                await member.ready()
            await _work_off(fleet, keys[JOBS:], WARM_JOBS * daemons)
            told = await _measured(fleet, members, keys[:JOBS], JOBS + WARM_JOBS * daemons)
            running.cancel_scope.cancel()
        return told, members[0].ffmpeg


async def _put_silently(fleet: Fleet, number: int, clip: bytes) -> list[str]:
    """Objects without an event: their messages are sent when they are to be worked on."""
    await fleet.cloud.s3.put_bucket_notification_configuration(Bucket=RAW, NotificationConfiguration={})
    return await fleet.cloud.put("in", number, clip, {}, at_once=8)


async def _work_off(fleet: Fleet, keys: Sequence[str], until: int) -> None:
    """Send the messages of these objects, and wait until so many files are completed."""
    batch = 10
    async with task_group() as sending:
        for first in range(0, len(keys), batch):
            bodies = [json.dumps({"bucket": RAW, "key": key}) for key in keys[first : first + batch]]
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
            sending.start_soon(fleet.cloud.send, entries)
    while await fleet.ended() < until:
        if failed := await fleet.ended("failed"):
            raise BenchError(f"{failed} jobs failed")
        await anyio.sleep(_LOOK_EVERY_S)


async def _measured(fleet: Fleet, members: Sequence[Member], keys: Sequence[str], until: int) -> Mapping[str, float]:
    calls, statements = await fleet.cloud.calls(), await fleet.database.calls()
    servers_s, used = _servers_s(fleet), _used(members)
    begun_at = await _database_time(fleet)
    await _work_off(fleet, keys, until)
    last = (await fleet.database.rows("SELECT max(completed_at) AS at FROM files"))[0]["at"]
    wall_s = float(last) - begun_at
    servers_s = _servers_s(fleet) - servers_s
    used = _used(members) - used
    calls, statements = await fleet.cloud.calls() - calls, await fleet.database.calls() - statements
    number = len(keys)
    return {
        "wall_s": wall_s,
        "jobs_per_minute": number / wall_s * 60,
        "s3": sum(count for (service, _), count in calls.items() if service == "s3") / number,
        "sqs": sum(count for (service, _), count in calls.items() if service == "sqs") / number,
        "statements": sum(statements.values()) / number,
        "beside_cores": servers_s / wall_s,
        "share_used": used / wall_s / (CORES * len(members)),
        "cpu_s_per_job": used / number,
    }


async def _database_time(fleet: Fleet) -> float:
    return float((await fleet.database.rows("SELECT extract(epoch FROM clock_timestamp())::float8 AS now"))[0]["now"])


def _used(members: Sequence[Member]) -> float:
    """Seconds of processor of all daemons so far, and of their children that have ended."""
    lives = [cpu_of(member.lives[0].pid) for member in members]
    return sum(cpu.own_s + cpu.children_s for cpu in lives)


def _servers_s(fleet: Fleet) -> float:
    """Seconds of processor of S3, SQS and the database so far."""
    return cpu_of(fleet.cloud.pid).own_s + fleet.database.cpu_s()


def scale_lines(rounds: Sequence[Round], went_on: Sequence[Conditions], ffmpeg: str) -> list[str]:
    """The section of `scale`."""

    def of(daemons: int, name: str, digits: int = 1) -> str:
        return spread([measured[str(daemons)][name] for measured in rounds], "", digits=digits)

    columns = ("jobs_per_minute", "wall_s", "cpu_s_per_job", "share_used", "s3", "sqs", "statements", "beside_cores")
    digits = (1, 1, 2, 2, 2, 2, 1, 2)
    return [
        *machine(ffmpeg),
        (
            f"{JOBS} clips of {_CLIP_S} s, profile `{_PROFILE}`, by daemons with two jobs at a time; each daemon with its ffmpeg "
            f"in a group of the kernel's that gets {CORES:g} of one processor, over one PostgreSQL, one S3 and one SQS on the "
            f"other. From when all daemons are ready, have done {WARM_JOBS} jobs each and the messages are sent, to the last "
            "`completed`."
        ),
        "",
        *goal_lines(GOALS, rounds),
        (
            "| daemons | jobs a minute | seconds | CPU seconds a job | of its share used | S3 a job | SQS a job "
            "| statements a job | cores of S3, SQS, database |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {daemons} | {' | '.join(of(daemons, name, number) for name, number in zip(columns, digits, strict=True))} |"
            for daemons in DAEMONS
        ),
        "",
        *rounds_table(went_on),
    ]
