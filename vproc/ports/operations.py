"""What an operator looks at. Adapter: `db.catalog`."""

from __future__ import annotations

from typing import Protocol

from vproc.core.operations import Overview


class OperationsReader(Protocol):
    """The catalog, read for whoever looks after it."""

    async def overview(self, *, hours: int, jobs: int, failures: int) -> Overview:
        """Jobs that run, the last ``hours`` hours with the one under way, the last failures: so many of each at most."""
        ...
