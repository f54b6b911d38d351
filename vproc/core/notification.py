"""The messages that the queue may hold, read from their text: S3 events straight, through SNS or through EventBridge,
direct jobs, S3's test. Whether an object stands is not asked here; the event's own size and ETag are not trusted.

Shapes: S3 User Guide, "Event message structure" and "EventBridge event message structure". Minor versions and unknown
fields are accepted, as the guide asks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote_plus
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vproc.errors import InvalidMessageError

MOST_BODY_BYTES = 1024 * 1024
"""SQS's largest message is 1 MiB; S3's notifications are 64 KiB at most."""

MOST_KEY_BYTES = 1024
JOB_ID = "job_id"
"""Where the client's own id of a job stands in the file's metadata."""


@dataclass(frozen=True, slots=True)
class Work:
    """One object to process. ``version_id`` is a hint from the event; identity is taken from HEAD."""

    bucket: str
    key: str
    version_id: str | None = None
    file_id: UUID | None = None
    profile: str | None = None
    rungs: tuple[int, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What one message asks for. Without work it is acknowledged; ``ignored`` names the kinds of event left alone."""

    work: tuple[Work, ...] = ()
    test_event: bool = False
    ignored: tuple[str, ...] = ()


class _DirectJob(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bucket: str
    key: str = Field(min_length=1)
    file_id: UUID | None = None
    profile: str | None = Field(default=None, max_length=64)
    rungs: tuple[Annotated[int, Field(ge=1, le=9999)], ...] | None = Field(default=None, min_length=1, max_length=8)
    job_id: str | None = Field(default=None, min_length=1, max_length=128)
    metadata: dict[str, str] = Field(default_factory=dict, max_length=64)


def named_objects(body: str) -> tuple[str, ...]:
    """``bucket/key`` of each object that a message names, whosever it is; none where it cannot be read."""
    return tuple(f"{work.bucket}/{work.key}" for work in work_in(body))


def work_in(body: str) -> tuple[Work, ...]:
    """What a message asks for, of whatever bucket; nothing where it cannot be read."""
    try:
        return parse_message(body, raw_bucket=None).work
    except InvalidMessageError:
        return ()


def parse_message(body: str, *, raw_bucket: str | None) -> Envelope:
    """Read one message; ``raw_bucket`` None takes any bucket's. Raises `InvalidMessageError` for anything that is not for us,
    with the reason in words."""
    if len(body) > MOST_BODY_BYTES:
        raise InvalidMessageError(f"the body has {len(body)} characters, more than {MOST_BODY_BYTES}")
    document = _object(body)
    if document.get("Type") == "Notification" and isinstance(document.get("Message"), str):
        document = _object(document["Message"])
    if document.get("Event") == "s3:TestEvent" and "Records" not in document:
        return Envelope(test_event=True)
    if "Records" in document:
        return _s3_event(document["Records"], raw_bucket)
    if "detail-type" in document:
        return _eventbridge(document, raw_bucket)
    if "bucket" in document and "key" in document:
        return _direct(document, raw_bucket)
    raise InvalidMessageError("neither an S3 event, nor one wrapped by SNS or EventBridge, nor a direct job")


def _object(text: str) -> dict[str, Any]:
    """A JSON object. NaN is refused, and nesting too deep for the parser is an error like any other."""
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidMessageError(f"not JSON: {str(error)[:100] or type(error).__name__}") from None
    if not isinstance(document, dict):
        raise InvalidMessageError(f"a JSON {type(document).__name__} instead of an object")
    return document


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _s3_event(records: object, raw_bucket: str | None) -> Envelope:
    if not isinstance(records, list) or not records:
        raise InvalidMessageError("Records is not a list with something in it")
    work: list[Work] = []
    ignored: list[str] = []
    for number, record in enumerate(records):
        where = f"Records[{number}]"
        if not isinstance(record, dict) or record.get("eventSource") != "aws:s3":
            raise InvalidMessageError(f"{where} is not an S3 event")
        name = str(record.get("eventName", "")).removeprefix("s3:")
        if not name.startswith("ObjectCreated:"):
            ignored.append(name[:64])
            continue
        s3 = _inner(record, "s3", where)
        # Keys in S3's own notifications are form-encoded, always and once.
        key = unquote_plus(_text(_inner(s3, "object", where), "key", where), errors="replace")
        if key.endswith("/"):
            ignored.append("folder")  # what a console's "create folder" puts
            continue
        version = _inner(s3, "object", where).get("versionId")
        bucket = _text(_inner(s3, "bucket", where), "name", where)
        work.append(_work(bucket, key, version, raw_bucket, where))
    # One event may name one object twice (a store that tells PUT and complete apart): once is enough.
    return Envelope(work=tuple(dict.fromkeys(work)), ignored=tuple(ignored))


def _eventbridge(document: dict[str, Any], raw_bucket: str | None) -> Envelope:
    if document.get("source") != "aws.s3":
        raise InvalidMessageError(f"an EventBridge event from {str(document.get('source'))[:64]!r}, not from aws.s3")
    kind = str(document["detail-type"])
    if kind != "Object Created":
        return Envelope(ignored=(kind[:64],))
    detail = _inner(document, "detail", "the event")
    item = _inner(detail, "object", "detail")
    bucket = _text(_inner(detail, "bucket", "detail"), "name", "detail.bucket")
    # EventBridge gives the key as it is.
    return Envelope(work=(_work(bucket, _text(item, "key", "detail.object"), item.get("version-id"), raw_bucket, "detail"),))


def _direct(document: dict[str, Any], raw_bucket: str | None) -> Envelope:
    try:
        job = _DirectJob.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidMessageError(f"a direct job whose {place} is wrong: {first['msg']}") from None
    _check_place(job.bucket, job.key, raw_bucket, "the job")
    if job.rungs and ":" in (job.profile or ""):
        raise InvalidMessageError("a direct job whose rungs stand twice: in profile, and in rungs")
    metadata = job.metadata if job.job_id is None else job.metadata | {JOB_ID: job.job_id}
    return Envelope(
        work=(
            Work(
                job.bucket, job.key, file_id=job.file_id, profile=job.profile, rungs=job.rungs or (),
                metadata=tuple(sorted(metadata.items())),
            ),
        )
    )  # fmt: skip


def _work(bucket: str, key: str, version: object, raw_bucket: str | None, where: str) -> Work:
    _check_place(bucket, key, raw_bucket, where)
    return Work(bucket, key, version_id=version if isinstance(version, str) and version != "null" else None)


def _check_place(bucket: str, key: str, raw_bucket: str | None, where: str) -> None:
    if raw_bucket is not None and bucket != raw_bucket:
        raise InvalidMessageError(f"{where} names bucket {bucket[:64]!r}, but uploads arrive in {raw_bucket!r}")
    if not 0 < len(key.encode("utf-8", "surrogatepass")) <= MOST_KEY_BYTES:
        raise InvalidMessageError(f"{where} has a key of no length, or of more than {MOST_KEY_BYTES} bytes")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidMessageError(f"{where} has a key that is not text") from None


def _inner(parent: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise InvalidMessageError(f"{where} has no {name}")
    return value


def _text(parent: dict[str, Any], name: str, where: str) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidMessageError(f"{where} has no {name}")
    return value
