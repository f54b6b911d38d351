"""Many daemons over one PostgreSQL, one S3 and one SQS, each a process of its own that is started again when it is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import anyio

from bench.cloud import Cloud, open_cloud
from bench.daemon import environment
from bench.database import FleetDatabase, open_database
from bench.processes import BenchError, descendants, memory_of, started

_READY_WITHIN_S = 180.0
_LOOK_EVERY_S = 0.1
SAMPLE_EVERY_S = 1.0


def clock_off_by(seconds: int) -> dict[str, str]:
    """What makes a process's clock of the day so much fast or slow; its monotonic clock stays. Raises `BenchError` where
    libfaketime is not installed."""
    if not seconds:
        return {}
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        raise BenchError("libfaketime is not installed: apt-get install faketime")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@dataclass(slots=True)
class Life:
    """One process of a daemon, from its start to its end. Times by the monotonic clock; ``resident`` are samples: seconds since
    it was ready, bytes resident without its children's."""

    pid: int
    ready_at: float
    ended_at: float | None = None
    resident: list[tuple[float, int]] = field(default_factory=list)

    def sample(self) -> None:
        """Look once; nothing where it has ended meanwhile."""
        with suppress(BenchError):
            self.resident.append((monotonic() - self.ready_at, memory_of(self.pid).resident_bytes))


class Member:
    """One of the daemons: ``name`` is also its access key, so that its requests are told apart."""

    def __init__(self, name: str, env: Mapping[str, str], work: Path, *, within: Sequence[str] = ()) -> None:
        self.name = name
        self.lives: list[Life] = []
        self.scratch = work / name
        self._env = env
        self._work = work
        self._within = within
        self._ready = anyio.Event()

    @property
    def alive(self) -> Life | None:
        """The process that is up and ready; None between two."""
        life = self.lives[-1] if self.lives else None
        return life if life is not None and life.ended_at is None else None

    @property
    def logs(self) -> list[Path]:
        """Of each process that was started."""
        return sorted(self._work.glob(f"{self.name}-*.log"))

    @property
    def ffmpeg(self) -> str:
        """The version that it took, as its log tells."""
        told = [line for log in self.logs for line in events_in(log, "ffmpeg_chosen")]
        return str(told[0]["version"]) if told else "unknown"

    async def ready(self) -> None:
        """Wait for the first to be ready."""
        await self._ready.wait()

    async def revived(self) -> None:
        """Wait until it is up, after a kill too."""
        with anyio.fail_after(_READY_WITHIN_S):
            while self.alive is None or not _runs(self.alive.pid):  # noqa: ASYNC110 - a process tells nothing
                await anyio.sleep(_LOOK_EVERY_S)

    async def run(self) -> None:
        """Start it, and again whenever it ends, until cancelled. Raises `BenchError` where it does not become ready."""
        self.scratch.mkdir(exist_ok=True)
        while True:
            log = self._work / f"{self.name}-{len(self.logs):03d}.log"
            argv = [*self._within, sys.executable, "-m", "vproc", "serve"]
            async with started(argv, env=self._env, log=log) as process:
                with anyio.fail_after(_READY_WITHIN_S):
                    await _said(log, "daemon_started", lambda: process.returncode)
                life = Life(process.pid, monotonic())
                self.lives.append(life)
                self._ready.set()
                try:
                    await process.wait()
                finally:
                    life.ended_at = monotonic()

    def kill(self) -> bool:
        """SIGKILL to its process alone, as the kernel does it to who has too much memory; whether there was one."""
        life = self.alive
        if life is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(life.pid, signal.SIGKILL)
        return True


def _runs(pid: int) -> bool:
    """Whether it is there and no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def _said(log: Path, event: str, ended: Callable[[], int | None]) -> None:
    while f'"event": "{event}"' not in (text := await anyio.Path(log).read_text()):
        if ended() is not None:
            raise BenchError(f"a daemon did not start: {text[-500:]}")
        await anyio.sleep(_LOOK_EVERY_S)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What runs."""

    work: Path
    cloud: Cloud
    database: FleetDatabase

    @property
    def pids(self) -> list[int]:
        """Of what runs beside the daemons, which its own processor time is told of."""
        return [self.cloud.pid, self.database.pid, *descendants(self.database.pid)]

    def member(self, number: int, settings: Mapping[str, str], *, within: Sequence[str] = ()) -> Member:
        """A daemon that is yet to run; ``within``: the words before its command."""
        name = f"daemon-{number}"
        own = {
            "VPROC_HOST": "127.0.0.1",
            "VPROC_PORT": "0",
            "VPROC_LOG_FORMAT": "json",
            "VPROC_SCRATCH_DIR": str(self.work / name),
            "VPROC_DATABASE_URL": self.database.url,
            "VPROC_DRAIN_TIMEOUT_S": "0",
        }
        return Member(name, environment(**self.cloud.environment(name), **own, **settings), self.work, within=within)

    async def ended(self, status: str = "completed") -> int:
        """How many files have that status."""
        rows = await self.database.rows("SELECT count(*) AS number FROM files WHERE status = $1", status)
        return int(rows[0]["number"])


@asynccontextmanager
async def open_fleet(work: Path) -> AsyncIterator[Fleet]:
    """Database and cloud, and no daemon yet."""
    async with open_database() as database, open_cloud(work) as cloud:
        yield Fleet(work, cloud, database)


def events_in(log: Path, event: str) -> list[dict[str, object]]:
    """The lines of a daemon's log that tell of that event."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if f'"{event}"' in line and line.startswith("{")]
    told = [json.loads(line) for line in lines if line.endswith("}")]
    return [line for line in told if line.get("event") == event]
