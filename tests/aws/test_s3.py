"""The small calls over a store that misbehaves: what is told, what is tried again, what stops the start."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import anyio
import pytest

from tests.support.faulty_s3 import FaultyS3, answer_lost, cut_body, error_response, never, open_faulty_s3, status
from vproc.aws import s3
from vproc.aws.s3 import S3Bucket
from vproc.core.files import ObjectVersion
from vproc.errors import ConfigError, UnavailableError

Opened = tuple[FaultyS3, S3Bucket]


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    async with open_faulty_s3(monkeypatch) as pair:
        yield pair


def count(bucket: S3Bucket, operation: str, outcome: str) -> float:
    labels = {"operation": operation, "outcome": outcome}
    return bucket._metrics.registry.get_sample_value("vproc_s3_requests_total", labels) or 0


async def test_a_write_that_meets_another_is_tried_again(opened: Opened) -> None:
    store, bucket = opened
    store.faults["put"] = [status(409, "ConditionalRequestConflict")] * 2
    assert await bucket.put("k", b"x", content_type="a/b", if_absent=True)
    assert store.objects["k"] == b"x"
    store.faults["put"] = [status(409, "ConditionalRequestConflict")] * 3
    with pytest.raises(UnavailableError, match="other writes"):
        await bucket.put("k", b"y", content_type="a/b")
    assert len(store.actions("put")) == 6


async def test_a_conditional_write_whose_answer_was_lost_finds_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK tries again and meets its own object: whoever asked must look what stands."""
    async with open_faulty_s3(monkeypatch, attempts=2) as (store, bucket):
        store.faults["put"] = [answer_lost]
        assert not await bucket.put("k", b"x", content_type="a/b", if_absent=True)
        assert await bucket.get("k") == b"x"


async def test_a_small_write_has_a_budget_too(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "write_budget_s", lambda size: 0.1)
    store, bucket = opened
    store.silent_expect = True
    with anyio.fail_after(8), pytest.raises(UnavailableError, match="TimeoutError"):
        await bucket.put("k", b"x", content_type="a/b")
    assert count(bucket, "put", "error") == 1


async def test_a_small_read_that_is_cut_is_unavailable_and_never_short(opened: Opened) -> None:
    store, bucket = opened
    store.objects["k"] = b"0123456789"
    for read in (bucket.get, bucket.read_sha256):
        store.faults["get"] = [cut_body(4)]
        with pytest.raises(UnavailableError, match="cannot read the object"):
            await read("k")
    assert await bucket.read_sha256("k") == hashlib.sha256(b"0123456789").hexdigest()


async def test_a_cancelled_read_gives_its_connection_back(opened: Opened) -> None:
    store, bucket = opened
    store.objects["k"] = b"x"
    store.faults["get"] = [never] * 40
    for number in range(1, 41):  # more than the pool holds
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bucket.get, "k")
            await store.until_seen("get", number)
            tasks.cancel_scope.cancel()
    with anyio.fail_after(8):
        assert await bucket.get("k") == b"x"


@pytest.mark.parametrize(
    ("number", "code", "deleted"), [(412, "PreconditionFailed", False), (404, "NoSuchKey", True), (204, "", True)]
)
async def test_a_deletion_says_whether_that_version_is_gone(opened: Opened, number: int, code: str, deleted: bool) -> None:
    store, bucket = opened
    store.faults["delete"] = [status(number, code)]
    assert await bucket.delete(ObjectVersion("bucket", "k", "the-etag", 1)) is deleted
    assert store.actions("delete")[0].headers["if-match"] == '"the-etag"'


async def test_a_deletion_that_is_refused_is_not_done(opened: Opened) -> None:
    store, bucket = opened
    store.faults["delete"] = [status(403, "AccessDenied")]
    with pytest.raises(UnavailableError, match="AccessDenied"):
        await bucket.delete(ObjectVersion("bucket", "k", "e", 1))


async def test_a_batch_that_is_deleted_in_part_is_not_done(opened: Opened) -> None:
    """S3 answers 200 and names those that it kept."""
    store, bucket = opened

    async def listing(store: FaultyS3, request: object) -> object:
        body = "<ListBucketResult><Contents><Key>f/a</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"  # fmt: skip # noqa: E501
        return xml(body)

    async def uploads(store: FaultyS3, request: object) -> object:
        return xml("<ListMultipartUploadsResult/>")

    async def partly(store: FaultyS3, request: object) -> object:
        return xml("<DeleteResult><Error><Key>f/a</Key><Code>AccessDenied</Code></Error></DeleteResult>")

    store.faults = {"get": [uploads, listing], "complete": [partly]}  # type: ignore[list-item]
    with pytest.raises(UnavailableError, match="cannot delete 1 of 1 objects: AccessDenied"):
        await bucket.delete_prefix("f/")


def xml(text: str) -> object:
    response = error_response(200, "")
    response.text = text
    return response


@pytest.mark.parametrize(
    ("number", "branch", "words"),
    [
        (404, ConfigError, r"^VPROC_RAW_BUCKET: no such bucket \(got 'bucket'\)$"),
        (403, ConfigError, r"^VPROC_RAW_BUCKET: access to 'bucket' refused"),
        (503, UnavailableError, "cannot reach bucket bucket: 503"),
        (301, UnavailableError, "cannot reach bucket bucket: 301"),
    ],
)
async def test_the_start_tells_a_wrong_setting_from_a_store_that_is_away(
    opened: Opened, number: int, branch: type[Exception], words: str
) -> None:
    store, bucket = opened
    store.faults["head"] = [status(number, "")]
    with pytest.raises(branch, match=words):
        await bucket.require("VPROC_RAW_BUCKET")
    store.faults["head"] = [status(number, "")]
    with pytest.raises(Exception, match="cannot reach bucket"):
        await bucket.check()


@pytest.mark.parametrize("number", [400, 403, 500])
async def test_an_object_that_cannot_be_looked_at_is_not_taken_for_none(opened: Opened, number: int) -> None:
    """403 is also what S3 says of a missing object to whoever may not list: nothing may be concluded from it."""
    store, bucket = opened
    for look in (bucket.head, bucket.stat):
        store.faults["head"] = [status(number, "")]
        with pytest.raises(UnavailableError):
            await look("k")
