"""Arms: each one way to do a job, run once and timed. A round (`rounds`) runs several, so that they may be compared."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter

import anyio
import anyio.to_thread

from bench.backend import LIMIT, PROCESSED
from bench.commands import Ran, replayed, run_bare, run_timed
from bench.daemon import Daemon, environment, open_daemon
from bench.goals import Figures
from bench.jobs import JobRun, run_job, run_jobs
from bench.peer import run_peer
from bench.usual import Packaging, download, upload_all

TEN = 10


@dataclass(frozen=True, slots=True)
class Clips:
    """What goes in. ``short`` is for many in a row."""

    mix: Path
    conforming: Path
    short: Path


@dataclass(frozen=True, slots=True)
class Commands:
    """The ffmpeg commands of a job, the scratch directory that they name, and how many bytes the job published."""

    argv: tuple[tuple[str, ...], ...]
    scratch: Path
    bytes_out: int

    @property
    def ffmpeg(self) -> str:
        """The program."""
        return self.argv[0][0]


class Stand:
    """What arms work with: one daemon, its commands by the clip, and empty folders."""

    def __init__(
        self, daemon: Daemon, clips: Clips, commands: Mapping[str, Commands], work: Path, settings: Mapping[str, str]
    ) -> None:
        self.daemon = daemon
        self.settings = settings
        self.clips = clips
        self.commands = commands
        self.store = f"{daemon.backend.environment['AWS_ENDPOINT_URL_S3']}/{PROCESSED}"
        self._work = work
        self._numbers = count()

    def folder(self) -> Path:
        """An empty one."""
        folder = self._work / f"arm-{next(self._numbers)}"
        folder.mkdir()
        return folder

    async def limit(self, mb_per_s: float) -> None:
        """The store's line from now on."""
        await self.daemon.backend.tell(f"{LIMIT} {mb_per_s:g}")

    async def put(self, file: Path, name: str) -> str:
        """An object that no event tells of; its address."""
        with file.open("rb") as body:
            async with self.daemon.session.put(f"{self.store}/{name}", data=body) as answer:
                answer.raise_for_status()
        return f"{self.store}/{name}"


Arm = Callable[[Stand], Awaitable[Figures]]


def job(profile: str, clip: str, *, mb_per_s: float = 0) -> Arm:
    """A job through the daemon."""

    async def arm(stand: Stand) -> Figures:
        await stand.limit(mb_per_s)
        return _figures(await run_job(stand.daemon, profile, getattr(stand.clips, clip)))

    return arm


def _figures(run: JobRun) -> dict[str, float]:
    first = {} if run.first_s is None else {"first_s": run.first_s}
    stages = {f"{stage}_s": seconds for stage, seconds in run.stages.items()}
    return {
        **stages,
        **first,
        "wall_s": run.wall_s,
        "cpu_s": run.cpu_s,
        "own_cpu_s": run.own_cpu_s,
        "beside_cpu_s": run.beside_cpu_s,
    }


def bare(clip: str, *, times: int = 1) -> Arm:
    """The daemon's own ffmpeg commands from a local file to local files, so many times in a row."""

    async def arm(stand: Stand) -> Figures:
        commands, total = stand.commands[clip], Ran(0, 0)
        for _ in range(times):
            folder = stand.folder()
            to = folder / "job"
            again = replayed(commands.argv, scratch=commands.scratch, source=getattr(stand.clips, clip), to=to)
            total += await run_bare(again, to=to, log=folder / "ffmpeg.log")
            shutil.rmtree(folder)
        return {"wall_s": total.wall_s, "cpu_s": total.cpu_s}

    return arm


async def ten(stand: Stand) -> Figures:
    """Ten jobs in the queue at once, before a daemon that is set for throughput: a job for each core."""
    folder = stand.folder()
    files = [folder / f"clip-{number}.mp4" for number in range(TEN)]
    for file in files:
        file.hardlink_to(stand.clips.short)
    concurrency = str(len(os.sched_getaffinity(0)))
    async with open_daemon(folder, {**stand.settings, "VPROC_CONCURRENCY": concurrency}) as daemon:
        runs = await run_jobs(daemon, "abr", files)
    wall_s = max(run.completed_at for run in runs) - min(run.event_at for run in runs)
    return {"wall_s": wall_s, "cpu_s": sum(run.cpu_s for run in runs)}


def usual(packaging: Packaging, clip: str, *, mb_per_s: float) -> Arm:
    """The usual way, with the system's ffmpeg, over the same line."""

    async def arm(stand: Stand) -> Figures:
        await stand.limit(0)
        source = await stand.put(getattr(stand.clips, clip), f"usual-{clip}.mp4")
        await stand.limit(mb_per_s)
        folder = stand.folder()
        target = f"{stand.store}/usual-{folder.name}"
        argv = [sys.executable, "-m", "bench.usual", "--packaging", packaging.value]
        argv += ["--source-url", source, "--target-url", target, "--work", str(folder)]
        ran = await run_timed(argv, log=folder / "usual.log", env=environment())
        shutil.rmtree(folder)
        return {"wall_s": ran.wall_s, "cpu_s": ran.cpu_s}

    return arm


def peer(clip: str) -> Arm:
    """The peer, with the daemon's ffmpeg, from a local file to local files."""

    async def arm(stand: Stand) -> Figures:
        folder = stand.folder()
        source = getattr(stand.clips, clip)
        ran = await run_peer(source, folder, ffmpeg=stand.commands["mix"].ffmpeg, env=environment())
        shutil.rmtree(folder)
        return {"wall_s": ran.wall_s, "cpu_s": ran.cpu_s}

    return arm


def transfer(direction: str, *, mb_per_s: float) -> Arm:
    """The source alone ``down``, or as many bytes as a job publishes alone ``up``, over one connection."""

    async def arm(stand: Stand) -> Figures:
        await stand.limit(0)
        folder = stand.folder()
        source = await stand.put(stand.clips.mix, "transfer.mp4")
        (folder / "outputs").write_bytes(bytes(stand.commands["mix"].bytes_out))
        await stand.limit(mb_per_s)
        begun = perf_counter()
        if direction == "down":
            await anyio.to_thread.run_sync(download, source, folder / "source.mp4")
        else:
            await anyio.to_thread.run_sync(upload_all, folder, f"{stand.store}/transfer-{folder.name}")
        wall_s = perf_counter() - begun
        shutil.rmtree(folder)
        return {"wall_s": wall_s}

    return arm
