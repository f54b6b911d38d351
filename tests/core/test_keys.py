"""Keys, and the identity that follows from them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.files import ObjectVersion
from vproc.core.keys import file_id_in_key, file_id_of_object, manifest_key, owner_in_key, run_prefix, upload_key

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")


def test_an_upload_key_holds_owner_id_and_suffix_only() -> None:
    assert upload_key("default", FILE_ID, "My ../ Holiday.MP4") == f"videos/default/{FILE_ID}.mp4"


@given(st.text(min_size=1, max_size=40).filter(lambda owner: owner.isprintable()))
def test_owner_and_id_are_read_back_from_any_upload_key(owner: str) -> None:
    key = upload_key(owner, FILE_ID, "a.mov")
    assert (file_id_in_key(key), owner_in_key(key)) == (FILE_ID, owner)
    assert key.count("/") == 2


@pytest.mark.parametrize(("owner", "part"), [(".", "%2E"), ("..", "%2E%2E"), ("...", "..."), ("a.b", "a.b"), ("../a", "..%2Fa")])
def test_no_owner_is_a_step_in_a_path(owner: str, part: str) -> None:
    """A client would take `/../` before it sends the address, and sign another."""
    key = upload_key(owner, FILE_ID, "a.mp4")
    assert key == f"videos/{part}/{FILE_ID}.mp4"
    assert owner_in_key(key) == owner


@pytest.mark.parametrize(
    "key",
    [
        f"videos/{FILE_ID}.mp4",
        f"videos/a/b/{FILE_ID}.mp4",
        f"other/default/{FILE_ID}.mp4",
        f"videos/default/{str(FILE_ID).upper()}.mp4",
        f"videos/default/{FILE_ID}.mp4.exe",
        f"videos/default/{FILE_ID}.mp4\n",
        "holiday.mp4",
    ],
)
def test_any_other_key_has_no_id(key: str) -> None:
    assert file_id_in_key(key) is None
    assert owner_in_key(key) is None


def test_one_version_and_one_profile_are_one_file() -> None:
    version = ObjectVersion("raw", "a.mp4", "etag", 1)
    same = ObjectVersion("raw", "a.mp4", "etag", 1, content_type="video/mp4")
    assert file_id_of_object(version, "abr") == file_id_of_object(same, "abr")
    others = [
        file_id_of_object(version, "mp4"),
        file_id_of_object(ObjectVersion("raw", "a.mp4", "etag2", 1), "abr"),
        file_id_of_object(ObjectVersion("raw", "b.mp4", "etag", 1), "abr"),
        file_id_of_object(ObjectVersion("raw2", "a.mp4", "etag", 1), "abr"),
        file_id_of_object(ObjectVersion("raw", "a.mp4", "etag", 1, version_id="v"), "abr"),
    ]
    assert len({file_id_of_object(version, "abr"), *others}) == 6


def test_the_identity_of_an_object_never_changes_between_releases() -> None:
    assert str(file_id_of_object(ObjectVersion("raw", "a.mp4", "etag", 1), "abr")) == "9e960352-0750-5b89-bfe9-931a4848baea"


def test_outputs_lie_under_the_file() -> None:
    assert manifest_key(FILE_ID) == f"{FILE_ID}/manifest.json"
    assert run_prefix(FILE_ID, "r1") == f"{FILE_ID}/r1/"
