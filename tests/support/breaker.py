"""Breaks a world at its n-th call to the outside: the store, the queue or the catalog is at fault, or the process is killed.

As SQLite tests itself: first without a fault, to count the calls; then with the fault at each of them in turn.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

import anyio

from tests.support.faults import Faults
from vproc.db.catalog import SqlCatalog
from vproc.errors import ErrorCode, TransientError, UnavailableError


class Killed(BaseException):
    """The process is gone. From then on every call raises this, so that no clearing away takes effect."""


class Fault(StrEnum):
    """What befalls a call. ``…_after``: it took effect, and only its answer was lost."""

    AWAY = "away"
    AWAY_AFTER = "away_after"
    REFUSED = "refused"
    REFUSED_AFTER = "refused_after"
    BUG = "bug"
    KILLED = "killed"
    KILLED_AFTER = "killed_after"
    DRAINED = "drained"
    """The job is cancelled, as by the end of the drain time."""


@dataclass(slots=True)
class Breaker:
    """Counts calls in the order in which they begin. ``at`` is the call that breaks, from 1; ``hit`` its name once it did."""

    fault: Fault | None = None
    at: int = 0
    hit: str | None = None
    names: list[str] = field(default_factory=list)
    cancel: Callable[[], None] = lambda: None
    _dead: bool = False

    def watch(self, adapter: Faults, name: str) -> None:
        """Count the calls of an adapter from now on."""
        begin = adapter.begin

        async def counted(method: str) -> BaseException | None:
            late = await begin(method)
            return await self.begin(f"{name}.{method}") or late

        adapter.begin = counted  # type: ignore[method-assign]

    def catalog(self, catalog: SqlCatalog) -> SqlCatalog:
        """The catalog, its calls counted."""
        return cast("SqlCatalog", _CountedCatalog(catalog, self))

    def restart(self) -> None:
        """Another process takes over."""
        self._dead = False
        self.at = 0

    async def begin(self, name: str) -> BaseException | None:
        """Count, and break where it is this one's turn; what is to be raised once the call took effect."""
        if self._dead:
            raise Killed
        self.names.append(name)
        if len(self.names) != self.at or self.fault is None:
            return None
        self.hit = name
        if self.fault is Fault.DRAINED:
            self.cancel()
            await anyio.lowlevel.checkpoint()
            return None
        error = _ERRORS[self.fault]()
        self._dead = isinstance(error, Killed)
        if self.fault in _AFTER:
            return error
        raise error


_ERRORS: Mapping[Fault, Callable[[], BaseException]] = {
    Fault.AWAY: lambda: UnavailableError("away"),
    Fault.AWAY_AFTER: lambda: UnavailableError("away"),
    Fault.REFUSED: lambda: TransientError(ErrorCode.INTERNAL, "refused"),
    Fault.REFUSED_AFTER: lambda: TransientError(ErrorCode.INTERNAL, "refused"),
    Fault.BUG: lambda: RuntimeError("a bug"),
    Fault.KILLED: Killed,
    Fault.KILLED_AFTER: Killed,
}
_AFTER = {Fault.AWAY_AFTER, Fault.REFUSED_AFTER, Fault.KILLED_AFTER}


class _CountedCatalog:
    def __init__(self, catalog: SqlCatalog, breaker: Breaker) -> None:
        self._catalog = catalog
        self._breaker = breaker

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._catalog, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            late = await self._breaker.begin(f"catalog.{name}")
            result = await method(*arguments, **named)
            if late is not None:
                raise late
            return result

        return call


def killed_in(error: BaseException) -> bool:
    """Whether it is a kill, or a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(killed_in(one) for one in error.exceptions)
    return isinstance(error, Killed)
