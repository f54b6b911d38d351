"""What a webhook says: the type and the body of an event, in the form of Standard Webhooks. Signing and delivery are not here.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

from datetime import UTC, datetime

from vproc.core.files import File, Status


def event_type(status: Status) -> str:
    """``video.uploaded``, ``video.processing``, or its end: ``video.completed``, ``video.failed``, ``video.cancelled``,
    ``video.expired``. `ValueError` for a file of which nothing has arrived."""
    if status is Status.PENDING:
        raise ValueError(f"no event tells of {status}: nothing has happened yet")
    return f"video.{status}"


def event_payload(file: File) -> dict[str, object]:
    """``{"type", "timestamp", "data"}`` of a file that has just come to its state; only what JSON holds.

    ``timestamp`` is when it did, not when it is told. ``data`` names its fields as the API's status does.
    """
    error = file.error
    return {
        "type": event_type(file.status),
        "timestamp": _iso(file.updated_at),
        "data": {
            "file_id": str(file.file_id),
            "file_name": file.file_name,
            "owner": file.owner,
            "profile": file.profile,
            "processing_status": str(file.status),
            "original_codec": file.original_codec,
            "target_codec": file.target_codec,
            "processing_time": file.processing_time_s,
            "attempts": file.attempts,
            "error": error and {"code": str(error.code), "detail": error.detail, "retryable": error.retryable},
            "metadata": dict(file.metadata),
            "created_at": _iso(file.created_at),
            "updated_at": _iso(file.updated_at),
        },
    }


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
