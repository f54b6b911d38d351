"""One job that a daemon handed over, done here to its commit: what `vproc job` runs inside a task of ECS. It knows the two
buckets and nothing else: no queue, no catalog. How far it is, and how it ended, it tells through the object store:
`core.delegation`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import structlog
from prometheus_client import CollectorRegistry

from vproc.aws.s3 import S3Bucket
from vproc.aws.session import open_clients
from vproc.core.delegation import Delegation, ReportedError
from vproc.core.files import File, FileError, Status
from vproc.errors import (
    ConfigError,
    ErrorCode,
    InterruptedRunError,
    InvalidMessageError,
    JobError,
    LeaseLostError,
    RejectedError,
)
from vproc.otel import open_tracing
from vproc.settings import Settings
from vproc.solo import JobEnd, JobReport, end_on_signal, run_job
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.usage import metered
from vproc.workers.figures import JobFigures
from vproc.workers.job_runner import Job, JobRunner
from vproc.workers.keeper import Progress
from vproc.workers.reporter import Reporter
from vproc.workplace import open_local_runner

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def run_any_job(settings: Settings, body: str) -> JobReport:
    """Do the job that the text holds, which a daemon handed over, or which anybody gives. One that cannot be read has failed.
    Raises `ConfigError` or `DependencyError` before it begins."""
    try:
        delegation = Delegation.read(body)
    except InvalidMessageError as error:
        log.warning("message_invalid", detail=error.detail)
        return JobReport(JobEnd.FAILED, "invalid", error=FileError(error.code, error.detail, retryable=False))
    return await (run_job(settings, body) if delegation is None else run_delegated(settings, delegation))


async def run_delegated(settings: Settings, delegation: Delegation) -> JobReport:
    """Do it. SIGTERM and SIGINT give it the drain's time to end.

    Raises `ConfigError` or `DependencyError` before it begins.
    """
    if delegation.bucket != settings.raw_bucket:
        wanted = f"takes the bucket that the job names, {delegation.bucket}"
        raise ConfigError(f"VPROC_RAW_BUCKET: {wanted} (got {settings.raw_bucket!r})")
    metrics = Metrics(CollectorRegistry())
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with (
            open_tracing(os.environ) as tracer,
            open_clients(
                region=settings.aws_region, poll_read_timeout_s=settings.poll_read_timeout_s, public_endpoint_url=None
            ) as clients,
        ):
            raw, processed = (
                S3Bucket(bucket=bucket, control=clients.s3, bulk=clients.s3_bulk, metrics=metrics)
                for bucket in (settings.raw_bucket, settings.processed_bucket)
            )
            # It is this process that does the job, whatever the profile says.
            profiles = {delegation.profile.name: replace(delegation.profile, runner=None)}
            with metered():
                progress, figures = Progress(), JobFigures(tracer=tracer)
                reporter = Reporter(delegation, store=processed, progress=progress, figures=figures)
                async with open_local_runner(settings, raw, processed, metrics, profiles) as runner:
                    error = await _ended(_do(runner, delegation, reporter, progress, figures), settings, reporter, signals)
            await reporter.ended(error)
            return _told(delegation, error)


async def _do(runner: JobRunner, delegation: Delegation, reporter: Reporter, progress: Progress, figures: JobFigures) -> None:
    """The job, once it is seen that it is still wanted."""
    job = Job(_file_of(delegation), delegation.version, delegation.run_id, reporter.confirm)
    log.info("job_started", file_id=str(delegation.file_id), run_id=delegation.run_id, profile=delegation.reference)
    await reporter.confirm()
    await runner.run(job, progress, figures)


async def _ended(
    work: Coroutine[Any, Any, None], settings: Settings, reporter: Reporter, signals: AsyncIterator[signal.Signals]
) -> Exception | None:
    """Why there is no commit; None where there is one."""
    done = False
    try:
        with anyio.CancelScope() as told:
            async with task_group() as tasks:
                tasks.start_soon(end_on_signal, signals, told, settings.drain_timeout_s)
                tasks.start_soon(reporter.run)
                with anyio.move_on_after(settings.job_timeout_s):
                    await work
                    done = True
                tasks.cancel_scope.cancel()
    except Exception as error:  # the boundary: whoever watches decides by the error's kind
        if not isinstance(error, JobError):
            log.exception("job_crashed")
        return error
    if done:
        return None
    if told.cancelled_caught:
        return InterruptedRunError("the task was told to end")
    return RejectedError(ErrorCode.TIMEOUT, f"it took longer than {settings.job_timeout_s:g} s in all")


def _file_of(delegation: Delegation) -> File:
    """The file as far as a pipeline asks for it."""
    now = datetime.now(UTC)
    return File(
        delegation.file_id, delegation.owner, delegation.file_name, delegation.bucket, delegation.key, delegation.reference,
        Status.PROCESSING, now, now,
    )  # fmt: skip


def _told(delegation: Delegation, error: Exception | None) -> JobReport:
    if error is None:
        log.info("job_ended", outcome="completed", file_id=str(delegation.file_id), run_id=delegation.run_id)
        return JobReport(JobEnd.DONE, "completed", delegation.file_id)
    said = ReportedError.of(error)
    final = isinstance(error, RejectedError | LeaseLostError)
    outcome, end = ("rejected", JobEnd.FAILED) if final else ("retried", JobEnd.AGAIN)
    log.warning("job_ended", outcome=outcome, code=said.code.value, detail=said.detail, file_id=str(delegation.file_id))
    return JobReport(end, outcome, delegation.file_id, error=FileError(said.code, said.detail, retryable=not final))
