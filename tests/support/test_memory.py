"""The fakes keep SQS's and S3's manners, since everything that stands on them is only as true as they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import unquote_plus

import anyio
import pytest

from tests.support.memory import ManualClock, MemoryPresigner, MemoryQueue, MemoryStore, MemoryStoreOptions
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.ports import FileSlice


async def test_a_message_is_invisible_for_its_timeout_and_then_has_a_new_handle() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, visibility_timeout_s=4)
    queue.put("job")
    [first] = await queue.receive(max_messages=1, wait_s=0)
    assert await queue.receive(max_messages=1, wait_s=0) == []
    clock.advance(4)
    [second] = await queue.receive(max_messages=1, wait_s=0)
    assert second.message_id == first.message_id
    assert second.receipt_handle != first.receipt_handle
    assert (first.receive_count, second.receive_count) == (1, 2)


async def test_a_stale_handle_extends_nothing_releases_nothing_and_deletes_nothing() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, visibility_timeout_s=4)
    queue.put("job")
    [stale] = await queue.receive(max_messages=1, wait_s=0)
    clock.advance(4)
    assert await queue.extend(stale.receipt_handle, timeout_s=9) is False, "visible again: no longer in flight"
    [fresh] = await queue.receive(max_messages=1, wait_s=0)
    assert await queue.extend(stale.receipt_handle, timeout_s=9) is False
    await queue.release(stale.receipt_handle)
    await queue.delete(stale.receipt_handle)
    assert queue.bodies == ["job"]
    assert queue.visible == 0
    assert await queue.extend(fresh.receipt_handle, timeout_s=9) is True
    await queue.delete(fresh.receipt_handle)
    assert queue.bodies == []


async def test_extension_and_release_move_the_visibility() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, visibility_timeout_s=4)
    queue.put("job")
    [message] = await queue.receive(max_messages=1, wait_s=0)
    assert await queue.extend(message.receipt_handle, timeout_s=10)
    clock.advance(9.5)
    assert queue.visible == 0
    await queue.release(message.receipt_handle, delay_s=3)
    assert queue.visible == 0
    clock.advance(3)
    assert queue.visible == 1
    depth = (await queue.depths())["main"]
    assert (depth.visible, depth.in_flight) == (1, 0)


async def test_a_message_is_held_no_longer_than_twelve_hours() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock)
    queue.put("job")
    [message] = await queue.receive(max_messages=1, wait_s=0)
    clock.advance(29)
    assert await queue.extend(message.receipt_handle, timeout_s=12 * 3600)
    clock.advance(12 * 3600 - 29)
    assert queue.visible == 1


async def test_a_poll_that_waits_hears_of_what_arrives() -> None:
    queue = MemoryQueue(longest_wait_s=30)
    got: list[str] = []

    async def poll() -> None:
        got.extend(message.body for message in await queue.receive(max_messages=10, wait_s=20))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await anyio.wait_all_tasks_blocked()
            queue.put("job")
    assert got == ["job"]


async def test_a_cancelled_poll_swallows_what_arrives_in_its_time() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, visibility_timeout_s=30, longest_wait_s=30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: queue.receive(max_messages=1, wait_s=20))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    queue.put("lost for a while")
    assert queue.visible == 0
    queue.put("the second is not")
    assert queue.visible == 1
    clock.advance(30)
    assert queue.visible == 2


async def test_redrive_moves_a_message_that_was_received_too_often() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, visibility_timeout_s=1, max_receive_count=2)
    queue.put("poison")
    for _ in range(2):
        assert len(await queue.receive(max_messages=1, wait_s=0)) == 1
        clock.advance(1)
    assert await queue.receive(max_messages=1, wait_s=0) == []
    assert [(letter.body, letter.code) for letter in queue.dead] == [("poison", None)]


async def test_calls_fail_before_or_after_their_effect_and_can_be_held() -> None:
    queue = MemoryQueue()
    queue.fail_next("send", UnavailableError("away"))
    queue.fail_next("send", UnavailableError("answer lost"), applied=True)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await queue.send("job")
    assert queue.bodies == ["job"]
    pause = queue.pause_next("send")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.send, "held")
        await pause.reached.wait()
        assert queue.bodies == ["job"]
        pause.release()
    assert queue.bodies == ["job", "held"]
    assert queue.calls["send"] == 3


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_download_gets_exactly_its_version_or_says_that_it_is_gone(tmp_path: Path, versioned: bool) -> None:
    store = MemoryStore("raw", MemoryStoreOptions(versioned=versioned, piece_bytes=4))
    old = store.upload("a.mp4", b"0123456789")
    pieces: list[tuple[int, int]] = []
    await store.download(old, tmp_path / "a", on_piece=lambda *piece: pieces.append(piece))
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert pieces == [(0, 4), (4, 4), (8, 2)]
    new = store.upload("a.mp4", b"other")
    assert await store.head("a.mp4") == new
    if versioned:
        await store.download(old, tmp_path / "a")
        assert await store.delete(old) is True
    else:
        with pytest.raises(TransientError) as caught:
            await store.download(old, tmp_path / "a")
        assert caught.value.code is ErrorCode.SOURCE_CHANGED
        assert await store.delete(old) is False
    assert store.body("a.mp4") == b"other"
    assert await store.delete(new) is True
    assert await store.head("a.mp4") is None
    assert await store.delete(new) is True, "what is gone is deleted"


async def test_small_writes_conditions_and_listings() -> None:
    store = MemoryStore("processed")
    assert await store.put("f/manifest.json", b"{}", content_type="application/json", if_absent=True) is True
    assert await store.put("f/manifest.json", b"[]", content_type="application/json", if_absent=True) is False
    assert await store.get("f/manifest.json") == b"{}"
    await store.put("f/copy.json", b"{}", content_type="application/json")
    assert [(key, size) async for key, size, _ in store.list("f/")] == [("f/copy.json", 2), ("f/manifest.json", 2)]
    assert await store.delete_prefix("f/") == 2
    assert await store.get("f/manifest.json") is None


async def test_checksums_are_of_what_stands_and_a_damaged_upload_is_refused(tmp_path: Path) -> None:
    store = MemoryStore("processed")
    path = tmp_path / "out"
    path.write_bytes(b"--media--")
    digest = hashlib.sha256(b"media").hexdigest()
    checksum = await store.put_file("k", FileSlice(path, 2, 5, digest), content_type="video/mp4")
    before = await store.stat("k")
    assert before is not None
    assert before.sha256 == checksum
    assert await store.read_sha256("k") == digest
    store.corrupt("k")
    assert await store.stat("k") != before
    assert await store.read_sha256("k") != digest
    with pytest.raises(TransientError):
        await store.put_file("k", FileSlice(path, 0, 5, digest), content_type="video/mp4")
    plain = MemoryStore("processed", MemoryStoreOptions(keeps_checksums=False))
    await plain.put_file("k", FileSlice(path, 2, 5, digest), content_type="video/mp4")
    stood = await plain.stat("k")
    assert stood is not None
    assert stood.sha256 is None


async def test_an_upload_sends_its_event_with_the_key_form_encoded() -> None:
    queue = MemoryQueue()
    store = MemoryStore("raw", MemoryStoreOptions(events=queue))
    store.upload("videos/a b+c/é=1.mp4", b"x")
    [record] = json.loads(queue.bodies[0])["Records"]
    assert record["s3"]["bucket"]["name"] == "raw"
    assert " " not in record["s3"]["object"]["key"]
    assert unquote_plus(record["s3"]["object"]["key"]) == "videos/a b+c/é=1.mp4"


async def test_signed_headers_are_those_that_a_client_must_send() -> None:
    request = await MemoryPresigner().put(
        "videos/a.mp4", content_type="video/mp4", size_bytes=5, metadata={"vproc-profile": "abr"}
    )
    assert request.headers == {
        "Content-Type": "video/mp4",
        "If-None-Match": "*",
        "x-amz-meta-vproc-profile": "abr",
    }
