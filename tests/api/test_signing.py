"""Forms, and single requests that Uppy 6 has signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from tests.api.conftest import LogLines
from tests.support.api import PROFILES, Answered, RunningApi, TokenIdentity, running_api
from tests.support.memory import SIGNATURE
from vproc.api.parts import Limits
from vproc.core.files import File, Status
from vproc.core.keys import file_id_in_key
from vproc.core.quotas import Quotas

LIMITS = Limits(profiles=PROFILES, max_upload_bytes=1000, quotas=Quotas(open_uploads=3))
ANN = {"Authorization": "Bearer ann", "X-Request-ID": "same"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path, identity=TokenIdentity(), limits=LIMITS) as running:
        yield running


async def sign(api: RunningApi, who: str = "ann", **asked: Any) -> Answered:
    return await api.ask("POST", "/s3/sign", json=asked, headers={**ANN, "Authorization": f"Bearer {who}"})


async def file_of(api: RunningApi, key: str) -> File:
    file_id = file_id_in_key(key)
    assert file_id is not None
    return await api.given.read(file_id)


async def begun(api: RunningApi, who: str = "ann", upload_id: str = "s3s-id") -> str:
    """A key under which the client has begun an upload in parts, of which one stands."""
    key = str((await sign(api, who, method="POST", key="a.mp4")).json["key"])
    api.multipart.stands(key, upload_id, {1: b"x"})
    return key


# --- forms -----------------------------------------------------------------------------------------------------------


async def test_a_form_is_announced_and_bound_to_its_file(api: RunningApi) -> None:
    query = {"filename": "a.mov", "type": "", "metadata[profile]": "mp4", "metadata[album]": "été"}
    answer = await api.get("/s3/params", params=query, headers=ANN)
    assert answer.status == 200
    form = answer.json
    assert set(form) == {"method", "url", "fields", "expires"}
    assert (form["method"], 890 <= form["expires"] <= 900) == ("POST", True)
    assert form["fields"]["content-type"] == "video/quicktime"
    assert form["fields"]["policy"] == "1..1000"
    assert form["fields"]["x-amz-meta-vproc-profile"] == "mp4"
    file = await file_of(api, form["fields"]["key"])
    assert (file.owner, file.profile, file.metadata, file.status) == ("ann", "mp4", {"album": "été"}, Status.PENDING)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"filename": ""},
        {"filename": "a"},
        {"filename": "a.mp4", "metadata[profile]": "no"},
        {"filename": "a.mp4", "size": "x"},
    ],
)
async def test_a_form_for_no_file_is_refused(api: RunningApi, query: dict[str, str]) -> None:
    answer = await api.get("/s3/params", params=query, headers=ANN)
    assert answer.status == 422
    assert answer.json["error"] == answer.detail


async def test_a_form_takes_a_place_and_a_look_at_it_none(api: RunningApi, logs: LogLines) -> None:
    assert (await api.ask("HEAD", "/s3/params?filename=a.mp4", headers=ANN)).status == 405
    statuses = [(await api.get("/s3/params?filename=a.mp4", headers=ANN)).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert [line["action"] for line in logs.named("audit")] == ["form.announce"] * 4
    assert all(line["file_id"] for line in logs.named("audit")[:3])


async def test_no_credentials_are_given_out(api: RunningApi) -> None:
    answer = await api.get("/s3/sts", headers=ANN)
    assert answer.status == 400
    assert "getTemporarySecurityCredentials" in answer.json["error"]


# --- signRequest -----------------------------------------------------------------------------------------------------


async def test_a_whole_object_gets_a_key_of_ours(api: RunningApi) -> None:
    asked = {"method": "PUT", "key": "uppy-x/../holiday.mp4", "contentType": "video/mp4", "expiresIn": 900}
    answer = await sign(api, **asked, metadata={"profile": "mp4"})
    assert answer.status == 200
    file = await file_of(api, answer.json["key"])
    assert (file.file_name, file.profile, file.owner) == ("holiday.mp4", "mp4", "ann")
    assert answer.json["key"] == f"videos/ann/{file.file_id}.mp4"
    assert answer.json["headers"] == {"Content-Type": "video/mp4", "If-None-Match": "*", "x-amz-meta-vproc-profile": "mp4"}
    assert answer.json["key"] in answer.json["url"]


async def test_the_same_file_asked_for_again_takes_no_other_place(api: RunningApi) -> None:
    for method in ("PUT", "POST"):
        key = (await sign(api, method=method, key="a.mp4")).json["key"]
        again = [(await sign(api, method=method, key=key)).json["key"] for _ in range(3)]
        assert again == [key] * 3


async def test_a_client_makes_its_upload_in_parts_by_itself(api: RunningApi) -> None:
    created = await sign(api, method="POST", key="a.mp4")
    assert set(created.json) == {"url", "key"}
    key = created.json["key"]
    assert parse_qs(urlsplit(created.json["url"]).query, keep_blank_values=True)["uploads"] == [""]
    api.multipart.stands(key, "s3s-id", {1: b"x"})
    upload = {"key": key, "uploadId": "s3s-id"}
    part = await sign(api, method="PUT", partNumber=3, **upload)
    assert set(part.json) == {"url"}
    assert parse_qs(urlsplit(part.json["url"]).query)["partNumber"] == ["3"]
    for method in ("GET", "POST"):
        assert (await sign(api, method=method, **upload)).status == 200
    assert (await file_of(api, key)).upload_id == "s3s-id"
    await api.given.leased((await file_of(api, key)).file_id, owner="ann")
    statuses = {method: (await sign(api, method=method, **upload)).status for method in ("GET", "POST", "DELETE")}
    assert statuses == {"GET": 404, "POST": 200, "DELETE": 404}, "only a repeated end of what arrived"
    assert (await sign(api, method="PUT", partNumber=1, **upload)).status == 404


async def test_giving_up_cancels_the_file(api: RunningApi) -> None:
    key = await begun(api)
    assert (await sign(api, method="DELETE", key=key, uploadId="s3s-id")).status == 200
    assert (await file_of(api, key)).status is Status.CANCELLED
    assert (await sign(api, method="PUT", key=key, uploadId="s3s-id", partNumber=1)).status == 404
    assert [file.key for file in await api.catalog.left_uploads(limit=9)] == [key]


async def test_no_second_upload_is_signed_for_a_key(api: RunningApi) -> None:
    """The address to begin one may be used again by whoever has it."""
    key = await begun(api)
    assert (await sign(api, method="PUT", key=key, uploadId="s3s-id", partNumber=1)).status == 200
    api.multipart.stands(key, "another", {1: b"y"})
    assert (await sign(api, method="PUT", key=key, uploadId="another", partNumber=1)).status == 404


@pytest.mark.parametrize("method", ["PUT", "GET", "POST", "DELETE"])
async def test_nobody_has_anothers_upload_signed(api: RunningApi, method: str) -> None:
    anns, bobs = await begun(api), await begun(api, "bob", "bobs-id")
    number = {"partNumber": 1} if method == "PUT" else {}
    answers = [
        await sign(api, "bob", method=method, key=anns, uploadId="s3s-id", **number),
        await sign(api, "bob", method=method, key=bobs, uploadId="s3s-id", **number),
        await sign(api, "ann", method=method, key=anns, uploadId="bobs-id", **number),
        await sign(api, "ann", method=method, key=f"videos/ann/{UUID(int=7, version=4)}.mp4", uploadId="s3s-id", **number),
        await sign(api, "ann", method=method, key=f"videos/ann/../bob/{bobs.rpartition('/')[2]}", uploadId="bobs-id", **number),
        await sign(api, "ann", method=method, key="../manifest.json", uploadId="s3s-id", **number),
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    assert (await file_of(api, anns)).upload_id is None


async def test_a_key_of_anothers_is_but_a_name(api: RunningApi) -> None:
    bobs = await begun(api, "bob")
    answer = await sign(api, method="PUT", key=bobs)
    assert answer.json["key"] != bobs
    assert (await file_of(api, answer.json["key"])).owner == "ann"


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "DELETE", "key": "a.mp4"},
        {"method": "GET", "key": "a.mp4"},
        {"method": "PUT", "key": "a.mp4", "uploadId": "u"},
        {"method": "PUT", "key": "a.mp4", "partNumber": 1},
        {"method": "POST", "key": "a.mp4", "uploadId": "u", "partNumber": 1},
        {"method": "PUT", "key": "a.mp4", "uploadId": "u", "partNumber": 0},
        {"method": "PUT", "key": "a.mp4", "uploadId": "u", "partNumber": 10001},
        {"method": "PATCH", "key": "a.mp4"},
        {"method": "PUT", "key": ""},
        {"method": "PUT", "key": "k" * 1025},
        {"method": "PUT", "key": "a.txt"},
        {"method": "PUT", "key": "a.mp4", "contentType": "text/html"},
        {"method": "POST", "key": "a.mp4", "metadata": {"profile": "no"}},
    ],
)
async def test_no_other_request_is_signed(api: RunningApi, asked: dict[str, Any]) -> None:
    answer = await sign(api, **asked)
    assert answer.status == 422
    assert answer.json["error"] == answer.detail
    assert SIGNATURE not in answer.body.decode()


async def test_quotas_hold_here_too(api: RunningApi, logs: LogLines) -> None:
    statuses = [(await sign(api, method=method, key="a.mp4")).status for method in ("PUT", "POST", "PUT", "POST")]
    assert statuses == [200, 200, 200, 429]
    assert (await sign(api, "bob", method="PUT", key="a.mp4", size=1001)).status == 413
    assert SIGNATURE not in logs.text
