"""The machine or the task that the daemon runs on, as far as it speaks. Adapters: `aws.instance`, `aws.ecs_agent`."""

from __future__ import annotations

from typing import Protocol

from vproc.core.host_notice import HostNotice


class HostNotices(Protocol):
    """What the host says of its own end."""

    async def look(self) -> tuple[HostNotice, ...]:
        """Every announcement that stands. Raises `UnavailableError` where the host does not answer."""
        ...


class TaskProtection(Protocol):
    """Keeps an orchestrator from choosing this task when it has too many."""

    async def protect(self, minutes: int) -> bool:
        """From now on for so long. False: this task is one that cannot be protected. Raises `UnavailableError`."""
        ...

    async def release(self) -> None:
        """No longer. Raises `UnavailableError`."""
        ...
