"""Watches the host: when it announces its end, the daemon drains as on SIGTERM; while jobs run, the task is protected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

import anyio
import structlog
from anyio.abc import TaskStatus

from vproc.core.host_notice import HostNotice
from vproc.errors import UnavailableError
from vproc.ports import HostNotices, TaskProtection
from vproc.telemetry import Metrics

LOOK_EVERY_S = 5.0
SILENT_LOOK_EVERY_S = 60.0
"""After failures in a row: the service is away, or was never there."""
SILENT_AFTER = 3
PROTECT_MINUTES = 60
RENEW_AFTER_S = PROTECT_MINUTES * 60 / 2

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class HostWatch:
    """One look each five seconds. ``jobs`` gives how many run; ``drain`` is called once, with the notice that ends the host."""

    def __init__(
        self,
        *,
        notices: HostNotices | None,
        protection: TaskProtection | None,
        jobs: Callable[[], int],
        drain: Callable[[HostNotice], None],
        metrics: Metrics,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._notices = notices
        self._protection = protection
        self._jobs = jobs
        self._drain = drain
        self._metrics = metrics
        self._clock = clock
        self._seen: set[HostNotice] = set()
        self._ending = False
        self._failures = 0
        self._look_at = 0.0
        self._protected_until_renewal: float | None = None
        self._protection_failed = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled; returns at once where there is nothing to watch."""
        task_status.started()
        while self._notices is not None or self._protection is not None:
            await self.look()
            await anyio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """One look. Whatever the host answers, nothing is raised."""
        await self._look_for_notices()
        await self._keep_protected()

    async def close(self) -> None:
        """The task may be chosen again."""
        if self._protected_until_renewal is not None and self._protection is not None:
            try:
                await self._protection.release()
            except UnavailableError as error:
                log.info("task_not_released", error=error.detail)

    async def _look_for_notices(self) -> None:
        if self._notices is None or self._clock() < self._look_at:
            return
        try:
            notices = await self._notices.look()
        except UnavailableError as error:
            self._failures += 1
            if self._failures == SILENT_AFTER:
                log.warning("host_notices_silent", error=error.detail)
            if self._failures >= SILENT_AFTER:
                self._look_at = self._clock() + SILENT_LOOK_EVERY_S
            return
        self._failures, self._look_at = 0, 0.0
        for notice in notices:
            if notice not in self._seen:
                self._seen.add(notice)
                self._tell(notice)

    def _tell(self, notice: HostNotice) -> None:
        self._metrics.host_notices.labels(notice.kind.value).inc()
        left_s = (notice.ends_at - datetime.now(UTC)).total_seconds() if notice.ends_at else None
        log.warning("host_notice", kind=notice.kind.value, left_s=left_s, ends=notice.ends)
        if notice.ends and not self._ending:
            self._ending = True
            self._drain(notice)

    async def _keep_protected(self) -> None:
        if self._protection is None:
            return
        busy = self._jobs() > 0
        due = self._protected_until_renewal is None or self._clock() >= self._protected_until_renewal
        if busy == (self._protected_until_renewal is not None) and not (busy and due):
            return
        try:
            if not busy:
                await self._protection.release()
                self._protected_until_renewal = None
            elif await self._protection.protect(PROTECT_MINUTES):
                self._protected_until_renewal = self._clock() + RENEW_AFTER_S
            else:
                log.info("task_not_protected", reason="a task of no service")
                self._protection = None
        except UnavailableError as error:
            if not self._protection_failed:
                log.warning("task_not_protected", reason=error.detail)
            self._protection_failed = True
        else:
            self._protection_failed = False
