"""Children of the bench, each in a session of its own, ended with all they started; and what Linux tells of processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process

_END_WITHIN_S = 20.0
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement that could not be made; its text says why."""


@asynccontextmanager
async def started(
    argv: Sequence[str], *, env: Mapping[str, str], log: Path, stdin: int = subprocess.DEVNULL
) -> AsyncIterator[Process]:
    """Run a program until the block ends, then end its whole group: TERM, a bounded wait, KILL. Its standard error goes to
    ``log``; standard output is the caller's to read."""
    with log.open("wb") as errors:
        process = await anyio.open_process(argv, env=env, stdin=stdin, stderr=errors, start_new_session=True)
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            _signal(process.pid, signal.SIGTERM)
            with anyio.move_on_after(_END_WITHIN_S):
                await process.wait()
            _signal(process.pid, signal.SIGKILL)
            await process.wait()
            await process.aclose()


def _signal(pgid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pgid, number)


@dataclass(frozen=True, slots=True)
class Memory:
    """A process's memory without its children's: resident now, its peak so far, and what of it is its own (not a file's)."""

    resident_bytes: int
    peak_bytes: int
    anonymous_bytes: int


def memory_of(pid: int) -> Memory:
    """Raises `BenchError` where the process is gone."""
    try:
        lines = (line.partition(":") for line in (_PROC / str(pid) / "status").read_text().splitlines())
        told = {name: value.split() for name, _, value in lines}
        return Memory(*(int(told[name][0]) * 1024 for name in ("VmRSS", "VmHWM", "RssAnon")))
    except (OSError, KeyError) as error:
        raise BenchError(f"process {pid} has ended") from error


def descendants(pid: int) -> Iterator[int]:
    """Every living process below that one."""
    for thread in (_PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, thread.read_text().split()):
                yield child
                yield from descendants(child)


def nice_of(pid: int, *, program: str) -> int | None:
    """The priority of a process, if it runs that program."""
    with suppress(OSError, IndexError):
        head, _, rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")
        if head.partition("(")[2] == program:
            return int(rest.split()[16])
    return None


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds of processor so far: the machine's, whoever used them; stolen by its host; and those of us and our children,
    counted when a child has ended."""

    busy_s: float
    stolen_s: float
    ours_s: float


def cpu_times(*pids: int) -> CpuTimes:
    """``pids`` are our living children; what they started counts when they have reaped it."""
    fields = [int(word) / _TICKS for word in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, stolen = fields
    ours = 0.0
    for pid in (os.getpid(), *pids):
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ours += sum(int(word) for word in words[11:15]) / _TICKS
    return CpuTimes(user + nice + system + irq + softirq, stolen, ours)
