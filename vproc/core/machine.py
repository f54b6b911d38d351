"""What a machine gives: cores and memory, within the limits of the control groups that a process is in. Pure: of texts.

Where the texts are is documented by the kernel (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst,
scheduler/sched-bwc.rst, proc(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import PurePosixPath

_KIB = 1024
_ROOT, _MOUNT_POINT = 3, 4
"""Of the fields of a line of mountinfo: the part of the file system that is mounted, and where."""
_OCTAL = re.compile(r"\\([0-7]{3})")
_CPU, _MEMORY, _UNIFIED = "cpu", "memory", ""


@dataclass(frozen=True, slots=True)
class Machine:
    """``cores`` are whole ones, one at least. ``threads`` is how many processors the process may run on, which is what ffmpeg
    goes by where it chooses: a quota of processor time leaves it as it was."""

    cores: int
    memory_bytes: int
    threads: int

    @property
    def is_capped(self) -> bool:
        """A quota gives less than the processors that are there."""
        return self.cores < self.threads


@dataclass(frozen=True, slots=True)
class GroupFiles:
    """Where the limits of the control groups stand, those of the groups around one's own included."""

    cpu_max: tuple[PurePosixPath, ...]
    """Version 2: ``QUOTA PERIOD`` in one file."""
    cpu_cfs: tuple[tuple[PurePosixPath, PurePosixPath], ...]
    """Version 1: quota and period."""
    memory: tuple[PurePosixPath, ...]


def group_files(groups: str, mounts: str) -> GroupFiles:
    """Of a process whose ``/proc/self/cgroup`` and ``/proc/self/mountinfo`` say so. Files that are named need not exist."""
    unified, cpu, memory = (tuple(_directories(controller, groups, mounts)) for controller in (_UNIFIED, _CPU, _MEMORY))
    return GroupFiles(
        cpu_max=tuple(directory / "cpu.max" for directory in unified),
        cpu_cfs=tuple((directory / "cpu.cfs_quota_us", directory / "cpu.cfs_period_us") for directory in cpu),
        memory=(
            *(directory / "memory.max" for directory in unified),
            *(directory / "memory.limit_in_bytes" for directory in memory),
        ),
    )


def cpu_quota(text: str) -> float | None:
    """Cores of version 2's ``cpu.max``, or of version 1's quota and period behind each other; None where there is no limit."""
    quota, _, period = text.strip().partition(" ")
    if not (quota.isdigit() and period.strip().isdigit()) or int(period) == 0:
        return None  # "max", or -1
    return int(quota) / int(period)


def memory_limit(text: str) -> int | None:
    """Bytes of ``memory.max`` or ``memory.limit_in_bytes``; None where there is no limit."""
    return int(text) if text.strip().isdigit() else None


def memory_total(meminfo: str) -> int:
    """Bytes of ``MemTotal`` in ``/proc/meminfo``. Raises `ValueError` where it is not there."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) * _KIB
    raise ValueError("no MemTotal")


def machine_of(*, threads: int, total_bytes: int, quotas: Iterable[float | None], limits: Iterable[int | None]) -> Machine:
    """The least of all that bounds it. Part of a core counts as one."""
    cores = min([float(threads), *(quota for quota in quotas if quota is not None)])
    memory = min([total_bytes, *(limit for limit in limits if limit is not None)])
    return Machine(cores=max(1, ceil(cores)), memory_bytes=memory, threads=threads)


def default_slots(machine: Machine) -> int:
    """Jobs at a time where nothing is said: one for two cores. One ffmpeg uses both, and more at once only adds memory."""
    return max(1, machine.cores // 2)


def threads_of_a_job(concurrency: int | None, machine: Machine) -> int | None:
    """How many threads the decoder and each encoder of a job have. Where more jobs run at a time than `default_slots`, each keeps
    to its share of the cores: encoders that all take the whole machine wait for each other. None: they choose, by the processors
    that they see."""
    if concurrency is not None and concurrency > default_slots(machine):
        return max(1, machine.cores // concurrency)
    return machine.cores if machine.is_capped else None


def _directories(controller: str, groups: str, mounts: str) -> Iterator[PurePosixPath]:
    """The group's own directory and those around it, nearest first; nothing where the controller is not mounted."""
    path, mounted = _path(controller, groups), _mounted(controller, mounts)
    if path is None or mounted is None:
        return
    root, point = mounted
    # Of a container only its own part is mounted, or the path is told from the container's own root: both may be so.
    below = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
    yield point / below
    yield from (point / around for around in below.parents)


def _path(controller: str, groups: str) -> PurePosixPath | None:
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        found = number == "0" and not controllers if controller == _UNIFIED else controller in controllers.split(",")
        if found and ".." not in PurePosixPath(path).parts:
            return PurePosixPath(path)
    return None


def _mounted(controller: str, mounts: str) -> tuple[PurePosixPath, PurePosixPath] | None:
    """Which part of the hierarchy is mounted, and where."""
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        fields, (name, options) = mount.split(), _kind(kind)
        right = name == "cgroup2" if controller == _UNIFIED else name == "cgroup" and controller in options
        if right and len(fields) > _MOUNT_POINT:
            return _unescaped(fields[_ROOT]), _unescaped(fields[_MOUNT_POINT])
    return None


def _kind(text: str) -> tuple[str, list[str]]:
    """The file system's type and its own options, behind the source between them."""
    fields = text.split()
    return (fields[0], fields[-1].split(",")) if fields else ("", [])


def _unescaped(path: str) -> PurePosixPath:
    """Spaces and the like stand as octal numbers."""
    return PurePosixPath(_OCTAL.sub(lambda match: chr(int(match[1], 8)), path))
