"""A file as the body of a request: read while it is sent, sent again whole, and its own faults told as such."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from bench.objects import Bucket
from bench.store import Store, serve_store
from vproc.aws import body as body_module
from vproc.aws.body import CHUNK_BYTES, FileBody
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import open_clients
from vproc.errors import ErrorCode, TransientError
from vproc.ports import FileSlice
from vproc.telemetry import Metrics

SIZES = pytest.mark.parametrize("size", [3 * CHUNK_BYTES + 5, 8 * 1024 * 1024 + 5], ids=["one-request", "parts"])


class Moody(Store):
    """Refuses the first try of each write, after it took some of its bytes; tells how each write was signed."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__({bucket.name: bucket})
        self.tries: Counter[str] = Counter()
        self.signed: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PUT":
            self.signed.add(request.headers["x-amz-content-sha256"])
            self.tries[request.path_qs] += 1
            if self.tries[request.path_qs] == 1:
                await request.content.readany()
                return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        return await super().handle(request)


@pytest.fixture
async def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Moody, S3Bucket]]:
    store = Moody(Bucket("raw", tmp_path / "store"))
    async with serve_store(store) as url:
        for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        async with open_clients(region="us-east-1", poll_read_timeout_s=5, public_endpoint_url=None) as clients:
            metrics = Metrics(CollectorRegistry())
            yield store, S3Bucket(bucket="raw", control=clients.s3, bulk=clients.s3_bulk, metrics=metrics)


def file_of(folder: Path, size: int) -> FileSlice:
    """The middle of a file."""
    path = folder / "file"
    content = os.urandom(size + 20)
    path.write_bytes(content)
    return FileSlice(path, 7, size, hashlib.sha256(content[7 : 7 + size]).hexdigest())


@SIZES
async def test_a_write_that_is_refused_for_the_moment_is_sent_again_whole(
    moody: tuple[Moody, S3Bucket], tmp_path: Path, size: int
) -> None:
    store, bucket = moody
    part = file_of(tmp_path, size)
    await bucket.put_file("k", part, content_type="video/mp4")
    assert set(store.tries.values()) == {2}
    assert await bucket.get("k") == part.path.read_bytes()[7 : 7 + size]


@SIZES
async def test_no_body_is_read_at_once_nor_hashed_for_its_signature(
    moody: tuple[Moody, S3Bucket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """botocore would read and hash a body on the event loop; what is in memory of it is a chunk."""
    store, bucket = moody
    asked: list[int] = []
    read = body_module._read

    def listening(path: Path, offset: int, wanted: int) -> bytes:
        asked.append(wanted)
        return read(path, offset, wanted)

    def never(_: FileBody, __: int = -1) -> bytes:
        raise AssertionError("the body was read on the event loop")

    monkeypatch.setattr(body_module, "_read", listening)
    monkeypatch.setattr(FileBody, "read", never)
    await bucket.put_file("k", file_of(tmp_path, size), content_type="video/mp4")
    assert store.signed == {"UNSIGNED-PAYLOAD"}
    assert max(asked) == CHUNK_BYTES


@SIZES
async def test_a_file_that_became_shorter_is_no_fault_of_the_store(
    moody: tuple[Moody, S3Bucket], tmp_path: Path, size: int
) -> None:
    _, bucket = moody
    part = file_of(tmp_path, size)
    os.truncate(part.path, size)
    with pytest.raises(TransientError, match="became shorter") as caught:
        await bucket.put_file("k", part, content_type="video/mp4")
    assert caught.value.code is ErrorCode.OUTPUT_INVALID
    assert await bucket.head("k") is None


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("body") / "numbers"
    path.write_bytes(bytes(range(256)))
    return path


@given(offset=st.integers(0, 100), size=st.integers(0, 100), moves=st.lists(st.tuples(st.integers(0, 100), st.integers(-1, 60))))
def test_it_reads_as_a_file_of_its_own(numbers: Path, offset: int, size: int, moves: list[tuple[int, int]]) -> None:
    """Its length, its places and its bytes are those of the part, wherever that lies in the file."""
    expected = bytes(range(256))[offset : offset + size]
    body = FileBody(numbers, offset, size)
    assert len(body) == body.seek(0, os.SEEK_END) == size
    for far, wanted in moves:
        place = min(far, size)
        assert body.seek(place) == place
        assert body.read(wanted) == expected[place : None if wanted < 0 else place + wanted]
        assert body.tell() == (size if wanted < 0 else min(size, place + wanted))
