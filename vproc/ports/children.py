"""Confined children. Adapter: `workers.runners`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a confined child may use. ``wall_s`` counts real time; ``stall_s`` the time in which it says nothing new
    (`Runner.run`); ``output_bytes`` is the largest file, ``directory_bytes`` all files of its directory together.
    ``memory_bytes`` counts address space, reserved or filled; ``data_bytes`` what may be filled."""

    wall_s: float
    cpu_s: int
    memory_bytes: int
    output_bytes: int
    directory_bytes: int
    stall_s: float | None = None
    data_bytes: int | None = None


class StopReason(StrEnum):
    """Why the runner ended a child by itself."""

    WALL = "wall"
    STALL = "stall"
    DIRECTORY = "directory"
    STDOUT = "stdout"


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a child ended. ``returncode`` is negative for a signal. ``stderr`` is its last 16 KiB, control characters
    escaped. ``stopped``: the runner ended it, and why."""

    returncode: int
    stdout: bytes
    stderr: str
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    stopped: StopReason | None = None


Feed = Callable[[Callable[[bytes], Awaitable[bool]]], Awaitable[None]]
"""Writes a child's standard input by the function that it is given, which answers False once the child takes no more. When it
returns, the input is at its end; what it raises ends the child."""


class Runner(Protocol):
    """Runs ffmpeg and ffprobe, confined. Cancelling a run ends the whole process group and reaps it before it returns."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        """Run ``argv`` with ``cwd`` as the only directory that it may write, standard input what ``feed`` writes, or empty.

        With ``on_line`` each line of standard output goes there (and not into the result); it says whether the line
        was news, which restarts the stall clock. Without it standard output is captured, 1 MiB at most
        (`StopReason.STDOUT` beyond). A program that cannot be started raises `UnavailableError`.
        """
        ...
