"""The daemon's commands, run again bare: which of them, with what changed, and what they took."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from bench.commands import CommandWatch, Ran, making, replayed, run_bare, run_timed
from bench.processes import BenchError, started

SCRATCH = Path("/scratch")
JOB = "/scratch/daemon-1/job-1"
ENCODE = (
    *("ffmpeg", "-progress", "pipe:1", "-i", f"file:{JOB}/source"),
    *("-map", "0", f"file:{JOB}/out/v360.mp4", f"file:{JOB}/out/thumbs.nut"),
)
SHEETS = ("ffmpeg", "-i", f"file:{JOB}/out/thumbs.nut", "-vf", "tile=5x5", f"file:{JOB}/out/sprite-%03d.jpg")
CHECK = ("ffmpeg", "-xerror", "-i", f"file:{JOB}/out/v360.mp4", "-map", "0:v:0", "-f", "null", "-")


def test_only_what_writes_outputs_is_run_again() -> None:
    assert making([("ffmpeg", "-version"), ENCODE, SHEETS, CHECK], SCRATCH) == [ENCODE, SHEETS]


def test_the_source_and_the_outputs_are_others_and_all_else_is_the_same() -> None:
    """What one command wrote the next one reads."""
    encode, sheets = replayed([ENCODE, SHEETS], scratch=SCRATCH, source=Path("/clip.mp4"), to=Path("/to"))
    expected = " ".join(ENCODE).replace(f"{JOB}/source", "/clip.mp4").replace(JOB, "/to")
    assert " ".join(encode) == expected
    assert " ".join(sheets) == " ".join(SHEETS).replace(JOB, "/to")


@pytest.mark.parametrize("pipe", ["pipe:0", "pipe:", "-"])
def test_what_came_through_a_pipe_is_read_from_the_file(pipe: str) -> None:
    (command,) = replayed(
        [("ffmpeg", "-protocol_whitelist", "pipe", "-i", pipe, f"{JOB}/out/v360.mp4")],
        scratch=SCRATCH,
        source=Path("/clip.mp4"),
        to=Path("/to"),
    )
    assert command == ("ffmpeg", "-protocol_whitelist", "file", "-i", "file:/clip.mp4", "file:/to/out/v360.mp4")


def test_a_command_that_would_still_reach_into_the_job_is_refused() -> None:
    command = ("ffmpeg", "-i", f"file:{JOB}/source", "-vf", f"lut3d={JOB}/map.cube", f"{JOB}/out/v.mp4")
    with pytest.raises(BenchError, match="names the scratch directory"):
        replayed([command], scratch=SCRATCH, source=Path("/clip.mp4"), to=Path("/to"))


async def test_a_run_counts_what_its_children_took(tmp_path: Path) -> None:
    burn = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    ran = await run_timed([sys.executable, "-c", burn], log=tmp_path / "log", nice=0)
    alone = await run_timed([sys.executable, "-c", "pass"], log=tmp_path / "log", nice=0)
    assert ran.cpu_s > alone.cpu_s
    assert ran.wall_s > alone.wall_s > 0
    assert Ran(1, 2, 3) + Ran(10, 20, 2) == Ran(11, 22, 3)


async def test_a_run_has_the_daemons_priority_and_its_failure_is_told(tmp_path: Path) -> None:
    tell = "import os, sys; sys.exit(f'nice {os.nice(0)}')"
    with pytest.raises(BenchError, match=f"ended with 1: nice {os.nice(0) + 10}"):
        await run_timed([sys.executable, "-c", tell], log=tmp_path / "log")


async def test_folders_of_the_outputs_are_made(tmp_path: Path) -> None:
    to = tmp_path / "to"
    command = (shutil.which("touch") or "touch", str(to / "out" / "v360.mp4"))
    await run_bare([command], to=to, log=tmp_path / "log")
    assert (to / "out" / "v360.mp4").exists()


async def test_a_command_is_seen_while_it_runs(tmp_path: Path) -> None:
    """By its program's name, below the process that started it."""
    program = tmp_path / "ffmpeg"
    program.symlink_to(shutil.which("cat") or "cat")
    watch = CommandWatch(os.getpid())
    async with started([str(program), "-"], env={}, log=tmp_path / "log", stdin=subprocess.PIPE):
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch.look)
                while not watch.commands:
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
    assert watch.commands == [(str(program), "-")]
