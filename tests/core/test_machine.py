"""What a machine gives: the least of processors, quotas and limits, wherever control groups stand."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from vproc.core.machine import (
    Machine,
    cpu_quota,
    default_slots,
    group_files,
    machine_of,
    memory_limit,
    memory_total,
    threads_of_a_job,
)

GIB = 1024**3
MOUNTED_V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
MOUNTED_V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


def machine(cores: int, *, threads: int | None = None) -> Machine:
    return Machine(cores=cores, memory_bytes=GIB, threads=threads or cores)


def directories(groups: str, mounts: str) -> list[str]:
    return [str(path.parent) for path in group_files(groups, mounts).memory]


# --- where the limits stand ------------------------------------------------------------------------------------------


def test_a_service_of_version_2_is_bound_by_its_group_and_by_those_around_it() -> None:
    files = group_files("0::/system.slice/vproc.service\n", MOUNTED_V2)
    below = ["/sys/fs/cgroup/system.slice/vproc.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"]
    assert [str(path) for path in files.cpu_max] == [f"{directory}/cpu.max" for directory in below]
    assert [str(path) for path in files.memory] == [f"{directory}/memory.max" for directory in below]
    assert files.cpu_cfs == ()


def test_version_1_has_a_hierarchy_for_each_controller() -> None:
    groups = "12:memory:/docker/abc\n3:cpu,cpuacct:/docker/xyz\n1:name=systemd:/docker/abc\n"
    files = group_files(groups, MOUNTED_V1)
    assert files.cpu_max == ()
    assert files.cpu_cfs[0] == (
        PurePosixPath("/sys/fs/cgroup/cpu,cpuacct/docker/xyz/cpu.cfs_quota_us"),
        PurePosixPath("/sys/fs/cgroup/cpu,cpuacct/docker/xyz/cpu.cfs_period_us"),
    )
    assert [str(path) for path in files.memory] == [
        "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]


def test_both_versions_side_by_side_are_both_asked() -> None:
    unified = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    found = directories("4:memory:/a\n0::/b\n", MOUNTED_V1 + unified)
    assert found[0] == "/sys/fs/cgroup/unified/b"
    assert "/sys/fs/cgroup/memory/a" in found


@pytest.mark.parametrize(
    ("root", "path", "directory"),
    [
        ("/docker/abc", "/docker/abc", "/sys/fs/cgroup"),
        ("/docker/abc", "/docker/abc/inner", "/sys/fs/cgroup/inner"),
        ("/docker/abc", "/", "/sys/fs/cgroup"),
        ("/", "/", "/sys/fs/cgroup"),
    ],
    ids=["container", "group of a container", "own root", "the machine's"],
)
def test_of_a_container_only_its_part_may_be_mounted(root: str, path: str, directory: str) -> None:
    mounts = f"29 23 0:26 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
    assert directories(f"0::{path}\n", mounts)[0] == directory


def test_a_place_with_a_space_in_its_name_is_found() -> None:
    assert directories("0::/a\n", "29 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n")[0] == "/my groups/a"


@pytest.mark.parametrize(
    ("groups", "mounts"),
    [("", ""), ("0::/a\n", ""), ("", MOUNTED_V2), ("0::/../..\n", MOUNTED_V2), ("nonsense", "- - -\n\n - cgroup2\n")],
    ids=["no groups", "not mounted", "not told", "outside of what is seen", "nonsense"],
)
def test_without_groups_nothing_is_asked(groups: str, mounts: str) -> None:
    files = group_files(groups, mounts)
    assert (files.cpu_max, files.cpu_cfs, files.memory) == ((), (), ())


# --- what they say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("150000 100000\n", 1.5),
        ("200000 50000\n", 4.0),
        ("max 100000\n", None),
        ("-1 100000", None),
        ("", None),
        ("100000", None),
        ("100000 0", None),
    ],
)
def test_a_quota_is_time_in_a_period(text: str, cores: float | None) -> None:
    assert cpu_quota(text) == cores


@pytest.mark.parametrize(("text", "limit"), [("1048576\n", 1048576), ("max\n", None), ("", None)])
def test_a_limit_of_memory_is_in_bytes(text: str, limit: int | None) -> None:
    assert memory_limit(text) == limit


def test_the_machines_memory_is_told_in_kibibytes() -> None:
    assert memory_total("MemFree: 1 kB\nMemTotal:       16384 kB\n") == 16 * 1024**2
    with pytest.raises(ValueError, match="MemTotal"):
        memory_total("MemFree: 1 kB\n")


@pytest.mark.parametrize(
    ("threads", "quotas", "cores"),
    [(64, [None, 2.0], 2), (64, [1.5], 2), (64, [0.25], 1), (4, [8.0], 4), (4, [], 4), (8, [6.0, 3.0, None], 3)],
)
def test_the_least_of_all_bounds_the_cores(threads: int, quotas: list[float | None], cores: int) -> None:
    found = machine_of(threads=threads, total_bytes=GIB, quotas=quotas, limits=[])
    assert (found.cores, found.threads, found.is_capped) == (cores, threads, cores < threads)


def test_the_least_of_all_bounds_the_memory() -> None:
    unlimited = 9223372036854771712  # version 1's word for no limit
    assert machine_of(threads=1, total_bytes=8 * GIB, quotas=[], limits=[unlimited, 2 * GIB, None]).memory_bytes == 2 * GIB
    assert machine_of(threads=1, total_bytes=8 * GIB, quotas=[], limits=[unlimited]).memory_bytes == 8 * GIB


# --- what follows for jobs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cores", "slots"), [(1, 1), (2, 1), (3, 1), (4, 2), (64, 32)])
def test_a_job_at_a_time_for_two_cores(cores: int, slots: int) -> None:
    assert default_slots(machine(cores)) == slots


def test_a_container_of_two_cores_on_a_large_host_has_one_slot() -> None:
    assert default_slots(machine(2, threads=64)) == 1


@pytest.mark.parametrize(
    ("cores", "concurrency", "threads"),
    [(2, None, None), (2, 1, None), (2, 2, 1), (2, 8, 1), (8, 4, None), (8, 5, 1), (16, 9, 1), (16, 8, None)],
)
def test_more_jobs_than_usual_share_the_cores(cores: int, concurrency: int | None, threads: int | None) -> None:
    assert threads_of_a_job(concurrency, machine(cores)) == threads


@pytest.mark.parametrize(("concurrency", "threads"), [(None, 4), (2, 4), (3, 1), (4, 1)])
def test_ffmpeg_is_told_of_a_quota_that_it_does_not_see(concurrency: int | None, threads: int) -> None:
    assert threads_of_a_job(concurrency, machine(4, threads=64)) == threads
