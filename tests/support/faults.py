"""What a test may do to a fake adapter: fail its next calls, before or after they took effect; hold one; move its clock."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import anyio
import anyio.lowlevel

from tests.support.changes import Changes

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound="Faults")


class ManualClock:
    """A monotonic clock in seconds that moves only by `advance`."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_s = start_s
        self.listeners: list[Callable[[], None]] = []

    def __call__(self) -> float:
        """The time."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass; polls that wait look again."""
        self._now_s += seconds
        for listener in self.listeners:
            listener()


class Pause:
    """One held call: ``reached`` is set when it begins, and it goes on once ``release`` is called."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self._go_on = anyio.Event()

    def release(self) -> None:
        """Let the call go on."""
        self._go_on.set()

    async def hold(self) -> None:
        """Say that the call began, and wait."""
        self.reached.set()
        await self._go_on.wait()


@dataclass(slots=True)
class _Failure:
    error: BaseException
    times: float
    applied: bool


class Faults:
    """What a test may do to an adapter's calls. ``calls`` counts them by method; `called` waits for one."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._changes = Changes()
        self._failures: dict[str, list[_Failure]] = {}
        self._pauses: dict[str, list[Pause]] = {}

    def fail_next(self, method: str, error: BaseException, *, times: float = 1, applied: bool = False) -> None:
        """Let the next calls of a method raise ``error``; for ever with ``times=inf``. ``applied``: it took effect, and only
        the answer was lost."""
        assert callable(getattr(self, method)), method
        self._failures.setdefault(method, []).append(_Failure(error, times, applied))

    def heal(self) -> None:
        """Forget every failure that was asked for."""
        self._failures.clear()

    def pause_next(self, method: str) -> Pause:
        """Hold the next call of a method before it takes effect."""
        assert callable(getattr(self, method)), method
        pause = Pause()
        self._pauses.setdefault(method, []).append(pause)
        return pause

    async def called(self, method: str, times: int = 1) -> None:
        """Return once a method was called so often; a failure after five seconds."""
        await self.until(lambda: self.calls[method] >= times)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds; it is looked at when a call begins and when one took effect."""
        await self._changes.until(condition)

    async def begin(self, method: str) -> BaseException | None:
        """Count, hold, fail; the error to raise once the call took effect, if one was asked for."""
        self.calls[method] += 1
        self._changes.tell()
        await anyio.lowlevel.checkpoint()
        if pauses := self._pauses.get(method):
            await pauses.pop(0).hold()
        failures = self._failures.get(method)
        if not failures:
            return None
        failure = failures[0]
        failure.times -= 1
        if failure.times <= 0:
            failures.pop(0)
        if failure.applied:
            return failure.error
        raise failure.error


def faulty(
    method: Callable[Concatenate[F, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, R]]:
    """Make an adapter's method one that `Faults` can hold and fail."""

    @functools.wraps(method)
    async def call(self: F, *args: P.args, **kwargs: P.kwargs) -> R:
        late = await self.begin(method.__name__)
        result = await method(self, *args, **kwargs)
        self._changes.tell()
        if late is not None:
            raise late
        return result

    return cast("Callable[Concatenate[F, P], Coroutine[Any, Any, R]]", call)
