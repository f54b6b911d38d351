"""What an operator is shown of the catalog: jobs that run, what came of the last hours, what failed. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from vproc.core.files import FileError, Stage


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A file that is being processed, in any process over this catalog. ``silent``: its lease has ended and nobody took it yet:
    its worker died or was cut off. ``speed`` and ``eta_s`` as of a file."""

    file_id: UUID
    file_name: str
    owner: str
    profile: str
    stage: Stage | None
    progress: float
    speed: float | None
    eta_s: float | None
    attempt: int
    worker: str
    started_at: datetime
    silent: bool


@dataclass(frozen=True, slots=True)
class Hour:
    """Files that came to their end in the hour that begins then (aware UTC): a file that failed twice counts at the last time.
    ``media_s``: seconds of the completed ones' sources."""

    begins_at: datetime
    completed: int
    failed: int
    media_s: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that is ``failed``, and since when."""

    file_id: UUID
    file_name: str
    owner: str
    profile: str
    error: FileError
    attempts: int
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """One look at the catalog. ``jobs`` oldest first, at most so many as were asked for, of ``running`` in all; ``hours`` oldest
    first, each of them there, the last one under way; ``failures`` newest first."""

    read_at: datetime
    schema_version: str
    running: int
    jobs: tuple[RunningJob, ...]
    hours: tuple[Hour, ...]
    failures: tuple[Failure, ...]
