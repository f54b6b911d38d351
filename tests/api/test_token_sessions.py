"""A token traded for a session's cookie: it ends with the token, and cannot be made to last."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from tests.api.conftest import LogLines
from tests.support.api import Answered, RunningApi
from tests.support.issuer import Signer, TokenIssuer, bearer, running_issuer, token_api
from vproc.api.identity import COOKIE
from vproc.api.sessions import SESSION_S
from vproc.core.api_keys import Session, read_session_token

OURS = {"Sec-Fetch-Site": "same-origin"}


async def traded(api: RunningApi, token: str) -> Answered:
    return await api.ask("POST", "/auth/session", headers=bearer(token))


def cookie_in(answer: Answered) -> tuple[str, int]:
    """The cookie's value, and how long it lasts."""
    cookie = SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    return cookie.value, int(cookie["max-age"])


async def kept(api: RunningApi, value: str) -> Session:
    digest = read_session_token(value)
    assert digest is not None
    session = await api.catalog.find_session(digest)
    assert session is not None
    return session


@pytest.mark.parametrize(("lasts_s", "session_s"), [(600, 600), (SESSION_S - 5, SESSION_S - 5), (SESSION_S + 600, SESSION_S)])
async def test_a_session_lasts_as_long_as_its_token_and_twelve_hours_at_most(
    tmp_path: Path, lasts_s: int, session_s: int
) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        exp = int(time.time()) + lasts_s
        answer = await traded(api, issuer.token(exp=exp))
        value, max_age_s = cookie_in(answer)
        session = await kept(api, value)
        assert answer.status == 204
        assert session_s - 5 <= max_age_s <= session_s
        assert session.expires_at <= datetime.fromtimestamp(exp, UTC)
        assert (session.owner, session.key_id) == ("ann", None)
        assert (await api.get("/uploads", headers={"Cookie": f"{COOKIE}={value}"})).status == 200


async def test_a_session_traded_for_another_ends_no_later(tmp_path: Path) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        exp = int(time.time()) + 600
        value, _ = cookie_in(await traded(api, issuer.token(exp=exp)))
        again = await api.ask("POST", "/auth/session", headers=OURS | {"Cookie": f"{COOKIE}={value}"})
        other, max_age_s = cookie_in(again)
        assert other != value
        assert max_age_s <= 600
        assert (await kept(api, other)).expires_at == (await kept(api, value)).expires_at


async def test_a_token_that_only_the_leeway_holds_is_traded_for_nothing(tmp_path: Path) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        token = issuer.token(exp=int(time.time()) - 30)
        assert (await api.get("/uploads", headers=bearer(token))).status == 200
        answer = await traded(api, token)
        assert (answer.status, "Set-Cookie" in answer.headers) == (401, False)
        assert "no session left in it" in answer.detail


@pytest.mark.parametrize("scope", ["openid", "openid vproc:admin"])
async def test_a_session_may_what_its_token_may(tmp_path: Path, scope: str) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        bobs = await api.given.pending(owner="bob")
        value, _ = cookie_in(await traded(api, issuer.token(scope=scope)))
        answer = await api.get(f"/upload/{bobs.file_id}/status", headers={"Cookie": f"{COOKIE}={value}"})
        assert answer.status == (200 if "admin" in scope else 404)


async def test_a_cookie_does_not_mend_a_token_that_does_not_hold(tmp_path: Path) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        value, _ = cookie_in(await traded(api, issuer.token()))
        forged = bearer(Signer(number=2).sign(issuer.claims())) | {"Cookie": f"{COOKIE}={value}"}
        assert (await api.get("/uploads", headers=forged)).status == 401


async def test_a_foreign_page_cannot_use_the_cookie(tmp_path: Path) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        value, _ = cookie_in(await traded(api, issuer.token()))
        for headers, status in ((OURS, 201), ({"Sec-Fetch-Site": "cross-site"}, 403), ({}, 403)):
            asked = headers | {"Cookie": f"{COOKIE}={value}"}
            assert (await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=asked)).status == status


async def test_the_audit_tells_tokens_from_sessions_and_the_log_holds_neither(tmp_path: Path, logs: LogLines) -> None:
    async with running_issuer() as issuer, token_api(tmp_path, issuer) as api:
        token = issuer.token()
        value, _ = cookie_in(await traded(api, token))
        await api.ask("DELETE", "/auth/session", headers=OURS | {"Cookie": f"{COOKIE}={value}"})
        refused = tampered(issuer)
        await traded(api, refused)
    assert [(line["by"], line["owner"], line["result"]) for line in logs.named("audit")] == [
        ("token", "ann", "done"),
        ("session", "ann", "done"),
        (None, None, "refused"),
    ]
    for secret in (*token.split(".")[1:], value, refused.split(".")[2]):
        assert secret not in logs.text


def tampered(issuer: TokenIssuer) -> str:
    return Signer(number=2).sign(issuer.claims(email="hunter2"))
