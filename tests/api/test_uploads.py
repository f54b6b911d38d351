"""`POST /upload`, status, list, cancel, retry, delete, over a true catalog."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import anyio
import pytest

from tests.support.api import PROFILES, TokenIdentity, running_api
from tests.support.catalog import CORRUPT, FIGURES, claim_request
from tests.support.memory import SIGNATURE
from vproc.api.models import MAX_METADATA_BYTES, content_type_of
from vproc.api.parts import Limits
from vproc.core.files import Outcome, Stage, Status
from vproc.core.keys import ALLOWED_SUFFIXES
from vproc.core.notification import parse_message
from vproc.errors import UnavailableError
from vproc.settings import GIB

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def test_an_upload_is_known_to_the_catalog_and_gets_its_address(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.upload(file_name="Über den Wolken.MOV", size=5, profile="mp4", metadata={"a": "ü"})
        assert answer.status == 201
        body = answer.json
        assert set(body) == {"file_id", "s3_key", "upload_url", "method", "headers", "expires_at", "profile"}
        file = await api.given.read(UUID(body["file_id"]))
    assert body["s3_key"] == f"videos/default/{body['file_id']}.mov" == file.key
    assert body["method"] == "PUT"
    assert SIGNATURE in body["upload_url"]
    assert body["headers"] == {"Content-Type": "video/quicktime", "If-None-Match": "*", "x-amz-meta-vproc-profile": "mp4"}
    assert RFC3339.fullmatch(body["expires_at"])
    left_s = (datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert 800 < left_s <= 900
    assert (file.status, file.owner, file.bucket) == (Status.PENDING, "default", "raw")
    assert (file.file_name, file.profile, file.size_bytes) == ("Über den Wolken.MOV", "mp4", 5)
    assert (file.content_type, file.metadata) == ("video/quicktime", {"a": "ü"})
    assert file.upload_expires_at == datetime.fromisoformat(body["expires_at"])


async def test_the_default_profile_signs_no_more_than_type_and_condition(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        named, unnamed = await api.upload(profile="abr"), await api.upload()
    for answer in (named, unnamed):
        assert answer.json["profile"] == "abr"
        assert answer.json["headers"] == {"Content-Type": "video/mp4", "If-None-Match": "*"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  a.mp4\n".strip("\n"), "a.mp4"),
        ("../../etc/a.mp4", "a.mp4"),
        ("C:\\Users\\ann\\a.mp4", "a.mp4"),
        ("/a.mp4", "a.mp4"),
        ("дом — 家 🏠.webm", "дом — 家 🏠.webm"),
        ("x" * 251 + ".mp4", "x" * 251 + ".mp4"),
        ("a.b+c%2e&d=1.TS", "a.b+c%2e&d=1.TS"),
        ("..mp4.mkv", "..mp4.mkv"),
    ],
)
async def test_of_a_name_its_base_counts(tmp_path: Path, given: str, kept: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.upload(file_name=given)
        assert answer.status == 201, answer.body
        body = answer.json
        assert (await api.status(body["file_id"]))["file_name"] == kept
    assert re.fullmatch(r"videos/default/[0-9a-f-]{36}\.[a-z0-9]+", body["s3_key"]), "nothing of the name but its suffix enters"


@pytest.mark.parametrize("suffix", ALLOWED_SUFFIXES)
def test_every_allowed_suffix_has_a_content_type(suffix: str) -> None:
    assert content_type_of(f"A{suffix.upper()}").startswith(("video/", "application/mxf"))


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"file_name": ...}, 422, "file_name: required"),
    ({"file_name": ""}, 422, "file_name"),
    ({"file_name": "   "}, 422, "1 to 255"),
    ({"file_name": "x" * 252 + ".mp4"}, 422, "1 to 255"),
    ({"file_name": 5}, 422, "file_name: takes a valid string"),
    ({"file_name": None}, 422, "file_name"),
    ({"file_name": "a\x00.mp4"}, 422, "control"),
    ({"file_name": "a\r\nX: y.mp4"}, 422, "control"),
    ({"file_name": "a\u202egpj.mp4"}, 422, "control"),
    ({"file_name": "a\u2028b.mp4"}, 422, "control"),
    ({"file_name": "a.exe"}, 422, ".mxf .ogv"),
    ({"file_name": "mp4"}, 422, ".mp4 .mov"),
    ({"file_name": ".mp4"}, 422, ".mp4 .mov"),
    ({"file_name": "a.mp4/"}, 422, "1 to 255"),
    ({"content_type": "text/html"}, 422, "content_type: takes video/"),
    ({"content_type": ""}, 422, "content_type"),
    ({"content_type": "video"}, 422, "content_type"),
    ({"content_type": "video/mp4\r\nX: y"}, 422, "content_type"),
    ({"content_type": "video/mp4 "}, 422, "content_type"),
    ({"content_type": "image/svg+xml"}, 422, "content_type"),
    ({"size": 0}, 422, "size: takes greater than or equal to 1"),
    ({"size": -1}, 422, "size"),
    ({"size": 1.5}, 422, "size"),
    ({"size": "5"}, 422, "size"),
    ({"size": True}, 422, "size"),
    ({"size": 10**30}, 413, "VPROC_MAX_UPLOAD_BYTES"),
    ({"size": 50 * GIB + 1}, 413, "VPROC_MAX_UPLOAD_BYTES"),
    ({"size": 5 * GIB + 1}, 413, "/s3/multipart"),
    ({"profile": "h266"}, 422, "abr, mp4, copy"),
    ({"profile": ""}, 422, "abr, mp4, copy"),
    ({"profile": 1}, 422, "profile"),
    ({"profile": "abr:481"}, 422, "profile abr has no rung '481'; it has 1080, 720, 360"),
    ({"metadata": []}, 422, "metadata"),
    ({"metadata": {"a": 1}}, 422, "metadata.a: takes a valid string"),
    ({"metadata": {"a": {"b": "c"}}}, 422, "metadata.a"),
    ({"metadata": {str(n): "" for n in range(17)}}, 422, "16 pairs"),
    ({"metadata": {"k": "x" * MAX_METADATA_BYTES}}, 422, "2048 bytes"),
    ({"metadata": {"k": "é" * (MAX_METADATA_BYTES // 2)}}, 422, "2048 bytes"),
    ({"callback_url": "ftp://a/b"}, 422, "callback_url: takes https://"),
    ({"callback_url": "/hook"}, 422, "callback_url"),
    ({"callback_url": "https://"}, 422, "callback_url"),
    ({"callback_url": "https://user:pw@a/b"}, 422, "no name and no password"),
    ({"callback_url": "http://a/b"}, 422, "VPROC_WEBHOOK_ALLOWED_HOSTS"),
    ({"callback_url": "https://169.254.169.254/"}, 422, "no public address"),
    ({"callback_url": "https://a:99999/"}, 422, "callback_url"),
    ({"callback_url": "https://[::1/"}, 422, "callback_url"),
    ({"callback_url": "https://a/ b"}, 422, "spaces"),
    ({"callback_url": f"https://a/{'b' * 2048}"}, 422, "2048 characters"),
    ({"filename": "b.mp4"}, 422, "filename: unknown; there are file_name, content_type, size"),
    ({"x\x00" * 100: 1}, 422, "unknown"),
]


async def test_what_does_not_fit_is_told_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        for fields, status, words in WRONG:
            answer = await api.upload(**fields)
            assert answer.status == status, (fields, answer.body)
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            assert words in answer.detail, fields
            assert len(answer.body) < 2000
        assert (await api.get("/uploads")).json["uploads"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 5 * GIB},
        {"size": 1, "content_type": "application/octet-stream"},
        {"content_type": "VIDEO/MP4"},
        {"content_type": 'video/webm;codecs="vp8, opus"'},
        {"content_type": "audio/mpeg"},
        {"metadata": {str(n): "v" for n in range(16)}},
        {"metadata": {"k": "x" * (MAX_METADATA_BYTES - 1)}},
        {"callback_url": "https://hooks.example:8443/hook?a=b"},
        {"callback_url": None, "size": None, "profile": None, "content_type": None},
    ],
)
async def test_what_lies_just_within_the_bounds_is_taken(tmp_path: Path, fields: dict[str, Any]) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.upload(**fields)
    assert answer.status == 201, answer.body
    if fields.get("content_type"):
        assert answer.json["headers"]["Content-Type"] == fields["content_type"], "what is signed is what was asked for"


async def test_a_larger_limit_is_still_bounded_by_one_put_and_a_smaller_one_comes_first(tmp_path: Path) -> None:
    async with running_api(tmp_path, limits=Limits(profiles={"abr": PROFILES["abr"]}, max_upload_bytes=10)) as api:
        assert (await api.upload(size=10)).status == 201
        answer = await api.upload(size=11)
        huge = await api.upload(size=6 * GIB)
    assert answer.status == 413
    assert "10 bytes" in answer.detail
    assert "multipart" not in huge.detail, "parts would not help"


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", {}, 400, "not JSON"),
        (b"", {}, 400, "not JSON"),
        (b"[]", {}, 400, "object"),
        (b'"a"', {}, 400, "object"),
        (b'{"file_name": "\xff.mp4"}', {}, 400, "not JSON"),
        (b'{"file_name": "\\ud800.mp4"}', {}, 400, "not JSON"),
        (b'{"size": NaN}', {}, 400, "not JSON"),
        (b"[" * 30000, {}, 400, "not JSON"),
        (b'{"file_name": "a.mp4", "size": 1' + b"0" * 5000 + b"}", {}, 400, "not JSON"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "Content-Type: application/json"),
        (b"file_name=a.mp4", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415, "Content-Encoding"),
        (b'{"a":"' + b"x" * 65536 + b'"}', {}, 413, "64 KiB"),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_body_that_cannot_be_read(tmp_path: Path, body: bytes, headers: dict[str, str], status: int, words: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.ask("POST", "/upload", data=body, headers={"Content-Type": "application/json", **headers})
    assert (answer.status, answer.json["status"]) == (status, status)
    assert words in answer.detail


async def test_a_body_without_a_type_is_refused(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.ask("POST", "/upload", data=b"{}", skip_auto_headers=["Content-Type"])
    assert answer.status == 415


async def test_no_address_without_a_row_and_no_row_without_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_api(tmp_path) as api:
        api.presigner.fail_next("put", UnavailableError("no credentials at 169.254.169.254"))
        answer = await api.upload()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert "169.254" not in answer.detail
        assert (await api.get("/uploads")).json["uploads"] == []

        async def away(_: object, **__: object) -> None:
            raise UnavailableError("database is away")

        monkeypatch.setattr(api.catalog, "announce", away)
        answer = await api.upload()
    assert answer.status == 503
    assert SIGNATURE.encode() not in answer.body


async def test_fifty_uploads_at_once_get_fifty_addresses(tmp_path: Path) -> None:
    answers: list[Any] = []
    async with running_api(tmp_path) as api:

        async def one(number: int) -> None:
            answers.append(await api.upload(file_name=f"{number}.mp4"))

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(one, number)
        listed = (await api.get("/uploads?limit=100")).json["uploads"]
    assert Counter(answer.status for answer in answers) == {201: 50}
    assert {answer.json["file_id"] for answer in answers} == {entry["file_id"] for entry in listed}
    assert len({urlsplit(answer.json["upload_url"]).path for answer in answers}) == 50


async def test_the_status_tells_all_of_a_new_file(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file_id = (await api.upload(size=7, metadata={"k": "v"})).json["file_id"]
        body = await api.status(file_id)
    times = {name: body.pop(name) for name in ("created_at", "updated_at")}
    assert all(RFC3339.fullmatch(time) for time in times.values())
    assert body == {
        "file_id": file_id,
        "file_name": "holiday.mp4",
        "processing_status": "pending",
        "progress": 0.0,
        "stage": None,
        "speed": None,
        "eta_s": None,
        "original_codec": None,
        "target_codec": None,
        "processing_time": None,
        "attempts": 0,
        "error": None,
        "profile": "abr",
        "size": 7,
        "s3_key": f"videos/default/{file_id}.mp4",
        "owner": "default",
        "metadata": {"k": "v"},
        "completed_at": None,
    }


async def test_the_status_follows_the_work(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        lease = await api.given.leased()
        await api.catalog.report(lease, progress=0.25, stage=Stage.ENCODE, speed=1.75, eta_s=42.0)
        working = await api.status(lease.file_id)
        await api.catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES)
        failed = await api.status(lease.file_id)
        done = await api.status((await api.given.completed()).file_id)
    assert (working["processing_status"], working["progress"], working["stage"]) == ("processing", 0.25, "encode")
    assert (working["attempts"], working["processing_time"], working["error"]) == (1, None, None)
    assert (working["speed"], working["eta_s"]) == (1.75, 42.0)
    assert [(status["speed"], status["eta_s"]) for status in (failed, done)] == [(None, None)] * 2
    assert failed["processing_status"] == "failed"
    assert failed["error"] == {"code": "corrupt_media", "detail": "the index is damaged", "retryable": False}
    assert (done["processing_status"], done["progress"]) == ("completed", 1.0)
    assert (done["original_codec"], done["target_codec"]) == ("hevc", "h264")
    assert done["processing_time"] >= 0
    assert RFC3339.fullmatch(done["completed_at"])


FILE_ROUTES = [
    ("GET", "status"),
    ("GET", "download/original"),
    ("GET", "download/processed"),
    ("GET", "events"),
    ("POST", "cancel"),
    ("POST", "retry"),
    ("DELETE", ""),
]


@pytest.mark.parametrize(("method", "what"), FILE_ROUTES)
async def test_anothers_file_a_missing_one_and_no_id_at_all_are_the_same_404(tmp_path: Path, method: str, what: str) -> None:
    """Byte for byte, but for the request's id, which the caller may choose."""
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        anns = await api.given.pending(owner="ann")
        answers = []
        ids = [str(anns.file_id), str(uuid4()), "5", "x" * 500, f"urn:uuid:{anns.file_id}", anns.file_id.hex, "%00", "é"]
        for file_id in ids:
            path = f"/upload/{file_id}/{what}".rstrip("/")
            headers = {"Authorization": "Bearer bob", "X-Request-ID": "same"}
            answers.append(await api.ask(method, path, headers=headers))
        assert {answer.status for answer in answers} == {404}
        assert len({answer.body for answer in answers}) == 1
        assert (await api.given.read(anns.file_id)).status is Status.PENDING
        for who in ("ann", "admin"):
            seen = await api.get(f"/upload/{anns.file_id}/status", headers={"Authorization": f"Bearer {who}"})
            assert (seen.status, seen.json["owner"]) == (200, "ann")


async def test_an_owner_is_percent_encoded_in_the_key(tmp_path: Path) -> None:
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        answer = await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers={"Authorization": "Bearer auth0|a/b"})
    assert answer.json["s3_key"].startswith("videos/auth0%7Ca%2Fb/")


async def test_pages_are_linked_to_their_end_and_hold_every_file_once(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        made = [str((await api.given.pending()).file_id) for _ in range(5)]
        failed = str((await api.given.failed()).file_id)
        seen: list[str] = []
        path: str | None = "/uploads?status=pending&limit=2"
        sizes = []
        while path is not None:
            answer = await api.get(path)
            assert answer.status == 200
            sizes.append(len(answer.json["uploads"]))
            seen += [entry["file_id"] for entry in answer.json["uploads"]]
            link = re.fullmatch(r'<(/uploads\?status=pending&limit=2&cursor=[^>]+)>; rel="next"', answer.headers.get("Link", ""))
            assert (link is None) == (answer.json["cursor"] is None)
            path = link[1] if link else None
        assert sizes == [2, 2, 1]
        assert seen == made[::-1], "newest first"
        everything = (await api.get("/uploads")).json["uploads"]
        assert everything[0]["file_id"] == failed
        assert everything[0] == await api.status(failed)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit: takes less than or equal to 100"),
        ("limit=x", "limit"),
        ("status=done", "status: takes 'pending'"),
        ("cursor=", "cursor"),
        ("cursor=nonsense", "cursor"),
        (f"cursor={'x' * 600}", "cursor"),
        ("page=2", "page: unknown; there are status, limit, cursor"),
        ("limit=1&limit=2", "limit: given more than once"),
    ],
)
async def test_a_listing_takes_only_what_it_knows(tmp_path: Path, query: str, words: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.get(f"/uploads?{query}")
    assert answer.status == 422
    assert words in answer.detail


async def test_a_listing_holds_the_callers_files_and_for_an_admin_all(tmp_path: Path) -> None:
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        for owner in ("ann", "bob", "ann"):
            await api.given.pending(owner=owner)
        seen = {}
        for who in ("ann", "bob", "carl", "admin"):
            answer = await api.get("/uploads", headers={"Authorization": f"Bearer {who}"})
            seen[who] = [entry["owner"] for entry in answer.json["uploads"]]
    assert seen == {"ann": ["ann", "ann"], "bob": ["bob"], "carl": [], "admin": ["ann", "bob", "ann"]}


async def test_cancelling_takes_effect_at_once_or_tells_the_worker(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        waiting = await api.given.pending()
        at_once = await api.ask("POST", f"/upload/{waiting.file_id}/cancel")
        lease = await api.given.leased()
        told = await api.ask("POST", f"/upload/{lease.file_id}/cancel")
        view = await api.catalog.renew(lease, ttl_s=60)
        again = await api.ask("POST", f"/upload/{waiting.file_id}/cancel")
    assert (at_once.status, at_once.json["processing_status"]) == (200, "cancelled")
    assert (told.status, told.json["processing_status"]) == (202, "processing")
    assert view.cancel_requested
    assert again.status == 409
    assert "cancelled" in again.detail


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_a_retry_opens_the_file_and_sends_a_job_that_a_worker_takes(tmp_path: Path, status: Status) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.in_status(status)
        api.put_raw(file)
        answer = await api.ask("POST", f"/upload/{file.file_id}/retry")
        assert (answer.status, answer.json["processing_status"], answer.json["attempts"]) == (202, "uploaded", 0)
        assert (await api.given.read(file.file_id)).status is Status.UPLOADED
        [body] = api.queue.bodies
        assert api.queue.groups == ["ann"]
        [work] = parse_message(body, raw_bucket="raw").work
    assert (work.bucket, work.key, work.file_id, work.profile) == ("raw", file.key, file.file_id, "abr")
    assert set(json.loads(body)) == {"bucket", "key", "file_id", "profile"}


@pytest.mark.parametrize("status", [Status.PENDING, Status.UPLOADED, Status.PROCESSING, Status.COMPLETED, Status.EXPIRED])
async def test_only_a_failed_or_cancelled_file_is_tried_again(tmp_path: Path, status: Status) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.in_status(status)
        api.put_raw(file)
        answer = await api.ask("POST", f"/upload/{file.file_id}/retry")
        assert answer.status == 409
        assert str(status) in answer.detail
        assert (await api.given.read(file.file_id)).status is status
        assert api.queue.bodies == []


async def test_a_retry_without_the_original_changes_nothing(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.failed()
        answer = await api.ask("POST", f"/upload/{file.file_id}/retry")
        assert answer.status == 409
        assert "upload it anew" in answer.detail
        assert await api.given.read(file.file_id) == file


async def test_a_retry_that_the_queue_does_not_take_can_be_tried_again(tmp_path: Path) -> None:
    """A file that is open without a message would wait for ever."""
    async with running_api(tmp_path) as api:
        file = await api.given.failed()
        api.put_raw(file)
        api.queue.fail_next("send", UnavailableError("the queue is away"))
        answer = await api.ask("POST", f"/upload/{file.file_id}/retry")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        after = await api.given.read(file.file_id)
        assert after.status is Status.FAILED
        assert after.error is not None
        assert after.error.retryable
        assert (await api.ask("POST", f"/upload/{file.file_id}/retry")).status == 202
        assert len(api.queue.bodies) == 1


async def test_a_retry_goes_to_its_end_although_its_client_hangs_up(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.failed()
        api.put_raw(file)
        pause = api.queue.pause_next("send")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.ask, "POST", f"/upload/{file.file_id}/retry")
            await pause.reached.wait()
            assert (await api.given.read(file.file_id)).status is Status.UPLOADED
            tasks.cancel_scope.cancel()
        await api.get("/healthz")  # the server has heard of it by now
        pause.release()
        with anyio.fail_after(20):
            while not (messages := await api.queue.receive(max_messages=1, wait_s=1)):
                pass
            await api.until("vproc_http_requests_total", route="/upload/{file_id}/retry", method="POST", status="499")
    assert json.loads(messages[0].body)["file_id"] == str(file.file_id)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PROCESSING])
async def test_a_deleted_file_is_gone_with_its_objects(tmp_path: Path, status: Status) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.in_status(status)
        api.put_raw(file)
        for key in (f"{file.file_id}/manifest.json", f"{file.file_id}/r1/a.mp4", f"{uuid4()}/other"):
            await api.processed.put(key, b"{}", content_type="application/json")
        answer = await api.ask("DELETE", f"/upload/{file.file_id}")
        assert (answer.status, answer.body) == (204, b"")
        assert (await api.get(f"/upload/{file.file_id}/status")).status == 404
        assert (await api.ask("DELETE", f"/upload/{file.file_id}")).status == 404
        assert api.raw.keys == []
        assert len(api.processed.keys) == 1, "another file's outputs stand"
        claim = await api.catalog.claim(claim_request(file.file_id))
        assert claim.lease is None, "a redelivery is acknowledged by the tombstone"


async def test_what_is_being_processed_is_not_deleted(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        lease = await api.given.leased()
        answer = await api.ask("DELETE", f"/upload/{lease.file_id}")
        assert answer.status == 409
        assert f"POST /upload/{lease.file_id}/cancel" in answer.detail
        assert (await api.given.read(lease.file_id)).status is Status.PROCESSING


async def test_objects_that_cannot_be_removed_do_not_keep_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.completed()
        api.put_raw(file)
        await api.processed.put(f"{file.file_id}/a", b"a", content_type="video/mp4")
        api.raw.fail_next("head", UnavailableError("the store is away"))
        assert (await api.ask("DELETE", f"/upload/{file.file_id}")).status == 204
        assert api.processed.keys == [], "the second removal is tried although the first failed"
        assert len(api.raw.keys) == 1
    assert "file_remains_left" in capsys.readouterr().out


async def test_a_newer_upload_under_a_dropped_key_is_another_file_and_stands(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        first = api.raw.upload("inbox/a.mp4", b"first")
        lease = await api.given.leased(uuid4(), version=first)
        await api.catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES)
        api.raw.upload("inbox/a.mp4", b"second")
        again = await api.ask("POST", f"/upload/{lease.file_id}/retry")
        fetched = await api.get(f"/upload/{lease.file_id}/download/original")
        assert (again.status, fetched.status) == (409, 404), "neither processed nor given away under the first one's name"
        assert (await api.ask("DELETE", f"/upload/{lease.file_id}")).status == 204
        assert api.raw.body("inbox/a.mp4") == b"second"
        other = await api.given.leased(uuid4(), version=api.raw.upload("inbox/b.mp4", b"b"))
        await api.catalog.fail(other, CORRUPT, Outcome.REJECTED, FIGURES)
        assert (await api.ask("DELETE", f"/upload/{other.file_id}")).status == 204
        assert api.raw.keys == ["inbox/a.mp4"]


async def test_an_expired_upload_shows_as_such(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending(upload_expires_at=datetime.now(UTC) - timedelta(days=2))
        await api.catalog.expire_pending(grace_s=60)
        assert (await api.status(file.file_id))["processing_status"] == "expired"
