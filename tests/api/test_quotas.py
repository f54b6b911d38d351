"""Quotas, rates, Idempotency-Key and the audit, as a caller meets them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from sqlalchemy import update

from tests.api.conftest import LogLines
from tests.support.api import PROFILES, Answered, RunningApi, TokenIdentity, running_api
from tests.support.memory import SIGNATURE
from vproc.api.parts import PARTS, Limits
from vproc.api.rates import RateLimit, counted_as
from vproc.core.quotas import Quotas
from vproc.db.tables import files
from vproc.errors import TooManyRequestsError
from vproc.http import ROUTES

SAFE = {"GET", "HEAD", "OPTIONS"}
FIELDS = {
    "action", "result", "status", "owner", "admin", "key_id", "by", "file_id", "peer", "request_id",
}  # fmt: skip
LIMITS = Limits(
    profiles=PROFILES,
    quotas=Quotas(open_uploads=2, bytes_per_day=1000),
    requests_per_minute=20,
    unknown_per_minute=3,
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path, identity=TokenIdentity(), limits=LIMITS) as running:
        yield running


async def announce(api: RunningApi, who: str = "ann", *, key: str | None = None, name: str = "a.mp4", size: int = 1) -> Answered:
    headers = {"Authorization": f"Bearer {who}"} | ({"Idempotency-Key": key} if key is not None else {})
    return await api.ask("POST", "/upload", json={"file_name": name, "size": size}, headers=headers)


async def test_over_a_quota_the_answer_names_it_and_when_it_is_free(api: RunningApi) -> None:
    assert [(await announce(api)).status for _ in range(2)] == [201, 201]
    refused = await announce(api)
    assert refused.status == 429
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert 800 < int(refused.headers["Retry-After"]) <= 900
    assert "open_uploads" in refused.detail
    assert refused.headers["Retry-After"] in refused.detail
    assert (await announce(api, "bob")).status == 201


async def test_an_admin_has_no_quota(api: RunningApi) -> None:
    assert {(await announce(api, "admin", size=10**6)).status for _ in range(25)} == {201}


async def test_a_size_that_no_day_holds_is_too_large(api: RunningApi) -> None:
    refused = await announce(api, size=1001)
    assert refused.status == 413
    assert "bytes_per_day" in refused.detail


async def test_requests_a_minute_are_an_owners(api: RunningApi) -> None:
    headers = {"Authorization": "Bearer ann"}
    answers = [await api.get("/uploads", headers=headers) for _ in range(22)]
    assert [answer.status for answer in answers] == [200] * 20 + [429] * 2
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3
    assert (await api.get("/uploads", headers={"Authorization": "Bearer bob"})).status == 200


async def test_whom_nobody_knows_is_counted_by_address_and_locks_nobody_out(api: RunningApi) -> None:
    headers = {"X-Forwarded-For": "198.51.100.1"}
    statuses = [(await api.get("/uploads", headers=headers)).status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert (await api.get("/uploads", headers={"Authorization": "Bearer ann"})).status == 200


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_network_of_ipv6_is_one_caller(one: str, other: str, *, same: bool) -> None:
    assert (counted_as(one) == counted_as(other)) is same


async def test_who_changes_within_a_network_of_ipv6_is_counted_on(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = [f"2001:db8:1:2::{number}" for number in range(5)]
    monkeypatch.setattr("vproc.http.peer_of", lambda _: peers.pop())
    assert [(await api.get("/uploads")).status for _ in range(5)] == [401, 401, 401, 429, 429]


def test_however_many_come_no_more_are_held() -> None:
    limit = RateLimit("requests_per_minute", 1, clock=lambda: 0.0, most=100)
    for number in range(1000):
        limit.take(str(number))
    assert len(limit) == 100
    with pytest.raises(TooManyRequestsError):
        limit.take("999")


async def test_the_same_key_and_body_is_one_file(api: RunningApi) -> None:
    first, again = [await announce(api, key="k-1") for _ in range(2)]
    assert (first.status, again.status) == (201, 201)
    assert first.json["file_id"] == again.json["file_id"]
    assert first.json["s3_key"] == again.json["s3_key"]
    assert SIGNATURE in again.json["upload_url"]
    assert again.json["s3_key"] in again.json["upload_url"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_key_whose_address_expired_is_counted_again(api: RunningApi) -> None:
    first = await announce(api, key="k-1")
    async with api.catalog._database.write() as connection:
        await connection.execute(update(files).values(upload_expires_at=1.0))
    assert [(await announce(api)).status for _ in range(2)] == [201, 201]
    refused = await announce(api, key="k-1")
    assert (refused.status, "open_uploads" in refused.detail, "Retry-After" in refused.headers) == (429, True, True)
    assert first.json["s3_key"] not in refused.body.decode()


async def test_a_key_with_another_body_is_refused(api: RunningApi) -> None:
    await announce(api, key="k-1")
    refused = await announce(api, key="k-1", name="b.mp4")
    assert refused.status == 422
    assert "Idempotency-Key" in refused.detail


async def test_a_key_that_is_none_is_refused(api: RunningApi) -> None:
    refused = await announce(api, key="k" * 256)
    assert refused.status == 422
    assert "1 to 255" in refused.detail


def test_every_route_that_changes_something_has_its_action() -> None:
    changing = {(route.method, route.path): route.audit for route in ROUTES if route.method not in SAFE}
    assert [name for name, action in changing.items() if action is None] == []
    assert len(set(changing.values())) == len(changing)
    # What a browser's library asks by a GET, and the GET by which a browser comes back from a log-in page.
    audited = {route.path for route in ROUTES if route.method in SAFE and route.audit is not None}
    assert audited == {"/s3/params", "/auth/callback"}


async def test_a_change_leaves_one_line(api: RunningApi, logs: LogLines) -> None:
    file_id = (await announce(api)).json["file_id"]
    deleted = await api.ask("DELETE", f"/upload/{file_id}", headers={"Authorization": "Bearer ann", "X-Request-ID": "r-1"})
    assert deleted.status == 204
    made, ended = logs.named("audit")
    assert set(made) >= FIELDS
    assert (made["action"], made["result"], made["status"]) == ("upload.announce", "done", 201)
    assert (made["owner"], made["admin"], made["file_id"], made["peer"]) == ("ann", False, file_id, "127.0.0.1")
    assert (ended["action"], ended["file_id"], ended["request_id"]) == ("file.delete", file_id, "r-1")


async def test_a_refusal_leaves_one_too(api: RunningApi, logs: LogLines) -> None:
    file_id = str(UUID((await announce(api)).json["file_id"]))
    await announce(api)
    await announce(api)
    await api.ask("DELETE", f"/upload/{file_id}", headers={"Authorization": "Bearer bob"})
    await api.ask("DELETE", f"/upload/{file_id}")
    await api.ask("DELETE", "/upload/no-id", headers={"Authorization": "Bearer bob"})
    told = [(line["status"], line["result"], line["owner"], line["file_id"]) for line in logs.named("audit")][2:]
    assert told == [
        (429, "refused", "ann", None),
        (404, "refused", "bob", file_id),
        (401, "refused", None, file_id),
        (404, "refused", "bob", None),
    ]


async def test_nothing_that_opens_a_door_is_in_the_log(api: RunningApi, logs: LogLines) -> None:
    await announce(api, "a-secret-token-of-anns", key="k-1")
    lines = json.dumps(logs.named("audit"))
    assert SIGNATURE not in lines
    assert "Bearer" not in lines
    assert "k-1" not in lines


async def test_while_a_key_is_being_answered_it_is_a_conflict(api: RunningApi) -> None:
    """The first is held up by a writer of the catalog, and ends well after that."""
    answers: list[Answered] = []

    async def first() -> None:
        answers.append(await announce(api, key="k-1"))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks, api.catalog._database.write():
            tasks.start_soon(first)
            while not api.app[PARTS].answering:
                await api.get("/healthz")
            meanwhile = await announce(api, key="k-1")
    assert meanwhile.status == 409
    assert "still being answered" in meanwhile.detail
    assert answers[0].status == 201
    assert (await announce(api, key="k-1")).headers["Idempotent-Replayed"] == "true"
