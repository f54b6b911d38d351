"""Whether this daemon takes more work: the pause that a machine's fault asks for, and room on the scratch disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import anyio
import structlog

from vproc.errors import UnavailableError
from vproc.telemetry import Metrics
from vproc.workers.scratch import Scratch

LEAST_FREE_BYTES = 256 * 1024 * 1024
LONGEST_PAUSE_S = 30.0
OBSERVE_EVERY_S = 15.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Intake:
    """Open, or paused for a reason that `/readyz` shows."""

    def __init__(
        self,
        *,
        scratch: Scratch,
        metrics: Metrics,
        clock: Callable[[], float] = monotonic,
        least_free_bytes: int = LEAST_FREE_BYTES,
    ) -> None:
        self._scratch = scratch
        self._metrics = metrics
        self._clock = clock
        self._least_free_bytes = least_free_bytes
        self._paused_until = 0.0
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why no work is taken; None while it is."""
        return self._reason

    async def check(self) -> None:
        """Return while work is taken; raise `UnavailableError` with the reason otherwise."""
        if self._reason is not None:
            raise UnavailableError(self._reason)

    def pause(self, reason: str, for_s: float) -> None:
        """Take nothing for a while. A longer pause that stands already is kept."""
        self._paused_until = max(self._paused_until, self._clock() + min(for_s, LONGEST_PAUSE_S))
        self._set(reason)

    async def wait_s(self) -> float:
        """How long to wait before asking again; 0 when work may be taken."""
        if (left := self._paused_until - self._clock()) > 0:
            return left
        try:
            free = await self.observe()
        except UnavailableError as error:
            self._set(error.detail)
            return 5.0
        if free < self._least_free_bytes:
            self._set(f"the scratch disk has {free} bytes free, and no job is taken below {self._least_free_bytes}")
            return 5.0
        self._set(None)
        return 0.0

    async def observe(self) -> int:
        """Free bytes of the scratch disk, told to the gauge. Raises `UnavailableError`."""
        free = await self._scratch.free_bytes()
        self._metrics.scratch_free.set(free)
        return free

    async def watch(self) -> None:
        """Keep the gauge true while no work can be taken, until cancelled: it is then that jobs fill the disk."""
        while True:
            await anyio.sleep(OBSERVE_EVERY_S)
            with suppress(UnavailableError):
                await self.observe()

    def _set(self, reason: str | None) -> None:
        if reason != self._reason:
            log.warning("intake_paused", reason=reason) if reason else log.info("intake_resumed")
        self._reason = reason
