"""What a webhook says of a file that has reached its end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from vproc.core.files import File, FileError, Status
from vproc.core.webhook import event_payload, event_type
from vproc.errors import ErrorCode

FILE = File(
    file_id=UUID(int=7),
    owner="ann",
    file_name="été.mp4",
    bucket="raw",
    key="videos/ann/7.mp4",
    profile="abr",
    status=Status.COMPLETED,
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    updated_at=datetime(2026, 1, 2, 4, 0, 0, tzinfo=timezone(timedelta(hours=1))),
    metadata={"album": "1"},
    original_codec="hevc",
    target_codec="h264",
    processing_time_s=12.5,
    attempts=2,
)


def test_payload_is_the_standard_form() -> None:
    """Type, time of the event and data, in the words of the API's status; it is plain JSON."""
    payload = event_payload(FILE)
    assert json.loads(json.dumps(payload)) == payload == {
        "type": "video.completed",
        "timestamp": "2026-01-02T03:00:00.000Z",
        "data": {
            "file_id": "00000000-0000-0000-0000-000000000007",
            "file_name": "été.mp4",
            "owner": "ann",
            "profile": "abr",
            "processing_status": "completed",
            "original_codec": "hevc",
            "target_codec": "h264",
            "processing_time": 12.5,
            "attempts": 2,
            "error": None,
            "metadata": {"album": "1"},
            "created_at": "2026-01-02T03:04:05.678Z",
            "updated_at": "2026-01-02T03:00:00.000Z",
        },
    }  # fmt: skip


def test_payload_of_a_failure_says_why() -> None:
    """A program reads the code, a person the detail."""
    values = {name: getattr(FILE, name) for name in FILE.__dataclass_fields__}
    error = FileError(ErrorCode.STALLED, "no progress for 120 s", retryable=True)
    data = event_payload(File(**values | {"status": Status.FAILED, "error": error}))["data"]
    assert isinstance(data, dict)
    assert data["error"] == {"code": "stalled", "detail": "no progress for 120 s", "retryable": True}


@pytest.mark.parametrize("status", list(Status))
def test_every_state_but_pending_is_an_event(status: Status) -> None:
    """Each has its type."""
    if status is not Status.PENDING:
        assert event_type(status) == f"video.{status.value}"
    else:
        with pytest.raises(ValueError, match=status):
            event_type(status)
