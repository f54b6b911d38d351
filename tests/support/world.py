"""A worker's whole world without ffmpeg and AWS: a real catalog on SQLite, buckets and queue in memory, and a pipeline that
publishes a few bytes through the true publisher, held or failed as a test wants."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import anyio
from prometheus_client import CollectorRegistry

from tests.support.catalog import Given
from tests.support.memory import MemoryQueue, MemoryStore, MemoryStoreOptions
from vproc.core.files import File, Stage, Status
from vproc.core.keys import manifest_key, upload_key
from vproc.core.leases import Lease
from vproc.core.machine import Machine
from vproc.core.manifest import Manifest, OutputKind, Source
from vproc.core.memory import GIB
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.ports import ObjectStore, Queue
from vproc.queue_gauges import QueueGauges
from vproc.telemetry import Metrics
from vproc.tracing import Tracer
from vproc.workers.capacity import Capacity
from vproc.workers.committed import Commits
from vproc.workers.consumer import Consumer
from vproc.workers.figures import JobFigures
from vproc.workers.intake import Intake
from vproc.workers.janitor import Janitor
from vproc.workers.job_runner import Job, JobRunner
from vproc.workers.jobs import Jobs
from vproc.workers.keeper import Progress
from vproc.workers.package import Item, Package
from vproc.workers.pipeline import Pipeline
from vproc.workers.publisher import Publisher
from vproc.workers.reconcile import Reconciler
from vproc.workers.rules import JobRules
from vproc.workers.scratch import Scratch

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
KEY = upload_key("default", FILE_ID, "a.mp4")

Step = Callable[[Job], Awaitable[None]]


def capacity_of(*, together: int | None = None, metrics: Metrics | None = None, cores: int = 2, gib: float = 8) -> Capacity:
    """Of a machine of that size."""
    machine = Machine(cores=cores, memory_bytes=round(gib * GIB), threads=cores)
    return Capacity(machine, together=together, metrics=metrics or Metrics(CollectorRegistry()))


class StubPipeline(Pipeline):
    """Publishes two objects and commits, without ffmpeg. ``steps`` run first, one for each run, and may raise or wait."""

    def __init__(self, processed: ObjectStore) -> None:
        self._processed = processed
        self._publisher = Publisher(store=processed)
        self._commits = Commits(processed=processed, publisher=self._publisher)
        self.steps: list[Step] = []
        self.before_commit: Step | None = None
        self.runs: list[Job] = []
        self.begun = anyio.Event()
        self.encodes = 0

    async def _produce(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        self.runs.append(job)
        self.begun.set()
        progress.enter(Stage.ENCODE)
        progress.reach(Stage.ENCODE, 0.5)
        if self.steps:
            await self.steps.pop(0)(job)
        self.encodes += 1
        items = (
            Item(OutputKind.VIDEO, "720.mp4", "video/mp4", f"video by {job.run_id}".encode(), {"codec": "h264"}),
            Item(OutputKind.POSTER, "poster.jpg", "image/jpeg", b"poster", {}),
        )
        with figures.stage(Stage.PUBLISH):
            sending = self._publisher.sending(job.file.file_id, job.run_id, on_sent=lambda _: None)
            outputs, entries = await sending.finish(Package(items, {"poster.jpg": "poster.jpg"}))
        figures.bytes_in, figures.bytes_out = job.version.size_bytes, 20
        if self.before_commit is not None:
            await self.before_commit(job)
        await job.confirm()
        return await self._publisher.commit(manifest_of(job, outputs, entries))


def manifest_of(job: Job, outputs: Any, entries: Any) -> Manifest:
    """What `StubPipeline` commits."""
    source = Source(
        bucket=job.version.bucket,
        key=job.version.key,
        etag=job.version.etag,
        version_id=job.version.version_id,
        bytes=job.version.size_bytes,
        container="mov",
        duration_s=2.0,
        codec="hevc",
    )
    return Manifest(
        file_id=job.file.file_id,
        run_id=job.run_id,
        profile=job.file.profile,
        created_at=datetime.now(UTC),
        source=source,
        target_codec="h264",
        outputs=outputs,
        entry_points=entries,
    )


@dataclass
class World:
    """Every part, and what tests ask of them."""

    catalog: SqlCatalog
    given: Given
    queue: MemoryQueue
    raw: MemoryStore
    processed: MemoryStore
    pipeline: StubPipeline
    metrics: Metrics
    intake: Intake
    jobs: Jobs
    janitor: Janitor
    woken: list[None] = field(default_factory=list)

    def consumer(self, *, slots: int = 2, drain_timeout_s: float = 5, capacity: Capacity | None = None) -> Consumer:
        """A consumer of one's own over the shared parts: of so many slots, or over that ``capacity``."""
        return Consumer(
            queue=self.queue,
            jobs=self.jobs,
            intake=self.intake,
            capacity=capacity or capacity_of(together=slots, metrics=self.metrics),
            poll_wait_s=1,
            drain_timeout_s=drain_timeout_s,
            metrics=self.metrics,
        )

    async def handle_next(self) -> None:
        """Receive one message and handle it to its end."""
        (message,) = await self.queue.receive(max_messages=1, wait_s=1)
        await self.jobs.handle(message)

    async def file(self, file_id: UUID = FILE_ID) -> File:
        """The file, which stands."""
        return await self.given.read(file_id)

    async def only_file(self) -> File:
        """The one file that there is."""
        page = await self.catalog.list(owner=None, status=None, limit=10, cursor=None)
        (file,) = page.files
        return file

    async def lease(self, file_id: UUID = FILE_ID) -> Lease:
        """The lease that stands in the row, read behind the port."""
        (row,) = [row for row in await self.given.rows("files") if UUID(str(row["file_id"])) == file_id]
        return Lease(file_id, cast("str", row["lease_token"]), str(row["run_id"]), int(row["attempts"]))

    def manifest(self, file_id: UUID = FILE_ID) -> Manifest:
        """The committed manifest."""
        return Manifest.from_json(self.processed.body(manifest_key(file_id)))

    def count(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def run_folders(self, file_id: UUID = FILE_ID) -> set[str]:
        """The runs whose objects stand in the processed bucket."""
        keys = [key.split("/") for key in self.processed.keys if key.startswith(f"{file_id}/")]
        return {parts[1] for parts in keys if len(parts) > 2}

    async def finished(self) -> None:
        """See that nothing is left to do: invariants that hold after every story."""
        assert self.queue.bodies == []
        file = await self.only_file()
        assert file.status.terminal
        if file.status is Status.COMPLETED:
            manifest = self.manifest(file.file_id)
            for output in (*manifest.outputs, *manifest.entry_points):
                assert len(self.processed.body(output.key)) == output.bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker is made of, beside its adapters."""

    pipeline: StubPipeline
    intake: Intake
    jobs: Jobs
    janitor: Janitor


def parts_over(
    catalog: SqlCatalog,
    queue: Queue,
    raw: ObjectStore,
    processed: ObjectStore,
    *,
    folder: Path,
    metrics: Metrics,
    delete_raw: bool = True,
    max_attempts: int = 3,
    job_timeout_s: float = 30,
    on_job_ended: Callable[[], None] = lambda: None,
    tracer: Tracer | None = None,
    runner: JobRunner | None = None,
) -> Parts:
    """A worker over any adapters. Its scratch is ``folder``; the visibility timeout is four seconds. ``runner`` does its jobs
    instead of the pipeline."""
    pipeline = StubPipeline(processed)
    intake = Intake(scratch=Scratch(folder), metrics=metrics, least_free_bytes=1)
    rules = JobRules(
        worker="test:1",
        visibility_timeout_s=4,
        max_attempts=max_attempts,
        job_timeout_s=job_timeout_s,
        default_profile="abr",
        delete_raw=delete_raw,
    )
    jobs = Jobs(
        queue=queue, catalog=catalog, raw=raw, processed=processed, runner=runner or pipeline, rules=rules, intake=intake,
        metrics=metrics, on_job_ended=on_job_ended, jitter=lambda: 0.0, tracer=tracer,
    )  # fmt: skip
    reconciler = Reconciler(
        catalog=catalog, raw=raw, processed=processed, queue=queue, metrics=metrics, delete_raw=delete_raw, tell=lambda _: None
    )
    gauges = QueueGauges(queue=queue, reader=catalog, metrics=metrics)
    janitor = Janitor(catalog=catalog, raw=raw, processed=processed, gauges=gauges, metrics=metrics, reconciler=reconciler)
    return Parts(pipeline, intake, jobs, janitor)


@asynccontextmanager
async def open_world(
    tmp_path: Path,
    *,
    delete_raw: bool = True,
    max_attempts: int = 3,
    job_timeout_s: float = 30,
    wrap: Callable[[SqlCatalog], SqlCatalog] = lambda catalog: catalog,
    tracer: Tracer | None = None,
    runner: Callable[[MemoryStore], JobRunner] | None = None,
) -> AsyncIterator[World]:
    """A world that begins empty. The visibility timeout is four seconds. ``wrap`` stands between the parts and the catalog;
    ``runner`` over the processed bucket does the jobs."""
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path / 'world.db'}") as opened:
        catalog = wrap(opened)
        queue = MemoryQueue(visibility_timeout_s=4)
        raw = MemoryStore("raw", MemoryStoreOptions(events=queue))
        processed = MemoryStore("processed")
        metrics = Metrics(CollectorRegistry())
        woken: list[None] = []
        parts = parts_over(
            catalog, queue, raw, processed, folder=tmp_path, metrics=metrics, delete_raw=delete_raw, max_attempts=max_attempts,
            job_timeout_s=job_timeout_s, on_job_ended=lambda: woken.append(None), tracer=tracer,
            runner=runner(processed) if runner is not None else None,
        )  # fmt: skip
        yield World(
            opened, Given(opened), queue, raw, processed, parts.pipeline, metrics, parts.intake, parts.jobs, parts.janitor, woken
        )


def direct_job(key: str = KEY, **fields: Any) -> str:
    """The body of a direct job."""
    return json.dumps({"bucket": "raw", "key": key} | fields)
