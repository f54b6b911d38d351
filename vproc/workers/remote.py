"""The runner ``ecs``: a task elsewhere does the whole job, and this process watches it.

The task commits by itself, by the manifest; this side holds the lease and the message, tells the catalog how far the task is, and
ends the job as any other. A daemon that goes leaves the task alone: whoever takes the file next finds it and watches on. What two
tasks of one file would do to each other is settled by the manifest, which only one of them can write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

import anyio
import structlog

from vproc.core.delegation import Delegation, Report, channel_prefix, permit_key, report_key
from vproc.core.files import File, Stage
from vproc.core.manifest import Manifest
from vproc.core.profile import Profile, get_profile
from vproc.core.task_end import TaskEnd, error_of
from vproc.errors import InvalidMessageError, TransientError, UnavailableError
from vproc.ports import JOB_VARIABLE, LiveTask, ObjectStore, TaskOrder, Tasks
from vproc.workers.committed import Commits
from vproc.workers.figures import JobFigures
from vproc.workers.job_runner import Job
from vproc.workers.keeper import Progress

_DISK_TIMES_SOURCE = 3

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a task is looked at: its report, which costs next to nothing, and the task itself by way of ECS, which bounds
    the requests of an account; more often before it runs. A task that ECS does not know for ``unknown_for_s`` is gone; a young
    one may not be known everywhere yet."""

    read_every_s: float = 3.0
    look_every_s: float = 15.0
    young_look_every_s: float = 5.0
    unknown_for_s: float = 60.0


@dataclass(slots=True)
class _Watched:
    """A task and the run that it does, which another daemon may have begun."""

    name: str
    run_id: str
    adopted: bool
    running: bool = False


class TaskRunner:
    """`JobRunner` by tasks. ``environment`` is what every task is told beside its job: which buckets, which limits."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        processed: ObjectStore,
        commits: Commits,
        profiles: Mapping[str, Profile],
        environment: Mapping[str, str],
        pace: Pace = Pace(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._tasks = tasks
        self._processed = processed
        self._commits = commits
        self._profiles = profiles
        self._environment = dict(environment)
        self._pace = pace
        self._clock = clock

    async def run(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """Have a task do the job, or watch the one that does it already; the manifest that stands in the end, proved. It may be
        another run's."""
        manifest, finished = await self._commits.find(job.file.file_id), False
        if manifest is None:
            manifest, finished = await self._through_a_task(job, progress, figures)
        if not finished:
            await self._commits.prove(manifest, figures)
            await self._commits.finish(manifest, progress, figures)
        await self._clear(job.file, manifest.run_id)
        return manifest

    async def discard(self, file: File, run_id: str) -> None:
        """Nothing: the task of a lease that was lost is the next holder's to watch, and its outputs are still being made."""

    async def stop(self, file: File, run_id: str | None) -> None:
        """Stop every task of the file. One that ECS does not list yet, or cannot be told, ends by itself: its permit is taken."""
        runs = set() if run_id is None else {run_id}
        try:
            for task in await self._tasks.find(str(file.file_id)):
                if (delegation := _delegation_of(task)) is not None:
                    runs.add(delegation.run_id)
                log.info("task_stopped", task=task.name, file_id=str(file.file_id))
                await self._tasks.stop(task.name, reason="vproc: the file is not to be processed any more")
        finally:
            for run in runs:
                await self._clear(file, run)

    async def _through_a_task(self, job: Job, progress: Progress, figures: JobFigures) -> tuple[Manifest, bool]:
        """The manifest, and whether its own task lived to see all that it lists in its place."""
        watched = await self._running(job) or await self._started(job)
        figures.task = {"task": watched.name, "run_id": watched.run_id, "adopted": watched.adopted}
        with figures.stage(Stage.ENCODE):
            report, end = await self._watch(watched, job.file, progress)
        _take_over(report, figures)
        if end is not None:
            figures.task |= end.note()
        manifest = await self._commits.find(job.file.file_id)
        if manifest is not None:
            well = report is not None and report.ended and report.error is None
            return manifest, well and manifest.run_id == watched.run_id
        await self._clear(job.file, watched.run_id)
        if report is not None and report.error is not None:
            raise report.error.error()
        raise error_of(end or TaskEnd(reason="it reported its end and wrote no manifest"))

    async def _running(self, job: Job) -> _Watched | None:
        """The task that works on the file already. Of several, whichever commits first is what counts."""
        for task in await self._tasks.find(str(job.file.file_id)):
            delegation = _delegation_of(task)
            if (
                delegation is None
                or delegation.file_id != job.file.file_id
                or delegation.version.identity != job.version.identity
            ):
                continue
            if await self._processed.stat(permit_key(delegation.file_id, delegation.run_id)) is None:
                continue  # it was told to end
            log.info("task_adopted", task=task.name, run_id=delegation.run_id)
            return _Watched(task.name, delegation.run_id, adopted=True)
        return None

    async def _started(self, job: Job) -> _Watched:
        file = job.file
        delegation = Delegation.of(file, job.version, job.run_id, get_profile(file.profile, self._profiles))
        order = TaskOrder(
            token=job.run_id,
            started_by=str(file.file_id),
            environment={**self._environment, JOB_VARIABLE: delegation.to_json()},
            disk_bytes=_DISK_TIMES_SOURCE * job.version.size_bytes,
        )
        permit = permit_key(file.file_id, job.run_id)
        await self._processed.put(permit, b"{}", content_type="application/json")
        name = await self._tasks.start(order)
        log.info("task_started", task=name, run_id=job.run_id)
        return _Watched(name, job.run_id, adopted=False)

    async def _watch(self, watched: _Watched, file: File, progress: Progress) -> tuple[Report | None, TaskEnd | None]:
        """Follow it to its end: by its own word, or by that of ECS."""
        key = report_key(file.file_id, watched.run_id)
        look_at, known_at = self._clock(), self._clock()
        while True:
            report = await self._read(key)
            if report is not None:
                progress.tell(report.stage or Stage.DOWNLOAD, report.progress, speed=report.speed, eta_s=report.eta_s)
                if report.ended:
                    return report, await self._end_of(watched)
            if self._clock() >= look_at:
                state = await self._look(watched)
                missing = state is not None and state.missing
                if state is not None and (not missing or self._clock() - known_at >= self._pace.unknown_for_s):
                    return await self._read(key) or report, state
                if not missing:
                    known_at = self._clock()
                look_at = self._clock() + (self._pace.look_every_s if watched.running else self._pace.young_look_every_s)
            await anyio.sleep(self._pace.read_every_s)

    async def _look(self, watched: _Watched) -> TaskEnd | None:
        """How it ended, by ECS; None while it goes on, or while ECS does not answer."""
        try:
            state = await self._tasks.look(watched.name)
        except UnavailableError as error:
            log.warning("task_not_seen", task=watched.name, error=error.detail)
            return None
        watched.running = watched.running or state.running
        return state.end

    async def _end_of(self, watched: _Watched) -> TaskEnd | None:
        """What ECS says already of a task that said itself that it has ended."""
        end = await self._look(watched)
        return None if end is None or end.missing else end

    async def _read(self, key: str) -> Report | None:
        try:
            body = await self._processed.get(key)
        except TransientError as error:
            log.warning("report_not_read", key=key, error=error.detail)
            return None
        return Report.read(body) if body is not None else None

    async def _clear(self, file: File, run_id: str) -> None:
        """Take the run's permit, and what it reported: neither is an output."""
        await self._processed.delete_prefix(channel_prefix(file.file_id, run_id))


def _delegation_of(task: LiveTask) -> Delegation | None:
    try:
        return Delegation.read(task.job) if task.job is not None else None
    except InvalidMessageError:
        return None


def _take_over(report: Report | None, figures: JobFigures) -> None:
    """The figures of the run that was watched, as the attempt's own."""
    if report is None:
        return
    figures.seconds |= report.stage_seconds
    figures.bytes_in, figures.bytes_out, figures.media_s = report.bytes_in, report.bytes_out, report.media_s
    figures.usage.child_ended(cpu_s=report.cpu_s, peak_memory_bytes=report.peak_memory_bytes)
