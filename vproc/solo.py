"""One job and no more: `vproc job`, which a container or a task of ECS runs. The job comes from whoever starts it, and what
became of it is told at the end; pipeline, leases and the commit are the daemon's own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import NoReturn
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import structlog
from prometheus_client import CollectorRegistry

from vproc.core.files import File, FileError, Status
from vproc.core.runners import RunnerKind
from vproc.errors import ErrorCode
from vproc.otel import open_tracing
from vproc.outside import Outside, open_outside
from vproc.ports import Message, QueueDepth
from vproc.settings import Settings, read_profiles
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.vitals import Vitals
from vproc.workers.job_runner import runners_wanted
from vproc.workers.jobs import Jobs
from vproc.workers.settlement import Settlement
from vproc.workplace import open_workplace, require_default

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class JobEnd(StrEnum):
    """How it ended, for whoever started it."""

    DONE = "done"
    """The file is completed, by this run or by an earlier one."""
    FAILED = "failed"
    """The file is failed, cancelled or deleted, or the job is none: the same again would not help."""
    AGAIN = "again"
    """Something was away, another has the file, or the job was broken off: the same may be given again."""


_AGAIN = frozenset({"retried", "returned", "busy", "lost", "drained"})


@dataclass(frozen=True, slots=True)
class JobReport:
    """What became of the job. ``outcome`` as of ``vproc_messages_total``; ``file_id`` and ``status`` where there is a file."""

    end: JobEnd
    outcome: str
    file_id: UUID | None = None
    status: Status | None = None
    error: FileError | None = None


class OneMessage:
    """`ports.Queue` of the one job, which nobody else can take. What keeps others from its file is the lease in the catalog."""

    def __init__(self) -> None:
        self.reason: FileError | None = None

    async def receive(self, *, max_messages: int, wait_s: int) -> list[Message]:  # noqa: ARG002 - the port's signature
        """There is nothing to wait for."""
        return []

    async def extend(self, receipt_handle: str, *, timeout_s: int) -> bool:  # noqa: ARG002 - likewise
        """It cannot be lost."""
        return True

    async def release(self, receipt_handle: str, *, delay_s: int = 0) -> None:
        """Told by the report."""

    async def delete(self, receipt_handle: str) -> None:
        """Told by the report."""

    async def send(self, body: str, *, group: str | None = None) -> NoReturn:  # noqa: ARG002 - likewise
        """One job sends no other."""
        raise AssertionError("nothing is announced from here")

    async def dead_letter(self, message: Message, *, code: ErrorCode, detail: str, file: File | None = None) -> None:  # noqa: ARG002 - the port's signature
        """Whoever started the job hears of it."""
        self.reason = FileError(code, detail, retryable=file is not None)

    async def depths(self) -> dict[str, QueueDepth]:
        """Only this one."""
        return {"main": QueueDepth(visible=0, in_flight=1, delayed=0)}

    async def check(self) -> None:
        """It always answers."""


async def run_job(settings: Settings, body: str) -> JobReport:
    """Do the job that the text names, as a message of the queue would. SIGTERM and SIGINT give it the drain's time to end.

    Raises `ConfigError` or `DependencyError` before it begins.
    """
    profiles = await anyio.to_thread.run_sync(read_profiles, settings.profiles_file)
    require_default(settings, profiles)
    # Whoever started this process wants the job done in it, and not handed on.
    kinds = runners_wanted(profiles, default=settings.runner) - {RunnerKind.ECS} or {RunnerKind.LOCAL}
    message = Message(message_id=str(uuid4()), receipt_handle="job", body=body, asked_at=monotonic())
    queue, vitals, metrics = OneMessage(), Vitals(), Metrics(CollectorRegistry())
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            open_tracing(os.environ) as tracer,
            open_outside(settings, metrics) as outside,
            open_workplace(settings, outside, profiles, vitals, queue=queue, tracer=tracer, kinds=kinds) as place,
        ):
            settlements = await _handle(place.jobs, message, signals, drain_timeout_s=settings.drain_timeout_s)
            return await _report(settlements, outside, queue)


async def _handle(
    jobs: Jobs, message: Message, signals: AsyncIterator[signal.Signals], *, drain_timeout_s: float
) -> list[Settlement]:
    """What became of its objects; nothing where it was broken off."""
    settlements: list[Settlement] = []
    with anyio.CancelScope() as scope:
        async with task_group() as tasks:
            tasks.start_soon(end_on_signal, signals, scope, drain_timeout_s)
            settlements += await jobs.handle(message)
            tasks.cancel_scope.cancel()
    return settlements


async def end_on_signal(signals: AsyncIterator[signal.Signals], scope: anyio.CancelScope, drain_timeout_s: float) -> None:
    """Give the scope the drain's time at the first signal, and none at the second."""
    async for received in signals:
        again = scope.deadline < float("inf")
        log.info("signal_received", signal=received.name, second=again)
        scope.deadline = anyio.current_time() + (0 if again else drain_timeout_s)


async def _report(settlements: list[Settlement], outside: Outside, queue: OneMessage) -> JobReport:
    """Of several objects in a message the one that is worst off is told."""
    if not settlements:
        return JobReport(JobEnd.AGAIN, "drained")
    reports = [await _report_of(one, outside, queue) for one in settlements]
    return max(reports, key=lambda report: (JobEnd.DONE, JobEnd.FAILED, JobEnd.AGAIN).index(report.end))


async def _report_of(settlement: Settlement, outside: Outside, queue: OneMessage) -> JobReport:
    file = await outside.catalog.get(settlement.file_id) if settlement.file_id is not None else None
    end = JobEnd.FAILED
    if settlement.outcome in _AGAIN:
        end = JobEnd.AGAIN
    elif file is not None and file.status is Status.COMPLETED:
        end = JobEnd.DONE
    error = (file.error if file is not None else None) or queue.reason
    return JobReport(end, settlement.outcome, settlement.file_id, file.status if file is not None else None, error)
