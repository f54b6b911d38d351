"""Bodies and answers under ``/ops/``."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StrictStr, model_validator

from vproc.api.models import FileFailure, Instant
from vproc.core.files import Stage

_MOST_NAMED = 100
_MOST_NAME_CHARS = 256


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, from_attributes=True)


class OpsQueue(_Told):
    """The queue, by the gauges of this process; null where nobody has read them. SQS counts approximately."""

    waiting: int | None
    in_flight: int | None
    delayed: int | None
    dead_letters: int | None
    oldest_age_s: float | None
    """How long the message had waited that this process took last."""
    read_at: Instant | None


class OpsWorker(_Told):
    """The jobs that the process does which answers, and the disk where it does them."""

    jobs: int
    slots: int
    scratch_free_bytes: int
    scratch_size_bytes: int


class OpsJob(_Told):
    """A file that is being processed, by whichever process."""

    file_id: UUID
    file_name: str
    owner: str
    profile: str
    stage: Stage | None
    progress: Annotated[float, Field(ge=0, le=1)]
    speed: float | None
    """As of a file's status."""
    eta_s: float | None
    attempt: int
    worker: str
    """Host, process and a word of chance, with colons between."""
    started_at: Instant
    silent: bool
    """Its lease has ended: its worker died or was cut off, and the next one takes the file."""


class OpsHour(_Told):
    """What came to its end in the hour that begins then. A file that failed twice counts where it failed last."""

    begins_at: Instant
    completed: int
    failed: int
    media_s: float
    """Seconds of the completed files' sources."""


class OpsFailure(_Told):
    """A file that is `failed`."""

    file_id: UUID
    file_name: str
    owner: str
    profile: str
    error: FileFailure
    attempts: int
    failed_at: Instant


class OpsProcess(_Told):
    """The process that answers."""

    version: str
    ffmpeg: str | None
    schema_version: str
    """The last step of `vproc migrate` that the database has seen."""
    uptime_s: float


class OpsState(_Told):
    """All that an operator wants to see at a glance. `queue` and `worker` are the gauges of `/metrics`."""

    read_at: Instant
    """When the catalog was read, by the database's clock."""
    process: OpsProcess
    queue: OpsQueue
    worker: OpsWorker | None
    """Null in a process that takes no jobs."""
    running: int
    """Files that are being processed, in all."""
    jobs: tuple[OpsJob, ...]
    """The longest running first, a hundred at most."""
    hours: tuple[OpsHour, ...]
    """24, oldest first; the last is the hour that runs, in UTC."""
    failures: tuple[OpsFailure, ...]
    """The last 20, newest first."""


class OpsLetter(_Told):
    """A dead letter."""

    message_id: str
    code: str | None
    """Null where SQS itself put it aside."""
    detail: str
    file_id: str | None
    attempts: int | None
    objects: tuple[str, ...]
    """`bucket/key` of each object that it names."""
    sent_at: Instant | None


class OpsLetters(_Told):
    """Dead letters, oldest first, a hundred at most. `more`: there may be others."""

    letters: tuple[OpsLetter, ...]
    more: bool


Name = Annotated[StrictStr, Field(min_length=1, max_length=_MOST_NAME_CHARS)]


class RedriveRequest(BaseModel):
    """Which dead letters to send back: `ids` or `all`, and not both."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ids: Annotated[tuple[Name, ...], Field(min_length=1, max_length=_MOST_NAMED)] | None = None
    """Of letters, of the messages that they were, or of their files."""
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.ids is None) == (self.all is None):
            raise ValueError("takes ids or all, and not both")
        return self


class OpsRedriven(_Told):
    """What was sent back. `sqs` moves all by itself where it can, and counts about; `hand`: vproc did."""

    redriven: int | None
    """Null where it was not at its end in time."""
    by: Literal["sqs", "hand"] | None
