"""Accounts at the socket, over a pool in memory: what is answered, which cookies come, who is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import LogLines
from tests.support.accounts import ANN, CODE, PASSWORD, AccountApi, account_api, cookies_of, values_of
from tests.support.api import running_api
from vproc.api.token_cookies import ACCESS_COOKIE, REFRESH_COOKIE
from vproc.core.api_keys import Scope, digest_of, make_key
from vproc.errors import TooManyRequestsError, UnavailableError

OWN_PAGE = {"Sec_Fetch_Site": "same-origin"}
DOORS: list[tuple[str, Any]] = [
    ("/auth/sign-up", ANN),
    ("/auth/confirm", {"email": "ann@example.com", "code": CODE}),
    ("/auth/resend", {"email": "ann@example.com"}),
    ("/auth/log-in", ANN),
    ("/auth/refresh", {"refresh_token": "x"}),
    ("/auth/log-out", {"refresh_token": "x"}),
    ("/auth/forgot-password", {"email": "ann@example.com"}),
    ("/auth/reset-password", {"email": "ann@example.com", "code": CODE, "password": PASSWORD}),
]


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[AccountApi]:
    async with account_api(tmp_path) as running:
        yield running


async def test_an_account_from_its_beginning_to_its_log_out(door: AccountApi) -> None:
    logged_in = await door.with_ann()
    assert logged_in.status == 200
    assert logged_in.json == {"owner": "sub-1", "expires_in": logged_in.json["expires_in"]}
    assert 3590 <= logged_in.json["expires_in"] <= 3600
    cookies = values_of(logged_in)
    me = await door.ask("GET", "/auth/me", cookies=cookies)
    assert me.json == {"owner": "sub-1", "admin": False, "email": "ann@example.com", "name": "Ann"}
    out = await door.post("/auth/log-out", cookies=cookies, **OWN_PAGE)
    assert out.status == 204
    assert values_of(out) == {ACCESS_COOKIE: "", REFRESH_COOKIE: ""}
    assert (await door.ask("GET", "/auth/me", cookies={})).status == 401
    assert (await door.post("/auth/refresh", cookies=cookies, **OWN_PAGE)).status == 401


async def test_the_cookies_are_out_of_reach_of_scripts_and_other_sites(door: AccountApi) -> None:
    """On this very machine they are not Secure, since there is no TLS; by any other name they are."""
    await door.with_ann()
    for host, secure in (("127.0.0.1", False), ("video.example", True)):
        jar = cookies_of(await door.post("/auth/log-in", ANN, Host=host))
        access, refresh = jar[ACCESS_COOKIE], jar[REFRESH_COOKIE]
        for cookie in (access, refresh):
            assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
            assert bool(cookie["secure"]) is secure
            assert not cookie["domain"]
        assert (access["path"], refresh["path"]) == ("/", "/auth")
        assert 3590 <= int(access["max-age"]) <= 3600
        assert int(refresh["max-age"]) == 30 * 86400


async def test_a_program_is_given_the_tokens_and_no_cookie(door: AccountApi) -> None:
    told = await door.with_ann(session="tokens")
    assert set(told.json) == {"owner", "expires_in", "access_token", "refresh_token"}
    assert values_of(told) == {}
    bearer = {"Authorization": f"Bearer {told.json['access_token']}"}
    assert (await door.ask("GET", "/auth/me", **bearer)).json["owner"] == "sub-1"
    refreshed = await door.post("/auth/refresh", {"refresh_token": told.json["refresh_token"]})
    assert refreshed.json["refresh_token"] != told.json["refresh_token"]
    assert values_of(refreshed) == {}
    assert (await door.post("/auth/refresh", {"refresh_token": told.json["refresh_token"]})).status == 401
    ended = await door.post("/auth/log-out", {"refresh_token": refreshed.json["refresh_token"]})
    assert ended.status == 204
    assert (await door.post("/auth/refresh", {"refresh_token": refreshed.json["refresh_token"]})).status == 401


async def test_a_page_cannot_have_the_tokens_of_its_cookies(door: AccountApi) -> None:
    """A script that got into the page may refresh the session, and sees nothing of it."""
    first = values_of(await door.with_ann())
    refreshed = await door.post("/auth/refresh", cookies=first, **OWN_PAGE)
    assert set(refreshed.json) == {"owner", "expires_in"}
    second = values_of(refreshed)
    assert second[ACCESS_COOKIE] != first[ACCESS_COOKIE]
    assert second[REFRESH_COOKIE] != first[REFRESH_COOKIE]


async def test_a_pool_that_does_not_rotate_leaves_the_refresh_token(door: AccountApi) -> None:
    door.pool.rotates = False
    first = values_of(await door.with_ann())
    second = values_of(await door.post("/auth/refresh", cookies=first, **OWN_PAGE))
    assert second[REFRESH_COOKIE] == first[REFRESH_COOKIE]
    assert second[ACCESS_COOKIE] != first[ACCESS_COOKIE]


async def test_nobody_learns_which_addresses_have_an_account(door: AccountApi) -> None:
    """To the byte: signing up twice, a wrong password and no account, a wrong code and no account, a forgotten password."""
    await door.with_ann()
    same = {"X_Request_ID": "the-same"}
    nobody = "nobody@example.com"
    for path, ours, theirs in (
        ("/auth/sign-up", ANN, ANN | {"email": nobody}),
        ("/auth/log-in", ANN | {"password": "wrong"}, {"email": "no@example.com", "password": "wrong"}),
        ("/auth/confirm", {"email": ANN["email"], "code": "9"}, {"email": "no@example.com", "code": "9"}),
        ("/auth/resend", {"email": ANN["email"]}, {"email": "no@example.com"}),
        ("/auth/forgot-password", {"email": ANN["email"]}, {"email": "no@example.com"}),
        (
            "/auth/reset-password",
            {"email": ANN["email"], "code": "9", "password": PASSWORD},
            {"email": "no@example.com", "code": "9", "password": PASSWORD},
        ),
    ):
        known, unknown = [await door.post(path, body, **same) for body in (ours, theirs)]
        assert (known.status, known.body) == (unknown.status, unknown.body), path


@pytest.mark.parametrize(("path", "body"), DOORS)
@pytest.mark.parametrize(
    "headers", [{"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Origin": "https://evil.example"}]
)
async def test_another_sites_page_opens_no_door(door: AccountApi, path: str, body: Any, headers: dict[str, str]) -> None:
    """Nor does it log its visitor in as somebody else."""
    await door.with_ann()
    refused = await door.post(path, body, **headers)
    assert refused.status == 403
    assert values_of(refused) == {}


async def test_a_cookie_refreshes_and_logs_out_for_its_own_page_alone(door: AccountApi) -> None:
    cookies = values_of(await door.with_ann())
    for path in ("/auth/refresh", "/auth/log-out"):
        assert (await door.post(path, cookies=cookies)).status == 403, "what says nothing is not its page"
    own = await door.post("/auth/refresh", cookies=cookies, Origin=door.api.url)
    assert own.status == 200


async def test_a_cookie_changes_files_for_its_own_page_alone(door: AccountApi) -> None:
    cookies = values_of(await door.with_ann())
    body = {"file_name": "a.mp4"}
    assert (await door.post("/upload", body, cookies=cookies, Sec_Fetch_Site="cross-site")).status == 403
    announced = await door.post("/upload", body, cookies=cookies, **OWN_PAGE)
    assert announced.status == 201
    assert announced.json["s3_key"].startswith("videos/sub-1/")


async def test_what_is_longer_than_a_cookie_stays_here(door: AccountApi) -> None:
    """The cookie holds an opaque id, with the same rights, and ends with the log-out."""
    door.pool.access_length, door.pool.groups = 5000, frozenset({"vproc-admin"})
    cookies = values_of(await door.with_ann())
    assert len(cookies[ACCESS_COOKIE]) == 43
    me = await door.ask("GET", "/auth/me", cookies=cookies)
    assert (me.json["owner"], me.json["admin"], me.json["email"]) == ("sub-1", True, "ann@example.com")
    assert (await door.post("/upload", {"file_name": "a.mp4"}, cookies=cookies)).status == 403
    assert await door.api.catalog.find_session(digest_of(cookies[ACCESS_COOKIE])) is not None
    assert (await door.post("/auth/log-out", cookies=cookies, **OWN_PAGE)).status == 204
    assert await door.api.catalog.find_session(digest_of(cookies[ACCESS_COOKIE])) is None


async def test_a_refresh_token_that_is_too_long_is_not_kept(door: AccountApi, logs: LogLines) -> None:
    door.pool.refresh_length = 5000
    assert set(values_of(await door.with_ann())) == {ACCESS_COOKIE}
    [line] = logs.named("refresh_token_too_long")
    assert line["level"] == "warning"


async def test_a_log_in_at_its_very_end_is_none(door: AccountApi) -> None:
    door.pool.lasts = timedelta(seconds=0.5)
    assert (await door.with_ann()).status == 401


async def test_members_of_the_group_are_admins(door: AccountApi) -> None:
    door.pool.groups = frozenset({"vproc-admin"})
    cookies = values_of(await door.with_ann())
    await door.api.given.pending(owner="bob")
    assert len((await door.ask("GET", "/uploads", cookies=cookies)).json["uploads"]) == 1


async def test_an_account_awaits_its_confirmation(door: AccountApi) -> None:
    await door.post("/auth/sign-up", ANN)
    waiting = await door.post("/auth/log-in", ANN)
    assert waiting.status == 409
    assert "confirmation" in waiting.detail


async def test_a_forgotten_password_is_replaced(door: AccountApi) -> None:
    await door.with_ann()
    assert (await door.post("/auth/forgot-password", {"email": ANN["email"]})).status == 202
    assert door.pool.sent == [ANN["email"]] * 2
    reset = {"email": ANN["email"], "code": CODE, "password": "Another-horse-2"}
    assert (await door.post("/auth/reset-password", reset)).status == 204
    assert (await door.post("/auth/log-in", ANN)).status == 401
    assert (await door.post("/auth/log-in", ANN | {"password": "Another-horse-2"})).status == 200


async def test_an_api_key_is_taken_beside_accounts(door: AccountApi) -> None:
    new = make_key(bytes(40))
    await door.api.catalog.create_key(new, owner="robot", scopes=frozenset({Scope.FILES}))
    me = await door.ask("GET", "/auth/me", Authorization=f"Bearer {new.token}")
    assert me.json == {"owner": "robot", "admin": False, "email": None, "name": None}


async def test_a_wrong_header_is_not_mended_by_a_cookie(door: AccountApi) -> None:
    cookies = values_of(await door.with_ann())
    assert (await door.ask("GET", "/auth/me", cookies=cookies, Authorization="Bearer nonsense")).status == 401
    assert (await door.ask("GET", "/auth/me", cookies={ACCESS_COOKIE: "nonsense"})).status == 401


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/auth/sign-up", {"email": "ann", "password": "x"}, "email"),
        ("/auth/sign-up", {"email": "a@b@c", "password": "x"}, "email"),
        ("/auth/sign-up", {"email": "a b@c", "password": "x"}, "email"),
        ("/auth/sign-up", {"email": "a@b.c"}, "password: required"),
        ("/auth/sign-up", {"email": "a@b.c", "password": ""}, "password"),
        ("/auth/sign-up", {"email": "a@b.c", "password": "x" * 257}, "password"),
        ("/auth/sign-up", {"email": "a@b.c", "password": 5}, "password"),
        ("/auth/sign-up", {"email": "a@b.c", "password": "x", "name": "a\u202eb"}, "name"),
        ("/auth/confirm", {"email": "a@b.c", "code": "1 2"}, "code"),
        ("/auth/log-in", {"email": "a@b.c", "password": "x", "session": "both"}, "session"),
        ("/auth/refresh", {}, "refresh_token"),
    ],
)
async def test_a_field_that_is_wrong_is_named_and_not_repeated(door: AccountApi, path: str, body: Any, word: str) -> None:
    refused = await door.post(path, body)
    assert refused.status == 422
    assert word in refused.detail
    assert "xxx" not in refused.detail


async def test_a_pool_that_throttles_and_one_that_is_away(door: AccountApi) -> None:
    for failing, status, after in (
        (TooManyRequestsError("Too many.", retry_after_s=5), 429, "5"),
        (UnavailableError("Cognito is away"), 503, "2"),
    ):
        door.pool.failing = failing
        answer = await door.post("/auth/log-in", ANN)
        assert (answer.status, answer.headers["Retry-After"]) == (status, after)


async def test_a_log_out_that_the_pool_did_not_hear_is_to_be_tried_again(door: AccountApi) -> None:
    cookies = values_of(await door.with_ann())
    door.pool.failing = UnavailableError("Cognito is away")
    failed = await door.post("/auth/log-out", cookies=cookies, **OWN_PAGE)
    assert (failed.status, values_of(failed)) == (503, {})
    assert (await door.post("/auth/log-out", cookies=cookies, **OWN_PAGE)).status == 204


@pytest.mark.parametrize(("path", "body"), DOORS)
async def test_without_accounts_a_door_names_the_setting(tmp_path: Path, path: str, body: Any) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.ask("POST", path, json=body)
    assert answer.status == 404
    assert "VPROC_AUTH=cognito" in answer.detail


async def test_no_secret_is_in_the_log(door: AccountApi, logs: LogLines) -> None:
    """Neither a password, nor a code, nor a token; the audit tells who logged in."""
    cookies = values_of(await door.with_ann())
    await door.post("/auth/log-in", ANN | {"password": "wrong-password"})
    await door.post("/auth/refresh", cookies=cookies, **OWN_PAGE)
    await door.post("/auth/log-out", cookies=cookies, **OWN_PAGE)
    for secret in (PASSWORD, "wrong-password", CODE, *cookies.values(), "access.", "refresh.1", "identity.", ANN["email"]):
        assert secret not in logs.text
    lines = {line["action"]: line for line in logs.named("audit")}
    assert (lines["account.refresh"]["owner"], lines["account.refresh"]["by"]) == ("sub-1", "session")
    assert set(lines) == {"account.sign_up", "account.confirm", "account.log_in", "account.refresh", "account.log_out"}
