"""What `ports.ObjectStore` promises, over S3 (moto) and over the fake that other tests use."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.aws import open_aws
from tests.support.memory import MemoryStore
from vproc.core.manifest import base64_of_hex, checksum_matches
from vproc.errors import ErrorCode, TransientError
from vproc.ports import FileSlice, ObjectStore

Opener = Callable[[], AbstractAsyncContextManager[ObjectStore]]
MIB = 1024 * 1024


@pytest.fixture(params=["memory", "s3"])
def opener(request: pytest.FixtureRequest) -> Opener:
    @asynccontextmanager
    async def memory() -> AsyncIterator[ObjectStore]:
        yield MemoryStore("raw")

    if request.param == "memory":
        return memory
    url: str = request.getfixturevalue("moto_url")

    @asynccontextmanager
    async def s3() -> AsyncIterator[ObjectStore]:
        async with open_aws(url) as aws:
            yield aws.raw

    return s3


def slice_of(path: Path, offset: int = 0, size: int | None = None) -> FileSlice:
    body = path.read_bytes()[offset:] if size is None else path.read_bytes()[offset : offset + size]
    return FileSlice(path, offset, len(body), hashlib.sha256(body).hexdigest())


async def test_nothing_stands_where_nothing_was_put(opener: Opener) -> None:
    async with opener() as store:
        assert await store.head("a") is None
        assert await store.get("a") is None
        assert await store.stat("a") is None
        assert await store.read_sha256("a") is None
        await store.check()


@pytest.mark.parametrize("key", ["a b+c/é=1.mp4", "5%3A00.mp4", "trailing ", "k" * 900, "a/../b", "~-_.!*'()"])
async def test_any_key_names_one_object(opener: Opener, key: str) -> None:
    async with opener() as store:
        assert await store.put(key, b"abc", content_type="text/plain")
        assert await store.get(key) == b"abc"
        assert [entry[0] async for entry in store.list("")] == [key]
        version = await store.head(key)
        assert version is not None
        assert (version.key, version.size_bytes, version.content_type) == (key, 3, "text/plain")
        assert await store.delete(version)
        assert await store.head(key) is None


async def test_only_the_first_conditional_write_wins(opener: Opener) -> None:
    async with opener() as store:
        assert await store.put("m", b"first", content_type="a/b", if_absent=True)
        assert not await store.put("m", b"second", content_type="a/b", if_absent=True)
        assert await store.get("m") == b"first"
        assert await store.put("m", b"third", content_type="a/b")
        assert await store.get("m") == b"third"


async def test_the_store_tells_size_and_checksum(opener: Opener) -> None:
    async with opener() as store:
        await store.put("k", b"abc", content_type="a/b")
        digest = hashlib.sha256(b"abc").hexdigest()
        told = await store.stat("k")
        assert told is not None
        assert (told.size_bytes, told.sha256) == (3, base64_of_hex(digest))
        assert await store.read_sha256("k") == digest


async def test_a_part_of_a_file_becomes_an_object(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    async with opener() as store:
        checksum = await store.put_file("k", slice_of(path, 2, 5), content_type="video/mp4")
        assert await store.get("k") == b"23456"
        told = await store.stat("k")
        assert told is not None
        assert told.sha256 == checksum


async def test_a_large_file_goes_up_in_parts_and_comes_down_whole(opener: Opener, tmp_path: Path) -> None:
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(os.urandom(18 * MIB + 7))
    heard: list[tuple[int, int]] = []
    async with opener() as store:
        checksum = await store.put_file("k", slice_of(path), content_type="video/mp4")
        told = await store.stat("k")
        assert told is not None
        assert told.sha256 is not None
        assert checksum_matches(checksum, told.sha256)
        version = await store.head("k")
        assert version is not None
        await store.download(version, copy, on_piece=lambda *piece: heard.append(piece))
        assert copy.read_bytes() == path.read_bytes()
        copy.write_bytes(bytes(18 * MIB + 7))
        await store.fetch(version, copy, start=17 * MIB, end=18 * MIB + 7)
    assert copy.read_bytes() == bytes(17 * MIB) + path.read_bytes()[17 * MIB :]
    assert sum(size for _, size in heard) == 18 * MIB + 7


async def test_an_empty_object_comes_down_as_an_empty_file(opener: Opener, tmp_path: Path) -> None:
    async with opener() as store:
        await store.put("k", b"", content_type="a/b")
        version = await store.head("k")
        assert version is not None
        await store.download(version, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


async def test_another_version_is_neither_read_nor_deleted(opener: Opener, tmp_path: Path) -> None:
    async with opener() as store:
        await store.put("k", b"old", content_type="a/b")
        old = await store.head("k")
        assert old is not None
        await store.put("k", b"new", content_type="a/b")
        with pytest.raises(TransientError) as caught:
            await store.download(old, tmp_path / "copy")
        assert caught.value.code is ErrorCode.SOURCE_CHANGED
        assert not await store.delete(old)
        assert await store.get("k") == b"new"


async def test_an_object_that_went_away_is_a_changed_source_and_a_done_deletion(opener: Opener, tmp_path: Path) -> None:
    async with opener() as store:
        await store.put("k", b"old", content_type="a/b")
        version = await store.head("k")
        assert version is not None
        assert await store.delete(version)
        assert await store.delete(version)
        with pytest.raises(TransientError) as caught:
            await store.download(version, tmp_path / "copy")
        assert caught.value.code is ErrorCode.SOURCE_CHANGED


async def test_a_prefix_is_deleted_and_nothing_beside_it(opener: Opener) -> None:
    async with opener() as store:
        for key in ("f/r1/a", "f/r1/b/c", "f/r10/a", "f/manifest.json"):
            await store.put(key, b"x", content_type="a/b")
        assert await store.delete_prefix("f/r1/") == 2
        assert [entry[0] async for entry in store.list("f/")] == ["f/manifest.json", "f/r10/a"]
        assert await store.delete_prefix("f/r1/") == 0


async def test_a_multipart_upload_that_was_begun_goes_with_its_prefix(moto_url: str) -> None:
    async with open_aws(moto_url) as aws:
        await aws.clients.s3.create_multipart_upload(Bucket=aws.raw.bucket, Key="f/r1/big")
        await aws.clients.s3.create_multipart_upload(Bucket=aws.raw.bucket, Key="g/big")
        await aws.raw.delete_prefix("f/")
        left = await aws.clients.s3.list_multipart_uploads(Bucket=aws.raw.bucket)
        assert [upload["Key"] for upload in left["Uploads"]] == ["g/big"]


async def test_uploads_in_parts_that_were_begun_are_told_of_and_given_up(moto_url: str) -> None:
    """One that is gone already is no error."""
    async with open_aws(moto_url) as aws:
        begun = await aws.clients.s3.create_multipart_upload(Bucket=aws.raw.bucket, Key="big é")
        ((key, upload_id, begun_at),) = [upload async for upload in aws.raw.unfinished_uploads()]
        assert (key, upload_id) == ("big é", begun["UploadId"])
        assert begun_at.tzinfo is not None
        for _ in range(2):
            await aws.raw.abort_upload(key, upload_id)
        assert [upload async for upload in aws.raw.unfinished_uploads()] == []


@pytest.mark.parametrize("prefix", ["", "/", "a"])
async def test_no_whole_bucket_is_ever_deleted(moto_url: str, prefix: str) -> None:
    async with open_aws(moto_url) as aws:
        with pytest.raises(ValueError, match="not a prefix"):
            await aws.raw.delete_prefix(prefix)
