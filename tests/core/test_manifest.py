"""The manifest's bytes, and the checksums that prove what it lists."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from vproc.core.manifest import EntryPoint, Manifest, Output, OutputKind, Source, checksum_matches
from vproc.errors import TransientError

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")
SHA = hashlib.sha256(b"x").hexdigest()


def manifest() -> Manifest:
    output = Output(
        kind=OutputKind.VIDEO, key=f"{FILE_ID}/r/720.mp4", bytes=5, sha256=SHA, content_type="video/mp4", codec="h264"
    )
    entry = EntryPoint(
        kind=OutputKind.POSTER,
        key=f"{FILE_ID}/poster.jpg",
        source_key=f"{FILE_ID}/r/poster.jpg",
        bytes=7,
        sha256=SHA,
        content_type="image/jpeg",
    )
    source = Source(bucket="raw", key="a.mp4", etag="e", version_id=None, bytes=9, container="mov", duration_s=1.5, codec="h264")
    return Manifest(
        file_id=FILE_ID,
        run_id="r",
        profile="mp4",
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        source=source,
        outputs=(output,),
        entry_points=(entry,),
    )


def test_it_survives_its_own_json_and_leaves_out_what_is_not_known() -> None:
    body = manifest().to_json()
    assert Manifest.from_json(body) == manifest()
    assert json.loads(body)["outputs"][0].keys() == {"kind", "key", "bytes", "sha256", "content_type", "codec"}


def test_a_later_version_may_add_fields() -> None:
    document = json.loads(manifest().to_json()) | {"added_later": 1}
    assert Manifest.from_json(json.dumps(document).encode()) == manifest()


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"version": 1}'])
def test_an_unreadable_manifest_is_an_error_and_never_taken_for_none(body: bytes) -> None:
    with pytest.raises(TransientError, match=r"manifest\.json"):
        Manifest.from_json(body)


def test_the_stores_checksum_is_the_digest_or_that_of_the_parts() -> None:
    output = manifest().outputs[0]
    assert base64.b64decode(output.store_checksum) == hashlib.sha256(b"x").digest()
    assert output.model_copy(update={"checksum": "abc=-3"}).store_checksum == "abc=-3"
    assert checksum_matches("abc=-3", "abc=")
    assert checksum_matches("abc=", "abc=")
    assert not checksum_matches("abc=-3", "abd=-3")


def test_its_size_counts_every_object() -> None:
    assert manifest().total_bytes == 12
