"""Where jobs are done: scratch, the sandbox, ffmpeg within it, and the services that use them. A daemon has one for as long as it
lives, `vproc job` for one job.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import structlog

from vproc.core.media import MediaLimits
from vproc.core.profile import Profile
from vproc.core.runners import RunnerKind
from vproc.errors import ConfigError
from vproc.ffmpegs import Ffmpegs, open_ffmpegs
from vproc.outside import Outside
from vproc.ports import Queue
from vproc.settings import Settings
from vproc.tracing import Tracer
from vproc.vitals import Vitals
from vproc.workers.intake import Intake
from vproc.workers.janitor import Janitor
from vproc.workers.job_runner import Dispatcher, runners_wanted
from vproc.workers.jobs import Jobs
from vproc.workers.pipeline import Pipeline
from vproc.workers.rules import JobRules
from vproc.workers.scratch import open_scratch

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What does jobs, and what clears up behind them."""

    jobs: Jobs
    intake: Intake
    janitor: Janitor
    ffmpegs: Mapping[RunnerKind, Ffmpegs]


def require_default(settings: Settings, profiles: Mapping[str, Profile]) -> None:
    """A default profile that is not there would fail every file that names none. Raises `ConfigError`."""
    if settings.profile not in profiles:
        raise ConfigError(f"VPROC_PROFILE: takes one of {', '.join(profiles)} (got {settings.profile!r})")


@asynccontextmanager
async def open_workplace(
    settings: Settings, outside: Outside, profiles: Mapping[str, Profile], vitals: Vitals, *, queue: Queue, tracer: Tracer
) -> AsyncIterator[Workplace]:
    """Open it. ``queue`` is what jobs come from, and where they are settled. Raises `ConfigError` or `DependencyError`."""
    kinds = runners_wanted(profiles, default=settings.runner)
    settings.check_runners(kinds)
    async with (
        open_scratch(settings.scratch_dir) as scratch,
        open_ffmpegs(settings, profiles, kinds, outside.metrics, scratch_dir=scratch.root) as ffmpegs,
    ):
        outside.metrics.scratch_size.set(await scratch.size_bytes())
        intake = Intake(scratch=scratch, metrics=outside.metrics)
        janitor = outside.janitor(outside.reconciler(delete_raw=settings.delete_raw, tell=lambda _: None))
        pipelines = {
            kind: Pipeline(
                raw=outside.raw,
                processed=outside.processed,
                tools=there.tools,
                scratch=scratch,
                limits=MediaLimits(settings.max_duration_s, settings.max_pixels),
                max_upload_bytes=settings.max_upload_bytes,
                metrics=outside.metrics,
                profiles=profiles,
            )
            for kind, there in ffmpegs.items()
        }
        jobs = Jobs(
            queue=queue,
            catalog=outside.catalog,
            raw=outside.raw,
            processed=outside.processed,
            runner=Dispatcher(pipelines, profiles=profiles, default=settings.runner),
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
        yield Workplace(jobs, intake, janitor, ffmpegs)
