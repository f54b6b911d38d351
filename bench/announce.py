"""Announcing uploads: how many a second on one core, against the usual service (`bench/usual_service.py`) in turns; and how long
one takes while ffmpeg holds every core.

The load comes from a process of its own on another core. Both servers write to SQLite on the same disk, each commit synced.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from bench.clips import make_clips
from bench.daemon import Daemon, environment, open_daemon
from bench.figures import Conditions, percentile, spread
from bench.goals import Figure, Goal, Round, goal_lines, rounds_table
from bench.jobs import cpu_of
from bench.memory import conditions, upload
from bench.own_environment import own_environment
from bench.processes import BenchError, cpu_times, started
from bench.results import machine

CONNECTIONS = 48
PER_SECOND = 200
CLIPS = 12
_ROUND_S = 5.0
_WARM_S = 1.0
_LOADED_S = 15.0
_BEGUN_WITHIN_S = 60.0
_TWO = 2
_SERVICE = Path(__file__).with_name("usual_service.py")
_REQUIREMENTS = _SERVICE.with_suffix(".txt")

GOALS = (
    Goal(
        "Requests a second on one core, vproc over the usual service",
        Figure("vproc", "per_s"),
        (Figure("usual", "per_s"),),
        bound=1.2,
        at_most=False,
    ),
    Goal(
        f"99th percentile at {PER_SECOND} requests a second while ffmpeg holds both cores",
        Figure("loaded", "p99_ms"),
        bound=20,
        unit="ms",
        digits=1,
    ),
)


@dataclass(frozen=True, slots=True)
class Server:
    """One of the two: where it answers, its process, on a core of its own."""

    api: str
    pid: int


async def measure_announce(work: Path, *, runs: int) -> tuple[list[Round], list[Conditions], str]:
    """Rounds of both servers and of vproc under load, what went on beside each, and the daemon's ffmpeg. ``work`` is empty."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < _TWO:
        raise BenchError("two cores are needed: one for the server, one for the load")
    python = await own_environment(_REQUIREMENTS)
    clips = await make_clips(work, CLIPS)
    rounds: list[Round] = []
    beside: list[Conditions] = []
    for number in range(1, runs + 1):
        folder = work / f"round-{number}"
        folder.mkdir()
        load, begun, before = os.getloadavg()[0], monotonic(), cpu_times()
        measured, ffmpeg = await _turns(folder, python, cores, first_is_ours=number % 2 == 1)
        loaded = folder / "loaded"
        loaded.mkdir()
        rounds.append({**measured, "loaded": await _under_load(loaded, clips)})
        beside.append(conditions(load, before, cpu_times(), monotonic() - begun))
    return rounds, beside, ffmpeg


async def _turns(
    work: Path, python: Path, cores: Sequence[int], *, first_is_ours: bool
) -> tuple[dict[str, Mapping[str, float]], str]:
    """Both servers run; one has the load, then the other."""
    server_core, load_core = cores[0], cores[1]
    async with open_daemon(work, {}) as daemon, _usual_service(work, python, daemon) as usual:
        ffmpeg = await daemon.ffmpeg_version()
        servers = {"vproc": Server(daemon.api, daemon.pid), "usual": usual}
        for server in servers.values():
            pin(server.pid, server_core)
        pin(daemon.backend_pid, load_core)
        measured: dict[str, Mapping[str, float]] = {}
        for name in sorted(servers, reverse=first_is_ours):
            await _announced(servers[name].api, load_core, seconds=_WARM_S, connections=CONNECTIONS)
            measured[name] = await _most(servers[name], load_core)
    return measured, ffmpeg


async def _most(server: Server, load_core: int) -> dict[str, float]:
    before = cpu_of(server.pid).own_s
    told = await _announced(server.api, load_core, seconds=_ROUND_S, connections=CONNECTIONS)
    number = len(told["latencies_ms"])
    return {"per_s": number / told["seconds"], "cpu_ms": 1000 * (cpu_of(server.pid).own_s - before) / number}


async def _under_load(work: Path, clips: list[Path]) -> dict[str, float]:
    """A daemon at its defaults with more jobs than it gets done meanwhile; requests go out at their times."""
    async with open_daemon(work, {}) as daemon:
        await upload(daemon, "abr", clips)
        with anyio.fail_after(_BEGUN_WITHIN_S):
            while not await _encodes(daemon):  # noqa: ASYNC110 - another process knows
                await anyio.sleep(0.1)
        told = await _announced(daemon.api, None, seconds=_LOADED_S, per_second=PER_SECOND)
        if not await _encodes(daemon):
            raise BenchError("the jobs had ended before the requests had: more clips are needed")
    return {
        "p50_ms": percentile(told["latencies_ms"], 0.5),
        "p99_ms": percentile(told["latencies_ms"], 0.99),
        "most_ms": max(told["latencies_ms"]),
        "late_p99_ms": percentile(told["lateness_ms"], 0.99),
    }


async def _encodes(daemon: Daemon) -> bool:
    return (await daemon.metrics())["vproc_jobs_in_progress"] >= 1


async def _announced(api: str, core: int | None, **options: float) -> dict[str, Any]:
    """What `bench.announcer` tells; on that core where one is named. Raises `BenchError` where a request failed."""
    words = [f"--{name.replace('_', '-')}={value:g}" for name, value in options.items()]
    where = [] if core is None else ["taskset", "--cpu-list", str(core)]
    argv = [*where, sys.executable, "-m", "bench.announcer", "--api", api, *words]
    done = await anyio.run_process(argv, env=environment(), check=False)
    if done.returncode != 0:
        raise BenchError(f"the load failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    if told["failed"]:
        raise BenchError(f"{told['failed']} requests to {api} failed")
    return told


def pin(pid: int, core: int) -> None:
    """Keep a process, all its threads, and what they start, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


@asynccontextmanager
async def _usual_service(work: Path, python: Path, daemon: Daemon) -> AsyncIterator[Server]:
    """In its own environment, with the daemon's store and bucket."""
    env = environment(**daemon.backend.environment)
    del env["PYTHONPATH"]
    env["AWS_DEFAULT_REGION"] = env["AWS_REGION"]
    argv = [str(python), str(_SERVICE), str(work / "usual.db"), env["VPROC_RAW_BUCKET"]]
    log = work / "usual.log"
    async with started(argv, env=env, log=log) as process:
        if process.stdout is None:
            raise BenchError("the usual service has no standard output")
        try:
            with anyio.fail_after(_BEGUN_WITHIN_S):
                told = json.loads(await process.stdout.receive())
        except anyio.EndOfStream:
            raise BenchError(f"the usual service did not start: {log.read_text()[-300:]}") from None
        async with anyio.create_task_group() as tasks:
            # The lines of its requests' log must not fill the pipe.
            tasks.start_soon(_drain, process.stdout)
            yield Server(told["api"], process.pid)
            tasks.cancel_scope.cancel()


async def _drain(output: anyio.abc.ByteReceiveStream) -> None:
    async for _ in output:
        pass


def announce_lines(rounds: Sequence[Round], beside: Sequence[Conditions], ffmpeg: str) -> list[str]:
    """The section of `announce`."""

    def of(arm: str, name: str, unit: str, digits: int = 0) -> str:
        return spread([measured[arm][name] for measured in rounds], unit, digits=digits)

    return [
        *machine(ffmpeg),
        (
            f"`POST /upload`, {CONNECTIONS} connections for {_ROUND_S:g} s, each server on one core and the load on another, in "
            "turns. The usual service is `bench/usual_service.py`: FastAPI, uvicorn with uvloop and httptools, one worker, "
            "boto3, SQLAlchemy; both sign, write to SQLite (WAL, `synchronous=FULL`) and log. Under load: the daemon at its "
            f"defaults encodes, and {PER_SECOND} requests a second go out at their times for {_LOADED_S:g} s; latency counts "
            "from those."
        ),
        "",
        *goal_lines(GOALS, rounds),
        "| | requests a second | CPU of the server for each |",
        "|---|---|---|",
        f"| vproc | {of('vproc', 'per_s', '')} | {of('vproc', 'cpu_ms', 'ms', 2)} |",
        f"| the usual service | {of('usual', 'per_s', '')} | {of('usual', 'cpu_ms', 'ms', 2)} |",
        "",
        "| under load | p50 | p99 | greatest | the load itself late, p99 |",
        "|---|---|---|---|---|",
        (
            f"| vproc | {of('loaded', 'p50_ms', 'ms', 1)} | {of('loaded', 'p99_ms', 'ms', 1)} "
            f"| {of('loaded', 'most_ms', 'ms', 1)} | {of('loaded', 'late_p99_ms', 'ms', 1)} |"
        ),
        "",
        *rounds_table(beside),
    ]
