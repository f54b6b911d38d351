"""Where jobs are done: scratch, the sandbox, ffmpeg within it, and the services that use them. A daemon has one for as long as it
lives, `vproc job` for one job.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Collection, Mapping
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
from vproc.ports import ObjectStore, Queue
from vproc.settings import Settings, variable_of
from vproc.telemetry import Metrics
from vproc.tracing import Tracer
from vproc.vitals import Vitals
from vproc.workers.capacity import Capacity
from vproc.workers.committed import Commits
from vproc.workers.intake import Intake
from vproc.workers.janitor import Janitor
from vproc.workers.job_runner import Dispatcher, JobRunner
from vproc.workers.jobs import Jobs
from vproc.workers.machine import read_machine
from vproc.workers.media import MediaTools
from vproc.workers.pipeline import Pipeline
from vproc.workers.publisher import Publisher
from vproc.workers.remote import TaskRunner
from vproc.workers.rules import JobRules
from vproc.workers.scratch import Scratch, open_scratch

WATCHED_SLOTS = 32
"""Jobs at a time where all of them are done elsewhere: watching one costs a request each few seconds."""
_TOLD_TO_TASKS = (
    "raw_bucket", "processed_bucket", "queue_url", "max_upload_bytes", "max_duration_s", "max_pixels", "job_timeout_s",
    "stall_timeout_s",
)  # fmt: skip

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Workplace:
    """What does jobs, and what clears up behind them. ``ffmpegs`` are those that this process runs."""

    jobs: Jobs
    capacity: Capacity
    intake: Intake
    janitor: Janitor
    ffmpegs: Mapping[RunnerKind, Ffmpegs]


def require_default(settings: Settings, profiles: Mapping[str, Profile]) -> None:
    """A default profile that is not there would fail every file that names none. Raises `ConfigError`."""
    if settings.profile not in profiles:
        raise ConfigError(f"VPROC_PROFILE: takes one of {', '.join(profiles)} (got {settings.profile!r})")


@asynccontextmanager
async def open_workplace(
    settings: Settings,
    outside: Outside,
    profiles: Mapping[str, Profile],
    vitals: Vitals,
    *,
    queue: Queue,
    tracer: Tracer,
    kinds: Collection[RunnerKind],
) -> AsyncIterator[Workplace]:
    """Open it. ``queue`` is what jobs come from, and where they are settled; ``kinds`` are the runners that they go
    to. Raises `ConfigError` or `DependencyError`."""
    settings.check_runners(kinds)
    async with (
        open_scratch(settings.scratch_dir) as scratch,
        open_ffmpegs(settings, profiles, kinds, outside.metrics, scratch_dir=scratch.root) as ffmpegs,
    ):
        capacity = Capacity(await read_machine(), together=_together(settings, kinds), metrics=outside.metrics)
        place = _Place(settings, outside.raw, outside.processed, outside.metrics, profiles, scratch, capacity)
        runners: dict[RunnerKind, JobRunner] = {kind: place.pipeline(there.tools) for kind, there in ffmpegs.items()}
        if RunnerKind.ECS in kinds:
            runners[RunnerKind.ECS] = _task_runner(settings, outside, profiles)
        outside.metrics.scratch_size.set(await scratch.size_bytes())
        intake = Intake(scratch=scratch, metrics=outside.metrics)
        janitor = outside.janitor(outside.reconciler(delete_raw=settings.delete_raw, tell=lambda _: None))
        jobs = Jobs(
            queue=queue,
            catalog=outside.catalog,
            raw=outside.raw,
            processed=outside.processed,
            runner=Dispatcher(runners, profiles=profiles, default=settings.runner),
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
        yield Workplace(jobs, capacity, intake, janitor, ffmpegs)


@asynccontextmanager
async def open_local_runner(
    settings: Settings, raw: ObjectStore, processed: ObjectStore, metrics: Metrics, profiles: Mapping[str, Profile]
) -> AsyncIterator[JobRunner]:
    """What does jobs on this machine, and nothing beside it. Raises `ConfigError` or `DependencyError`."""
    kinds = {RunnerKind.LOCAL}
    async with (
        open_scratch(settings.scratch_dir) as scratch,
        open_ffmpegs(settings, profiles, kinds, metrics, scratch_dir=scratch.root) as ffmpegs,
    ):
        capacity = Capacity(await read_machine(), together=1, metrics=metrics)
        place = _Place(settings, raw, processed, metrics, profiles, scratch, capacity)
        yield place.pipeline(ffmpegs[RunnerKind.LOCAL].tools)


@dataclass(frozen=True, slots=True)
class _Place:
    """What every pipeline of this process has in common."""

    settings: Settings
    raw: ObjectStore
    processed: ObjectStore
    metrics: Metrics
    profiles: Mapping[str, Profile]
    scratch: Scratch
    capacity: Capacity

    def pipeline(self, tools: MediaTools) -> Pipeline:
        """The one that works by these tools."""
        return Pipeline(
            raw=self.raw,
            processed=self.processed,
            tools=tools,
            scratch=self.scratch,
            limits=MediaLimits(self.settings.max_duration_s, self.settings.max_pixels),
            max_upload_bytes=self.settings.max_upload_bytes,
            metrics=self.metrics,
            profiles=self.profiles,
            capacity=self.capacity,
        )


def _together(settings: Settings, kinds: Collection[RunnerKind]) -> int | None:
    """How many jobs are held whatever they cost; None where their cost decides."""
    return settings.concurrency or (WATCHED_SLOTS if set(kinds) == {RunnerKind.ECS} else None)


def _task_runner(settings: Settings, outside: Outside, profiles: Mapping[str, Profile]) -> TaskRunner:
    """What has tasks of ECS do jobs."""
    if outside.tasks is None:
        raise AssertionError("what is outside was opened without the tasks that are wanted")
    return TaskRunner(
        tasks=outside.tasks,
        processed=outside.processed,
        commits=Commits(processed=outside.processed, publisher=Publisher(store=outside.processed)),
        profiles=profiles,
        environment=settings_of_a_task(settings),
    )


def settings_of_a_task(settings: Settings) -> dict[str, str]:
    """What a task must know as its daemon does; secrets, and what is the task definition's to say, are not in it."""
    told = {name: str(getattr(settings, name)) for name in _TOLD_TO_TASKS}
    # It opens no API, so nobody is asked who he is.
    return {variable_of(name): value for name, value in told.items()} | {
        variable_of("runner"): RunnerKind.LOCAL.value,
        variable_of("host"): "127.0.0.1",
    }
