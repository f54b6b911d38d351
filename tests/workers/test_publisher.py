"""Sending, committing and proving: what the manifest says stands, and nothing else ever counts."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.lowlevel
import pytest

from tests.support.memory import MemoryStore, MemoryStoreOptions
from vproc.core.files import ObjectVersion
from vproc.core.keys import manifest_key
from vproc.core.manifest import EntryPoint, Manifest, Output, OutputKind, Source
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.ports import FileSlice
from vproc.workers import publisher as publisher_module
from vproc.workers.package import Item, Package
from vproc.workers.publisher import UPLOADS_AT_A_TIME, Publisher

FILE_ID = UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11")


class CountingStore(MemoryStore):
    """Notes how many writes of files are on their way at a time, and the sizes in their order."""

    def __init__(self, options: MemoryStoreOptions | None = None) -> None:
        super().__init__("processed", options)
        self.writing = 0
        self.most = 0
        self.sizes: list[int] = []
        self.large_beside_others = False

    async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
        self.writing += 1
        self.most = max(self.most, self.writing)
        self.sizes.append(part.size_bytes)
        self.large_beside_others |= part.size_bytes > 100 and self.writing > 1
        try:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            return await super().put_file(key, part, content_type=content_type)
        finally:
            self.writing -= 1


def segment(path: Path, number: int, size: int = 10) -> Item:
    file = path / f"{number}.m4s"
    file.write_bytes(bytes([number % 256]) * size)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Item(OutputKind.SEGMENT, f"v/{number}.m4s", "video/mp4", FileSlice(file, 0, size, digest), {"name": "v"})


def package(path: Path, segments: int = 3) -> Package:
    playlist = Item(OutputKind.HLS, "entry/master.m3u8", "application/vnd.apple.mpegurl", b"#EXTM3U", {})
    return Package((*(segment(path, number) for number in range(segments)), playlist), {"master.m3u8": "entry/master.m3u8"})


async def send(publisher: Publisher, sent: Package, run_id: str = "run") -> tuple[tuple[Output, ...], tuple[EntryPoint, ...]]:
    heard: list[int] = []
    told = await publisher.sending(FILE_ID, run_id, on_sent=heard.append).finish(sent)
    assert sorted(heard) == sorted(item.size_bytes for item in sent.items)
    return told


def manifest(outputs: tuple[Output, ...], entries: tuple[EntryPoint, ...], run_id: str = "run") -> Manifest:
    source = Source(bucket="raw", key="a.mp4", etag="e", bytes=1, container="mov")
    return Manifest(
        file_id=FILE_ID, run_id=run_id, profile="abr", created_at=datetime.now(UTC), source=source, outputs=outputs,
        entry_points=entries,
    )  # fmt: skip


async def check_refused(publisher: Publisher, outputs: tuple[Any, ...], words: str) -> None:
    with pytest.raises(TransientError, match=words) as caught:
        await publisher.prove(outputs)
    assert caught.value.code is ErrorCode.OUTPUT_INVALID


async def test_everything_is_sent_below_the_run_and_listed_in_its_order(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    outputs, entries = await send(Publisher(store=store), package(tmp_path))
    keys = [f"{FILE_ID}/run/v/{number}.m4s" for number in range(3)] + [f"{FILE_ID}/run/entry/master.m3u8"]
    assert [output.key for output in outputs] == keys
    assert store.keys == sorted(keys)
    assert outputs[0].sha256 == hashlib.sha256(bytes(10)).hexdigest()
    assert (outputs[0].bytes, outputs[0].name, outputs[0].checksum) == (10, "v", None)
    (entry,) = entries
    assert (entry.key, entry.source_key, entry.sha256) == (f"{FILE_ID}/master.m3u8", keys[-1], outputs[-1].sha256)


async def test_few_go_up_at_a_time_and_large_ones_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: a large file has parts on their way by itself."""
    monkeypatch.setattr(publisher_module, "LARGE_BYTES", 100)
    store = CountingStore()
    items = (*(segment(tmp_path, number) for number in range(20)), segment(tmp_path, 20, 101), segment(tmp_path, 21, 300))
    await send(Publisher(store=store), Package(items, {}))
    assert store.most == UPLOADS_AT_A_TIME
    assert store.sizes[:2] == [101, 300]
    assert not store.large_beside_others


async def test_what_is_sent_again_while_it_is_still_being_sent_stays(tmp_path: Path) -> None:
    """A film's last segment may grow by a rest: its first sending must not land on top of its second."""
    store = MemoryStore("processed")
    sending = Publisher(store=store).sending(FILE_ID, "run", on_sent=lambda size: None)
    short = segment(tmp_path, 1)
    (tmp_path / "longer").mkdir()
    longer = segment(tmp_path / "longer", 1, 20)
    first = store.pause_next("put_file")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sending.send, short)
            await first.reached.wait()
            tasks.start_soon(sending.send, longer)
            await sending.send(segment(tmp_path, 2))  # what is not of its path does not wait
            assert store.calls["put_file"] == 2
            first.release()
        outputs, _ = await sending.finish(Package((longer,), {}))
    assert [output.bytes for output in outputs] == [20]
    assert store.body(f"{FILE_ID}/run/v/1.m4s") == b"\x01" * 20


async def test_the_first_failure_stops_the_rest_and_leaves_plain(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    store.fail_next("put_file", UnavailableError("S3 is away"))
    with pytest.raises(UnavailableError, match="S3 is away"):
        await send(Publisher(store=store), package(tmp_path, segments=60))
    assert store.calls["put_file"] < 60
    assert store.calls["stat"] == 0


async def test_a_checksum_of_several_parts_is_kept_in_the_manifest(tmp_path: Path) -> None:
    """The store then tells another value than the SHA-256 of the bytes, and only that can be compared."""

    class InParts(MemoryStore):
        async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
            await super().put_file(key, part, content_type=content_type)
            return base64.b64encode(b"of the parts").decode() + "-3"

        async def stat(self, key: str) -> Any:
            told = await super().stat(key)
            return told and replace(told, sha256=base64.b64encode(b"of the parts").decode())  # MinIO leaves the -3 out

    outputs, _ = await send(Publisher(store=InParts("processed")), Package((segment(tmp_path, 1),), {}))
    assert outputs[0].checksum == base64.b64encode(b"of the parts").decode() + "-3"
    assert outputs[0].sha256 == hashlib.sha256(b"\x01" * 10).hexdigest()


@pytest.mark.parametrize("keeps_checksums", [True, False])
async def test_what_stands_is_proved_by_size_and_bytes(tmp_path: Path, keeps_checksums: bool) -> None:
    store = MemoryStore("processed", MemoryStoreOptions(keeps_checksums=keeps_checksums))
    publisher = Publisher(store=store)
    outputs, _ = await send(publisher, package(tmp_path))
    await publisher.prove(outputs)
    assert (store.calls["read_sha256"] > 0) is not keeps_checksums
    store.corrupt(outputs[1].key)
    await check_refused(publisher, outputs, "1.m4s has other bytes than were sent")
    store.upload(outputs[1].key, b"short")
    await check_refused(publisher, outputs, "1.m4s has 5 bytes instead of 10")
    store.lose(outputs[1].key)
    await check_refused(publisher, outputs, "1.m4s does not stand")


async def test_sending_proves_what_was_sent(tmp_path: Path) -> None:
    class Flipping(MemoryStore):
        async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
            checksum = await super().put_file(key, part, content_type=content_type)
            self.corrupt(key)
            return checksum

    with pytest.raises(TransientError, match="other bytes"):
        await send(Publisher(store=Flipping("processed")), package(tmp_path))


async def test_the_first_manifest_stands_and_the_second_run_learns_of_it(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    publisher = Publisher(store=store)
    first = manifest(*await send(publisher, package(tmp_path), "one"), run_id="one")
    second = manifest(*await send(publisher, package(tmp_path), "two"), run_id="two")
    assert await publisher.commit(first) == first
    assert await publisher.commit(second) == first
    assert Manifest.from_json(store.body(manifest_key(FILE_ID))) == first


async def test_a_commit_whose_answer_was_lost_is_found_to_be_ones_own(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    publisher = Publisher(store=store)
    own = manifest(*await send(publisher, package(tmp_path)))
    store.fail_next("put", UnavailableError("the answer was lost"), applied=True)
    with pytest.raises(UnavailableError):
        await publisher.commit(own)
    assert (await publisher.commit(own)).run_id == "run"


async def test_a_manifest_that_cannot_be_read_is_never_overwritten(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    publisher = Publisher(store=store)
    own = manifest(*await send(publisher, package(tmp_path)))
    store.upload(manifest_key(FILE_ID), b"{}")
    with pytest.raises(TransientError, match=r"manifest\.json cannot be read"):
        await publisher.commit(own)
    assert store.body(manifest_key(FILE_ID)) == b"{}"


async def test_a_manifest_that_was_removed_in_between_is_tried_again(tmp_path: Path) -> None:
    class Vanishing(MemoryStore):
        async def get(self, key: str) -> bytes | None:
            return None

    store = Vanishing("processed")
    store.upload(manifest_key(FILE_ID), b"{}")
    with pytest.raises(TransientError, match="was removed"):
        await Publisher(store=store).commit(manifest((), ()))


async def test_entry_points_are_copies_and_may_be_placed_by_anybody_again(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    publisher = Publisher(store=store)
    committed = manifest(*await send(publisher, package(tmp_path)))
    for _ in range(2):
        await publisher.place_entry_points(committed)
        assert store.body(f"{FILE_ID}/master.m3u8") == b"#EXTM3U"
    version = await store.head(f"{FILE_ID}/master.m3u8")
    assert isinstance(version, ObjectVersion)
    assert version.content_type == "application/vnd.apple.mpegurl"


@pytest.mark.parametrize("damage", ["corrupt", "lose"])
async def test_a_damaged_source_is_not_copied(tmp_path: Path, damage: str) -> None:
    store = MemoryStore("processed")
    publisher = Publisher(store=store)
    committed = manifest(*await send(publisher, package(tmp_path)))
    getattr(store, damage)(committed.entry_points[0].source_key)
    with pytest.raises(TransientError, match="is not what the manifest lists"):
        await publisher.place_entry_points(committed)
    assert f"{FILE_ID}/master.m3u8" not in store.keys
