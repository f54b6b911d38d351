"""Bodies of requests and answers, as pydantic models: they check what comes in, shape what goes out, and are the OpenAPI
document's schemas."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from vproc.api.patterns import content_type_pattern, file_name_pattern
from vproc.core.files import File, Stage, Status
from vproc.core.keys import ALLOWED_SUFFIXES
from vproc.core.manifest import Output
from vproc.errors import ErrorCode

MAX_NAME_CHARS = 255
MAX_METADATA_PAIRS = 16
MAX_METADATA_BYTES = 2048
MAX_CALLBACK_CHARS = 2048
MAX_CURSOR_CHARS = 512

_CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".3gp": "video/3gpp",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    ".mxf": "application/mxf",
    ".ogv": "video/ogg",
}
_APPLICATION_TYPES = (
    "application/octet-stream",
    "application/mxf",
    "application/mp4",
    "application/ogg",
    "application/x-matroska",
)
# RFC 9110, section 8.3.1; what is signed must be sent to the letter, so no space at the ends and nothing beyond ASCII.
_MEDIA_TYPE = re.compile(
    r"(?P<type>[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64})(?: ?; ?[\x20-\x7e]{1,100}(?<! ))?", re.IGNORECASE
)
# Line separators end a header's line in some clients; the bidirectional controls make a name read as another one.
_UNSHOWABLE = {"Cc", "Cs", "Zl", "Zp"}
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def content_type_of(file_name: str) -> str:
    """The content type that follows from the suffix."""
    return _CONTENT_TYPES[PurePosixPath(file_name).suffix.lower()]


def _file_name(value: str) -> str:
    name = re.split(r"[/\\]", value.strip())[-1].strip()
    if any(unicodedata.category(char) in _UNSHOWABLE or char in _BIDI for char in value):
        raise ValueError("takes no control characters")
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise ValueError(f"takes 1 to {MAX_NAME_CHARS} characters, got {len(name)}")
    if PurePosixPath(name).suffix.lower() not in ALLOWED_SUFFIXES:
        raise ValueError(f"takes names that end in one of {' '.join(ALLOWED_SUFFIXES)}")
    return name


def _content_type(value: str) -> str:
    match = _MEDIA_TYPE.fullmatch(value)
    kind = match["type"].lower() if match else ""
    if not kind.startswith(("video/", "audio/")) and kind not in _APPLICATION_TYPES:
        raise ValueError(f"takes video/…, audio/… or one of {', '.join(_APPLICATION_TYPES)}")
    return value


def _metadata(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MAX_METADATA_PAIRS:
        raise ValueError(f"takes {MAX_METADATA_PAIRS} pairs at most, got {len(value)}")
    size_bytes = sum(len(name.encode()) + len(text.encode()) for name, text in value.items())
    if size_bytes > MAX_METADATA_BYTES:
        raise ValueError(f"takes {MAX_METADATA_BYTES} bytes of names and values at most, got {size_bytes}")
    return value


def _callback_url(value: str) -> str:
    """Where it may point is the settings' business: see `core.webhook_target`."""
    if len(value) > MAX_CALLBACK_CHARS or any(not char.isprintable() or char.isspace() for char in value):
        raise ValueError(f"takes {MAX_CALLBACK_CHARS} characters at most and no spaces")
    return value


FileName = Annotated[
    StrictStr,
    AfterValidator(_file_name),
    Field(min_length=1, json_schema_extra={"pattern": file_name_pattern(ALLOWED_SUFFIXES)}),
]
ContentType = Annotated[
    StrictStr,
    AfterValidator(_content_type),
    Field(json_schema_extra={"pattern": content_type_pattern(_APPLICATION_TYPES)}),
]
Metadata = Annotated[dict[StrictStr, StrictStr], AfterValidator(_metadata)]


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_utc)]
"""RFC 3339 in UTC, with Z."""


_T = TypeVar("_T")
_Told = Annotated[_T, Field(exclude_if=lambda value: value is None)]
"""A field that is left out where there is nothing to tell."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, from_attributes=True)


class UploadRequest(BaseModel):
    """An upload that is announced."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file_name: FileName
    """Its base name counts: 1 to 255 characters, no control characters, with one of the allowed suffixes."""
    content_type: ContentType | None = None
    """`video/…`, `audio/…` or `application/octet-stream`; follows from the suffix where it is left out."""
    size: Annotated[StrictInt, Field(ge=1)] | None = None
    """Length in bytes. Where given, the address takes an upload of exactly this length."""
    profile: StrictStr | None = None
    """What to make of it: see `vproc profiles`."""
    metadata: Metadata = Field(default_factory=dict)
    """Up to 16 pairs of strings, 2 KiB together, kept with the file."""
    callback_url: Annotated[StrictStr, AfterValidator(_callback_url)] | None = None
    """An https:// address on the internet that is told of each state by a webhook."""


class UploadAddress(_Answer):
    """Where to put the bytes: send `method` to `upload_url` with exactly these headers."""

    file_id: UUID
    s3_key: str
    upload_url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_at: Instant
    profile: str


class FileFailure(_Answer):
    """Why a file failed. `retryable`: POST /upload/{file_id}/retry may help."""

    code: ErrorCode
    detail: str
    retryable: bool


class FileStatus(_Answer):
    """A file as it stands."""

    file_id: UUID
    file_name: str
    processing_status: Status
    progress: Annotated[float, Field(ge=0, le=1)]
    """0.0 to 1.0."""
    stage: Stage | None
    """What is being done while it is processed."""
    speed: float | None
    """Seconds of the source that are encoded in a second: 0 where it stalls, null while nothing is encoded."""
    eta_s: float | None
    """Seconds until it is completed; null where that cannot be told."""
    original_codec: str | None
    target_codec: str | None
    """The codec of the largest rendition."""
    processing_time: float | None
    """Seconds; null before the end."""
    attempts: int
    error: FileFailure | None
    profile: str
    size: int | None
    """Length of the original in bytes."""
    s3_key: str
    owner: str
    metadata: dict[str, str]
    created_at: Instant
    updated_at: Instant
    completed_at: Instant | None

    @classmethod
    def of(cls, file: File) -> Self:
        """What the API shows of a file."""
        error = file.error
        return cls(
            file_id=file.file_id,
            file_name=file.file_name,
            processing_status=file.status,
            progress=file.progress,
            stage=file.stage,
            speed=file.speed,
            eta_s=file.eta_s,
            original_codec=file.original_codec,
            target_codec=file.target_codec,
            processing_time=file.processing_time_s,
            attempts=file.attempts,
            error=FileFailure(code=error.code, detail=error.detail, retryable=error.retryable) if error else None,
            profile=file.profile,
            size=file.size_bytes,
            s3_key=file.key,
            owner=file.owner,
            metadata=file.metadata,
            created_at=file.created_at,
            updated_at=file.updated_at,
            completed_at=file.completed_at,
        )


class StreamedEvent(_Answer):
    """One event of a stream, by its fields."""

    event: Literal["status", "end"]
    data: Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json"})]
    """With `status` the same JSON as GET /upload/{file_id}/status; with `end` an empty object."""
    id: Annotated[str, Field(pattern="^[0-9]+$")]
    """For `Last-Event-ID`."""
    retry: int
    """Milliseconds after which to ask again where the stream breaks off."""


class ListQuery(BaseModel):
    """How to list files."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    status: Status | None = None
    """Only files in this state."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """How many at most."""
    cursor: Annotated[str, Field(min_length=1, max_length=MAX_CURSOR_CHARS)] | None = None
    """Where the page before ended."""


class FilePage(_Answer):
    """A page of files, newest first. `cursor` is null on the last page."""

    uploads: tuple[FileStatus, ...]
    cursor: str | None


class OriginalAddress(_Answer):
    """Where the original can be fetched for a while."""

    download_url: str
    expires_at: Instant


class OutputAddress(_Answer):
    """An output and where it can be fetched. `sha256` is hex, over all its bytes."""

    kind: str
    key: str
    url: str
    bytes: int
    sha256: str
    content_type: str
    name: _Told[str | None] = None
    codec: _Told[str | None] = None
    width: _Told[int | None] = None
    height: _Told[int | None] = None
    bitrate_bps: _Told[int | None] = None
    duration_s: _Told[float | None] = None

    @classmethod
    def of(cls, output: Output, url: str) -> Self:
        """What the API shows of an output."""
        shown: dict[str, Any] = output.model_dump(include=set(cls.model_fields))
        return cls(**shown, url=url)


class OutputQuery(BaseModel):
    """Which outputs to tell."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    segments: bool = False
    """Single segments and their headers as well: there may be thousands."""


class ProcessedAddresses(_Answer):
    """All outputs; single segments only where they were asked for. `download_url` is the one to give a person: the largest
    MP4, else the audio, else the master playlist, else the poster. `expires_at` is null where the addresses are a CDN's."""

    download_url: str
    expires_at: Instant | None
    outputs: tuple[OutputAddress, ...]


class Playback(_Answer):
    """What a player is given: addresses relative to this API, good until `expires_at`; null where the profile makes none."""

    hls: str | None
    dash: str | None
    poster: str | None
    expires_at: Instant


class Health(_Answer):
    """Whether the process goes on. `wedged`: something that must never stand still does; the log names it."""

    status: Literal["ok", "wedged"] = "ok"


class Readiness(_Answer):
    """Whether the process can do its work. A check says `ok` or what is wrong."""

    status: Literal["ready", "unready", "draining"]
    checks: dict[str, str]
    sandbox: dict[str, bool | str]
    """The layers of ffmpeg's confinement that are in force."""


class Version(_Answer):
    """What runs here."""

    version: str
    ffmpeg: str | None


class Problem(_Answer):
    """An error (RFC 9457). `detail` says in words what is wrong; `instance` is the request's id."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
