"""A whole job, wherever it is done: what `jobs` asks of whoever does it, and the choice among them by the file's profile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import anyio

from vproc.core.files import File, ObjectVersion
from vproc.core.manifest import Manifest
from vproc.core.profile import Profile, profile_name
from vproc.core.runners import RunnerKind
from vproc.workers.capacity import FIRST_PATIENCE_S
from vproc.workers.figures import JobFigures
from vproc.workers.keeper import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done: a file, the object version that it is, and the name of this run.

    ``confirm`` proves that the job is still ours, or raises `LeaseLostError`: asked right before the commit. ``patience_s`` is
    how long it waits for room on the machine, in which its ``deadline`` stands still.
    """

    file: File
    version: ObjectVersion
    run_id: str
    confirm: Callable[[], Awaitable[None]]
    patience_s: float = FIRST_PATIENCE_S
    deadline: anyio.CancelScope | None = None


class JobRunner(Protocol):
    """Does jobs, any number at a time."""

    async def run(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """Do the job; the manifest that stands for it in the end, proved. It may be another run's."""
        ...

    async def discard(self, file: File, run_id: str) -> None:
        """Remove what a run that lost its lease has sent, unless it was committed or may go on."""
        ...

    async def stop(self, file: File, run_id: str | None) -> None:
        """The file is not to be worked on any more, whatever still runs: its owner cancelled it, or its time is over. ``run_id``
        is the run that has ended by this, None where there was none."""
        ...


class Dispatcher:
    """Gives each job to the runner that its profile names, else to the default; and to the first of ``runners`` where the one
    that it would go to is not among them."""

    def __init__(self, runners: Mapping[RunnerKind, JobRunner], *, profiles: Mapping[str, Profile], default: RunnerKind) -> None:
        self._runners = runners
        self._profiles = profiles
        self._default = default

    async def run(self, job: Job, progress: Progress, figures: JobFigures) -> Manifest:
        """As `JobRunner` says."""
        return await self._runner_of(job.file).run(job, progress, figures)

    async def discard(self, file: File, run_id: str) -> None:
        """As `JobRunner` says."""
        await self._runner_of(file).discard(file, run_id)

    async def stop(self, file: File, run_id: str | None) -> None:
        """As `JobRunner` says."""
        await self._runner_of(file).stop(file, run_id)

    def _runner_of(self, file: File) -> JobRunner:
        profile = self._profiles.get(profile_name(file.profile))
        kind = (profile.runner if profile is not None else None) or self._default
        return self._runners.get(kind) or next(iter(self._runners.values()))


def runners_wanted(profiles: Mapping[str, Profile], *, default: RunnerKind) -> frozenset[RunnerKind]:
    """Every kind of runner that some profile's files go to."""
    return frozenset({default, *(profile.runner for profile in profiles.values() if profile.runner is not None)})
