"""Containers beside this process. Adapter: `containers`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container that holds one child: no network, a read-only root, no capability, no new privilege; removed by the engine once
    it has ended. ``seccomp`` is the filter of system calls (JSON); None: the engine's own.

    ``mount``: the one directory that it may write, as the engine names it and as the child does. ``user`` is ``uid:gid``, and
    ``host_ids`` says that these are the machine's where the engine would map them. ``memory_bytes`` counts what is filled, swap
    included. ``ulimits``: name without RLIMIT_, soft, hard. ``devices`` are nodes that it may drive, ``groups`` who may.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    directory: str
    mount: tuple[str, str]
    user: str
    memory_bytes: int
    pids: int
    ulimits: tuple[tuple[str, int, int], ...]
    labels: Mapping[str, str]
    host_ids: bool = False
    seccomp: str | None = None
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Stream(StrEnum):
    """Which of a child's outputs."""

    STDOUT = "stdout"
    STDERR = "stderr"


class ContainerPipes(Protocol):
    """A container's standard input and outputs."""

    def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """What it writes, until it has ended or the engine has gone away."""
        ...

    async def write(self, data: bytes) -> bool:
        """Write all of it, as the container takes it. False: it takes no more."""
        ...

    async def end_input(self) -> None:
        """The end of its input. May be called again."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    """What a container uses at one moment. ``memory_bytes`` without the files that the kernel keeps in memory for it."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container that stands."""

    name: str
    labels: Mapping[str, str]
    running: bool


@dataclass(frozen=True, slots=True)
class ContainerMount:
    """A directory of a container: where the engine has it, and where the container sees it."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What the engine knows of one container: the id of its image, and its directories."""

    container_id: str
    image: str
    mounts: tuple[ContainerMount, ...]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine is. ``rootless``: root in a container is the user that the engine runs as; ``maps_users``: users in a
    container are others outside. ``lacks``: limits that it cannot give, in words."""

    version: str
    rootless: bool
    maps_users: bool
    seccomp: bool
    memory_bytes: int
    lacks: tuple[str, ...]


class ContainerEngine(Protocol):
    """The engine of this machine. What it refuses or does not answer raises `UnavailableError`."""

    @property
    def address(self) -> str:
        """Where it is asked, for people."""
        ...

    async def facts(self) -> EngineFacts:
        """What it is."""
        ...

    async def image_id(self, name: str) -> str | None:
        """The id of an image that it has."""
        ...

    async def container(self, name: str) -> ContainerFacts | None:
        """A container by its id or name, None where there is none."""
        ...

    async def is_running(self, name: str) -> bool:
        """Whether there is such a container, and it runs."""
        ...

    async def labelled(self, label: str) -> list[ContainerState]:
        """Every container that has a label of that name, running or not."""
        ...

    async def create(self, spec: ContainerSpec) -> None:
        """Make it, and not start it."""
        ...

    def attached(self, name: str) -> AbstractAsyncContextManager[ContainerPipes]:
        """Its pipes, from before its start on. At the end of the block its input ends, too."""
        ...

    def removal(self, name: str) -> AbstractAsyncContextManager[Callable[[], Awaitable[int]]]:
        """A function that returns its exit code once it has ended and is removed. Entered before the start."""
        ...

    async def start(self, name: str) -> None:
        """Start it."""
        ...

    async def kill(self, name: str, signal: str) -> None:
        """Send its first process a signal. One that has ended, or is gone, is no error."""
        ...

    async def remove(self, name: str) -> None:
        """Remove it whatever it does. One that is gone is no error."""
        ...

    async def usage(self, name: str) -> ContainerUsage | None:
        """What it uses now; None where it has ended."""
        ...
