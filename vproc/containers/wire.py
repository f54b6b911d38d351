"""What is said to the engine, and what it says, as the words of its API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vproc.ports import ContainerMount, ContainerSpec, ContainerUsage, EngineFacts

_NANO = 1e9
_LIMITS = {"MemoryLimit": "memory limits", "PidsLimit": "limits of processes"}


def request_of(spec: ContainerSpec) -> dict[str, Any]:
    """The body of ``containers/create``. The engine keeps no log of it, gives it neither network nor shared memory, and removes
    it at its end. Its input ends with the one connection that is attached to it."""
    source, target = spec.mount
    return {
        "Image": spec.image,
        "Entrypoint": [spec.argv[0]],
        "Cmd": list(spec.argv[1:]),
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "WorkingDir": spec.directory,
        "User": spec.user,
        "Labels": dict(spec.labels),
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
            "SecurityOpt": ["no-new-privileges", *([f"seccomp={spec.seccomp}"] if spec.seccomp else [])],
            "LogConfig": {"Type": "none"},
            "Memory": spec.memory_bytes,
            "MemorySwap": spec.memory_bytes,
            "PidsLimit": spec.pids,
            "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in spec.ulimits],
            "Mounts": [{"Type": "bind", "Source": source, "Target": target, "ReadOnly": False}],
            "UsernsMode": "host" if spec.host_ids else "",
            "Devices": [{"PathOnHost": node, "PathInContainer": node, "CgroupPermissions": "rw"} for node in spec.devices],
            "GroupAdd": list(spec.groups),
        },
    }


def facts_of(info: Mapping[str, Any]) -> EngineFacts:
    """From ``info``."""
    options = {str(option).partition(",")[0] for option in info.get("SecurityOptions") or ()}
    return EngineFacts(
        version=str(info.get("ServerVersion", "")),
        rootless="name=rootless" in options,
        maps_users="name=userns" in options,
        seccomp="name=seccomp" in options,
        memory_bytes=int(info.get("MemTotal") or 0),
        lacks=tuple(words for name, words in _LIMITS.items() if not info.get(name)),
    )


def mounts_of(container: Mapping[str, Any]) -> tuple[ContainerMount, ...]:
    """From ``containers/…/json``: the directories of the machine that it sees."""
    return tuple(
        ContainerMount(str(mount["Source"]), str(mount["Destination"]))
        for mount in container.get("Mounts") or ()
        if mount.get("Source") and mount.get("Destination")
    )


def usage_of(stats: Mapping[str, Any]) -> ContainerUsage | None:
    """From ``containers/…/stats``; None of a container that has ended, of which it holds nothing."""
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    used = next((details[name] for name in ("anon", "total_rss", "rss") if name in details), memory.get("usage"))
    spent = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    if not used or spent is None:
        return None
    return ContainerUsage(cpu_s=spent / _NANO, memory_bytes=int(used))
