"""Reads what this machine gives. What the texts mean is `core.machine`'s."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import anyio.to_thread

from vproc.core.machine import Machine, cpu_quota, group_files, machine_of, memory_limit, memory_total


async def read_machine(root: Path = Path("/")) -> Machine:
    """Cores and memory that this process may use, as they are now. ``root`` is where ``proc`` is. What cannot be read bounds
    nothing."""
    return await anyio.to_thread.run_sync(_read, root)


def _read(root: Path) -> Machine:
    def text(path: PurePosixPath) -> str:
        with suppress(OSError):
            return (root / path.relative_to("/")).read_text()
        return ""

    def proc(name: str) -> str:
        return text(PurePosixPath("/proc") / name)

    files = group_files(proc("self/cgroup"), proc("self/mountinfo"))

    def quotas() -> Iterator[float | None]:
        yield from (cpu_quota(text(path)) for path in files.cpu_max)
        yield from (cpu_quota(f"{text(quota).strip()} {text(period)}") for quota, period in files.cpu_cfs)

    return machine_of(
        threads=len(os.sched_getaffinity(0)),
        total_bytes=memory_total(proc("meminfo")),
        quotas=quotas(),
        limits=(memory_limit(text(path)) for path in files.memory),
    )
