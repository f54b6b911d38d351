"""What is measured: ``vproc serve`` as a process of its own, its backend in another, both on disk in a folder that is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from bench.processes import BenchError, started

ROOT = Path(__file__).parents[1]
_READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon, ready to take uploads."""

    api: str
    pid: int
    backend_pid: int
    session: aiohttp.ClientSession

    async def metrics(self) -> dict[str, float]:
        """Every sample of ``/metrics`` by its name with its labels."""
        async with self.session.get(f"{self.api}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def status(self, file_id: str) -> dict[str, object]:
        """A file's status."""
        async with self.session.get(f"{self.api}/upload/{file_id}/status") as answer:
            answer.raise_for_status()
            return dict(await answer.json())


def environment(**more: str) -> dict[str, str]:
    """What every child is given: no setting of this shell's, which would measure something else."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("VPROC_", "AWS_", "S3_", "SQS_", "MALLOC_"))
    }
    for name in ("DATABASE_URL", "STATE_DIRECTORY"):
        kept.pop(name, None)
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"} | more


@asynccontextmanager
async def open_daemon(work: Path, settings: Mapping[str, str]) -> AsyncIterator[Daemon]:
    """Backend, then daemon with its defaults but for ``settings``. Raises `BenchError` with the end of the daemon's log."""
    backend_argv = [sys.executable, "-m", "bench.backend", "--data", str(work / "store")]
    async with started(backend_argv, env=environment(), log=work / "backend.log", stdin=subprocess.PIPE) as backend:
        with anyio.fail_after(_READY_WITHIN_S):
            given = json.loads(await _first_line(backend, work / "backend.log"))
        scratch = work / "scratch"
        scratch.mkdir()
        own = {
            "VPROC_HOST": "127.0.0.1",
            "VPROC_PORT": "0",
            "VPROC_LOG_FORMAT": "json",
            "VPROC_SCRATCH_DIR": str(scratch),
            "VPROC_DATABASE_URL": f"sqlite:///{work / 'vproc.db'}",
            "VPROC_DRAIN_TIMEOUT_S": "0",
        }
        log = work / "daemon.log"
        env = environment(**given, **own, **settings)
        async with (
            started([sys.executable, "-m", "vproc", "serve"], env=env, log=log) as process,
            aiohttp.ClientSession() as session,
        ):
            with anyio.fail_after(_READY_WITHIN_S):
                api = await _address(process, log)
            yield Daemon(api, process.pid, backend.pid, session)


async def _first_line(process: Process, log: Path) -> str:
    text = ""
    if process.stdout is not None:
        async for chunk in TextReceiveStream(process.stdout):
            text += chunk
            if "\n" in text:
                return text.partition("\n")[0]
    raise BenchError(f"the backend did not start: {_tail(log)}")


async def _address(process: Process, log: Path) -> str:
    """Where the daemon says, in its log, that it has started."""
    while process.returncode is None:
        for line in (await anyio.Path(log).read_text()).splitlines():
            said = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if said.get("event") == "daemon_started":
                return str(said["api"])
        await anyio.sleep(0.1)
    raise BenchError(f"the daemon did not start: {_tail(log)}")


def _tail(log: Path) -> str:
    return " | ".join(log.read_text().splitlines()[-3:])
