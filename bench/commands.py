"""The very ffmpeg commands that the daemon ran: seen in the kernel's table of processes, and run again bare, from a local file.

So the other side of a comparison has the same program, the same arguments and the same priority, whatever the daemon plans.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import anyio
import anyio.to_thread

from bench.processes import BenchError, descendants

NICE = 10
"""At which the daemon runs ffmpeg."""
_LOOK_EVERY_S = 0.01
_FILE = "file:"
_PIPES = ("pipe:", "pipe:0", "-")
_DEPTH = 2
"""Below the scratch directory: the daemon's own, and in it the job's."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program took, with all that it started."""

    wall_s: float
    cpu_s: float
    peak_bytes: int = 0

    def __add__(self, other: Ran) -> Ran:
        """One after the other."""
        return Ran(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, max(self.peak_bytes, other.peak_bytes))


class CommandWatch:
    """Notes every ffmpeg below a process. Looks often, which costs: only in runs that are not timed."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seen: dict[int, tuple[str, ...]] = {}

    async def look(self) -> None:
        """Until cancelled."""
        while True:
            for pid in descendants(self._pid):
                if pid not in self._seen and (argv := _command_of(pid)) is not None:
                    self._seen[pid] = argv
            await anyio.sleep(_LOOK_EVERY_S)

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """In the order in which they were seen."""
        return list(self._seen.values())


def _command_of(pid: int) -> tuple[str, ...] | None:
    """The command line of a process, if it is an ffmpeg."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        if words and Path(os.fsdecode(words[0])).name.startswith("ffmpeg"):
            return tuple(map(os.fsdecode, words))
    return None


def making(commands: Sequence[Sequence[str]], scratch: Path) -> list[tuple[str, ...]]:
    """Those that write files into a job's directory; not the ones that only read, as checks do."""
    return [tuple(command) for command in commands if any(_written(command, scratch))]


def _written(command: Sequence[str], scratch: Path) -> list[str]:
    """The arguments that are files below ``scratch`` and no inputs."""
    pairs = zip(["", *command[:-1]], command, strict=True)
    return [word for before, word in pairs if before != "-i" and _below(word, scratch) is not None]


def _below(word: str, scratch: Path) -> Path | None:
    """Where in its job's directory a file is that an argument names."""
    path = Path(word.removeprefix(_FILE))
    if not path.is_relative_to(scratch) or len(path.relative_to(scratch).parts) <= _DEPTH:
        return None
    return Path(*path.relative_to(scratch).parts[_DEPTH:])


def replayed(commands: Sequence[Sequence[str]], *, scratch: Path, source: Path, to: Path) -> list[tuple[str, ...]]:
    """The same commands, that read ``source`` and write below ``to``.

    What they read is the source, unless one of them has written it before. Raises `BenchError` where an argument still names the
    job's directory: it would not be the same command.
    """
    made: set[Path] = set()
    again = []
    for command in commands:
        words = []
        for before, word in zip(["", *command[:-1]], command, strict=True):
            inside = _below(word, scratch)
            if before == "-i" and inside not in made and (inside is not None or word in _PIPES):
                words.append(f"{_FILE}{source}")
            elif inside is not None:
                words.append(f"{_FILE}{to / inside}")
            elif before == "-protocol_whitelist" and word == "pipe":
                words.append("file")  # a source that came through a pipe lies in a file here
            else:
                words.append(word)
        if left := [word for word in words if str(scratch) in word]:
            raise BenchError(f"a command names the scratch directory otherwise than as a file: {left[0][:200]}")
        made.update(inside for word in _written(command, scratch) if (inside := _below(word, scratch)) is not None)
        again.append(tuple(words))
    return again


async def run_bare(commands: Sequence[Sequence[str]], *, to: Path, log: Path) -> Ran:
    """One after another, at the daemon's priority. Raises `BenchError` with the end of what a failed one said."""
    for command in commands:
        for word in command:
            path = Path(word.removeprefix(_FILE))
            if path.is_relative_to(to):
                await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
    total = Ran(0, 0)
    for command in commands:
        total += await run_timed(command, log=log)
    return total


async def run_timed(
    argv: Sequence[str], *, log: Path, nice: int = NICE, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Ran:
    """A program from its start to its end. Raises `BenchError` with the end of what it said where it fails."""
    return await anyio.to_thread.run_sync(_run_timed, argv, log, nice, env, cwd)


def _run_timed(argv: Sequence[str], log: Path, nice: int, env: Mapping[str, str] | None, cwd: Path | None) -> Ran:
    whole = ["nice", "-n", str(nice), *argv] if nice else list(argv)
    with log.open("ab") as errors:
        begun = perf_counter()
        process = subprocess.Popen(  # noqa: S603 - all ours
            whole, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env=env, cwd=cwd
        )
        _, status, used = os.wait4(process.pid, 0)
        wall_s = perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchError(f"{Path(argv[0]).name} ended with {process.returncode}: {log.read_text(errors='replace')[-300:]}")
    return Ran(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
