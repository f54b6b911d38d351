"""Which jobs run at the same time, and who is next. Pure: costs in, an order out.

Cores and memory are never given away twice, but for one job that is larger than the machine: it runs alone. Jobs begin in the
order in which they came. One that is much smaller may pass those that wait before it, and beside large ones that hold all cores
one such runs as well. What passes a job is together no more work than the job itself, so that nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vproc.core.cost import Cost

SMALLER = 8
"""A job is much smaller than another of so many times its work."""
_LEAST_SHARE = 0.5
"""Of the cores that a job could keep busy, it begins with no less. It never needs all of them at every moment."""


@dataclass(eq=False, slots=True)
class Ticket:
    """One job that asked. ``cores`` are those that it holds, None while it waits; ``passed`` is the work that passed it."""

    cost: Cost
    cores: float | None = None
    beside: bool = False
    """It runs beside jobs that hold all cores, and holds none."""
    passed: float = 0.0

    @property
    def admitted(self) -> bool:
        """It may run."""
        return self.cores is not None


class Admission:
    """A machine of so many cores and so much memory."""

    def __init__(self, *, cores: float, memory_bytes: float) -> None:
        self.cores = cores
        self.memory_bytes = memory_bytes
        self._running: list[Ticket] = []
        self._waiting: list[Ticket] = []

    @property
    def running(self) -> Sequence[Ticket]:
        """Those that were admitted and have not left."""
        return self._running

    @property
    def waiting(self) -> Sequence[Ticket]:
        """Those that were not, in their order."""
        return self._waiting

    @property
    def free_cores(self) -> float:
        """What no job holds."""
        return self.cores - sum(ticket.cores or 0.0 for ticket in self._running)

    def ask(self, cost: Cost) -> Ticket:
        """Get in line; `admit` says when it may run."""
        ticket = Ticket(cost)
        self._waiting.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """It has run, or waits no longer."""
        (self._running if ticket.admitted else self._waiting).remove(ticket)

    def admit(self) -> list[Ticket]:
        """Those that may run from now on. To be asked after every `ask` and `leave`."""
        begun: list[Ticket] = []
        while (ticket := self._next()) is not None:
            begun.append(ticket)
        return begun

    def _next(self) -> Ticket | None:
        for place, ticket in enumerate(self._waiting):
            before = self._waiting[:place]
            if all(_may_pass(ticket, other) for other in before) and self._begin(ticket):
                for other in before:
                    other.passed += ticket.cost.work_s
                del self._waiting[place]
                self._running.append(ticket)
                return ticket
        return None

    def _begin(self, ticket: Ticket) -> bool:
        cost = ticket.cost
        if not self._running:
            ticket.cores = min(cost.cores, self.cores)
            return True
        if cost.memory_bytes + sum(other.cost.memory_bytes for other in self._running) > self.memory_bytes:
            return False
        free = self.free_cores
        if free > 0 and free >= cost.cores * _LEAST_SHARE:
            ticket.cores = min(cost.cores, free)
        elif all(not other.beside and _is_much_smaller(ticket, other) for other in self._running):
            ticket.cores, ticket.beside = 0.0, True
        return ticket.admitted


def _is_much_smaller(ticket: Ticket, other: Ticket) -> bool:
    return ticket.cost.work_s * SMALLER <= other.cost.work_s


def _may_pass(ticket: Ticket, other: Ticket) -> bool:
    return _is_much_smaller(ticket, other) and other.passed + ticket.cost.work_s <= other.cost.work_s
