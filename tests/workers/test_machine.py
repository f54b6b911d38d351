"""What a machine gives, read from a tree of files as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vproc.workers.machine import read_machine

GIB = 1024**3


@pytest.fixture(autouse=True)
def processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def tree(root: Path, groups: str = "", mounts: str = "") -> Path:
    """A machine of 64 GiB."""
    put(root, "proc/meminfo", f"MemTotal: {64 * 1024**2} kB\n")
    put(root, "proc/self/cgroup", groups)
    put(root, "proc/self/mountinfo", mounts)
    return root


async def test_a_container_of_version_2(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n", "29 23 0:26 /../../docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n")
    put(root, "sys/fs/cgroup/cpu.max", "200000 100000\n")
    put(root, "sys/fs/cgroup/memory.max", f"{4 * GIB}\n")
    machine = await read_machine(root)
    assert (machine.cores, machine.memory_bytes, machine.threads) == (2, 4 * GIB, 64)


async def test_a_service_whose_slice_has_the_quota(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/media.slice/vproc.service\n", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    put(root, "sys/fs/cgroup/media.slice/vproc.service/cpu.max", "max 100000\n")
    put(root, "sys/fs/cgroup/media.slice/vproc.service/memory.max", "max\n")
    put(root, "sys/fs/cgroup/media.slice/cpu.max", "350000 100000\n")
    put(root, "sys/fs/cgroup/media.slice/memory.max", f"{8 * GIB}\n")
    machine = await read_machine(root)
    assert (machine.cores, machine.memory_bytes) == (4, 8 * GIB)


async def test_a_container_of_version_1(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "9:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
    )
    put(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n")
    put(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{2 * GIB}\n")
    machine = await read_machine(root)
    assert (machine.cores, machine.memory_bytes) == (2, 2 * GIB)


async def test_version_1_without_limits(tmp_path: Path) -> None:
    root = tree(tmp_path, "3:cpu:/\n9:memory:/\n", "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu\n")
    put(root, "cg/cpu/cpu.cfs_quota_us", "-1\n")
    put(root, "cg/cpu/cpu.cfs_period_us", "100000\n")
    machine = await read_machine(root)
    assert (machine.cores, machine.memory_bytes, machine.is_capped) == (64, 64 * GIB, False)


async def test_no_groups_at_all(tmp_path: Path) -> None:
    put(tmp_path, "proc/meminfo", "MemTotal: 1024 kB\n")
    machine = await read_machine(tmp_path)
    assert (machine.cores, machine.memory_bytes) == (64, 1024 * 1024)


async def test_the_true_one_has_a_core_and_memory() -> None:
    machine = await read_machine()
    assert 1 <= machine.cores <= machine.threads
    assert machine.memory_bytes > 64 * 1024**2
