"""Bodies and answers under ``/s3/``: what Uppy's S3 plugin sends and reads, by its own names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, StrictInt, StrictStr

from vproc.api.models import ContentType, FileName, Metadata, Problem
from vproc.core.parts import MOST_PARTS

MOST_IN_BATCH = 100
_MOST_KEY_CHARS = 1024
_MOST_ID_CHARS = 2048


def _strings(value: object) -> object:
    """Uppy sends numbers, truth values and nulls as they are in a file's ``meta``."""
    if not isinstance(value, dict):
        return value
    return {name: _string(text) for name, text in value.items() if text is not None}


def _string(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _type_or_none(value: object) -> object:
    return None if value == "" else value


def _numbers(value: object) -> object:
    return value.split(",") if isinstance(value, str) else value


Key = Annotated[StrictStr, Field(min_length=1, max_length=_MOST_KEY_CHARS)]
UploadId = Annotated[StrictStr, Field(min_length=1, max_length=_MOST_ID_CHARS)]
PartNumber = Annotated[int, Field(ge=1, le=MOST_PARTS)]
_Pairs = Annotated[Metadata, BeforeValidator(_strings)]
_Type = Annotated[ContentType | None, BeforeValidator(_type_or_none)]
_Told = Field(exclude_if=lambda value: value is None)


class _Asked(BaseModel):
    """What these routes do not know is ignored: clients of several versions ask."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, populate_by_name=True)


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, populate_by_name=True)


class S3File(_Asked):
    """A file that is to be uploaded."""

    filename: FileName
    """Its base name counts, with one of the allowed suffixes."""
    type: _Type = None
    """`video/…`, `audio/…` or `application/octet-stream`; follows from the suffix where it is empty or left out."""
    metadata: _Pairs = Field(default_factory=dict)
    """Up to 16 pairs, 2 KiB together, kept with the file; `profile` says what to make of it."""
    size: Annotated[int, Field(ge=1)] | None = None
    """Length in bytes, where known: the upload must have exactly it."""


class FormAddress(_Answered):
    """A form to post: each field as it is, then the file as `file`. `expires`: in so many seconds."""

    method: Literal["POST"] = "POST"
    url: str
    fields: dict[str, str]
    expires: int


class UploadBegun(_Answered):
    """An upload in parts. Use this `key` from now on; the file's id stands in it."""

    key: str
    upload_id: Annotated[str, Field(alias="uploadId")]
    bucket: str


class KeyQuery(_Asked):
    """Which object."""

    key: Key
    """As the upload was begun with."""


class StandingPart(_Answered):
    """A part that stands."""

    number: Annotated[int, Field(alias="PartNumber")]
    etag: Annotated[str, Field(alias="ETag")]
    size_bytes: Annotated[int, Field(alias="Size")]


class StandingParts(RootModel[tuple[StandingPart, ...]]):
    """Every part that stands, by number."""


class PartAddress(_Answered):
    """Where to PUT one part. `expires`: in so many seconds."""

    url: str
    expires: int


class BatchQuery(KeyQuery):
    """Which parts of which object."""

    part_numbers: Annotated[
        Annotated[list[PartNumber], Field(min_length=1, max_length=MOST_IN_BATCH)], BeforeValidator(_numbers)
    ] = Field(alias="partNumbers")
    """Numbers with commas between."""


class PartAddresses(_Answered):
    """Where to PUT each part, by its number."""

    presigned_urls: Annotated[dict[str, str], Field(alias="presignedUrls")]


class NamedPart(_Asked):
    """A part that is to be joined."""

    number: Annotated[StrictInt, Field(alias="PartNumber", ge=1, le=MOST_PARTS)]
    etag: Annotated[StrictStr, Field(alias="ETag", min_length=1, max_length=256)]
    """With quotes or without."""


class JoinRequest(_Asked):
    """Which parts make the object."""

    parts: Annotated[tuple[NamedPart, ...], Field(min_length=1, max_length=MOST_PARTS)]


class UploadJoined(_Answered):
    """The object that the parts became. `location` names it and is no way to it."""

    location: str
    key: str
    bucket: str


class Nothing(_Answered):
    """There is nothing to tell."""


class SignRequest(_Asked):
    """A request to S3 that Uppy 6 wants signed: `signRequest` gets it, and posts it here as it is."""

    method: Literal["PUT", "POST", "GET", "DELETE"]
    key: Key
    """To begin with, a name of the client's; afterwards the key that was answered."""
    content_type: Annotated[_Type, Field(alias="contentType")] = None
    upload_id: Annotated[UploadId | None, Field(alias="uploadId")] = None
    part_number: Annotated[Annotated[StrictInt, Field(ge=1, le=MOST_PARTS)] | None, Field(alias="partNumber")] = None
    metadata: _Pairs = Field(default_factory=dict)
    """Beside what Uppy sends: kept with the file; `profile` says what to make of it."""
    size: Annotated[StrictInt, Field(ge=1)] | None = None
    """Beside what Uppy sends: length in bytes, where known."""


class SignedRequest(_Answered):
    """What to ask, with exactly these headers. `key`, where told, is the one to use from now on."""

    url: str
    key: Annotated[str | None, _Told] = None
    headers: Annotated[dict[str, str] | None, _Told] = None


class S3Problem(Problem):
    """An error (RFC 9457). `error` and `message` are `detail` once more, as Uppy reads it."""

    error: str
    message: str


def in_uppys_words(problem: dict[str, Any]) -> dict[str, Any]:
    """The problem as a client of ``/s3/`` reads it."""
    return {**problem, "error": problem["detail"], "message": problem["detail"]}
