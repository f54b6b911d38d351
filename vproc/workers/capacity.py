"""The machine's capacity among the jobs of this process: how many messages are taken, and which of their jobs encode at the same
time. The order is decided in `core.admission`, what a job takes in `core.cost`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import structlog

from vproc.core.admission import Admission, Ticket
from vproc.core.cost import Cost
from vproc.core.machine import Machine, default_slots
from vproc.core.memory import MIB
from vproc.errors import NoRoomError
from vproc.telemetry import Metrics
from vproc.workers.keeper import Progress

SPARE_PLACES = 2
"""Messages that are taken beyond the slots, so that a small job among them is seen while large ones run."""
DAEMON_BYTES = 256 * MIB
"""What the daemon itself holds, and more."""
FIRST_PATIENCE_S = 60.0
_CORES_A_SLOT = 2

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def patience_s(receive_count: int) -> float:
    """How long a job waits for room before its message goes back, for an idle daemon to take. It doubles with each delivery, so
    that a fortnight is fifteen of them: deliveries are counted, and many are a dead letter."""
    return float(FIRST_PATIENCE_S * 2 ** min(20, receive_count - 1))


class Capacity:
    """``together``: so many jobs are taken and run at a time, whatever they cost; memory alone holds one back. None: as many as
    the cores keep up with, and a small one beside them."""

    def __init__(self, machine: Machine, *, together: int | None, metrics: Metrics) -> None:
        self.slots = together or default_slots(machine)
        self.processors = machine.threads
        """What ffmpeg chooses its threads by."""
        self.places = self.slots if together else self.slots + SPARE_PLACES
        self.changed = anyio.Event()
        """Set when there may be more room than before; then another takes its place."""
        self._weighted = together is None
        self._admission = Admission(
            cores=machine.cores if self._weighted else math.inf,
            memory_bytes=max(machine.memory_bytes - DAEMON_BYTES, machine.memory_bytes / 2),
        )
        self._begun: dict[Ticket, anyio.Event] = {}
        self._metrics = metrics
        self._closed = False
        self.taken = 0
        metrics.job_slots.set(self.slots)
        log.info("machine_measured", cores=machine.cores, memory_bytes=machine.memory_bytes, slots=self.slots)

    @property
    def room(self) -> int:
        """How many jobs more would begin at once, as far as can be told of jobs that nobody has seen."""
        if not self._weighted or not self.taken:
            return self.slots - self.taken
        if self._admission.waiting:
            return 0
        # One that is being fetched will want its share; of one that is being published the same is said, for a moment.
        others = self.taken - len(self._admission.running)
        return max(0, min(int(self._admission.free_cores) // _CORES_A_SLOT - others, self.places - self.taken))

    @property
    def spare(self) -> int:
        """How many more are taken all the same."""
        return self.places - self.taken

    @contextmanager
    def place(self) -> Iterator[None]:
        """One message is worked on in the block."""
        try:
            yield
        finally:
            self.taken -= 1
            self._tell()

    def take(self) -> None:
        """A place is taken, before the task that leaves it by `place` has begun."""
        self.taken += 1

    def close(self) -> None:
        """Nobody waits any more, and nobody will: the daemon stops. Jobs that run go on."""
        self._closed = True
        for event in self._begun.values():
            event.set()

    @asynccontextmanager
    async def hold(
        self, cost: Cost, *, patience_s: float, progress: Progress, deadline: anyio.CancelScope | None = None
    ) -> AsyncIterator[None]:
        """The job's share of the machine is held in the block. It is waited for ``patience_s`` at most, in which the job's
        ``deadline`` stands still. Raises `NoRoomError`."""
        ticket = self._admission.ask(cost)
        self._begun[ticket] = anyio.Event()
        self._admit()
        try:
            if not ticket.admitted:
                with progress.waiting(), _standing_still(deadline):
                    await self._wait(ticket, patience_s)
            self._tell()  # it may take less than was thought of it
            yield
        finally:
            del self._begun[ticket]
            self._admission.leave(ticket)
            self._admit()
            self._tell()

    async def _wait(self, ticket: Ticket, patience_s: float) -> None:
        log.info("job_waiting", cores=round(ticket.cost.cores, 1), memory_bytes=ticket.cost.memory_bytes, waiting=self._waiting)
        self._metrics.jobs_waiting.inc()
        self._metrics.jobs_in_progress.dec()
        begun = anyio.current_time()
        try:
            with anyio.move_on_after(0 if self._closed else patience_s):
                await self._begun[ticket].wait()
        finally:
            self._metrics.jobs_in_progress.inc()
            self._metrics.jobs_waiting.dec()
        waited_s = anyio.current_time() - begun
        if not ticket.admitted:
            raise NoRoomError("the daemon stops" if self._closed else f"this machine had no room for it within {waited_s:.0f} s")
        log.info("job_admitted", waited_s=round(waited_s, 1), beside=ticket.beside)

    @property
    def _waiting(self) -> int:
        return len(self._admission.waiting)

    def _admit(self) -> None:
        for ticket in self._admission.admit():
            self._begun[ticket].set()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


@contextmanager
def _standing_still(scope: anyio.CancelScope | None) -> Iterator[None]:
    """The time that a scope has left is the same after the block."""
    if scope is None:
        yield
        return
    left_s = scope.deadline - anyio.current_time()
    scope.deadline = math.inf
    try:
        yield
    finally:
        scope.deadline = anyio.current_time() + left_s
