"""The API's client against an API and a store that fail as told."""

# ruff: noqa: ASYNC240 - a test may read a file where nothing else waits for the loop

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.support.fake_api import CUT, FakeApi, running_api, status_body
from vproc.client import ApiClient, ApiError, ApiUnreachableError, FileStatus, StoreError
from vproc.client.errors import AddressRefusedError
from vproc.core.files import Status

GONE = "http://127.0.0.1:1"


def client_of(api: FakeApi, **more: Any) -> ApiClient:
    return ApiClient(api.url, **{"retry_delays_s": (0, 0), "follow_delays_s": (0, 0), **more})


async def upload(api: FakeApi, path: Path, told: list[int] | None = None) -> None:
    async with client_of(api) as client:
        await client.put(await client.create_upload(path), path, told.append if told is not None else None)


# --- uploads ---------------------------------------------------------------------------------------------------------


async def test_upload_is_announced_and_sent_as_signed(api: FakeApi, clip: Path) -> None:
    """The announcement tells name, size and profile; the PUT bears address, signed headers and length to the letter, no key."""
    told: list[int] = []
    async with client_of(api, api_key="KEY") as client:
        announced = await client.create_upload(clip, profile="mp4", metadata={"a": "b"})
        await client.put(announced, clip, told.append)
    assert api.announced == [{"file_name": "clip.mp4", "size": 2_500_000, "profile": "mp4", "metadata": {"a": "b"}}]
    [put] = api.puts
    assert put.body == clip.read_bytes()
    assert put.query == {"raw": "X-Amz-Signature=SECRET%2F1&x=a%20b"}
    assert put.headers["Content-Length"] == "2500000"
    assert put.headers["Content-Type"] == "video/mp4"
    assert put.headers["If-None-Match"] == "*"
    assert not {"Transfer-Encoding", "Authorization", "Accept"} & put.headers.keys()
    assert told[0] == 0
    assert told[-1] == 2_500_000
    assert told == sorted(told)
    assert api.asked == [("POST", "/upload", "Bearer KEY")]


async def test_a_content_type_that_was_not_signed_is_not_sent(api: FakeApi, clip: Path) -> None:
    """aiohttp's own Content-Type would break the signature."""
    api.signed_headers = {}
    await upload(api, clip)
    assert "Content-Type" not in api.puts[0].headers


async def test_upload_is_tried_again_after_a_store_error(api: FakeApi, clip: Path) -> None:
    """503 and 429 are tried again from the first byte, and the progress says so."""
    api.put_answers = [(503, "<Error><Code>SlowDown</Code></Error>"), (429, "")]
    told: list[int] = []
    await upload(api, clip, told)
    assert [put.body == clip.read_bytes() for put in api.puts] == [True] * 3
    assert told.count(0) == 3


async def test_upload_gives_up_after_three_tries(api: FakeApi, clip: Path) -> None:
    """The last answer is told in the store's words."""
    api.put_answers = [(500, "<Error><Code>InternalError</Code><Message>We failed</Message></Error>")] * 3
    with pytest.raises(StoreError, match="500 InternalError: We failed") as caught:
        await upload(api, clip)
    assert caught.value.status == 500
    assert len(api.puts) == 3


async def test_an_upload_whose_answer_was_lost_has_arrived(api: FakeApi, clip: Path) -> None:
    """The connection breaks after the body was taken; the second try's 412 says that it is there."""
    api.put_answers = [(CUT, ""), (412, "<Error><Code>PreconditionFailed</Code></Error>")]
    await upload(api, clip)
    assert len(api.puts) == 2


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (412, StoreError, "an address takes one upload"),
        (403, AddressRefusedError, "held until 2030-01-01T00:00:00Z"),
        (400, StoreError, "400 AccessDenied: Request has expired"),
    ],
)
async def test_a_refused_upload_is_explained_and_not_tried_again(
    api: FakeApi, clip: Path, status: int, kind: type[StoreError], words: str
) -> None:
    """What will not change is said at once, in words and without the signature."""
    api.put_answers = [(status, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")]
    with pytest.raises(kind, match=words) as caught:
        await upload(api, clip)
    assert "SECRET" not in str(caught.value)
    assert len(api.puts) == 1


@pytest.mark.parametrize("size_bytes", [1_000_000, 3_000_000])
async def test_a_file_that_changes_under_the_upload_is_said_so(api: FakeApi, clip: Path, size_bytes: int) -> None:
    """Neither a shorter nor a longer file than announced is taken for a lost connection."""
    async with client_of(api) as client:
        announced = await client.create_upload(clip)
        clip.write_bytes(b"x" * size_bytes)
        with pytest.raises(StoreError, match="changed while it was uploaded"):
            await client.put(announced, clip)
        clip.unlink()
        with pytest.raises(StoreError, match=r"cannot read .*: No such file"):
            await client.put(announced, clip)
    assert api.puts == []


async def test_what_cannot_be_uploaded_is_said_before_anything_is_sent(api: FakeApi, tmp_path: Path) -> None:
    """No file, and a folder."""
    async with client_of(api) as client:
        for path, words in ((tmp_path / "none.mp4", "no such file"), (tmp_path, "is a folder")):
            with pytest.raises(ApiError, match=words):
                await client.create_upload(path)
    assert api.asked == []


async def test_upload_to_a_store_that_is_away(api: FakeApi, clip: Path) -> None:
    """The reason is told without the address."""
    async with client_of(api) as client:
        announced = await client.create_upload(clip)
        object.__setattr__(announced, "url", f"{GONE}/raw/x?X-Amz-Signature=SECRET")
        with pytest.raises(StoreError, match=r"broke off \(Connect") as caught:
            await client.put(announced, clip)
    assert "SECRET" not in str(caught.value)


# --- calls -----------------------------------------------------------------------------------------------------------


async def test_problems_are_told_in_the_apis_words(api: FakeApi) -> None:
    """An RFC 9457 detail is the error's text; 401 names the remedy."""
    async with client_of(api) as client:
        api.problem = (409, "It is completed; nothing to cancel")
        with pytest.raises(ApiError, match=r"^It is completed; nothing to cancel$") as caught:
            await client.cancel(api.file_id)
        assert caught.value.status == 409
        api.problem = (401, "Who are you?")
        with pytest.raises(ApiError, match=r"Who are you\? \(set --api-key or VPROC_API_KEY\)"):
            await client.status(api.file_id)


@pytest.mark.parametrize("answer", ["<html>", "[]", "{}"])
async def test_another_server_is_recognised(api: FakeApi, clip: Path, answer: str) -> None:
    """An answer that is not the API's names what to check."""
    api.raw_answer = answer
    async with client_of(api) as client:
        with pytest.raises(ApiError, match="not as vproc's API does: check --api"):
            await client.create_upload(clip)
        with pytest.raises(ApiError, match="check --api"):
            await client.outputs(api.file_id)


async def test_an_unknown_route_names_the_address() -> None:
    """A 404 that is no problem of vproc's is told as what it is."""
    with running_api() as api:
        async with ApiClient(f"{api.url}/elsewhere") as client:
            with pytest.raises(ApiError, match="elsewhere answered 404 Not Found: is this vproc's API"):
                await client.status(uuid4())


@pytest.mark.parametrize("address", [GONE, "http://nowhere.invalid:8080"])
async def test_an_api_that_is_away_names_the_remedy(address: str) -> None:
    async with ApiClient(address) as client:
        with pytest.raises(ApiUnreachableError, match=f"no answer from {address}: is `vproc serve` running there.*VPROC_API_URL"):
            await client.status(uuid4())


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "localhost", "ftp://host", "http://", ""])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ApiError, match="no address of an API: set --api or VPROC_API_URL"):
        ApiClient(address)


async def test_list_follows_the_cursor_to_the_limit(api: FakeApi) -> None:
    """More than a page is asked for page by page, and no more than wanted."""
    api.uploads = [status_body(uuid4(), "completed", file_name=str(number)) for number in range(250)]
    async with client_of(api) as client:
        found = await client.list(limit=230, status="completed")
        everything = await client.list(limit=1000)
    assert [entry.file_name for entry in found] == [str(number) for number in range(230)]
    assert [path for _, path, _ in api.asked[:3]] == [
        "/uploads?status=completed&limit=100",
        "/uploads?status=completed&cursor=100&limit=100",
        "/uploads?status=completed&cursor=200&limit=30",
    ]
    assert len(everything) == 250


async def test_retry_cancel_and_delete(api: FakeApi) -> None:
    """Each is one call of its route."""
    api.statuses = [status_body(api.file_id, "uploaded")]
    async with client_of(api) as client:
        assert (await client.retry(api.file_id)).status is Status.UPLOADED
        assert (await client.cancel(api.file_id)).file_id == api.file_id
        await client.delete(api.file_id)
    assert [(method, path.rpartition("/")[2]) for method, path, _ in api.asked] == [
        ("POST", "retry"),
        ("POST", "cancel"),
        ("DELETE", str(api.file_id)),
    ]


# --- follow ----------------------------------------------------------------------------------------------------------


async def followed(client: ApiClient, api: FakeApi) -> list[FileStatus]:
    async with aclosing(client.follow(api.file_id)) as reports:
        return [status async for status in reports]


async def test_follow_tells_each_change_once_to_the_end(api: FakeApi) -> None:
    """Events that say nothing new are left out, and so is one that is no status; the terminal one is the last."""
    begun, half = status_body(api.file_id, "uploaded"), status_body(api.file_id, "processing", 0.5, stage="encode")
    done = status_body(api.file_id, "completed", 1.0)
    api.streams = [[begun, begun, {}, half, done, half]]
    async with client_of(api) as client:
        found = await followed(client, api)
    assert [(entry.status, entry.progress, entry.stage) for entry in found] == [
        ("uploaded", 0.0, None),
        ("processing", 0.5, "encode"),
        ("completed", 1.0, None),
    ]
    assert len(api.asked) == 1


async def test_follow_reconnects_where_the_stream_breaks(api: FakeApi) -> None:
    """After a break the status is asked for and the stream opened again; nothing is told twice."""
    steps = [status_body(api.file_id, "processing", progress) for progress in (0.1, 0.2, 0.3)]
    api.streams = [[steps[0]], [steps[1], steps[2], status_body(api.file_id, "completed", 1.0)]]
    api.statuses = [steps[1]]
    async with client_of(api) as client:
        found = await followed(client, api)
    assert [entry.progress for entry in found] == [0.1, 0.2, 0.3, 1.0]


async def test_follow_asks_for_the_status_where_there_is_no_stream(api: FakeApi) -> None:
    """Without events the file is followed all the same, for longer than there are delays."""
    api.statuses = [status_body(api.file_id, "processing", number / 10) for number in range(10)]
    api.statuses.append(status_body(api.file_id, "failed", 0.9, error={"code": "timeout", "detail": "too slow"}))
    async with client_of(api) as client:
        found = await followed(client, api)
    assert len(found) == 11
    assert found[-1].status is Status.FAILED
    assert found[-1].error == "timeout: too slow"


async def test_follow_of_no_such_file(api: FakeApi) -> None:
    """What the API refuses is refused."""
    api.problem = (404, "No such file")
    async with client_of(api) as client:
        with pytest.raises(ApiError, match="No such file"):
            await followed(client, api)


async def test_follow_gives_up_on_an_api_that_stays_away() -> None:
    """A daemon that goes and does not come back ends it with the remedy; one that never was there does so at once."""
    with running_api() as api:
        api.streams = [[status_body(api.file_id, "processing", 0.5)]]
        api.statuses = [status_body(api.file_id, "processing", 0.5)]
        client = client_of(api)
        async with client:
            reports = client.follow(api.file_id)
            assert (await anext(reports)).progress == 0.5
            client.api_url = GONE
            with pytest.raises(ApiUnreachableError, match="is `vproc serve` running"):
                await anext(reports)
    async with ApiClient(GONE, follow_delays_s=(3600,)) as client:
        with anyio.fail_after(10), pytest.raises(ApiUnreachableError):
            await anext(client.follow(uuid4()))


# --- downloads -------------------------------------------------------------------------------------------------------


def published(api: FakeApi) -> dict[str, bytes]:
    bodies = {f"{api.file_id}/run/v{number}/seg-{number}.m4s": bytes([number]) * 1000 * number for number in range(1, 9)}
    for key, body in bodies.items():
        api.add_object(key, body, "segment")
    return bodies


async def test_download_saves_every_output_under_its_key(api: FakeApi, tmp_path: Path) -> None:
    """All outputs stand with their bytes; a second run fetches nothing."""
    bodies = published(api)
    heard: list[bool] = []
    async with client_of(api) as client:
        saved = await client.download_processed(api.file_id, tmp_path / "to", on_output=lambda _, fetched: heard.append(fetched))
        assert {output.key: path.read_bytes() for output, path in saved} == bodies
        await client.download_processed(api.file_id, tmp_path / "to", on_output=lambda _, fetched: heard.append(fetched))
    assert heard == [True] * 8 + [False] * 8
    assert len(api.gets) == 8
    assert list(tmp_path.rglob("*.part")) == []


async def test_download_goes_on_where_it_stopped(api: FakeApi, tmp_path: Path) -> None:
    """What is there of a broken download is not fetched again; a file that is wrong is."""
    [key] = [entry["key"] for entry in [api.add_object(f"{api.file_id}/a.mp4", b"0123456789")]]
    other = api.add_object(f"{api.file_id}/b.mp4", b"abc")["key"]
    (tmp_path / str(api.file_id)).mkdir()
    (tmp_path / str(api.file_id) / ".a.mp4.part").write_bytes(b"0123")
    (tmp_path / other).write_bytes(b"xyz")
    async with client_of(api) as client:
        await client.download_processed(api.file_id, tmp_path)
    assert sorted(api.gets) == [(key, "bytes=4-"), (other, None)]
    assert (tmp_path / key).read_bytes() == b"0123456789"
    assert (tmp_path / other).read_bytes() == b"abc"


async def test_download_of_a_spoilt_beginning_starts_anew(api: FakeApi, tmp_path: Path) -> None:
    """A beginning that was of other bytes is found out by the digest and dropped."""
    key = api.add_object(f"{api.file_id}/a.mp4", b"0123456789")["key"]
    (tmp_path / str(api.file_id)).mkdir()
    (tmp_path / str(api.file_id) / ".a.mp4.part").write_bytes(b"ABCD")
    async with client_of(api) as client:
        await client.download_processed(api.file_id, tmp_path)
    assert api.gets == [(key, "bytes=4-"), (key, None)]
    assert (tmp_path / key).read_bytes() == b"0123456789"


@pytest.mark.parametrize("body", [b"012345678X", b"0123", b"0123456789ABC"])
async def test_download_of_a_corrupted_output_fails(api: FakeApi, tmp_path: Path, body: bytes) -> None:
    """Other bytes than were made are never left under the output's name."""
    key = api.add_object(f"{api.file_id}/a.mp4", b"0123456789")["key"]
    api.objects[key] = body
    async with client_of(api) as client:
        with pytest.raises(StoreError, match=r"a\.mp4: what was downloaded is not what was made"):
            await client.download_processed(api.file_id, tmp_path)
    assert not (tmp_path / key).exists()


async def test_download_is_tried_again_and_its_addresses_renewed(api: FakeApi, tmp_path: Path) -> None:
    """A cut, a 503 and, once, a refused address do not end it."""
    bodies = published(api)
    keys = list(bodies)
    api.get_faults = {keys[0]: [CUT, 503], keys[1]: [403]}
    async with client_of(api) as client:
        await client.download_processed(api.file_id, tmp_path)
        assert {key: (tmp_path / key).read_bytes() for key in keys} == bodies
        assert len(api.asked) == 2
        (tmp_path / keys[1]).unlink()
        api.get_faults = {keys[1]: [403, 403]}
        with pytest.raises(AddressRefusedError, match="403 AccessDenied: over") as caught:
            await client.download_processed(api.file_id, tmp_path)
    assert "SECRET" not in str(caught.value)


async def test_download_that_stays_away_fails(api: FakeApi, tmp_path: Path) -> None:
    """After three tries the store's answer is told."""
    key = api.add_object(f"{api.file_id}/a.mp4", b"0")["key"]
    del api.objects[key]
    async with client_of(api) as client:
        with pytest.raises(StoreError, match=r"a\.mp4: the store answered 404"):
            await client.download_processed(api.file_id, tmp_path)
    assert len(api.gets) == 3


async def test_download_to_where_nothing_can_be_written(api: FakeApi, tmp_path: Path) -> None:
    """A disk's fault is the disk's, not the store's."""
    api.add_object(f"{api.file_id}/a.mp4", b"0")
    (tmp_path / str(api.file_id)).write_bytes(b"a file, where a folder should be")
    async with client_of(api) as client:
        with pytest.raises(StoreError, match="cannot write"):
            await client.download_processed(api.file_id, tmp_path)


@pytest.mark.parametrize("key", ["/etc/x", "../x", "a/../../x", "", "a\0b"])
async def test_download_never_leaves_its_folder(api: FakeApi, tmp_path: Path, key: str) -> None:
    """A key that is a way out is refused before anything is fetched."""
    api.add_object(key, b"0")
    async with client_of(api) as client:
        with pytest.raises(StoreError, match="no name to save an output under"):
            await client.download_processed(api.file_id, tmp_path)
    assert api.gets == []


async def test_a_client_works_only_inside_its_with() -> None:
    with pytest.raises(RuntimeError, match="outside its `async with`"):
        await ApiClient().status(uuid4())
