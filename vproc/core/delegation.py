"""A job that is done in a process elsewhere: what that process is given, what it reports, and the two objects beside the run's
outputs through which they speak. The one who watches writes the permit; the one who works writes the report.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vproc.core.files import File, ObjectVersion, Stage
from vproc.core.keys import run_prefix
from vproc.core.profile import Profile
from vproc.errors import (
    EncoderError,
    ErrorCode,
    InterruptedRunError,
    InvalidMessageError,
    JobError,
    RejectedError,
    TransientError,
)

JOB_MOST = 7000
"""Characters of a job: RunTask takes 8192 of overrides, in which there is more than the job."""
_NAME_KEPT = 255


def channel_prefix(file_id: UUID, run_id: str) -> str:
    """Where the two objects stand: below the run's outputs, so that what sweeps those ends the run."""
    return run_prefix(file_id, run_id) + "task/"


def permit_key(file_id: UUID, run_id: str) -> str:
    """While this object stands, the run may go on and commit."""
    return channel_prefix(file_id, run_id) + "permit.json"


def report_key(file_id: UUID, run_id: str) -> str:
    """Where the run tells how far it is, and how it ended."""
    return channel_prefix(file_id, run_id) + "report.json"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Delegation(_Model):
    """All that a process elsewhere needs to know of a job. ``profile`` is the whole profile: the other need not have the file
    that describes it; ``reference`` is how the file names it, rungs included."""

    delegated: Literal[1] = 1
    file_id: UUID
    run_id: Annotated[str, Field(min_length=1)]
    file_name: str
    owner: str
    reference: str
    profile: Profile
    bucket: str
    key: str
    etag: str
    size_bytes: int
    version_id: str | None = None

    @classmethod
    def of(cls, file: File, version: ObjectVersion, run_id: str, profile: Profile) -> Self:
        """The job of that file, as that run."""
        return cls(
            file_id=file.file_id,
            run_id=run_id,
            file_name=file.file_name[:_NAME_KEPT],
            owner=file.owner,
            reference=file.profile,
            profile=profile,
            bucket=version.bucket,
            key=version.key,
            etag=version.etag,
            size_bytes=version.size_bytes,
            version_id=version.version_id,
        )

    @classmethod
    def read(cls, text: str) -> Self | None:
        """What `to_json` wrote; None for a job of another form. Raises `InvalidMessageError` for one that is broken, or that
        another version of vproc wrote."""
        try:
            document = json.loads(text)
        except ValueError:
            return None
        if not isinstance(document, dict) or "delegated" not in document:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidMessageError(f"a delegated job that this version cannot read: {where}: {first['msg']}") from None

    def to_json(self) -> str:
        """One line. Raises `RejectedError` where that would be longer than `JOB_MOST`."""
        text = self.model_dump_json(exclude_none=True)
        if len(text) > JOB_MOST:
            raise RejectedError(
                ErrorCode.LIMIT_EXCEEDED, f"its name and its profile take {len(text)} characters in a task's order"
            )
        return text

    @property
    def version(self) -> ObjectVersion:
        """The object version that is to be processed."""
        return ObjectVersion(self.bucket, self.key, self.etag, self.size_bytes, self.version_id)


class ReportedError(_Model):
    """Why a run ended without a commit. ``kind`` is what the error decides."""

    kind: Literal["rejected", "encoder", "transient", "interrupted"]
    code: ErrorCode
    detail: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """What the watcher is to hear of it."""
        if not isinstance(error, JobError):
            return cls(kind="transient", code=ErrorCode.INTERNAL, detail=f"unexpected {type(error).__name__}")
        if isinstance(error, RejectedError):
            return cls(kind="rejected", code=error.code, detail=error.detail)
        if isinstance(error, EncoderError):
            return cls(kind="encoder", code=error.code, detail=error.detail)
        if isinstance(error, InterruptedRunError):
            return cls(kind="interrupted", code=error.code, detail=error.detail)
        # What is away for the other process need not be for this one. It counts an attempt: each costs a machine's time.
        return cls(kind="transient", code=error.code, detail=error.detail)

    def error(self) -> JobError:
        """The same error on this side."""
        if self.kind == "interrupted":
            return InterruptedRunError(self.detail)
        kinds: dict[str, type[JobError]] = {"rejected": RejectedError, "encoder": EncoderError, "transient": TransientError}
        return kinds[self.kind](self.code, self.detail)


class Report(_Model):
    """How far a run is. ``ended`` with no ``error``: the manifest stands. The figures are those of the attempt so far."""

    ended: bool = False
    stage: Stage | None = None
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    speed: float | None = None
    eta_s: float | None = None
    stage_seconds: dict[str, float] = Field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    media_s: float = 0.0
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    error: ReportedError | None = None

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """A report; None for what is none, or another version's."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            return None
