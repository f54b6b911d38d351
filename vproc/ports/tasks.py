"""Tasks that do whole jobs elsewhere. Adapter: `aws.ecs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vproc.core.task_end import TaskEnd

JOB_VARIABLE = "VPROC_JOB"
"""The variable in which a task finds its job."""


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A task that is to run. ``token``: however often the order is given, one task comes of it. ``started_by`` finds it again.
    ``disk_bytes``: how much the job needs beside what every task has."""

    token: str
    started_by: str
    environment: Mapping[str, str]
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LiveTask:
    """A task that has not stopped. ``job`` is what it found in `JOB_VARIABLE`."""

    name: str
    job: str | None


@dataclass(frozen=True, slots=True)
class TaskState:
    """Where a task is. ``running``: its container has been started. ``end`` once it has stopped."""

    running: bool
    end: TaskEnd | None = None


class Tasks(Protocol):
    """Starts, finds, watches and stops tasks."""

    async def start(self, order: TaskOrder) -> str:
        """The name of the task that the order gives. Raises `UnavailableError` where there is no room, or where it may not be."""
        ...

    async def find(self, started_by: str) -> tuple[LiveTask, ...]:
        """The tasks of that job that have not stopped. One that was started a moment ago may be lacking."""
        ...

    async def look(self, name: str) -> TaskState:
        """Where the task is. One that nobody knows has ended as ``missing``, which may also be said of one that is very young."""
        ...

    async def stop(self, name: str, *, reason: str) -> None:
        """Have it end. One that has ended is no error."""
        ...
