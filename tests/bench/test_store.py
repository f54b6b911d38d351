"""The judge of the bench, judged: the bench's S3 keeps what the adapter relies on, as moto's and the fake do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError
from prometheus_client import CollectorRegistry

from bench.objects import Bucket, Entry
from bench.store import Store, serve_store
from vproc.aws.presign import S3Presigner
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import open_clients
from vproc.core.manifest import base64_of_hex, checksum_matches
from vproc.errors import ErrorCode, TransientError
from vproc.ports import FileSlice
from vproc.telemetry import Metrics

MIB = 1024 * 1024


@dataclass
class Judge:
    """The store, the adapter over it, and what it told of new objects."""

    bucket: S3Bucket
    client: Any
    presigner: S3Presigner
    folder: Path
    created: list[tuple[str, str, int]] = field(default_factory=list)

    def files(self) -> int:
        return sum(1 for _ in self.folder.iterdir())


@pytest.fixture
async def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judge]:
    async with opened(tmp_path / "store", monkeypatch) as judge:
        yield judge


@asynccontextmanager
async def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Judge]:
    created: list[tuple[str, str, int]] = []

    async def on_created(bucket: str, entry: Entry, event: str) -> None:
        created.append((event, entry.key, entry.size_bytes))

    async with serve_store(Store({"raw": Bucket("raw", folder)}, on_created=on_created)) as url:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        async with open_clients(region="us-east-1", poll_read_timeout_s=5, public_endpoint_url=None) as clients:
            bucket = S3Bucket(bucket="raw", control=clients.s3, bulk=clients.s3_bulk, metrics=Metrics(CollectorRegistry()))
            presigner = S3Presigner(
                client=clients.presign,
                raw_bucket="raw",
                processed_bucket="raw",
                upload_expires_s=60,
                download_expires_s=60,
            )
            yield Judge(bucket, clients.s3, presigner, folder, created)


def slice_of(path: Path, offset: int = 0, size: int | None = None) -> FileSlice:
    body = path.read_bytes()[offset : None if size is None else offset + size]
    return FileSlice(path, offset, len(body), hashlib.sha256(body).hexdigest())


async def test_nothing_stands_where_nothing_was_put(judge: Judge) -> None:
    assert await judge.bucket.head("a") is None
    assert await judge.bucket.get("a") is None
    assert await judge.bucket.stat("a") is None
    await judge.bucket.check()


@pytest.mark.parametrize("key", ["a b+c/é=1.mp4", "5%3A00.mp4", "trailing ", "k" * 900, "a/../b", "~-_.!*'()&<"])
async def test_any_key_names_one_object(judge: Judge, key: str) -> None:
    assert await judge.bucket.put(key, b"abc", content_type="text/plain")
    assert await judge.bucket.get(key) == b"abc"
    assert [entry[0] async for entry in judge.bucket.list("")] == [key]
    version = await judge.bucket.head(key)
    assert version is not None
    assert (version.key, version.size_bytes, version.content_type) == (key, 3, "text/plain")
    assert await judge.bucket.delete(version)
    assert await judge.bucket.head(key) is None
    assert judge.files() == 0


async def test_only_the_first_conditional_write_wins(judge: Judge) -> None:
    assert await judge.bucket.put("m", b"first", content_type="a/b", if_absent=True)
    assert not await judge.bucket.put("m", b"second", content_type="a/b", if_absent=True)
    assert await judge.bucket.get("m") == b"first"
    assert await judge.bucket.put("m", b"third", content_type="a/b")
    assert (await judge.bucket.get("m"), judge.files()) == (b"third", 1)


async def test_a_file_goes_up_in_parts_and_comes_down_whole_and_is_told_of_once(judge: Judge, tmp_path: Path) -> None:
    """Parts, ranges that begin in one part and end in another, the checksum of checksums, the event."""
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(os.urandom(18 * MIB + 7))
    checksum = await judge.bucket.put_file("k", slice_of(path), content_type="video/mp4")
    told = await judge.bucket.stat("k")
    assert told is not None
    assert told.sha256 is not None
    assert told.sha256.endswith("-3")
    assert checksum_matches(checksum, told.sha256)
    version = await judge.bucket.head("k")
    assert version is not None
    await judge.bucket.download(version, copy)
    assert copy.read_bytes() == path.read_bytes()
    assert judge.created == [("ObjectCreated:CompleteMultipartUpload", "k", 18 * MIB + 7)]
    ranged = await judge.client.get_object(Bucket="raw", Key="k", Range=f"bytes={8 * MIB - 2}-{8 * MIB + 1}")
    assert await ranged["Body"].read() == path.read_bytes()[8 * MIB - 2 : 8 * MIB + 2]


async def test_a_part_of_a_file_becomes_an_object_with_its_checksum(judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    checksum = await judge.bucket.put_file("k", slice_of(path, 2, 5), content_type="video/mp4")
    told = await judge.bucket.stat("k")
    assert told is not None
    assert told.sha256 == checksum == base64_of_hex(hashlib.sha256(b"23456").hexdigest())
    assert await judge.bucket.read_sha256("k") == hashlib.sha256(b"23456").hexdigest()


async def test_bytes_that_are_not_what_was_announced_are_refused(judge: Judge) -> None:
    wrong = base64_of_hex(hashlib.sha256(b"other").hexdigest())
    with pytest.raises(ClientError, match="BadDigest"):
        await judge.client.put_object(Bucket="raw", Key="k", Body=b"abc", ChecksumSHA256=wrong)
    assert (await judge.bucket.head("k"), judge.files(), judge.created) == (None, 0, [])


async def test_another_version_is_neither_read_nor_deleted(judge: Judge, tmp_path: Path) -> None:
    await judge.bucket.put("k", b"old", content_type="a/b")
    old = await judge.bucket.head("k")
    assert old is not None
    await judge.bucket.put("k", b"new", content_type="a/b")
    with pytest.raises(TransientError) as caught:
        await judge.bucket.download(old, tmp_path / "copy")
    assert caught.value.code is ErrorCode.SOURCE_CHANGED
    assert not await judge.bucket.delete(old)
    assert await judge.bucket.get("k") == b"new"


async def test_a_prefix_is_deleted_and_nothing_beside_it(judge: Judge) -> None:
    """Listing over several pages, deletion in batches, uploads that were begun."""
    for key in ("f/r1/a", "f/r1/b/c", "f/r10/a", "f/manifest.json"):
        await judge.bucket.put(key, b"x", content_type="a/b")
    begun = await judge.client.create_multipart_upload(Bucket="raw", Key="f/r1/big")
    await judge.client.upload_part(Bucket="raw", Key="f/r1/big", UploadId=begun["UploadId"], PartNumber=1, Body=b"x")
    pages = judge.client.get_paginator("list_objects_v2").paginate(Bucket="raw", PaginationConfig={"PageSize": 1})
    assert [page["Contents"][0]["Key"] async for page in pages] == ["f/manifest.json", "f/r1/a", "f/r1/b/c", "f/r10/a"]
    assert await judge.bucket.delete_prefix("f/r1/") == 2
    assert [entry[0] async for entry in judge.bucket.list("f/")] == ["f/manifest.json", "f/r10/a"]
    assert judge.files() == 2


async def test_parts_that_did_not_come_make_no_object(judge: Judge) -> None:
    begun = await judge.client.create_multipart_upload(Bucket="raw", Key="k")
    which = {"Bucket": "raw", "Key": "k", "UploadId": begun["UploadId"]}
    part = await judge.client.upload_part(**which, PartNumber=1, Body=b"x")
    for parts, size in (([{"PartNumber": 2, "ETag": part["ETag"]}], 1), ([{"PartNumber": 1, "ETag": '"0"'}], 1)):
        with pytest.raises(ClientError, match="InvalidPart"):
            await judge.client.complete_multipart_upload(**which, MultipartUpload={"Parts": parts}, MpuObjectSize=size)
    with pytest.raises(ClientError, match="another size"):
        await judge.client.complete_multipart_upload(
            **which, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}, MpuObjectSize=2
        )
    assert await judge.bucket.head("k") is None


async def test_the_parts_that_stand_are_listed_in_their_order(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, until the upload is given up."""
    monkeypatch.setattr("bench.store._MOST_KEYS", 2)
    begun = await judge.client.create_multipart_upload(Bucket="raw", Key="k")
    which = {"Bucket": "raw", "Key": "k", "UploadId": begun["UploadId"]}
    etags = {}
    for number in (7, 2, 5):
        etags[number] = (await judge.client.upload_part(**which, PartNumber=number, Body=b"x" * number))["ETag"]
    first = await judge.client.list_parts(**which)
    rest = await judge.client.list_parts(**which, PartNumberMarker=first["NextPartNumberMarker"])
    assert (first["IsTruncated"], rest["IsTruncated"]) == (True, False)
    listed = [(part["PartNumber"], part["Size"], part["ETag"]) for page in (first, rest) for part in page["Parts"]]
    assert listed == [(number, number, etags[number]) for number in (2, 5, 7)]
    await judge.client.abort_multipart_upload(**which)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        await judge.client.list_parts(**which)


async def test_a_presigned_address_takes_an_upload_once(judge: Judge) -> None:
    signed = await judge.presigner.put("v/k.mp4", content_type="video/mp4", size_bytes=3, metadata={"vproc-profile": "copy"})
    async with aiohttp.ClientSession() as session:
        async with session.put(signed.url, data=b"abc", headers=dict(signed.headers), expect100=True) as answer:
            assert answer.status == HTTPStatus.OK
        async with session.put(signed.url, data=b"xyz", headers=dict(signed.headers)) as answer:
            assert answer.status == HTTPStatus.PRECONDITION_FAILED
    version = await judge.bucket.head("v/k.mp4")
    assert version is not None
    assert (version.metadata, version.content_type) == ((("vproc-profile", "copy"),), "video/mp4")
    assert judge.created == [("ObjectCreated:Put", "v/k.mp4", 3)]


async def test_what_the_store_does_not_know_it_says(judge: Judge) -> None:
    with pytest.raises(ClientError, match="NotImplemented"):
        await judge.client.list_objects_v2(Bucket="raw", Delimiter="/")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        await judge.client.list_objects_v2(Bucket="none")


async def test_a_limit_bounds_each_direction_and_can_be_lifted(tmp_path: Path) -> None:
    """No faster than the limit, in and out; requests are counted."""
    store = Store({"raw": Bucket("raw", tmp_path / "store")}, limit_mb_per_s=1)
    async with serve_store(store) as url, aiohttp.ClientSession() as session:
        body, begun = os.urandom(200_000), monotonic()
        async with session.put(f"{url}/raw/k", data=body) as answer:
            assert answer.status == HTTPStatus.OK
        sent = monotonic()
        async with session.get(f"{url}/raw/k") as answer:
            assert await answer.read() == body
        assert (sent - begun >= 0.18, monotonic() - sent >= 0.18, store.calls) == (True, True, 2)
        store.limit(0)
        async with session.get(f"{url}/raw/k") as answer:
            assert await answer.read() == body
