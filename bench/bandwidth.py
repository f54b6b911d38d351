"""How fast bytes may pass, for all connections of one direction together."""

from __future__ import annotations

from time import monotonic

import anyio

from bench.figures import MB

_BURST_S = 0.02


class Pace:
    """When the next bytes may pass, in the order of asking. Pure: the time is an argument."""

    def __init__(self, bytes_per_s: float | None) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def change(self, bytes_per_s: float | None) -> None:
        """From now on so fast; None is without a limit."""
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def reserve(self, count: int, now: float) -> float:
        """Take the line for so many bytes; the seconds until the last of them has passed.

        An idle line saves nothing up: what is behind `now` is gone.
        """
        if self._bytes_per_s is None:
            return 0.0
        self._free_at = max(self._free_at, now) + count / self._bytes_per_s
        return self._free_at - now


class Line:
    """One direction of the store's line."""

    def __init__(self, mb_per_s: float) -> None:
        self._pace = Pace(mb_per_s * MB or None)

    def limit(self, mb_per_s: float) -> None:
        """0 is without a limit."""
        self._pace.change(mb_per_s * MB or None)

    async def passed(self, count: int) -> None:
        """Return when so many more bytes have passed."""
        wait_s = self._pace.reserve(count, monotonic())
        if wait_s > _BURST_S:
            # What is shorter than a turn of the scheduler is caught up by the next wait, which counts from the line's own time.
            await anyio.sleep(wait_s)
