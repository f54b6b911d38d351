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
from typing import Any

import aiohttp
import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from bench.backend import JOURNAL
from bench.processes import BenchError, started

ROOT = Path(__file__).parents[1]
_READY_WITHIN_S = 60.0


class Backend:
    """The running backend: its ``environment`` for daemons, what it is told, and its journal."""

    def __init__(self, process: Process, data: Path, lines: _Lines, environment: Mapping[str, str]) -> None:
        self.pid = process.pid
        self.environment = environment
        self._process = process
        self._data = data
        self._lines = lines

    async def tell(self, command: str) -> dict[str, Any]:
        """One command of `bench.backend`; what it answers."""
        if self._process.stdin is None:
            raise BenchError("the backend has no standard input")
        await self._process.stdin.send(f"{command}\n".encode())
        return dict(json.loads(await self._lines.next()))

    async def journal(self) -> list[Entry]:
        """Everything so far, oldest first."""
        text = await anyio.Path(self._data / JOURNAL).read_text()
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [
            Entry(line["at"], line.get("object") or line["event"], "event" in line, line.get("bucket", ""), line.get("bytes", 0))
            for line in lines
        ]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the backend's journal: when (seconds of the clock of the day) an object stood, or its event was sent."""

    at: float
    key: str
    is_event: bool
    bucket: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon, ready to take uploads."""

    api: str
    pid: int
    backend: Backend
    session: aiohttp.ClientSession
    log: Path
    scratch: Path

    @property
    def backend_pid(self) -> int:
        """Of S3 and SQS."""
        return self.backend.pid

    async def metrics(self) -> dict[str, float]:
        """Every sample of ``/metrics`` by its name with its labels."""
        async with self.session.get(f"{self.api}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        samples = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def ffmpeg_version(self) -> str:
        """Of the ffmpeg that it uses, as it tells itself."""
        info = next(name for name in await self.metrics() if name.startswith("vproc_build_info{"))
        return info.partition('ffmpeg="')[2].partition('"')[0]

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
async def open_backend(work: Path) -> AsyncIterator[Backend]:
    """S3 and SQS in a process of their own. Raises `BenchError` with the end of its log."""
    data = work / "store"
    argv = [sys.executable, "-m", "bench.backend", "--data", str(data)]
    async with started(argv, env=environment(), log=work / "backend.log", stdin=subprocess.PIPE) as process:
        lines = _Lines(process, work / "backend.log")
        with anyio.fail_after(_READY_WITHIN_S):
            given = json.loads(await lines.next())
        yield Backend(process, data, lines, given)


@asynccontextmanager
async def open_daemon(work: Path, settings: Mapping[str, str]) -> AsyncIterator[Daemon]:
    """Backend, then daemon with its defaults but for ``settings``. Raises `BenchError` with the end of the daemon's log."""
    async with open_backend(work) as backend:
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
        env = environment(**backend.environment, **own, **settings)
        async with (
            started([sys.executable, "-m", "vproc", "serve"], env=env, log=log) as process,
            aiohttp.ClientSession() as session,
        ):
            with anyio.fail_after(_READY_WITHIN_S):
                api = await _address(process, log)
            yield Daemon(api, process.pid, backend, session, log, scratch)


class _Lines:
    """Standard output, a line at a time."""

    def __init__(self, process: Process, log: Path) -> None:
        self._log = log
        self._text = ""
        if process.stdout is None:
            raise BenchError("the backend has no standard output")
        self._stream = TextReceiveStream(process.stdout)

    async def next(self) -> str:
        """The next line. Raises `BenchError` where there is none any more."""
        while "\n" not in self._text:
            try:
                self._text += await self._stream.receive()
            except anyio.EndOfStream:
                raise BenchError(f"the backend has ended: {_tail(self._log)}") from None
        line, _, self._text = self._text.partition("\n")
        return line


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
