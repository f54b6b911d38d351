"""``/play/{token}/…``: playlists from here, media by redirects, and nothing beside the one file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from tests.support.api import PROFILES, RunningApi, running_api
from tests.support.catalog import FIGURES, completion
from tests.support.manifests import ladder
from vproc.api.parts import PARTS, Limits
from vproc.core.keys import manifest_key
from vproc.core.play_tokens import SECRET_BYTES, make_play_token


async def completed(api: RunningApi) -> UUID:
    """A completed file with playlists, a segment and a poster."""
    lease = await api.given.leased()
    await api.catalog.complete(lease, completion(lease.run_id), FIGURES)
    file_id, run = lease.file_id, "r1"
    bodies = {
        "master.m3u8": b"#EXTM3U\n" + f"{run}/v360/playlist.m3u8\n".encode(),
        "manifest.mpd": b"<MPD/>",
        "poster.jpg": b"jpeg",
        f"{run}/v360/playlist.m3u8": b"#EXTM3U\nseg-00001.m4s\n",
        f"{run}/v360/seg-00001.m4s": b"media",
    }
    for name, body in bodies.items():
        await api.processed.put(f"{file_id}/{name}", body, content_type="x/y")
    await api.processed.put(manifest_key(file_id), ladder(file_id).to_json(), content_type="application/json")
    return file_id


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path) as running:
        yield running


async def playback(api: RunningApi, file_id: UUID) -> dict[str, str]:
    answer = await api.ask("POST", f"/upload/{file_id}/playback")
    assert answer.status == 200, answer.body
    told: dict[str, str] = answer.json
    return told


async def test_a_player_follows_the_playlists_to_a_signed_segment(api: RunningApi) -> None:
    file_id = await completed(api)
    told = await playback(api, file_id)
    ends = datetime.fromisoformat(told["expires_at"])
    assert timedelta(hours=11, minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=12)
    master = await api.get(told["hls"])
    assert (master.status, master.headers["Content-Type"]) == (200, "application/vnd.apple.mpegurl")
    base = told["hls"].rpartition("/")[0]
    playlist = await api.get(f"{base}/{master.body.decode().splitlines()[1]}")
    assert playlist.status == 200
    folder = f"{base}/{master.body.decode().splitlines()[1].rpartition('/')[0]}"
    segment = await api.get(f"{folder}/{playlist.body.decode().splitlines()[1]}", allow_redirects=False)
    assert segment.status == 302
    assert urlsplit(segment.headers["Location"]).path.endswith("/v360/seg-00001.m4s")
    assert segment.headers["Cache-Control"].startswith("private, max-age=4")
    assert (await api.get(told["dash"])).headers["Content-Type"] == "application/dash+xml"
    assert (await api.get(told["poster"], allow_redirects=False)).status == 302
    assert {answer.headers["Access-Control-Allow-Origin"] for answer in (master, playlist, segment)} == {"*"}


async def test_media_are_at_the_cdn_where_there_is_one(tmp_path: Path) -> None:
    limits = Limits(profiles=PROFILES, public_url="https://cdn.example/v/")
    async with running_api(tmp_path, limits=limits) as api:
        file_id = await completed(api)
        told = await playback(api, file_id)
        answer = await api.get(told["poster"], allow_redirects=False)
        assert answer.headers["Location"] == f"https://cdn.example/v/{file_id}/poster.jpg"


@pytest.mark.parametrize(
    "path", ["../x/manifest.json", "%2e%2e/x", "a//b", ".hidden", "a/b/c/d/e", "x?y", "a%00b", "a%2f..%2fb", "é.m4s", "none.m3u8"]
)
async def test_nothing_but_the_files_own_outputs_is_played(api: RunningApi, path: str) -> None:
    told = await playback(api, await completed(api))
    answer = await api.get(f"{told['hls'].rpartition('/')[0]}/{path}", allow_redirects=False)
    assert answer.status == 404 or (answer.status, path) == (302, "x?y")


async def test_a_token_that_is_wrong_is_as_good_as_none(api: RunningApi) -> None:
    told = await playback(api, await completed(api))
    token = told["hls"].split("/")[2]
    for wrong in ("x", token[:-1] + ("A" if token[-1] != "A" else "B"), token.lower(), token + "A"):
        assert (await api.get(f"/play/{wrong}/master.m3u8")).status == 404


async def test_what_is_not_completed_has_nothing_to_play(api: RunningApi) -> None:
    file = await api.given.pending()
    answer = await api.ask("POST", f"/upload/{file.file_id}/playback")
    assert (answer.status, answer.detail) == (404, "Processed file not available. Current status: pending")


async def test_a_deleted_file_is_as_one_that_never_was(api: RunningApi) -> None:
    """At once, though its token holds for hours and its outputs may still stand."""
    told = await playback(api, file_id := await completed(api))
    assert (await api.ask("DELETE", f"/upload/{file_id}")).status == 204
    await api.processed.put(f"{file_id}/master.m3u8", b"#EXTM3U\n", content_type="x/y")
    ends = datetime.now(UTC) + timedelta(hours=1)
    never = f"/play/{make_play_token(uuid4(), ends, await api.app[PARTS].secret('play', SECRET_BYTES))}"
    for name in ("master.m3u8", "poster.jpg"):
        gone, other = [
            await api.get(f"{base}/{name}", allow_redirects=False, headers={"X-Request-ID": "r-1"})
            for base in (told["hls"].rpartition("/")[0], never)
        ]
        assert (gone.status, other.status) == (404, 404)
        assert gone.body == other.body


async def test_every_process_knows_the_others_tokens(tmp_path: Path) -> None:
    async with running_api(tmp_path) as one, running_api(tmp_path) as other:
        file_id = await completed(one)
        told = await playback(one, file_id)
        await other.processed.put(f"{file_id}/master.m3u8", b"#EXTM3U\n", content_type="x/y")
        assert (await other.get(told["hls"])).status == 200
