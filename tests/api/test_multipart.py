"""Uploads in parts, as Uppy's S3 plugin asks for them."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import update

from tests.support.api import PROFILES, Answered, RunningApi, TokenIdentity, running_api
from vproc.api.parts import Limits
from vproc.core.files import File, Status
from vproc.core.keys import file_id_in_key
from vproc.core.quotas import Quotas
from vproc.db.tables import files
from vproc.errors import UnavailableError

MIB5 = 5 * 1024 * 1024
LIMITS = Limits(profiles=PROFILES, max_upload_bytes=3 * MIB5, quotas=Quotas(open_uploads=3, bytes_per_day=100 * MIB5))
FILE = {
    "filename": "holiday.mp4",
    "type": "video/mp4",
    "metadata": {"name": "holiday.mp4", "relativePath": None, "n": 5, "b": True},
}
NONE = "There is no such upload."
CALLS = [
    ("GET", ""),
    ("GET", "/1"),
    ("GET", "/batch"),
    ("POST", "/complete"),
    ("DELETE", ""),
]


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts that ``who`` began."""

    api: RunningApi
    who: str
    key: str
    upload_id: str

    async def ask(
        self, method: str, path: str = "", *, who: str | None = None, key: str | None = None, **options: Any
    ) -> Answered:
        """One call of it; ``parts`` and ``partNumbers`` as good ones where they are left out."""
        query = {"key": key or self.key, "partNumbers": options.pop("numbers", "1")}
        if path == "/complete":
            options.setdefault("json", {"parts": [{"PartNumber": 1, "ETag": "a"}]})
        headers = {"Authorization": f"Bearer {who or self.who}", "X-Request-ID": "same"}
        where = f"/s3/multipart/{quote(options.pop('upload_id', self.upload_id), safe='')}{path}"
        return await self.api.ask(method, where, params=query, headers=headers, **options)

    def put(self, number: int, body: bytes, *, claimed_bytes: int | None = None) -> dict[str, Any]:
        """Send one part; what Uppy names it by."""
        return {"PartNumber": number, "ETag": self.api.multipart.put(self.upload_id, number, body, claimed_bytes=claimed_bytes)}

    async def complete(self, *parts: dict[str, Any]) -> Answered:
        """Join these."""
        return await self.ask("POST", "/complete", json={"parts": list(parts)})

    async def file(self) -> File:
        """Its file, as the catalog has it."""
        file_id = file_id_in_key(self.key)
        assert file_id is not None
        return await self.api.given.read(file_id)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path, identity=TokenIdentity(), limits=LIMITS) as running:
        yield running


async def begin(api: RunningApi, who: str = "ann", *, key: str | None = None, **fields: Any) -> Answered:
    headers = {"Authorization": f"Bearer {who}"} | ({"Idempotency-Key": key} if key else {})
    return await api.ask("POST", "/s3/multipart", json={**FILE, **fields}, headers=headers)


async def begun(api: RunningApi, who: str = "ann", **fields: Any) -> Upload:
    answer = await begin(api, who, **fields)
    assert answer.status == 200, answer.body
    return Upload(api, who, answer.json["key"], answer.json["uploadId"])


# --- the way of an upload --------------------------------------------------------------------------------------------


async def test_an_upload_is_announced_sent_and_joined(api: RunningApi) -> None:
    answer = await begin(api, metadata={**FILE["metadata"], "profile": "mp4"})
    assert set(answer.json) == {"key", "uploadId", "bucket"}
    upload = Upload(api, "ann", answer.json["key"], answer.json["uploadId"])
    file = await upload.file()
    assert (file.status, file.profile, file.owner, file.file_name) == (Status.PENDING, "mp4", "ann", "holiday.mp4")
    assert file.metadata == {"name": "holiday.mp4", "n": "5", "b": "true"}
    assert upload.key == f"videos/ann/{file.file_id}.mp4"
    signed = await upload.ask("GET", "/2")
    assert set(signed.json) == {"url", "expires"}
    assert "partNumber=2" in signed.json["url"]
    assert 890 <= signed.json["expires"] <= 900
    parts = [upload.put(1, b"x" * MIB5), upload.put(2, b"end")]
    listed = (await upload.ask("GET")).json
    assert [(part["PartNumber"], part["Size"]) for part in listed] == [(1, MIB5), (2, 3)]
    assert listed[0]["ETag"] == f'"{parts[0]["ETag"]}"'
    joined = await upload.complete(*parts)
    assert joined.status == 200
    assert joined.json == {"location": await api.multipart.address(upload.key), "key": upload.key, "bucket": "raw"}
    assert api.raw.body(upload.key) == b"x" * MIB5 + b"end"
    version = await api.raw.head(upload.key)
    assert version is not None
    assert dict(version.metadata) == {"vproc-profile": "mp4"}
    assert (await upload.file()).status is Status.PENDING, "its event tells of it"


async def test_a_batch_of_addresses_is_signed_for_clients_of_before(api: RunningApi) -> None:
    upload = await begun(api)
    answer = await upload.ask("GET", "/batch", numbers="1,2,10000")
    assert set(answer.json["presignedUrls"]) == {"1", "2", "10000"}
    for numbers in ("0", "10001", "1,x", "", ",".join(["1"] * 101)):
        assert (await upload.ask("GET", "/batch", numbers=numbers)).status == 422, numbers


async def test_joining_twice_is_answered_the_same(api: RunningApi) -> None:
    upload = await begun(api)
    part = upload.put(1, b"x")
    answers = [await upload.complete(part) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body
    await api.given.leased((await upload.file()).file_id, owner="ann")
    assert (await upload.complete(part)).body == answers[0].body, "also once it is being processed"


async def test_joining_after_an_answer_that_was_lost_finds_the_object(api: RunningApi) -> None:
    upload = await begun(api)
    part = upload.put(1, b"x")
    api.multipart.fail_next("complete", UnavailableError("cut off"), applied=True)
    assert (await upload.complete(part)).status == 503
    assert (await upload.complete(part)).status == 200
    assert not (await upload.file()).upload_open


async def test_what_was_given_up_is_gone_and_its_place_is_free(api: RunningApi) -> None:
    upload = await begun(api)
    part = upload.put(1, b"x")
    answers = [await upload.ask("DELETE") for _ in range(2)]
    assert [(answer.status, answer.json) for answer in answers] == [(200, {})] * 2
    assert api.multipart.begun == {}
    file = await upload.file()
    assert (file.status, file.upload_open) == (Status.CANCELLED, False)
    for answer in (await upload.complete(part), await upload.ask("GET", "/1"), await upload.ask("GET")):
        assert (answer.status, answer.detail) == (404, NONE)


async def test_giving_up_what_is_joined_changes_nothing(api: RunningApi) -> None:
    upload = await begun(api)
    await upload.complete(upload.put(1, b"x"))
    assert (await upload.ask("DELETE")).status == 200
    assert (await upload.file()).status is Status.PENDING
    assert api.raw.keys == [upload.key]


@pytest.mark.parametrize("ending", ["cancel", "delete"])
async def test_ending_the_file_gives_its_parts_up(api: RunningApi, ending: str) -> None:
    upload = await begun(api)
    upload.put(1, b"x")
    file_id = (await upload.file()).file_id
    method, path = ("DELETE", f"/upload/{file_id}") if ending == "delete" else ("POST", f"/upload/{file_id}/cancel")
    assert (await api.ask(method, path, headers={"Authorization": "Bearer ann"})).status in {200, 204}
    assert api.multipart.begun == {}
    assert await api.catalog.left_uploads(limit=10) == ()


async def test_parts_that_cannot_be_given_up_now_are_left_to_the_janitor(api: RunningApi) -> None:
    upload = await begun(api)
    api.multipart.fail_next("abort", UnavailableError("away"))
    file_id = (await upload.file()).file_id
    assert (await api.ask("DELETE", f"/upload/{file_id}", headers={"Authorization": "Bearer ann"})).status == 204
    assert [file.upload_id for file in await api.catalog.left_uploads(limit=10)] == [upload.upload_id]


async def expiring(api: RunningApi, file_id: UUID, at: datetime) -> None:
    async with api.catalog._database.write() as connection:
        await connection.execute(update(files).where(files.c.file_id == file_id).values(upload_expires_at=at.timestamp()))


async def test_while_parts_are_signed_the_file_waits_on(api: RunningApi) -> None:
    upload = await begun(api)
    file = await upload.file()
    now = datetime.now(UTC)
    await expiring(api, file.file_id, now + timedelta(seconds=870))
    await upload.ask("GET", "/1")
    kept = (await upload.file()).upload_expires_at
    assert kept is not None
    assert kept < now + timedelta(seconds=871), "not yet a minute"
    await expiring(api, file.file_id, now + timedelta(seconds=800))
    await upload.ask("GET", "/1")
    moved = (await upload.file()).upload_expires_at
    assert moved is not None
    assert moved >= now + timedelta(seconds=895)


# --- who may, and how much -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_nobody_learns_of_an_upload_that_is_not_theirs(api: RunningApi, method: str, path: str) -> None:
    """Another's key, one without a file, a key that is none, the id of another upload: the same to the byte."""
    anns, anns_other, bobs = await begun(api), await begun(api), await begun(api, "bob")
    nobodys = f"videos/ann/{UUID(int=7, version=4)}.mp4"
    answers = [
        await anns.ask(method, path, who="bob"),
        await bobs.ask(method, path, key=anns.key),
        await anns.ask(method, path, key=nobodys),
        await anns.ask(method, path, upload_id=anns_other.upload_id),
        await anns.ask(method, path, upload_id="none"),
        *[await anns.ask(method, path, key=key) for key in attacks(anns.key)],
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    told = [{name: value for name, value in answer.headers.items() if name != "Date"} for answer in answers]
    assert all(headers == told[0] for headers in told)
    assert set(api.multipart.begun) == {anns.upload_id, anns_other.upload_id, bobs.upload_id}


def attacks(key: str) -> list[str]:
    """Keys that are nearly that one."""
    return [
        f"../{key}", f"videos/ann/../ann/{key.rpartition('/')[2]}", key.upper(), key + "x", key + "\0", f"/{key}", "videos/ann/",
        key.replace("ann", "a%6en"), key.removesuffix(".mp4"), key.replace(".mp4", ".mov"), "é", "k" * 1000,
    ]  # fmt: skip


async def test_an_admin_may_help_with_anybodys(api: RunningApi) -> None:
    upload = await begun(api)
    upload.put(1, b"x")
    assert len((await upload.ask("GET", who="admin")).json) == 1


async def test_quotas_hold_here_too(api: RunningApi) -> None:
    uploads = [await begun(api) for _ in range(3)]
    refused = await begin(api)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert "open_uploads" in refused.json["message"]
    assert api.multipart.calls["create"] == 3, "the bucket hears nothing of it"
    await uploads[0].ask("DELETE")
    assert (await begin(api)).status == 200
    assert (await begin(api, "bob", size=3 * MIB5 + 1)).status == 413


async def test_the_same_idempotency_key_is_one_upload(api: RunningApi) -> None:
    first, again = [await begin(api, key="k-1") for _ in range(2)]
    assert first.json == again.json
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await begin(api, key="k-1", filename="b.mp4")).status == 422


async def test_an_upload_that_cannot_be_begun_takes_no_place(api: RunningApi) -> None:
    api.multipart.fail_next("create", UnavailableError("away"))
    assert (await begin(api)).status == 503
    assert [(await begin(api)).status for _ in range(3)] == [200] * 3
    api.multipart.fail_next("create", UnavailableError("away"))
    assert (await begin(api, "bob", key="k-1")).status == 503
    assert (await begin(api, "bob", key="k-1")).status == 200, "and asked again, it goes on"


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"filename": ""}, "filename"),
        ({"filename": "../../etc/passwd"}, "filename"),
        ({"filename": 5}, "filename"),
        ({"filename": "a.exe"}, "filename"),
        ({"type": "text/html"}, "type"),
        ({"type": 5}, "type"),
        ({"metadata": {"profile": "none"}}, "profile"),
        ({"metadata": {"a": ["b"]}}, "metadata"),
        ({"metadata": {str(number): "x" for number in range(17)}}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"size": 0}, "size"),
    ],
)
async def test_what_is_wrong_with_a_file_is_named(api: RunningApi, fields: dict[str, Any], word: str) -> None:
    answer = await begin(api, **fields)
    assert answer.status == 422
    assert word in answer.detail
    assert answer.json["error"] == answer.json["message"] == answer.detail
    assert api.multipart.calls["create"] == 0


async def test_a_name_with_a_path_is_its_last_part(api: RunningApi) -> None:
    upload = await begun(api, filename="../../videos/bob/x.MP4", type="")
    file = await upload.file()
    assert (file.file_name, file.content_type) == ("x.MP4", "video/mp4")
    assert upload.key == f"videos/ann/{file.file_id}.mp4"


@pytest.mark.parametrize("number", ["0", "10001", "99999999999999999999"])
async def test_a_part_has_a_number_that_s3_takes(api: RunningApi, number: str) -> None:
    answer = await (await begun(api)).ask("GET", f"/{number}")
    assert (answer.status, "1 to 10000" in answer.detail) == (422, True)


@pytest.mark.parametrize(
    ("choose", "words"),
    [
        (lambda one, two: [], "parts"),
        (lambda one, two: [two, one], "ascending"),
        (lambda one, two: [one, one, two], "once"),
        (lambda one, two: [one, {**two, "ETag": "0" * 32}], "another ETag"),
        (lambda one, two: [one, two, {"PartNumber": 3, "ETag": "0" * 32}], "part 3 was not uploaded"),
        (lambda one, two: [{**one, "PartNumber": 0}], "PartNumber"),
        (lambda one, two: [{**one, "PartNumber": 10001}], "PartNumber"),
        (lambda one, two: [{**one, "PartNumber": "1"}], "PartNumber"),
        (lambda one, two: [one], "were announced"),
    ],
)
async def test_parts_that_cannot_be_joined_are_refused(api: RunningApi, choose: Any, words: str) -> None:
    upload = await begun(api, size=MIB5 + 1)
    one, two = upload.put(1, b"x", claimed_bytes=MIB5), upload.put(2, b"y")
    refused = await upload.complete(*choose(one, two))
    assert refused.status == 422
    assert words in refused.detail
    assert api.multipart.calls["complete"] == 0
    quoted = {**one, "ETag": f'"{one["ETag"]}"', "other": 1}
    assert (await upload.complete(quoted, two)).status == 200, "and nothing is lost by it"


async def test_a_small_part_before_the_last_is_refused(api: RunningApi) -> None:
    upload = await begun(api)
    refused = await upload.complete(upload.put(1, b"x"), upload.put(2, b"y"))
    assert (refused.status, "5 MiB" in refused.detail) == (422, True)


async def test_parts_that_are_too_much_together_are_refused(api: RunningApi) -> None:
    upload = await begun(api)
    parts = [upload.put(number, b"x", claimed_bytes=MIB5) for number in (1, 2, 3)] + [upload.put(4, b"y")]
    refused = await upload.complete(*parts)
    assert refused.status == 413
    assert "VPROC_MAX_UPLOAD_BYTES" in refused.detail
    assert api.raw.keys == []


async def test_ten_thousand_parts_are_named_in_one_body_and_no_other_route_takes_it(api: RunningApi) -> None:
    upload = await begun(api)
    parts = [{"PartNumber": number, "ETag": "0" * 32} for number in range(1, 10_001)]
    headers = {"Authorization": "Bearer ann", "Content-Type": "application/json"}
    path = f"/s3/multipart/{quote(upload.upload_id, safe='')}/complete?key={upload.key}"
    answer = await api.ask("POST", path, data=io.BytesIO(json.dumps({"parts": parts}).encode()), headers=headers)
    assert (answer.status, "part 1 was not uploaded" in answer.detail) == (422, True)
    over = await api.ask("POST", path, data=io.BytesIO(b" " * (1024 * 1024 + 1)), headers=headers)
    assert (over.status, over.detail) == (413, "A body takes 1024 KiB at most.")
    for path in ("/s3/multipart", "/s3/sign", "/upload"):
        refused = await api.ask("POST", path, data=io.BytesIO(b" " * (64 * 1024 + 1)), headers=headers)
        assert (refused.status, refused.detail) == (413, "A body takes 64 KiB at most.")
