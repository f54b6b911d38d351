"""A share of the processor for a process and all that it starts: a group of the kernel's, of version 1 or 2."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from bench.processes import BenchError

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
# What else runs on the machine is not to take of a share: sixteen times the usual weight, and no more than the share.
_SHARES, _WEIGHT = 16 * 1024, 16 * 100
_EMPTY_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Capped:
    """A group, and the processor that all of it runs on. ``words`` stand before a command that is to run in it."""

    path: Path
    cpu: int

    @property
    def words(self) -> tuple[str, ...]:
        """A shell on that processor that joins the group and becomes the command."""
        joins = ("/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.path / "cgroup.procs"))
        return ("taskset", "--cpu-list", str(self.cpu), *joins)


@asynccontextmanager
async def capped(name: str, cores: float, *, cpu: int, root: Path = ROOT) -> AsyncIterator[Capped]:
    """A group that gets so many cores and no more, removed at the end. Raises `BenchError` where none can be made."""
    try:
        path = await anyio.to_thread.run_sync(_make, root, f"vproc-bench-{os.getpid()}-{name}", int(cores * PERIOD_US))
    except OSError as error:
        raise BenchError(f"no group can be made for a share of the processor: {error}; it takes root") from error
    try:
        yield Capped(path, cpu)
    finally:
        with anyio.CancelScope(shield=True):
            await _removed(path)


def _make(root: Path, name: str, quota_us: int) -> Path:
    first = root / "cpu"
    if (first / "cpu.cfs_period_us").exists():
        path = first / name
        path.mkdir()
        (path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (path / "cpu.cfs_quota_us").write_text(str(quota_us))
        (path / "cpu.shares").write_text(str(_SHARES))
        return path
    control = root / "cgroup.subtree_control"
    if "cpu" not in control.read_text().split():
        control.write_text("+cpu")
    path = root / name
    path.mkdir()
    (path / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
    (path / "cpu.weight").write_text(str(_WEIGHT))
    return path


@contextmanager
def beside(cpu: int) -> Iterator[None]:
    """Keep this process, and what it starts, off that processor, where there is another."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, usual - {cpu} or usual)
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


async def _removed(path: Path) -> None:
    """Once the last of its processes has gone; a group that is not empty cannot be removed."""
    with anyio.move_on_after(_EMPTY_WITHIN_S):
        while True:
            try:
                await anyio.Path(path).rmdir()
            except FileNotFoundError:
                return
            except OSError:
                await anyio.sleep(_LOOK_EVERY_S)
            else:
                return
