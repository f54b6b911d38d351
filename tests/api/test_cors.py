"""Pages of other origins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.support.api import PROFILES, RunningApi, TokenIdentity, running_api
from vproc.api.parts import Limits
from vproc.errors import UnauthenticatedError
from vproc.ports import Caller

PAGE = "https://app.example"
EVIL = "https://evil.example"
ALLOWS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers")


class CookieIdentity:
    """Everybody with any cookie is ann, by that cookie."""

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """Who asks."""
        if authorization is None and not cookies:
            raise UnauthenticatedError("Send something.")
        return Caller("ann", key_id="k", by_cookie=authorization is None)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningApi]:
    limits = Limits(profiles=PROFILES, cors_origins=frozenset({PAGE}))
    async with running_api(tmp_path, identity=CookieIdentity(), limits=limits) as running:
        yield running


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize("path", ["/s3/multipart", "/s3/multipart/x/complete", "/upload", "/uploads", "/nowhere"])
async def test_a_preflight_is_answered_before_anybody_is_known(api: RunningApi, path: str) -> None:
    answer = await api.ask("OPTIONS", path, headers=preflight(PAGE))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE, OPTIONS"
    allowed = set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert allowed >= {
        "authorization", "content-type", "accept", "origin", "uppy-auth-token", "uppy-credentials-params", "uppy-versions",
        "idempotency-key", "x-request-id",
    }  # fmt: skip
    assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", [EVIL, "null", f"{PAGE}.evil.example", f"{PAGE}:443", "*", PAGE.upper()])
async def test_another_page_may_read_nothing(api: RunningApi, origin: str) -> None:
    refused = await api.ask("OPTIONS", "/s3/multipart", headers=preflight(origin))
    read = await api.get("/uploads", headers={"Origin": origin, "Authorization": "Bearer x"})
    assert (refused.status, read.status) == (405, 200)
    for answer in (refused, read):
        assert [name for name in ALLOWS if name in answer.headers] == []
        assert answer.headers["Vary"] == "Origin", "no cache gives this answer to a page that may"


async def test_a_named_page_reads_answers_and_errors_alike(api: RunningApi) -> None:
    headers = {"Origin": PAGE, "Authorization": "Bearer x"}
    for path, status in (("/uploads", 200), ("/uploads?limit=x", 422), ("/nowhere", 404)):
        answer = await api.get(path, headers=headers)
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Idempotent-Replayed", "Retry-After", "X-Request-ID", "Location"} <= set(exposed)
    unknown = await api.get("/uploads", headers={"Origin": PAGE})
    assert (unknown.status, unknown.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": PAGE, "Sec-Fetch-Site": "same-site"}, 200),
        ({"Origin": PAGE, "Sec-Fetch-Site": "cross-site"}, 200),
        ({"Origin": EVIL, "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 403),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/s3/multipart"), ("GET", "/s3/params?filename=a.mp4")])
async def test_a_cookie_is_taken_from_named_pages_also_where_a_get_announces(
    api: RunningApi, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    options = {"json": {"filename": "a.mp4"}} if method == "POST" else {}
    answer = await api.ask(method, path, headers={**headers, "Cookie": "a=b"}, **options)
    assert answer.status == status


async def test_without_named_pages_nothing_is_said_of_origins(tmp_path: Path) -> None:
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        asked = await api.ask("OPTIONS", "/uploads", headers=preflight(PAGE))
        read = await api.get("/healthz", headers={"Origin": PAGE})
    assert asked.status == 405
    for answer in (asked, read):
        assert [name for name in (*ALLOWS, "Vary") if name in answer.headers] == []
