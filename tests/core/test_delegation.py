"""A job that is handed over: it arrives as it was sent, whatever its profile; and so do the errors that come back."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.delegation import Delegation, Report, ReportedError, permit_key, report_key
from vproc.core.files import Stage
from vproc.core.keys import run_prefix
from vproc.core.profile import Profile
from vproc.core.profile_file import parse_profiles
from vproc.core.task_end import TaskEnd, error_of
from vproc.errors import (
    EncoderError,
    ErrorCode,
    InterruptedRunError,
    InvalidMessageError,
    JobError,
    LeaseLostError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from vproc.profiles import builtin_profiles

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
LARGEST = """
[profiles.mine]
packaging = "cmaf"
codec = "hevc"
quality = "best"
hdr = "keep"
runner = "ecs"
measure = "vmaf"
rungs = [
    { short_side_px = 2160, bitrate_kbps = 16000 }, { short_side_px = 1440, bitrate_kbps = 9000 },
    { short_side_px = 1080, crf = 23.5, maxrate_kbps = 5000 }, { short_side_px = 900, bitrate_kbps = 3000 },
    { short_side_px = 720, bitrate_kbps = 2000 }, { short_side_px = 480, bitrate_kbps = 1000 },
    { short_side_px = 360, bitrate_kbps = 600 }, { short_side_px = 240, bitrate_kbps = 300 },
]
"""


def delegation(profile: Profile, **changes: object) -> Delegation:
    told = {
        "file_id": FILE_ID, "run_id": "r1", "file_name": 'ä "film".mp4', "owner": "ann", "reference": "abr:720",
        "profile": profile, "bucket": "raw", "key": "videos/ä.mp4", "etag": "e", "size_bytes": 7, "version_id": "v1",
    }  # fmt: skip
    return Delegation.model_validate(told | changes)


@pytest.mark.parametrize("profile", [*builtin_profiles().values(), *parse_profiles(LARGEST).values()], ids=lambda one: one.name)
def test_a_job_arrives_as_it_was_sent(profile: Profile) -> None:
    sent = delegation(profile)
    assert Delegation.read(sent.to_json()) == sent
    assert sent.version.identity == "v1"


def test_the_largest_job_fits_into_what_run_task_takes() -> None:
    """8,192 characters of overrides: the longest key and name that S3 and the API let through, with the longest profile."""
    (profile,) = parse_profiles(LARGEST).values()
    job = delegation(profile, key="videos/" + "ä" * 508, file_name="ä" * 255, owner="%C3%A4" * 30).to_json()
    assert len(json.dumps({"name": "VPROC_JOB", "value": job})) < 8192 - 700


def test_a_job_that_would_not_fit_is_rejected_before_it_is_ordered() -> None:
    """ECS would refuse it each time, and the intake would pause for it."""
    with pytest.raises(RejectedError) as raised:
        delegation(builtin_profiles()["abr"], key="x" * 7000).to_json()
    assert raised.value.code is ErrorCode.LIMIT_EXCEEDED


@given(st.text())
def test_whatever_else_a_job_is_it_is_not_delegated(text: str) -> None:
    assert Delegation.read(text) is None


def test_a_job_of_the_queue_is_not_delegated() -> None:
    assert Delegation.read('{"bucket": "raw", "key": "a.mp4"}') is None
    assert Delegation.read("[]") is None


@pytest.mark.parametrize(
    "changes", [{"delegated": 2}, {"run_id": ""}, {"more": 1}, {"profile": {"name": "x"}}, {"size_bytes": "x"}]
)
def test_one_that_cannot_be_read_says_where(changes: dict[str, object]) -> None:
    """Another version of vproc may have written it."""
    document = json.loads(delegation(builtin_profiles()["abr"]).to_json()) | changes
    with pytest.raises(InvalidMessageError, match=f"this version cannot read: {next(iter(changes))}"):
        Delegation.read(json.dumps(document))


def test_both_objects_stand_where_a_sweep_of_the_run_takes_them() -> None:
    for key in (permit_key(FILE_ID, "r1"), report_key(FILE_ID, "r1")):
        assert key.startswith(run_prefix(FILE_ID, "r1"))


@pytest.mark.parametrize(
    ("error", "arrives"),
    [
        (RejectedError(ErrorCode.CORRUPT_MEDIA, "cut"), RejectedError),
        (EncoderError(ErrorCode.ENCODER_FAILED, "SIGSEGV"), EncoderError),
        (TransientError(ErrorCode.STALLED, "no progress"), TransientError),
        (InterruptedRunError("told to end"), InterruptedRunError),
        # The other's disk or its right to a bucket: this side's may be in order, and each attempt costs.
        (UnavailableError("full", code=ErrorCode.OUT_OF_DISK), TransientError),
    ],
)
def test_an_error_decides_the_same_on_both_sides(error: JobError, arrives: type[JobError]) -> None:
    report = Report.read(Report(ended=True, stage=Stage.VERIFY, error=ReportedError.of(error)).model_dump_json().encode())
    assert report is not None
    assert report.error is not None
    told = report.error.error()
    assert (type(told), told.code, told.detail) == (arrives, error.code, error.detail)


def test_a_crash_is_told_without_its_words() -> None:
    """They may hold what nobody should read."""
    told = ReportedError.of(ValueError("secret")).error()
    assert (told.code, told.detail) == (ErrorCode.INTERNAL, "unexpected ValueError")


@pytest.mark.parametrize("body", [b"", b"{", b'{"progress": 2}', b'{"stage": "cooking"}', b"\xff"])
def test_what_is_no_report_is_none(body: bytes) -> None:
    assert Report.read(body) is None


def test_an_end_says_all_that_is_known() -> None:
    end = TaskEnd("EssentialContainerExited", 3, "x" * 999)
    assert end.note() == {"stop_code": "EssentialContainerExited", "exit_code": 3, "reason": "x" * 300}
    assert error_of(end).detail == f"its task ended without a result: exit code 3, EssentialContainerExited, {'x' * 300}"
    assert TaskEnd(missing=True).note() == {"missing": True}
    assert not isinstance(error_of(TaskEnd()), UnavailableError | LeaseLostError)
