"""Where jobs are done: scratch, the sandbox, ffmpeg within it, and the services that use them. A daemon has one for as long as it
lives, `vproc job` for one job.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from vproc.core.media import MediaLimits
from vproc.core.profile import Profile
from vproc.errors import ConfigError
from vproc.outside import Outside, at_start
from vproc.ports import Queue
from vproc.settings import SandboxMode, Settings
from vproc.telemetry import Metrics
from vproc.tracing import Tracer
from vproc.vitals import Vitals
from vproc.workers.capacity import Capacity
from vproc.workers.confinement import Layer
from vproc.workers.intake import Intake
from vproc.workers.janitor import Janitor
from vproc.workers.jobs import Jobs
from vproc.workers.machine import read_machine
from vproc.workers.media import MediaTools
from vproc.workers.pipeline import Pipeline
from vproc.workers.rules import JobRules
from vproc.workers.sandbox import SandboxReport, keep_memory_private, probe_sandbox
from vproc.workers.scratch import open_scratch
from vproc.workers.tooling import open_tools

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What does jobs, and what clears up behind them."""

    jobs: Jobs
    capacity: Capacity
    intake: Intake
    janitor: Janitor
    tools: MediaTools
    sandbox: SandboxReport


def require_default(settings: Settings, profiles: Mapping[str, Profile]) -> None:
    """A default profile that is not there would fail every file that names none. Raises `ConfigError`."""
    if settings.profile not in profiles:
        raise ConfigError(f"VPROC_PROFILE: takes one of {', '.join(profiles)} (got {settings.profile!r})")


@asynccontextmanager
async def open_workplace(
    settings: Settings, outside: Outside, profiles: Mapping[str, Profile], vitals: Vitals, *, queue: Queue, tracer: Tracer
) -> AsyncIterator[Workplace]:
    """Open it. ``queue`` is what jobs come from, and where they are settled. Raises `ConfigError` or `DependencyError`."""
    async with open_scratch(settings.scratch_dir) as scratch:
        capacity = Capacity(await read_machine(), together=settings.concurrency, metrics=outside.metrics)
        tools, sandbox = await _open_tools(settings, outside.metrics, profiles, scratch.root)
        outside.metrics.scratch_size.set(await scratch.size_bytes())
        intake = Intake(scratch=scratch, metrics=outside.metrics)
        janitor = outside.janitor(outside.reconciler(delete_raw=settings.delete_raw, tell=lambda _: None))
        pipeline = Pipeline(
            raw=outside.raw,
            processed=outside.processed,
            tools=tools,
            scratch=scratch,
            limits=MediaLimits(settings.max_duration_s, settings.max_pixels),
            max_upload_bytes=settings.max_upload_bytes,
            metrics=outside.metrics,
            profiles=profiles,
            capacity=capacity,
        )
        jobs = Jobs(
            queue=queue,
            catalog=outside.catalog,
            raw=outside.raw,
            processed=outside.processed,
            pipeline=pipeline,
            rules=JobRules(
                worker=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
                visibility_timeout_s=settings.visibility_timeout_s,
                max_attempts=settings.max_attempts,
                job_timeout_s=settings.job_timeout_s,
                default_profile=settings.profile,
                delete_raw=settings.delete_raw,
            ),
            intake=intake,
            metrics=outside.metrics,
            on_job_ended=janitor.wake,
            vitals=vitals,
            tracer=tracer,
        )
        yield Workplace(jobs, capacity, intake, janitor, tools, sandbox)


async def _open_tools(
    settings: Settings, metrics: Metrics, profiles: Mapping[str, Profile], scratch_dir: Path
) -> tuple[MediaTools, SandboxReport]:
    """The sandbox that this machine gives, and within it the ffmpeg to work with."""
    if settings.sandbox is not SandboxMode.OFF:
        keep_memory_private()
    sandbox = await at_start("VPROC_SANDBOX", probe_sandbox(settings.sandbox, scratch_dir=scratch_dir))
    log.info("sandbox_probed", sandbox=sandbox.describe())
    for layer in Layer:
        metrics.sandbox_level.labels(layer.value).set(layer in sandbox.confinement.layers)
    return await open_tools(settings, profiles, sandbox.confinement, scratch_dir=scratch_dir), sandbox
