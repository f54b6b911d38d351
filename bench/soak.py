"""``python -m bench.soak``: ten thousand small jobs through three daemons over one PostgreSQL; each minute one is killed.

It exits 1 where a file was lost or done twice, where a daemon's memory grows, where there are more connections than the pools
allow. What is asked at the end, and how it is judged, stands in `bench.standing` and `bench.soak_verdicts`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic

import anyio
import anyio.to_thread
import click

from bench.clips import run_ffmpeg
from bench.cloud import RAW
from bench.fleet import SAMPLE_EVERY_S, Fleet, Member, clock_off_by, open_fleet
from bench.jobs import cpu_of
from bench.memory import conditions
from bench.processes import BenchError, cpu_times
from bench.results import RESULTS, write_section
from bench.soak_verdicts import Resident, SoakRun, soak_lines, verdicts
from bench.standing import read_standing
from vproc.db.pool import MOST_CONNECTIONS
from vproc.tasks import task_group

CLOCKS_OFF_S = (60, -60, 0)
"""By how much the clock of each daemon is fast, where clocks differ."""
DAEMONS = len(CLOCKS_OFF_S)
FULL = 10_000
_PUT_AT_ONCE = 16
_LOOK_EVERY_S = 2.0
_TELL_EVERY_S = 30.0
_REST_WITHIN_S = 240.0
_SOURCE = "testsrc2=s=320x180:r=25:d=1"
_SETTINGS = {
    # So that what a killed daemon held comes back before the queue is empty.
    "VPROC_VISIBILITY_TIMEOUT_S": "30",
    "VPROC_MAX_ATTEMPTS": "1000",
    "VPROC_PROFILE": "copy",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. ``most_kills``: then no more."""

    jobs: int
    kill_every_s: float
    concurrency: int
    seed: int
    most_kills: int | None = None
    clocks_apart: bool = False
    beside: Path | None = None

    @property
    def section(self) -> str:
        """Where it stands in the results."""
        if self.beside is not None:
            return "Two versions on one queue"
        return "Many daemons whose clocks differ" if self.clocks_apart else "Many daemons, killed one after another"


@dataclass(slots=True)
class _Watch:
    """What is noted while it runs."""

    kills: int = 0
    most_connections: int = 0
    samples: int = 0
    progress: list[tuple[float, int]] = field(default_factory=list)

    async def sample(self, fleet: Fleet, members: list[Member]) -> None:
        """Memory and connections, until cancelled."""
        while True:
            for member in members:
                if member.alive is not None:
                    member.alive.sample()
            self.most_connections = max(self.most_connections, await fleet.database.connections())
            self.samples += 1
            await anyio.sleep(SAMPLE_EVERY_S)

    async def kill(self, members: list[Member], plan: Plan) -> None:
        """One of them, each at its time, until cancelled."""
        chance = random.Random(plan.seed)  # noqa: S311 - so that a run can be repeated
        while plan.most_kills is None or self.kills < plan.most_kills:
            await anyio.sleep(plan.kill_every_s)
            if running := [member for member in members if member.alive is not None]:
                self.kills += chance.choice(running).kill()

    async def until_done(self, fleet: Fleet, jobs: int, within_s: float) -> bool:
        """Wait until all are completed; False where they are not in that time."""
        begun, told = monotonic(), 0.0
        while (done := await fleet.ended()) < jobs:
            now = monotonic() - begun
            self.progress.append((now, done))
            if now > within_s:
                return False
            if now - told >= _TELL_EVERY_S:
                told = now
                click.echo(f"{now:6.0f} s: {done} of {jobs} completed, {self.kills} daemons killed")
            await anyio.sleep(_LOOK_EVERY_S)
        return True


async def _make_clip(folder: Path) -> bytes:
    clip = folder / "clip.mp4"
    await run_ffmpeg(
        *("-f", "lavfi", "-i", _SOURCE, "-f", "lavfi", "-i", "sine=d=1", "-c:v", "libx264", "-preset", "veryfast"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", str(clip)),
    )
    return await anyio.Path(clip).read_bytes()


def _pids(members: list[Member]) -> list[int]:
    return [member.alive.pid for member in members if member.alive is not None]


async def _at_rest(fleet: Fleet) -> None:
    """Wait for the queue to be empty and the janitors to have done what there is; not for ever: the verdicts say what is left."""
    open_work = (
        "SELECT 1 FROM transactions t JOIN files f USING (file_id) WHERE t.ended_at IS NULL "
        "OR (t.swept_at IS NULL AND t.run_id IS DISTINCT FROM f.run_id) LIMIT 1"
    )
    with anyio.move_on_after(_REST_WITHIN_S):
        while True:
            empty = await fleet.cloud.queued() == (0, 0) and not await fleet.cloud.listed(RAW)
            if empty and not await fleet.database.rows(open_work):
                return
            await anyio.sleep(1)


async def _version_of(tree: Path) -> str:
    told = await anyio.run_process(["git", "-C", str(tree), "rev-parse", "--short", "HEAD"])
    return told.stdout.decode().strip()


async def measure_soak(work: Path, plan: Plan) -> SoakRun:
    """One run. ``work`` is an empty folder."""
    load = os.getloadavg()[0]
    body = await _make_clip(work)
    watch = _Watch()
    async with open_fleet(work) as fleet:
        settings = _SETTINGS | {"VPROC_CONCURRENCY": str(plan.concurrency)}
        off = CLOCKS_OFF_S if plan.clocks_apart else (0,) * DAEMONS
        other = {"PYTHONPATH": str(plan.beside)} if plan.beside is not None else {}
        members = [
            fleet.member(number, settings | clock_off_by(off_s) | (other if number == 1 else {}))
            for number, off_s in enumerate(off, 1)
        ]
        begun = monotonic()
        keys = await fleet.cloud.put("in", plan.jobs, body, {}, at_once=_PUT_AT_ONCE)
        click.echo(
            f"{len(keys)} objects of {len(body)} bytes put in {monotonic() - begun:.0f} s, depth {await fleet.cloud.queued()}"
        )
        times = cpu_times(*fleet.pids)
        async with task_group() as daemons:
            for member in members:
                daemons.start_soon(member.run)
            for member in members:
                await member.ready()
            begun = monotonic()
            database_s, cloud_s = fleet.database.cpu_s(), cpu_of(fleet.cloud.pid).own_s
            async with task_group() as beside:
                beside.start_soon(watch.sample, fleet, members)
                beside.start_soon(watch.kill, members, plan)
                done = await watch.until_done(fleet, plan.jobs, within_s=600 + plan.jobs)
                beside.cancel_scope.cancel()
            seconds = monotonic() - begun
            database_s, cloud_s = fleet.database.cpu_s() - database_s, cpu_of(fleet.cloud.pid).own_s - cloud_s
            beside_us = conditions(load, times, cpu_times(*fleet.pids, *_pids(members)), seconds)
            s3_sqs, catalog = await fleet.cloud.calls(), await fleet.database.calls()
            for member in members:
                # The one that was killed last has to clear away after itself.
                await member.revived()
            if done:
                await _at_rest(fleet)
            daemons.cancel_scope.cancel()
        standing = await read_standing(fleet, keys)
    logs = [log for member in members for log in member.logs]
    return SoakRun(
        jobs=plan.jobs,
        seconds=seconds,
        kills=watch.kills,
        kill_every_s=plan.kill_every_s,
        daemons=DAEMONS,
        concurrency=plan.concurrency,
        seed=plan.seed,
        clocks_apart=plan.clocks_apart,
        beside=await _version_of(plan.beside) if plan.beside is not None else None,
        starts=sum(len(member.lives) for member in members),
        standing=standing,
        most_connections=watch.most_connections,
        connections_bound=DAEMONS * MOST_CONNECTIONS,
        resident=[
            Resident(member.name, number, life.resident) for member in members for number, life in enumerate(member.lives, 1)
        ],
        calls={f"{service} {operation}": count for (service, operation), count in sorted(s3_sqs.items())},
        statements=dict(catalog),
        database_cpu_s=database_s,
        cloud_cpu_s=cloud_s,
        tracebacks=sum("Traceback" in log.read_text(errors="replace") for log in logs),
        left_in_scratch=sorted(path.name for member in members for path in member.scratch.iterdir()),
        conditions=beside_us,
        ffmpeg=members[0].ffmpeg,
    )


@click.command()
@click.option("--jobs", type=click.IntRange(1), default=FULL, show_default=True)
@click.option("--kill-every", type=click.FloatRange(2), default=60.0, show_default=True, help="Seconds between two kills.")
@click.option("--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs at a time in each daemon.")
@click.option("--seed", type=int, help="Of whom is killed; by default a new one.")
@click.option(
    "--clocks-apart", is_flag=True, help="One clock a minute fast, one a minute slow; such daemons take thrice the processor."
)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A tree of another version: the first daemon is of that.",
)
@click.option("--json", "to_json", type=click.Path(path_type=Path), help="Where the figures go, all of them.")
@click.option("--results", type=click.Path(path_type=Path), help="Where the section goes; of a full run, RESULTS.md by default.")
@click.option("--keep", is_flag=True, help="Keep the daemons' logs, and say where.")
def main(
    jobs: int,
    kill_every: float,
    concurrency: int,
    seed: int | None,
    to_json: Path | None,
    results: Path | None,
    *,
    clocks_apart: bool,
    beside: Path | None,
    keep: bool,
) -> None:
    """Run it, write what was measured, and exit 1 where something does not hold."""
    chosen = random.randrange(1_000_000) if seed is None else seed  # noqa: S311
    plan = Plan(jobs, kill_every, concurrency, chosen, clocks_apart=clocks_apart, beside=beside)
    folder = Path(mkdtemp(prefix="vproc-soak-"))
    try:
        run = anyio.run(measure_soak, folder, plan)
    except (BenchError, TimeoutError) as error:
        raise click.ClickException(str(error) or "it took too long") from error
    finally:
        if keep:
            click.echo(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    lines = soak_lines(run)
    click.echo("\n".join(lines))
    if to_json is not None:
        to_json.write_text(json.dumps(asdict(run)) + "\n")
    if results is not None or jobs >= FULL:
        write_section(plan.section, lines, to=results or RESULTS)
    raise click.exceptions.Exit(0 if all(verdict.holds for verdict in verdicts(run)) else 1)


if __name__ == "__main__":
    main()
