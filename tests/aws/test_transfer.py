"""Bulk transfer over a store that misbehaves: never a wrong byte, never a wait without end, never an upload left open."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.support.changes import Changes
from tests.support.children import descriptors
from tests.support.faulty_s3 import (
    FaultyS3,
    answer_lost,
    cut_body,
    foreign_page,
    never,
    ok_with_error,
    ok_with_garbage,
    open_bucket,
    open_faulty_s3,
    stall_body,
    status,
    whole_body,
)
from vproc.aws import transfer
from vproc.aws.s3 import S3Bucket
from vproc.core.files import ObjectVersion
from vproc.errors import ErrorCode, JobError, TransientError, UnavailableError
from vproc.ports import FileSlice
from vproc.usage import metered

BODY = os.urandom(1000)


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[FaultyS3, S3Bucket]]:
    async with open_faulty_s3(monkeypatch) as (store, bucket):
        store.objects["k"] = BODY
        yield store, bucket


def version_of(store: FaultyS3, key: str = "k") -> ObjectVersion:
    return ObjectVersion("bucket", key, store.etag(key), len(store.objects[key]))


def ranges(store: FaultyS3) -> list[str]:
    return [seen.headers["range"] for seen in store.actions("get")]


async def check_download_ends_with(
    bucket: S3Bucket, version: ObjectVersion, to: Path, code: ErrorCode, branch: type[JobError], words: str | None = None
) -> None:
    with anyio.fail_after(10), pytest.raises(branch, match=words) as caught:
        await bucket.download(version, to)
    assert type(caught.value) is branch
    assert caught.value.code is code


def test_ranges_grow_and_leave_no_byte_out() -> None:
    """Whoever reads from the start waits for half a megabyte, not for sixteen."""
    mib = 1024 * 1024
    found = list(transfer.ranges(100 * mib + 1))
    assert [(end - start) * 2 // mib for start, end in found] == [1] * 4 + [2] * 4 + [4] * 4 + [8] * 4 + [16] * 4 + [32, 32, 12]
    assert [start for start, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == 100 * mib + 1
    assert list(transfer.ranges(0)) == []


# --- download --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 500, 999])
async def test_a_body_that_is_cut_is_resumed_where_it_broke_off(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, at: int
) -> None:
    store, bucket = opened
    heard, changes = [0], Changes()

    def on_piece(_: int, count: int) -> None:
        heard[0] += count
        changes.tell()

    store.faults["get"] = [cut_body(at, arrived=lambda: changes.until(lambda: heard[0] == at))]
    await bucket.download(version_of(store), tmp_path / "file", on_piece=on_piece)
    assert (tmp_path / "file").read_bytes() == BODY
    assert ranges(store) == ["bytes=0-999", f"bytes={at}-999"]
    assert {seen.headers["if-match"] for seen in store.actions("get")} == {f'"{store.etag("k")}"'}
    assert heard == [1000]


async def test_every_range_may_break_off_many_times(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few at a time, each of the pinned version, and the file is the object."""
    monkeypatch.setattr(transfer, "RANGE_BYTES", 40)
    monkeypatch.setattr(transfer, "RANGES_AT_A_TIME", 3)
    store, bucket = opened
    store.faults["get"] = [cut_body(7), cut_body(39), cut_body(20)] * 4
    heard: list[tuple[int, int]] = []
    await bucket.download(version_of(store), tmp_path / "file", on_piece=lambda *piece: heard.append(piece))
    assert (tmp_path / "file").read_bytes() == BODY
    assert [byte for offset, size in sorted(heard) for byte in range(offset, offset + size)] == list(range(1000))
    assert len(ranges(store)) > 25
    assert store.most_in_flight <= 3
    assert all("if-match" in seen.headers for seen in store.actions("get"))


async def test_a_store_that_never_gives_a_byte_is_given_up(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RESUMES_WITHOUT_PROGRESS", 1)
    store, bucket = opened
    store.faults["get"] = [cut_body(500), *[cut_body(0)] * 99]
    await check_download_ends_with(
        bucket, version_of(store), tmp_path / "file", ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError, "breaks the connection"
    )
    assert 2 <= len(ranges(store)) <= 4


@pytest.mark.parametrize(
    ("number", "code"),
    [(500, "InternalError"), (503, "SlowDown"), (403, "AccessDenied"), (403, "ExpiredToken"), (400, "RequestTimeout")],
)
@pytest.mark.parametrize("resumed", [False, True])
async def test_an_error_of_the_store_is_not_the_jobs(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, number: int, code: str, resumed: bool
) -> None:
    """At the first request and at one that resumes alike."""
    store, bucket = opened
    store.faults["get"] = [*([cut_body(100)] if resumed else []), status(number, code)]
    await check_download_ends_with(
        bucket, version_of(store), tmp_path / "file", ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError, code
    )


async def test_a_passing_error_is_tried_again_by_the_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_faulty_s3(monkeypatch, attempts=2) as (store, bucket):
        store.objects["k"] = BODY
        store.faults["get"] = [status(503, "SlowDown")]
        await bucket.download(version_of(store), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


async def test_a_body_that_stands_still_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_faulty_s3(monkeypatch, read_timeout_s=0.5) as (store, bucket):
        store.objects["k"] = BODY
        store.faults["get"] = [stall_body(300), stall_body(300)]
        await bucket.download(version_of(store), tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == BODY
        assert ranges(store)[:2] == ["bytes=0-999", "bytes=300-999"]
        assert len(ranges(store)) >= 3


async def test_a_store_that_is_down_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with open_bucket(monkeypatch, f"http://127.0.0.1:{port}") as bucket:
        version = ObjectVersion("bucket", "k", "e", 10)
        await check_download_ends_with(
            bucket, version, tmp_path / "file", ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError, "Could not connect"
        )


async def test_an_object_that_is_replaced_between_ranges_is_another_source(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "RANGE_BYTES", 100)
    monkeypatch.setattr(transfer, "RANGES_AT_A_TIME", 1)
    store, bucket = opened
    version = version_of(store)

    def replace_it(*_: int) -> None:
        store.objects["k"] = bytes(1000)

    with pytest.raises(TransientError) as caught:
        await bucket.download(version, tmp_path / "file", on_piece=replace_it)
    assert caught.value.code is ErrorCode.SOURCE_CHANGED
    assert ranges(store) == ["bytes=0-99", "bytes=100-199"]


@pytest.mark.parametrize(
    ("number", "code"), [(412, "PreconditionFailed"), (404, "NoSuchKey"), (404, "NoSuchVersion"), (416, "InvalidRange")]
)
async def test_what_is_found_to_be_another_object_while_it_is_resumed_is_another_source(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, number: int, code: str
) -> None:
    store, bucket = opened
    store.faults["get"] = [cut_body(500), status(number, code)]
    await check_download_ends_with(
        bucket, version_of(store), tmp_path / "file", ErrorCode.SOURCE_CHANGED, TransientError, "replaced or removed"
    )


async def test_a_page_of_somebody_elses_is_never_the_sources_bytes(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path) -> None:
    """Nor success at anything else that is asked for."""
    store, bucket = opened
    store.faults["get"] = [foreign_page]
    await check_download_ends_with(
        bucket, version_of(store), tmp_path / "file", ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError, "lacks 'ETag'"
    )
    store.faults |= {"head": [foreign_page] * 2, "put": [foreign_page], "delete": [foreign_page]}
    version = version_of(store)
    for ask in (
        lambda: bucket.head(version.key),
        lambda: bucket.stat(version.key),
        lambda: bucket.put("manifest.json", b"{}", content_type="application/json"),
        lambda: bucket.delete(version),
    ):
        with pytest.raises(UnavailableError, match="cannot"):
            await ask()
    assert list(store.objects) == [version.key]


async def test_a_store_that_leaves_ranges_out_never_mixes_the_bytes(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole instead of the first range will do; instead of another it would be written to the wrong place."""
    monkeypatch.setattr(transfer, "RANGE_BYTES", 600)
    monkeypatch.setattr(transfer, "RANGES_AT_A_TIME", 1)
    store, bucket = opened
    store.faults["get"] = [whole_body]
    await bucket.download(version_of(store), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    store.faults["get"] = [whole_body, whole_body]
    await check_download_ends_with(
        bucket, version_of(store), tmp_path / "file", ErrorCode.DEPENDENCY_UNAVAILABLE, UnavailableError, "other bytes"
    )


@pytest.mark.parametrize("call", ["open", "posix_fallocate", "pwrite"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_a_full_disk_is_the_machines_fault(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Whether no file, no room or no byte is left."""
    store, bucket = opened
    take = os.open

    def refuse(*arguments: object) -> int:
        if call == "open" and arguments[0] != tmp_path / "file":
            return take(*arguments)  # type: ignore[arg-type]
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        await check_download_ends_with(
            bucket, version_of(store), tmp_path / "file", ErrorCode.OUT_OF_DISK, UnavailableError, "scratch"
        )
    assert not [opened for opened in descriptors() if str(tmp_path) in opened]


# --- upload ----------------------------------------------------------------------------------------------------------


def slice_of(path: Path, body: bytes, *, before: bytes = b"xx") -> FileSlice:
    path.write_bytes(before + body + b"yy")
    return FileSlice(path, len(before), len(body), hashlib.sha256(body).hexdigest())


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """`BODY` goes up in parts of 300, 300, 300 and 100 bytes."""
    monkeypatch.setattr(transfer, "SINGLE_PUT_BYTES", 300)


async def check_upload_fails(store: FaultyS3, bucket: S3Bucket, path: Path, *, aborted: bool) -> UnavailableError:
    with anyio.fail_after(10), pytest.raises(UnavailableError) as caught:
        await bucket.put_file("out", slice_of(path, BODY), content_type="video/mp4")
    assert [seen.key for seen in store.actions("abort")] == (["out"] if aborted else [])
    assert "out" not in store.objects
    return caught.value


async def test_a_part_of_a_file_goes_up_with_its_checksum(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path) -> None:
    store, bucket = opened
    checksum = await bucket.put_file("out", slice_of(tmp_path / "file", BODY), content_type="video/mp4")
    assert store.objects["out"] == BODY
    assert checksum == base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    assert store.actions("put")[0].headers["content-type"] == "video/mp4"


@pytest.mark.usefixtures("in_parts")
async def test_a_large_one_goes_up_in_parts_few_at_a_time(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path) -> None:
    store, bucket = opened
    body = os.urandom(3000)
    checksum = await bucket.put_file("out", slice_of(tmp_path / "file", body), content_type="video/mp4")
    assert store.objects["out"] == body
    assert store.most_in_flight <= transfer.PARTS_AT_A_TIME
    digests = b"".join(hashlib.sha256(body[at : at + 300]).digest() for at in range(0, 3000, 300))
    assert checksum == f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-10"
    assert store.actions("abort") == []


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("fault", [status(500, "InternalError"), status(503, "SlowDown"), answer_lost])
async def test_a_part_that_fails_aborts_the_upload(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, fault: object) -> None:
    store, bucket = opened
    store.faults["part"] = [FaultyS3.proper, fault]  # type: ignore[list-item]
    await check_upload_fails(store, bucket, tmp_path / "file", aborted=True)


@pytest.mark.usefixtures("in_parts")
async def test_a_completion_that_fails_inside_a_200_is_a_failure(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path) -> None:
    store, bucket = opened
    store.faults["complete"] = [ok_with_error("InternalError")]
    await check_upload_fails(store, bucket, tmp_path / "file", aborted=True)


@pytest.mark.usefixtures("in_parts")
async def test_an_answer_that_is_no_answer_is_the_stores_fault(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path) -> None:
    """What stands between may answer 200 with a page of its own, to the abort too."""
    store, bucket = opened
    store.faults = {action: [ok_with_garbage] for action in ("begin", "complete", "abort")}
    await check_upload_fails(store, bucket, tmp_path / "file", aborted=False)
    await check_upload_fails(store, bucket, tmp_path / "file", aborted=True)


@pytest.mark.usefixtures("in_parts")
async def test_an_abort_that_fails_does_not_hide_why(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path) -> None:
    store, bucket = opened
    store.faults["part"] = [status(503, "SlowDown")]
    store.faults["abort"] = [status(500, "InternalError")]
    assert "SlowDown" in (await check_upload_fails(store, bucket, tmp_path / "file", aborted=True)).detail


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("action", ["part", "complete"])
async def test_a_cancelled_upload_is_aborted(opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, action: str) -> None:
    store, bucket = opened
    store.faults[action] = [never]
    part = slice_of(tmp_path / "file", BODY)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: bucket.put_file("out", part, content_type="video/mp4"))
        await store.until_seen(action)
        tasks.cancel_scope.cancel()
    assert len(store.actions("abort")) == 1


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("silence", ["no 100 Continue", "no answer"])
async def test_a_store_that_falls_silent_is_left_within_the_write_budget(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool, silence: str
) -> None:
    """The SDK's own time-outs cover neither."""
    monkeypatch.setattr(transfer, "write_budget_s", lambda size: 0.2)
    if whole:
        monkeypatch.setattr(transfer, "SINGLE_PUT_BYTES", 1000)
    store, bucket = opened
    store.silent_expect = silence == "no 100 Continue"
    store.faults["put" if whole else "part"] = [never] * 4
    with anyio.fail_after(8):
        failed = await check_upload_fails(store, bucket, tmp_path / "file", aborted=not whole)
    assert "TimeoutError" in failed.detail
    assert bool(store.actions("expect")) is store.silent_expect


def test_the_write_budget_grows_with_the_size() -> None:
    """A slow line has its time: 128 KiB a second, and a quarter of a minute for the store to answer."""
    assert transfer.write_budget_s(0) == 15
    assert transfer.write_budget_s(128 * 1024 * 60) == 75


@pytest.mark.parametrize("parts", [False, True])
async def test_a_file_that_became_shorter_is_not_the_stores_fault(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: bool
) -> None:
    store, bucket = opened
    if parts:
        monkeypatch.setattr(transfer, "SINGLE_PUT_BYTES", 300)
    part = slice_of(tmp_path / "file", BODY)
    os.truncate(part.path, 950)
    with pytest.raises(TransientError, match="became shorter") as caught:
        await bucket.put_file("out", part, content_type="video/mp4")
    assert caught.value.code is ErrorCode.OUTPUT_INVALID
    assert len(store.actions("abort")) == parts
    assert "out" not in store.objects


# --- what a job asked for --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abort", [False, True])
async def test_every_request_is_counted_for_the_job(
    opened: tuple[FaultyS3, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abort: bool
) -> None:
    """The count is that of the requests which the store saw: ranges and their resumption, parts, the abort too."""
    monkeypatch.setattr(transfer, "RANGE_BYTES", 300)
    monkeypatch.setattr(transfer, "SINGLE_PUT_BYTES", 400)
    store, bucket = opened
    store.faults = {"get": [cut_body(100)], "complete": [ok_with_garbage] if abort else []}
    with metered() as usage:
        await bucket.download(version_of(store), tmp_path / "file")
        part = FileSlice(tmp_path / "file", 0, 1000, hashlib.sha256(BODY).hexdigest())
        if abort:
            with pytest.raises(UnavailableError):
                await bucket.put_file("out", part, content_type="video/mp4")
        else:
            await bucket.put_file("out", part, content_type="video/mp4")
        await bucket.put("small", b"x", content_type="text/plain")
        assert await bucket.head("nowhere") is None
    expected = {"get": 5, "put": 1 + 3 + 1 + 1, "head": 1} | ({"delete": 1} if abort else {})
    assert dict(usage.s3_requests) == expected
    assert len(store.seen) == usage.s3_requests.total()
