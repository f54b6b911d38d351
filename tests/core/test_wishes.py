"""Who says what is to be made of an object, and in which order they are heard."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from tests.support.catalog import new_file
from vproc.core.files import File, ObjectVersion, Status
from vproc.core.notification import Work
from vproc.core.wishes import metadata_given, profile_wanted

WORK = Work("raw", "in.mp4")
FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")


def stored(**metadata: str) -> ObjectVersion:
    """An object with that metadata, by its names without ``vproc-``."""
    told = tuple((f"vproc-{name.replace('_', '-')}", text) for name, text in metadata.items())
    return ObjectVersion(bucket="raw", key="in.mp4", etag="e", size_bytes=1, version_id=None, content_type=None, metadata=told)


@pytest.mark.parametrize(
    ("work", "version", "wanted"),
    [
        (WORK, stored(), "abr"),
        (WORK, stored(profile="mp4"), "mp4"),
        (WORK, stored(profile="mp4:720"), "mp4:720"),
        (WORK, stored(rungs="720,360"), "abr:720,360"),
        (WORK, stored(profile="web", rungs="720"), "web:720"),
        (WORK, stored(profile="web:360", rungs="720"), "web:360"),
        (replace(WORK, profile="mp4"), stored(profile="web", rungs="720"), "mp4"),
        (replace(WORK, rungs=(360, 720)), stored(), "abr:720,360"),
        (replace(WORK, rungs=(360, 720)), stored(profile="web", rungs="1080"), "web:720,360"),
        (replace(WORK, profile="mp4", rungs=(720,)), stored(), "mp4:720"),
    ],
)
def test_the_message_is_heard_before_the_object_and_both_before_the_default(
    work: Work, version: ObjectVersion, wanted: str
) -> None:
    assert profile_wanted(work, version, None, default="abr") == wanted


def test_what_the_api_fixed_only_a_message_that_names_the_file_may_change() -> None:
    """An object is in the hands of whoever had the address."""
    known = file_of("audio")
    told = stored(profile="mp4", rungs="720")
    assert profile_wanted(WORK, told, known, default="abr") == "audio"
    assert profile_wanted(replace(WORK, file_id=FILE_ID), told, known, default="abr") == "audio"
    assert profile_wanted(replace(WORK, file_id=FILE_ID, profile="mp4"), told, known, default="abr") == "mp4"


def test_long_words_are_cut_before_they_are_looked_up() -> None:
    assert len(profile_wanted(WORK, stored(profile="x" * 1000, rungs="7" * 1000), None, default="abr")) <= 129


def test_a_clients_id_comes_from_the_message_or_the_object() -> None:
    assert metadata_given(WORK, stored(job_id="order-7")) == {"job_id": "order-7"}
    assert metadata_given(replace(WORK, metadata=(("job_id", "8"), ("a", "b"))), stored(job_id="7")) == {"job_id": "8", "a": "b"}
    assert metadata_given(WORK, stored()) == {}


def file_of(profile: str) -> File:
    """A file that the API announced."""
    new = new_file(file_id=FILE_ID, key="in.mp4", bucket="raw", profile=profile)
    now = datetime.now(UTC)
    return File(
        file_id=new.file_id, owner=new.owner, file_name=new.file_name, bucket=new.bucket, key=new.key, profile=new.profile,
        status=Status.PENDING, created_at=now, updated_at=now,
    )  # fmt: skip
