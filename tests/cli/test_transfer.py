"""Uploads and downloads at their edges, and what must hold for any bytes, keys and playlists."""

# ruff: noqa: ASYNC240 - a test may read a file where nothing else waits for the loop

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_api import FakeApi, status_body
from vproc.cli.playback import playlist_addresses
from vproc.client import ApiClient, ApiError, ApiUnreachableError, FileStatus, Output, StoreError
from vproc.client.events import event_data
from vproc.client.local import safe_path
from vproc.client.transfer import store_words
from vproc.core.files import Status


def client_of(api: FakeApi) -> ApiClient:
    return ApiClient(api.url, retry_delays_s=(0, 0), follow_delays_s=(0,))


def output(api: FakeApi, key: str, body: bytes) -> Output:
    return Output.from_entry(api.add_object(key, body), url=f"{api.url}/processed/{key}")


# --- uploads ---------------------------------------------------------------------------------------------------------


async def test_an_empty_file_is_sent_with_length_0(api: FakeApi, tmp_path: Path) -> None:
    """Whether it is taken is the API's to say, not the client's."""
    path = tmp_path / "empty.mp4"
    path.touch()
    async with client_of(api) as client:
        await client.put(await client.create_upload(path), path)
    assert (api.puts[0].body, api.puts[0].headers["Content-Length"]) == (b"", "0")


async def test_an_announcement_that_is_not_answered_is_made_again_under_the_same_key(api: FakeApi, clip: Path) -> None:
    """So that it makes one file, however often it arrived; another file has another key."""
    api.lost_announcements = 2
    async with client_of(api) as client:
        await client.create_upload(clip)
        await client.create_upload(clip)
    *repeated, other = api.idempotency_keys
    assert len(repeated) == 3
    assert len(set(repeated)) == 1
    assert other not in {None, *repeated}


async def test_an_api_that_never_answers_an_announcement_is_told_of(api: FakeApi, clip: Path) -> None:
    api.lost_announcements = 9
    async with client_of(api) as client:
        with pytest.raises(ApiUnreachableError):
            await client.create_upload(clip)
    assert len(api.announced) == 3


async def test_only_what_is_given_is_announced(api: FakeApi, clip: Path) -> None:
    """The API's defaults hold for what is left out; names travel as they are."""
    named = clip.rename(clip.with_name("Ünïcode & friends #1.MOV"))
    async with client_of(api) as client:
        await client.create_upload(named)
        await client.create_upload(named, content_type="video/quicktime", callback_url="https://example.com/hook")
    assert api.announced == [
        {"file_name": named.name, "size": 2_500_000},
        {
            "file_name": named.name,
            "size": 2_500_000,
            "content_type": "video/quicktime",
            "callback_url": "https://example.com/hook",
        },
    ]


async def test_a_redirect_of_the_store_is_no_success(api: FakeApi, clip: Path) -> None:
    """A body that was sent cannot be sent on: it is told, not followed and not taken for an upload."""
    api.put_answers = [(307, "<Error><Code>TemporaryRedirect</Code><Message>go there</Message></Error>")]
    async with client_of(api) as client:
        announced = await client.create_upload(clip)
        with pytest.raises(StoreError, match="307 TemporaryRedirect: go there") as caught:
            await client.put(announced, clip)
    assert caught.value.status == 307
    assert len(api.puts) == 1


async def test_a_precondition_after_a_server_error_counts_as_arrived(api: FakeApi, clip: Path) -> None:
    """A 500 may come after the object was stored, as S3 says of its own."""
    api.put_answers = [(500, ""), (412, "")]
    async with client_of(api) as client:
        await client.put(await client.create_upload(clip), clip)
    assert len(api.puts) == 2


async def test_a_cancelled_upload_stops(api: FakeApi, clip: Path) -> None:
    """Cancellation goes through, in the middle of the body too."""
    async with client_of(api) as client:
        announced = await client.create_upload(clip)
        with anyio.CancelScope() as scope:
            await client.put(announced, clip, lambda sent_bytes: scope.cancel() if sent_bytes else None)
            pytest.fail("it went on")
        assert scope.cancelled_caught
        await client.put(announced, clip)
    assert api.puts[-1].body == clip.read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "403"),
        ("not XML <", "403"),
        ("<Error><Code>AccessDenied</Code></Error>", "403 AccessDenied"),
        ("<Error><Message>no</Message><Code>A</Code></Error>", "403 A: no"),
        ("<Error><Code></Code><Message>no</Message></Error>", "403 no"),
    ],
)
def test_the_stores_words_are_found_in_its_xml(text: str, words: str) -> None:
    assert store_words(403, text) == words


# --- downloads -------------------------------------------------------------------------------------------------------


async def test_a_store_without_ranges_is_no_harm(tmp_path: Path) -> None:
    """Where the whole comes instead of the rest, the whole is taken."""

    async def give(request: web.Request) -> web.Response:
        return web.Response(body=b"0123456789")

    app = web.Application()
    app.router.add_get("/x", give)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / ".x.part").write_bytes(b"0123")
    digest = hashlib.sha256(b"0123456789").hexdigest()
    wanted = Output("video", "x", f"http://127.0.0.1:{runner.addresses[0][1]}/x", 10, digest)
    async with ApiClient() as client:
        await client.save([(wanted, tmp_path / "x")])
    assert (tmp_path / "x").read_bytes() == b"0123456789"
    await runner.cleanup()


@pytest.mark.parametrize("part", [b"0123456789", b"0123456789AB"])
async def test_a_part_as_long_as_the_whole_is_no_beginning(api: FakeApi, tmp_path: Path, part: bytes) -> None:
    """Nothing is asked for beyond the end."""
    (tmp_path / ".x.part").write_bytes(part)
    async with client_of(api) as client:
        await client.save([(output(api, "x", b"0123456789"), tmp_path / "x")])
    assert api.gets == [("x", None)]
    assert (tmp_path / "x").read_bytes() == b"0123456789"


async def test_an_empty_output_is_saved(api: FakeApi, tmp_path: Path) -> None:
    async with client_of(api) as client:
        await client.save([(output(api, "x", b""), tmp_path / "x")])
    assert (tmp_path / "x").read_bytes() == b""


async def test_the_first_failure_ends_the_others(api: FakeApi, tmp_path: Path) -> None:
    """One plain error, not a group; what comes after it is not begun."""
    wanted = [(output(api, f"k{number}", b"x"), tmp_path / f"k{number}") for number in range(40)]
    del api.objects["k0"]
    async with client_of(api) as client:
        with pytest.raises(StoreError, match="k0: the store answered 404"):
            await client.save(wanted)
    assert not (tmp_path / "k0").exists()


async def test_four_are_fetched_at_a_time(tmp_path: Path) -> None:
    """As many as that are asked for before one has come, and no more ever."""
    at_once, most = 0, 0
    four = anyio.Event()

    async def give(request: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 4:
            four.set()
        await four.wait()
        at_once -= 1
        return web.Response(body=b"x")

    app = web.Application()
    app.router.add_get("/{name}", give)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url, digest = f"http://127.0.0.1:{runner.addresses[0][1]}", hashlib.sha256(b"x").hexdigest()
    wanted = [(Output("video", str(n), f"{url}/{n}", 1, digest), tmp_path / str(n)) for n in range(12)]
    with anyio.fail_after(20):
        async with ApiClient() as client:
            await client.save(wanted)
    assert most == 4
    await runner.cleanup()


# --- what holds for anything -----------------------------------------------------------------------------------------


@given(st.text(max_size=40))
def test_a_key_is_a_path_below_or_refused(key: str) -> None:
    """Whatever the API says: joined to a folder it stays in it."""
    try:
        path = safe_path(key)
    except StoreError:
        return
    folder = PurePosixPath("/folder")
    assert (folder / path).is_relative_to(folder)
    assert ".." not in path.parts
    assert path.parts


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)), min_size=1, max_size=20), max_size=8)
)
def test_events_come_out_as_they_went_in(events: list[str]) -> None:
    """Between names, ids and comments, whatever the data is."""

    async def lines() -> AsyncIterator[bytes]:
        for number, data in enumerate(events):
            for line in (": note", f"id: {number}", "event: status", f"data: {data}", ""):
                yield f"{line}\r\n".encode()

    async def read() -> list[str]:
        return [data async for data in event_data(lines())]

    assert anyio.run(read) == events


NAMES = st.lists(st.from_regex(r"[a-z0-9][a-z0-9/._-]{0,20}", fullmatch=True), max_size=10)


@given(NAMES)
def test_every_segment_of_a_playlist_is_found(names: list[str]) -> None:
    """In order, none lost, none made up."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n" + "".join(f"#EXTINF:4.0,\n{name}\n" for name in names) + "#EXT-X-ENDLIST\n"
    found = playlist_addresses(text, "http://h/a/b/v.m3u8")
    assert len(found) == len(names)
    assert all(address.startswith("http://h/") for address in found)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", Status)
def test_a_status_reads_the_apis_fields(status: Status) -> None:
    """Names, progress and stage, also where they are null or missing."""
    file_id = uuid4()
    error = {"code": "x", "detail": "y"}
    whole = FileStatus(status_body(file_id, status.value, 0.25, stage="encode", error=error, speed=1.5, eta_s=12))
    assert (whole.file_id, whole.status, whole.progress, whole.stage, whole.error) == (file_id, status, 0.25, "encode", "x: y")
    assert (whole.speed, whole.eta_s) == (1.5, 12.0)
    bare = FileStatus({"file_id": str(file_id), "processing_status": status.value, "progress": None})
    assert (bare.speed, bare.eta_s) == (None, None)
    assert (bare.file_name, bare.progress, bare.stage, bare.error) == ("", 0.0, None, None)


def test_an_address_is_not_shown_by_accident(api: FakeApi) -> None:
    """Whoever prints an upload or an output prints no signature."""
    shown: list[Any] = [output(api, "x", b"x")]
    shown.append(Output("video", "x", "http://s3/x?X-Amz-Signature=SECRET", 1, "0", {"url": "SECRET"}))
    assert "http" not in repr(shown)
    assert "SECRET" not in repr(shown)


async def test_an_upload_is_not_shown_with_its_address(api: FakeApi, clip: Path) -> None:
    async with client_of(api) as client:
        announced = await client.create_upload(clip)
    assert isinstance(announced.file_id, UUID)
    assert "SECRET" in announced.url
    assert "SECRET" not in repr(announced)


async def test_a_page_that_is_none_is_said_so(api: FakeApi) -> None:
    """A list of another shape, and one that holds no files."""
    async with client_of(api) as client:
        for answer in ('{"files": []}', '{"uploads": 3}'):
            api.raw_answer = answer
            with pytest.raises(ApiError, match="not as vproc's API does"):
                await client.list()
