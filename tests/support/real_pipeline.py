"""The whole pipeline with a real ffmpeg over stores in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prometheus_client import CollectorRegistry

from tests.support.children import unconfined
from tests.support.media import LIMITS
from tests.support.memory import MemoryStore
from tests.support.tools import Tools
from tests.support.world import capacity_of
from vproc.core.files import File, ObjectVersion, Status
from vproc.core.manifest import Manifest
from vproc.core.profile import Profile
from vproc.ports import Runner
from vproc.profiles import builtin_profile
from vproc.telemetry import Metrics
from vproc.workers.figures import JobFigures
from vproc.workers.job_runner import Job
from vproc.workers.keeper import Progress
from vproc.workers.media import MediaTools
from vproc.workers.pipeline import Pipeline
from vproc.workers.scratch import Scratch, open_scratch

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
RUN_ID = "run1"


async def nothing() -> None:
    """The lease is held."""


def pipeline(
    raw: MemoryStore,
    processed: MemoryStore,
    tools: Tools,
    scratch: Scratch,
    profiles: Mapping[str, Profile],
    *,
    runner: Runner | None = None,
    job_timeout_s: float = 100,
    stall_timeout_s: float = 30,
) -> Pipeline:
    """One whose children run unconfined where no ``runner`` is given."""
    media = MediaTools(
        runner=runner or unconfined(),
        pairs=(tools.pair,),
        max_pixels=LIMITS.max_pixels,
        job_timeout_s=job_timeout_s,
        stall_timeout_s=stall_timeout_s,
    )
    return Pipeline(
        raw=raw, processed=processed, tools=media, scratch=scratch, limits=LIMITS, max_upload_bytes=1 << 30,
        metrics=Metrics(CollectorRegistry()), profiles=profiles, capacity=capacity_of(together=4),
    )  # fmt: skip


def job_for(version: ObjectVersion, profile: str, *, file_id: UUID = FILE_ID) -> Job:
    """A job whose lease is never lost."""
    now = datetime.now(UTC)
    return Job(File(file_id, "ann", "a.mp4", "raw", version.key, profile, Status.PROCESSING, now, now), version, RUN_ID, nothing)


async def process(
    raw: MemoryStore,
    processed: MemoryStore,
    tools: Tools,
    version: ObjectVersion,
    work: Path,
    profile: Profile | None = None,
    *,
    runner: Runner | None = None,
) -> Manifest:
    """One job from its original to its manifest. Raises as the pipeline does."""
    made_by = profile or builtin_profile("abr")
    async with open_scratch(work) as scratch:
        jobs = pipeline(raw, processed, tools, scratch, {made_by.name: made_by}, runner=runner)
        return await jobs.run(job_for(version, made_by.name), Progress(), JobFigures())
