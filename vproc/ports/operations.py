"""What an operator looks at, and what a fleet is scaled by. Adapter of the catalog: `db.catalog`."""

from __future__ import annotations

from typing import Protocol

from vproc.core.operations import Overview


class OperationsReader(Protocol):
    """The catalog, read for whoever looks after it."""

    async def overview(self, *, hours: int, jobs: int, failures: int) -> Overview:
        """Jobs that run, the last ``hours`` hours with the one under way, the last failures: so many of each at most."""
        ...

    async def mean_media_s(self) -> float | None:
        """Mean seconds of the sources of the files that were completed last, two hundred at most; None before the first."""
        ...


class BacklogListener(Protocol):
    """Who wants to hear how much waits. Adapter: `aws.cloudwatch`."""

    async def tell(self, media_s: float) -> None:
        """So many seconds of media wait, as of now. Raises `UnavailableError`."""
        ...
