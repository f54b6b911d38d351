"""A source that is looked at and read while it arrives."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.support.memory import MemoryStore
from tests.support.samples import FTYP, box
from tests.support.slow_store import SlowStore
from vproc.core.container import Container
from vproc.core.files import ObjectVersion
from vproc.errors import ErrorCode, RejectedError, TransientError, UnavailableError
from vproc.tasks import task_group
from vproc.workers import source as source_module
from vproc.workers.source import Layout, Source

KIB = 1024
MKV = b"\x1a\x45\xdf\xa3"


@pytest.fixture(autouse=True)
def _small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "STREAM_FROM_BYTES", 256 * KIB)
    monkeypatch.setattr(source_module, "TAIL_BYTES", 32 * KIB)
    probed = {Container.MOV: 128 * KIB, Container.MATROSKA: 192 * KIB, Container.MPEGTS: 192 * KIB}
    monkeypatch.setattr(source_module, "PROBE_BYTES", probed)


@asynccontextmanager
async def arriving(tmp_path: Path, body: bytes) -> AsyncIterator[tuple[Source, SlowStore]]:
    """A source whose download has begun and got nothing yet."""
    store = SlowStore()
    source = Source(store, store.upload("k", body), tmp_path / "source")
    async with task_group() as tasks:
        tasks.start_soon(source.run)
        yield source, store
        tasks.cancel_scope.cancel()


async def looked(source: Source, store: SlowStore, *allowed: int) -> Layout:
    """What a look tells once so much is allowed, step by step: not before the last of them."""
    told: list[Layout] = []

    async def look() -> None:
        told.append(await source.look())

    with anyio.fail_after(5):
        async with task_group() as tasks:
            tasks.start_soon(look)
            for size in allowed:
                await anyio.wait_all_tasks_blocked()
                assert not told
                store.allow(size)
    return told[0]


async def fed(source: Source, layout: Layout, store: SlowStore) -> bytes:
    """All that the feeder writes, the rest allowed on the way."""
    given = bytearray()

    async def write(data: bytes) -> bool:
        given.extend(data)
        store.allow(source.size_bytes)
        return True

    assert layout.feed is not None
    with anyio.fail_after(5):
        store.allow(source_module.READ_BYTES)
        await source.feeder(layout.feed)(write)
    return bytes(given)


def movie(*, index_first: bool, media: bytes) -> bytes:
    """A movie with a video track of one chunk that begins where the media begins."""

    def moov(offset: int) -> bytes:
        stbl = box("stbl", box("stco", bytes(4), struct.pack(">II", 1, offset)))
        return box("moov", box("mvhd", bytes(100)), box("trak", box("mdia", box("minf", stbl))))

    mdat = box("mdat", media)
    if index_first:
        return FTYP + moov(len(FTYP) + len(moov(0)) + 8) + mdat
    return FTYP + mdat + moov(len(FTYP) + 8)


MEDIA = bytes(range(256)) * 4 * KIB  # 1 MiB


async def test_a_matroska_file_is_known_by_its_start_and_its_end(tmp_path: Path) -> None:
    body = MKV + MEDIA
    async with arriving(tmp_path, body) as (source, store):
        layout = await looked(source, store, 64 * KIB, 192 * KIB)
        assert (layout.container, source.whole) == (Container.MATROSKA, False)
        assert store.fetched == [(len(body) - 32 * KIB, len(body))]
        assert (tmp_path / "source").read_bytes()[-32 * KIB :] == body[-32 * KIB :]
        assert await fed(source, layout, store) == body


async def test_a_movie_with_its_index_in_front_is_read_as_it_stands(tmp_path: Path) -> None:
    body = movie(index_first=True, media=MEDIA)
    async with arriving(tmp_path, body) as (source, store):
        layout = await looked(source, store, 64 * KIB, 192 * KIB)
        assert (layout.container, source.whole, store.fetched) == (Container.MOV, False, [])
        assert await fed(source, layout, store) == body


async def test_a_movie_with_its_index_at_the_end_is_fed_with_it_in_front(tmp_path: Path) -> None:
    """The index is fetched ahead, and its offsets are those of what is fed."""
    body = movie(index_first=False, media=MEDIA)
    async with arriving(tmp_path, body) as (source, store):
        layout = await looked(source, store, 64 * KIB, 128 * KIB)
        at = len(FTYP) + 8 + len(MEDIA)
        assert (source.whole, store.fetched, layout.moov) == (False, [(at, len(body))], body[at + 8 :])
        assert await fed(source, layout, store) == movie(index_first=True, media=MEDIA)


@pytest.mark.parametrize(
    "body",
    [
        FTYP + box("moov", box("mvex", bytes(8))) + box("mdat", MEDIA),
        FTYP + box("mdat", MEDIA) + b"junk that is no box",
        b"FLV\x01" + MEDIA,
        MKV + bytes(200 * KIB),
    ],
    ids=["fragmented", "junk", "flv", "small"],
)
async def test_what_cannot_be_read_in_order_or_is_small_is_waited_for_whole(tmp_path: Path, body: bytes) -> None:
    async with arriving(tmp_path, body) as (source, store):
        layout = await looked(source, store, 128 * KIB, len(body) - 1, len(body))
        assert source.whole
        assert layout.feed is None


async def test_what_is_no_media_is_refused_before_it_is_here(tmp_path: Path) -> None:
    async with arriving(tmp_path, b"#EXTM3U\n" + MEDIA) as (source, store):
        store.allow(64 * KIB)
        with pytest.raises(RejectedError, match="HLS playlist"):
            await source.look()
        assert not source.whole


async def test_pieces_may_arrive_in_any_order_and_are_waited_for_in_theirs(tmp_path: Path) -> None:
    store = MemoryStore("raw")
    heard: list[int] = []
    source = Source(store, store.upload("k", bytes(100)), tmp_path / "source", on_bytes=heard.append)
    reached: list[int] = []

    async def wait(end: int) -> None:
        await source.until(end)
        reached.append(end)

    async with task_group() as tasks:
        for end in (100, 30, 10):
            tasks.start_soon(wait, end)
        for piece, then in (((10, 20), []), ((60, 40), []), ((0, 10), [10, 30]), ((30, 30), [10, 30, 100])):
            await anyio.wait_all_tasks_blocked()
            source._on_piece(*piece)
            await anyio.wait_all_tasks_blocked()
            assert sorted(reached) == then
    assert sum(heard) == 100
    assert not source.whole


async def test_a_file_of_another_length_is_another_source(tmp_path: Path) -> None:
    class Short(MemoryStore):
        async def download(self, version: ObjectVersion, to: Path, *, on_piece: object = None) -> None:
            await anyio.Path(to).write_bytes(b"12")

    store = Short("raw")
    with pytest.raises(TransientError, match="2 bytes arrived instead of the 5") as caught:
        await Source(store, store.upload("k", b"12345"), tmp_path / "source").run()
    assert caught.value.code is ErrorCode.SOURCE_CHANGED


async def test_a_download_that_fails_ends_whoever_waits(tmp_path: Path) -> None:
    store = MemoryStore("raw")
    store.fail_next("download", UnavailableError("the store is away"))
    source = Source(store, store.upload("k", MKV + MEDIA), tmp_path / "source")

    async def look() -> None:
        async with task_group() as tasks:
            tasks.start_soon(source.run)
            await source.look()

    with pytest.raises(UnavailableError, match="the store is away"):
        await look()


async def test_a_reader_that_takes_no_more_ends_the_feed(tmp_path: Path) -> None:
    async with arriving(tmp_path, MKV + MEDIA) as (source, store):
        layout = await looked(source, store, 64 * KIB, 192 * KIB)
        store.allow(1 << 30)
        taken: list[int] = []

        async def write(data: bytes) -> bool:
            taken.append(len(data))
            return False

        assert layout.feed is not None
        await source.feeder(layout.feed)(write)
        assert len(taken) == 1
