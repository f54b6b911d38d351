"""Work files: a job's directory never outlives it, the dead's are removed, the living's are not."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from tests.support.children import ROOT, names_in
from vproc.errors import ConfigError, ErrorCode, UnavailableError
from vproc.workers import scratch as scratch_module
from vproc.workers.scratch import Scratch, open_scratch

HOLDER = """
import sys, anyio
from pathlib import Path
from vproc.workers.scratch import open_scratch

async def main():
    async with open_scratch(Path(sys.argv[1])) as scratch:
        (scratch.root / "job").mkdir()
        print(scratch.root.name, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)

anyio.run(main)
"""


@contextmanager
def other_daemon(parent: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that holds a directory of its own until it is killed, and that directory's name."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def test_everything_is_removed_at_the_end(tmp_path: Path) -> None:
    async with open_scratch(tmp_path) as scratch:
        (scratch.root / "left over").write_text("x")
        assert scratch.root.stat().st_mode & 0o777 == 0o700
        assert 0 < await scratch.free_bytes() <= await scratch.size_bytes()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("end", ["success", "error", "cancel"])
async def test_a_jobs_directory_goes_however_the_job_ends(tmp_path: Path, end: str) -> None:
    scratch = Scratch(tmp_path)

    async def job() -> None:
        async with scratch.directory("run") as directory:
            assert directory.stat().st_mode & 0o777 == 0o700
            (directory / "out").mkdir()
            (directory / "out" / "file").write_text("x")
            if end == "error":
                raise ZeroDivisionError
            if end == "cancel":
                tasks.cancel_scope.cancel()
                await anyio.sleep_forever()

    if end == "error":
        with pytest.raises(ZeroDivisionError):
            await job()
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job)
    assert names_in(tmp_path) == []


async def test_two_jobs_do_not_share_a_directory(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    async with scratch.directory("run") as directory:
        (directory / "file").write_text("x")
        with pytest.raises(UnavailableError, match="cannot work"):
            async with scratch.directory("run"):
                pass
        assert names_in(directory) == ["file"]


async def test_what_a_dead_process_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    with other_daemon(tmp_path) as (process, name):
        async with open_scratch(tmp_path) as scratch:
            assert names_in(tmp_path) == sorted([name, scratch.root.name])
            assert names_in(tmp_path / name) == ["job", "lock"]
        process.kill()
        process.wait()
        assert names_in(tmp_path) == [name]
        async with open_scratch(tmp_path) as scratch:
            assert names_in(tmp_path) == [scratch.root.name]


async def test_a_directory_without_a_lock_is_given_time_to_take_it(tmp_path: Path) -> None:
    young, old, other = (tmp_path / name for name in ("vproc-scratch-young", "vproc-scratch-old", "somebody-elses"))
    for path in (young, old, other):
        path.mkdir()
        (path / "file").write_text("x")
    for path in (old, other):
        os.utime(path, (1, 1))
    async with open_scratch(tmp_path) as scratch:
        assert names_in(tmp_path) == sorted([young.name, other.name, scratch.root.name])


async def test_a_process_that_starts_is_never_taken_for_a_dead_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process looks around in the moment before the lock is held."""
    removed: list[list[str]] = []
    take = fcntl.flock

    def looked_at_meanwhile(handle: int, how: int) -> None:
        if not removed:
            removed.append([])
            removed[0] = scratch_module._remove_dead(tmp_path, tmp_path / "another")
        take(handle, how)

    monkeypatch.setattr(fcntl, "flock", looked_at_meanwhile)
    async with open_scratch(tmp_path) as scratch:
        assert removed == [[]]
        assert names_in(scratch.root) == ["lock"]


async def test_two_that_clean_up_at_once_do_not_trip_over_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was listed is gone by the time it is looked at."""

    class Vanished(type(tmp_path)):  # type: ignore[misc]
        def is_dir(self) -> bool:
            return True

    monkeypatch.setattr(type(tmp_path), "glob", lambda self, _: [Vanished(self / "vproc-scratch-gone")])
    async with open_scratch(tmp_path) as scratch:
        assert names_in(tmp_path) == [scratch.root.name]


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    os.utime(tmp_path / "elsewhere", (1, 1))
    (tmp_path / "vproc-scratch-link").symlink_to(tmp_path / "elsewhere")
    async with open_scratch(tmp_path):
        assert names_in(tmp_path / "elsewhere") == ["file"]


async def test_a_job_that_needs_more_than_there_is_is_told_so(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    await scratch.require(1)
    with pytest.raises(UnavailableError, match="bytes free and the job needs about") as caught:
        await scratch.require(1 << 62)
    assert caught.value.code is ErrorCode.OUT_OF_DISK


async def test_a_directory_that_went_away_is_the_machines_fault(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "gone")
    with pytest.raises(UnavailableError, match="gone") as caught:
        await scratch.free_bytes()
    assert caught.value.code is ErrorCode.OUT_OF_DISK
    with pytest.raises(UnavailableError, match="cannot work"):
        async with scratch.directory("run"):
            pass


@pytest.mark.parametrize("name", ["missing", "file"])
async def test_a_parent_that_cannot_be_used_names_its_setting(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=rf"^VPROC_SCRATCH_DIR: takes a directory .*{name}"):
        async with open_scratch(tmp_path / name):
            pass


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only"), (errno.ENOSPC, "no space is left")]
)
async def test_a_parent_that_refuses_a_file_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    """A disk may take the directory and not the lock."""

    take = os.open

    def refuse(path: Path, flags: int, *arguments: int, **named: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return take(path, flags, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(ConfigError, match=words):
            async with open_scratch(tmp_path):
                pass
    assert names_in(tmp_path) == []
