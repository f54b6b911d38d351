"""The side of a delegated job that works: tells how far it is, and sees that it may still go on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import anyio
import structlog

from vproc.core.delegation import Delegation, Report, ReportedError, permit_key, report_key
from vproc.errors import LeaseLostError, TransientError
from vproc.ports import ObjectStore
from vproc.workers.figures import JobFigures
from vproc.workers.keeper import Progress

REPORT_EVERY_S = 4.0
SAID_WITHIN_S = 20.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Reporter:
    """Speaks for one run, through the bucket that its outputs go to."""

    def __init__(
        self,
        delegation: Delegation,
        *,
        store: ObjectStore,
        progress: Progress,
        figures: JobFigures,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._delegation = delegation
        self._store = store
        self._progress = progress
        self._figures = figures
        self._clock = clock

    async def run(self) -> None:
        """Report until cancelled. Raises `LeaseLostError` once the permit is gone."""
        while True:
            try:
                await self.confirm()
                await self._put(self._report())
            except TransientError as error:
                log.warning("report_not_sent", error=error.detail)
            await anyio.sleep(REPORT_EVERY_S)

    async def confirm(self) -> None:
        """Prove that the run may go on. Raises `LeaseLostError`, or `UnavailableError` where that cannot be told."""
        delegation = self._delegation
        if await self._store.stat(permit_key(delegation.file_id, delegation.run_id)) is None:
            raise LeaseLostError("the permit of this run is gone: its file is not to be processed any more")

    async def ended(self, error: BaseException | None) -> None:
        """The last report. A run whose permit is gone says nothing more: its outputs are being swept."""
        if isinstance(error, LeaseLostError):
            return
        said = None if error is None else ReportedError.of(error)
        with anyio.move_on_after(SAID_WITHIN_S, shield=True):
            try:
                await self._put(self._report(ended=True, error=said))
            except TransientError as failure:
                log.warning("report_not_sent", error=failure.detail)

    def _report(self, *, ended: bool = False, error: ReportedError | None = None) -> Report:
        values, progress = self._figures.values(), self._progress
        return Report(
            ended=ended,
            stage=progress.stage,
            progress=progress.fraction,
            speed=progress.speed,
            eta_s=progress.eta_s,
            stage_seconds=dict(values.stage_seconds),
            bytes_in=values.bytes_in,
            bytes_out=values.bytes_out,
            media_s=self._figures.media_s,
            cpu_s=values.cpu_s or 0.0,
            peak_memory_bytes=values.peak_memory_bytes or 0,
            error=error,
        )

    async def _put(self, report: Report) -> None:
        key = report_key(self._delegation.file_id, self._delegation.run_id)
        await self._store.put(key, report.model_dump_json(exclude_none=True).encode(), content_type="application/json")
