"""The engine's words, both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vproc.containers.wire import facts_of, mounts_of, request_of, usage_of
from vproc.ports import ContainerMount, ContainerSpec, ContainerUsage, EngineFacts

SPEC = ContainerSpec(
    name="vproc-1",
    image="sha256:1",
    argv=("/bin/sh", "-c", "exit 0"),
    env={"LANG": "C.UTF-8"},
    directory="/scratch/job",
    mount=("/mnt/scratch/job", "/scratch/job"),
    user="1000:1000",
    memory_bytes=1 << 30,
    pids=4096,
    ulimits=(("core", 0, 0), ("cpu", 10, 15)),
    labels={"vproc.daemon": "a"},
    devices=("/dev/dri/renderD128",),
    groups=("44",),
)


def test_a_container_is_asked_for_with_everything_closed() -> None:
    """The whole request: what is not in it is the engine's default, as its filter of system calls."""
    assert request_of(SPEC) == {
        "Image": "sha256:1",
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["-c", "exit 0"],
        "Env": ["LANG=C.UTF-8"],
        "WorkingDir": "/scratch/job",
        "User": "1000:1000",
        "Labels": {"vproc.daemon": "a"},
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": False,
        "NetworkDisabled": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "AutoRemove": True,
            "NetworkMode": "none",
            "IpcMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "LogConfig": {"Type": "none"},
            "Memory": 1 << 30,
            "MemorySwap": 1 << 30,
            "PidsLimit": 4096,
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}, {"Name": "cpu", "Soft": 10, "Hard": 15}],
            "Mounts": [{"Type": "bind", "Source": "/mnt/scratch/job", "Target": "/scratch/job", "ReadOnly": False}],
            "UsernsMode": "",
            "Devices": [
                {"PathOnHost": "/dev/dri/renderD128", "PathInContainer": "/dev/dri/renderD128", "CgroupPermissions": "rw"}
            ],
            "GroupAdd": ["44"],
        },
    }


def test_a_filter_of_system_calls_goes_in_whole() -> None:
    options = request_of(replace(SPEC, seccomp='{"defaultAction":"x"}'))["HostConfig"]["SecurityOpt"]
    assert options == ["no-new-privileges", 'seccomp={"defaultAction":"x"}']


@pytest.mark.parametrize(
    ("info", "facts"),
    [
        (
            {
                "ServerVersion": "28.0.1",
                "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
                "MemTotal": 100,
                "MemoryLimit": True,
                "PidsLimit": True,
            },
            EngineFacts("28.0.1", rootless=True, maps_users=False, seccomp=True, memory_bytes=100, lacks=()),
        ),
        (
            {"SecurityOptions": ["name=userns"], "MemoryLimit": False},
            EngineFacts(
                "", rootless=False, maps_users=True, seccomp=False, memory_bytes=0, lacks=("memory limits", "limits of processes")
            ),
        ),
        (
            {"SecurityOptions": None, "MemoryLimit": True, "PidsLimit": True},
            EngineFacts("", rootless=False, maps_users=False, seccomp=False, memory_bytes=0, lacks=()),
        ),
    ],
)
def test_what_an_engine_is(info: dict[str, object], facts: EngineFacts) -> None:
    assert facts_of(info) == facts


def test_mounts_of_a_container() -> None:
    told = {
        "Mounts": [
            {"Type": "volume", "Name": "s", "Source": "/var/lib/docker/volumes/s/_data", "Destination": "/scratch"},
            {"Type": "bind", "Source": "/srv/data", "Destination": "/data"},
            {"Type": "tmpfs", "Source": "", "Destination": "/tmp"},
        ]
    }
    assert mounts_of(told) == (
        ContainerMount("/var/lib/docker/volumes/s/_data", "/scratch"),
        ContainerMount("/srv/data", "/data"),
    )
    assert mounts_of({"Mounts": None}) == ()


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        ({"usage": 900, "stats": {"anon": 10, "file": 800}}, 10),  # cgroup v2
        ({"usage": 900, "stats": {"total_rss": 20, "rss": 10, "total_cache": 800}}, 20),  # cgroup v1
        ({"usage": 900, "stats": {}}, 900),  # Podman
    ],
)
def test_what_a_container_uses_is_without_the_files_that_are_kept_for_it(memory: dict[str, object], used: int) -> None:
    stats = {"cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}}, "memory_stats": memory}
    assert usage_of(stats) == ContainerUsage(cpu_s=1.5, memory_bytes=used)


@pytest.mark.parametrize(
    "stats", [{}, {"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}, {"memory_stats": {"usage": 5}}]
)
def test_a_container_that_has_ended_uses_nothing_that_is_told(stats: dict[str, object]) -> None:
    assert usage_of(stats) is None
