"""A value that is dear to make and that many ask for: made once in a while, by one of them, for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

import anyio

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """What ``make`` gives, at most ``for_s`` old. An error is kept for nobody: whoever waits next tries again. ``clock`` is
    monotonic, in seconds."""

    def __init__(self, make: Callable[[], Awaitable[Value]], *, for_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._make = make
        self._for_s = for_s
        self._clock = clock
        self._making = anyio.Lock()
        self._last: tuple[float, Value] | None = None

    async def get(self) -> Value:
        """The value. Whoever comes while it is made waits for it."""
        async with self._making:
            if self._last is None or self._clock() - self._last[0] >= self._for_s:
                made = await self._make()
                self._last = self._clock(), made
            return self._last[1]

    def forget(self) -> None:
        """It holds no more."""
        self._last = None
