"""Whether the parts that must never stand still go on: each says until when it will have shown itself again.

What watches over the daemon asks here: systemd is pinged only while nothing is overdue, and ``/healthz`` says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import anyio

LAG_EVERY_S = 1.0


class Pulse:
    """Of one part. It is expected from `due` to `rest`; before and after, nobody waits for it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due_at: float | None = None

    def due(self, within_s: float) -> None:
        """The part goes on, and shows itself again within so many seconds."""
        self._due_at = self._clock() + within_s

    def rest(self) -> None:
        """The part waits for something that may take any time."""
        self._due_at = None

    @property
    def overdue_s(self) -> float:
        """By how much it is late; 0.0 while it is not."""
        return 0.0 if self._due_at is None else max(0.0, self._clock() - self._due_at)


class Vitals:
    """All pulses of a process, by the name of their part. ``clock`` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._pulses: list[tuple[str, Pulse]] = []

    @contextmanager
    def pulse(self, name: str) -> Iterator[Pulse]:
        """A pulse of the part ``name``, for as long as the part stands. Several may have one name."""
        entry = (name, Pulse(self._clock))
        self._pulses.append(entry)
        try:
            yield entry[1]
        finally:
            self._pulses.remove(entry)

    def overdue(self) -> tuple[str, ...]:
        """The names of the parts that stand still, in order; none while all is well."""
        return tuple(sorted(Counter(name for name, pulse in self._pulses if pulse.overdue_s > 0)))


async def watch_lag(observe: Callable[[float], object], *, every_s: float = LAG_EVERY_S) -> None:
    """Tell ``observe`` how many seconds late a wait ended, again and again until cancelled: what a handler waits for its turn
    on the event loop."""
    while True:
        due_at = anyio.current_time() + every_s
        await anyio.sleep(every_s)
        observe(max(0.0, anyio.current_time() - due_at))
