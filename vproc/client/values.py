"""What the client gives and takes: an upload's address, a file's status, an output. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from vproc.core.files import Status


@dataclass(frozen=True, slots=True)
class Upload:
    """An address that takes one upload until ``expires_at``. The headers are signed: send them as they are."""

    file_id: UUID
    s3_key: str
    url: str = field(repr=False)
    method: str
    headers: Mapping[str, str]
    expires_at: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileStatus:
    """A file as the API shows it. ``body`` is the whole answer."""

    body: Mapping[str, Any]

    @property
    def file_id(self) -> UUID:
        """The file's id."""
        return UUID(self.body["file_id"])

    @property
    def file_name(self) -> str:
        """The name that it was uploaded under."""
        return str(self.body.get("file_name") or "")

    @property
    def status(self) -> Status:
        """Where it stands."""
        return Status(self.body["processing_status"])

    @property
    def progress(self) -> float:
        """How far the processing is, 0.0 to 1.0."""
        return float(self.body.get("progress") or 0.0)

    @property
    def stage(self) -> str | None:
        """What is being done, while it is processed."""
        stage = self.body.get("stage")
        return str(stage) if stage else None

    @property
    def speed(self) -> float | None:
        """Seconds of the source encoded in a second, while it is encoded."""
        return _number(self.body.get("speed"))

    @property
    def eta_s(self) -> float | None:
        """Seconds until the end, where that can be told."""
        return _number(self.body.get("eta_s"))

    @property
    def error(self) -> str | None:
        """Why it failed, as one line."""
        error = self.body.get("error")
        return f"{error['code']}: {error['detail']}" if error else None


@dataclass(frozen=True, slots=True)
class FileList:
    """Files, newest first. ``cursor``: where to go on; None where there are no more."""

    files: tuple[FileStatus, ...]
    cursor: str | None


def _number(value: object) -> float | None:
    """A daemon of an earlier version tells nothing."""
    return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class Output:
    """One object of a completed file, under ``{file_id}/`` . ``sha256`` is hex over all its bytes; ``body`` is the
    whole entry, which for media tells codec, width, height, bitrate and duration."""

    kind: str
    key: str
    url: str = field(repr=False)
    size_bytes: int
    sha256: str
    body: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any], *, url: str | None = None) -> Output:
        """An entry of ``outputs`` in the API's answer, or in a manifest, which has no ``url``."""
        return cls(
            kind=entry["kind"],
            key=entry["key"],
            url=url or entry["url"],
            size_bytes=entry["bytes"],
            sha256=entry["sha256"],
            body=entry,
        )
