"""Addresses of originals and outputs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from tests.support.api import PROFILES, RunningApi, running_api
from tests.support.manifests import DIGEST, entry_point, ladder, manifest, output
from vproc.api.downloads import listed_outputs, main_output
from vproc.api.parts import Limits
from vproc.core.files import File, Status
from vproc.core.keys import manifest_key
from vproc.core.manifest import Manifest, OutputKind
from vproc.errors import UnavailableError

ID = UUID("11111111-2222-4333-8444-555555555555")


async def with_manifest(api: RunningApi, made: Manifest | None = None, **changes: bool) -> File:
    """A completed file and its manifest."""
    file = await api.given.completed(**changes)
    body = (made or ladder(file.file_id)).to_json()
    await api.processed.put(manifest_key(file.file_id), body, content_type="application/json")
    return file


async def test_the_original_can_be_fetched_under_its_name_while_it_stands(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.completed(delete_raw=False)
        api.put_raw(file)
        answer = await api.get(f"/upload/{file.file_id}/download/original")
    assert answer.status == 200
    assert set(answer.json) == {"download_url", "expires_at"}
    url = urlsplit(answer.json["download_url"])
    assert url.path == f"/{file.key}"
    assert "holiday.mp4" in parse_qs(url.query)["response-content-disposition"][0]


async def test_without_an_original_the_answer_says_why(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        done = await api.given.completed()
        await api.catalog.raw_deleted(done.file_id)
        deleted = await api.get(f"/upload/{done.file_id}/download/original")
        pending = await api.get(f"/upload/{(await api.given.completed()).file_id}/download/original")
        new = await api.get(f"/upload/{(await api.given.pending()).file_id}/download/original")
        lost = await api.get(f"/upload/{(await api.given.failed()).file_id}/download/original")
    assert [answer.status for answer in (deleted, pending, new, lost)] == [404] * 4
    assert "was deleted after processing" in deleted.detail
    assert pending.detail == deleted.detail, "what is to be deleted is not given away any more"
    assert new.detail == "Nothing was uploaded yet. Current status: pending"
    assert "not there any more" in lost.detail


async def test_an_original_that_arrived_before_its_event_can_be_fetched(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        api.put_raw(file)
        assert (await api.get(f"/upload/{file.file_id}/download/original")).status == 200


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.COMPLETED])
async def test_outputs_before_the_end_are_a_404_that_tells_the_status(tmp_path: Path, status: Status) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.in_status(status)
        answer = await api.get(f"/upload/{file.file_id}/download/processed")
    assert answer.status == 404
    assert answer.detail == f"Processed file not available. Current status: {status}"


async def test_outputs_are_the_entry_points_and_the_rest_without_segments(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await with_manifest(api)
        answer = await api.get(f"/upload/{file.file_id}/download/processed")
    assert answer.status == 200
    body = answer.json
    assert [(entry["kind"], entry["key"].removeprefix(f"{file.file_id}/")) for entry in body["outputs"]] == [
        ("hls", "master.m3u8"),
        ("dash", "manifest.mpd"),
        ("poster", "poster.jpg"),
        ("hls_media", "r1/720p.m3u8"),
    ]
    assert body["download_url"] == body["outputs"][0]["url"]
    assert body["expires_at"].endswith("Z")
    rendition = body["outputs"][3]
    assert urlsplit(rendition.pop("url")).path == f"/{file.file_id}/r1/720p.m3u8"
    assert rendition == {
        "kind": "hls_media",
        "key": f"{file.file_id}/r1/720p.m3u8",
        "bytes": 100,
        "sha256": DIGEST,
        "content_type": "application/vnd.apple.mpegurl",
        "codec": "h264",
        "width": 1280,
        "height": 720,
        "bitrate_bps": 2_500_000,
    }


@pytest.mark.parametrize(("asked", "told"), [("true", True), ("1", True), ("false", False)])
async def test_segments_are_told_to_who_asks_for_them(tmp_path: Path, asked: str, told: bool) -> None:
    async with running_api(tmp_path) as api:
        file = await with_manifest(api)
        plain = (await api.get(f"/upload/{file.file_id}/download/processed")).json
        body = (await api.get(f"/upload/{file.file_id}/download/processed?segments={asked}")).json
    keys, plain_keys = ([entry["key"] for entry in answer["outputs"]] for answer in (body, plain))
    segments = [f"{file.file_id}/r1/720p/{name}" for name in ("init.mp4", "1.m4s", "2.m4s")]
    assert sorted(keys) == sorted(plain_keys + (segments if told else []))
    assert keys[: len(plain_keys) - 1] == plain_keys[:-1], "entry points come first"
    assert [urlsplit(entry["url"]).path for entry in body["outputs"]] == [f"/{key}" for key in keys]
    assert urlsplit(body["download_url"]).path == urlsplit(plain["download_url"]).path


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("segments=some", "segments: takes a valid boolean"),
        ("segment=true", "segment: unknown; there are segments"),
        ("segments=true&segments=true", "segments: given more than once"),
    ],
)
async def test_a_wrong_query_for_outputs_is_a_422_that_says_why(tmp_path: Path, query: str, said: str) -> None:
    async with running_api(tmp_path) as api:
        file = await with_manifest(api)
        answer = await api.get(f"/upload/{file.file_id}/download/processed?{query}")
    assert answer.status == 422
    assert said in answer.detail


async def test_media_are_saved_under_the_uploads_name_and_playlists_are_shown(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.completed()
        made = manifest(
            file.file_id,
            output(OutputKind.VIDEO, f"{file.file_id}/r1/1080p.mp4"),
            output(OutputKind.HLS, f"{file.file_id}/r1/master.m3u8"),
        )
        await api.processed.put(manifest_key(file.file_id), made.to_json(), content_type="application/json")
        body = (await api.get(f"/upload/{file.file_id}/download/processed")).json
    video, playlist = (parse_qs(urlsplit(entry["url"]).query) for entry in body["outputs"])
    assert "holiday-1080p.mp4" in video["response-content-disposition"][0]
    assert "response-content-disposition" not in playlist


@pytest.mark.parametrize("base", ["https://cdn.example/v", "https://cdn.example/v/"])
async def test_behind_a_cdn_addresses_are_plain_and_do_not_end(tmp_path: Path, base: str) -> None:
    async with running_api(tmp_path, limits=Limits(profiles=PROFILES, public_url=base)) as api:
        file = await api.given.completed()
        made = manifest(file.file_id, output(OutputKind.VIDEO, f"{file.file_id}/r1/a b+ü.mp4"))
        await api.processed.put(manifest_key(file.file_id), made.to_json(), content_type="application/json")
        body = (await api.get(f"/upload/{file.file_id}/download/processed")).json
    assert body["download_url"] == f"https://cdn.example/v/{file.file_id}/r1/a%20b%2B%C3%BC.mp4"
    assert body["expires_at"] is None


VIDEO_S = output(OutputKind.VIDEO, "r1/360p.mp4", bytes=10)
VIDEO_L = output(OutputKind.VIDEO, "r1/1080p.mp4", bytes=99)
MATROSKA = output(OutputKind.VIDEO, "r1/copy.mkv", bytes=500, content_type="video/x-matroska")
AUDIO = output(OutputKind.AUDIO, "r1/a.m4a", content_type="audio/mp4", bytes=1)
HLS = entry_point(OutputKind.HLS, "master.m3u8", "r1/master.m3u8")
POSTER = entry_point(OutputKind.POSTER, "poster.jpg", "r1/poster.jpg")
SPRITE = output(OutputKind.SPRITE, "r1/sprite.jpg", bytes=10_000)


@pytest.mark.parametrize(
    ("outputs", "main"),
    [
        ((HLS, POSTER, VIDEO_S, VIDEO_L, AUDIO, MATROSKA), VIDEO_L),
        ((POSTER, MATROSKA, AUDIO), MATROSKA),
        ((HLS, POSTER, AUDIO), AUDIO),
        ((POSTER, SPRITE, HLS), HLS),
        ((SPRITE, POSTER), POSTER),
        ((SPRITE,), SPRITE),
    ],
)
def test_the_main_output_is_the_one_for_a_person(outputs: tuple[object, ...], main: object) -> None:
    assert main_output(outputs) is main  # type: ignore[arg-type]


def test_nothing_is_listed_twice() -> None:
    keys = [listed.key for listed in listed_outputs(ladder(ID))]
    assert len(keys) == len(set(keys)) == 4


async def test_a_completed_file_whose_manifest_is_gone_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.completed()
        gone = await api.get(f"/upload/{file.file_id}/download/processed")
        empty = await with_manifest(api, manifest(ID))
        nothing = await api.get(f"/upload/{empty.file_id}/download/processed")
    assert (gone.status, nothing.status) == (404, 404)
    assert gone.detail.startswith("Processed file not available. Current status: completed")
    assert "manifest_missing" in capsys.readouterr().out


async def test_a_manifest_that_cannot_be_read_is_our_fault_and_not_told(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.completed()
        await api.processed.put(manifest_key(file.file_id), b'{"outputs": "secret"}', content_type="application/json")
        answer = await api.get(f"/upload/{file.file_id}/download/processed")
    assert answer.status == 500
    assert b"secret" not in answer.body


@pytest.mark.parametrize("what", ["original", "processed"])
async def test_a_store_that_is_away_is_a_503(tmp_path: Path, what: str) -> None:
    async with running_api(tmp_path) as api:
        file = await with_manifest(api, delete_raw=False)
        api.raw.fail_next("head", UnavailableError("s3 at 10.0.0.1 is away"))
        api.processed.fail_next("get", UnavailableError("s3 at 10.0.0.1 is away"))
        answer = await api.get(f"/upload/{file.file_id}/download/{what}")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert b"10.0.0.1" not in answer.body
