"""What systemd is told: that the daemon is ready, that it lives, that it ends. Silent where nobody listens.

The protocol is sd_notify(3): one datagram of ``NAME=value`` lines to the socket that ``$NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import structlog

from vproc.vitals import Vitals

EXTEND_EVERY_S = 5.0
EXTEND_BY_S = 30.0
"""While the daemon drains: longer than a step, so that one that stands still is ended soon after."""
_MICROSECOND = 1e-6
_UNCHECKED_S = 10.0
"""How often the parts are looked at where nobody wants to be pinged, so that the log tells of one that stands still."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Notifier:
    """``address``: of systemd's socket, a path, or a name behind ``@``; None where nobody listens."""

    address: str | None = None
    watchdog_s: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], *, pid: int) -> Notifier:
        """As systemd gives it to the service's main process: a watchdog that is meant for another process is not ours."""
        address = environment.get("NOTIFY_SOCKET") or None
        watchdog_us = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        watched = address is not None and meant and watchdog_us.isdecimal() and int(watchdog_us) > 0
        return cls(address, int(watchdog_us) * _MICROSECOND if watched else None)

    def tell(self, **values: str | int) -> None:
        """Send one datagram, by the protocol's names: ``tell(READY=1, STATUS="…")``. It does not block, and a listener that is
        gone is no fault of the daemon's."""
        if self.address is None:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        text = "\n".join(f"{name}={value}" for name, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode(), address)
        except OSError as error:
            _log.warning("supervisor_not_told", error=error.strerror)


class Supervisor:
    """Tells systemd how the daemon does. ``jobs`` counts those that run, ``drain_s`` is what they have when it ends."""

    def __init__(
        self, notifier: Notifier, vitals: Vitals, *, draining: anyio.Event, drain_s: float, jobs: Callable[[], int]
    ) -> None:
        self._notifier = notifier
        self._vitals = vitals
        self._draining = draining
        self._drain_s = drain_s
        self._jobs = jobs
        self._overdue: tuple[str, ...] = ()

    def ready(self) -> None:
        """Everything is up."""
        self._notifier.tell(READY=1, STATUS="taking jobs")

    async def run(self) -> None:
        """Ping and extend until cancelled. That this goes on is what shows that the event loop does."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ping)
            await self._draining.wait()
            self._notifier.tell(STOPPING=1)
            # Whatever the unit's own time to stop, but no longer than a drain may last: one that hangs is to be killed.
            with anyio.move_on_after(self._drain_s):
                while True:
                    extended_us = int(EXTEND_BY_S / _MICROSECOND)
                    self._notifier.tell(EXTEND_TIMEOUT_USEC=extended_us, STATUS=f"draining, {self._jobs()} jobs still run")
                    await anyio.sleep(EXTEND_EVERY_S)

    async def _ping(self) -> None:
        watchdog_s = self._notifier.watchdog_s
        while True:
            if not self._stands_still() and watchdog_s is not None:
                self._notifier.tell(WATCHDOG=1)
            await anyio.sleep(_UNCHECKED_S if watchdog_s is None else min(_UNCHECKED_S, watchdog_s / 3))

    def _stands_still(self) -> bool:
        overdue = self._vitals.overdue()
        if overdue != self._overdue:
            _log.error("daemon_wedged", parts=overdue) if overdue else _log.info("daemon_goes_on")
            self._notifier.tell(STATUS=f"standing still: {', '.join(overdue)}" if overdue else "taking jobs")
            self._overdue = overdue
        return bool(overdue)
