"""A log-in at pages of somebody else's, by authorization code with PKCE: whole, over an issuer's tokens, and what is refused."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import encode_basic_auth, web

from tests.api.conftest import LogLines
from tests.support.accounts import ANN, AccountApi, MemoryPool, account_api, cookies_of, values_of
from tests.support.api import running_api
from tests.support.issuer import LateIdentity, TokenIssuer, running_issuer
from vproc.api.hosted import LOGIN_COOKIE, LOGIN_S
from vproc.api.identity import ApiKeyIdentity
from vproc.api.token_cookies import ACCESS_COOKIE, REFRESH_COOKIE, CookieIdentity
from vproc.oidc.hosted import open_hosted_pages
from vproc.oidc.keys import open_keys
from vproc.oidc.tokens import TokenVerifier
from vproc.ports import AccountParts

CLIENT, SECRET, BACK = "client", "hush", "https://video.example/auth/callback"


@dataclass(slots=True)
class LoginPages:
    """The pages and the token endpoint of a pool, as an issuer has them. ``nonce`` of the last log-in goes into its id token."""

    issuer: TokenIssuer
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    nonce: str | None = None
    wrong: dict[str, Any] = field(default_factory=dict)
    status: int = 200

    def visit(self, address: str) -> tuple[str, str]:
        """What somebody does there who knows the password: the code, and the state that it comes back with."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.issuer.url}/oauth2/authorize?")
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert (query["client_id"], query["redirect_uri"]) == (CLIENT, BACK)
        self.codes["the-code"] = query
        return "the-code", query["state"]

    async def token(self, request: web.Request) -> web.Response:
        """The endpoint: the code holds once, with the verifier of its challenge and the client's secret."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        if self.status != 200:
            return web.json_response({"error": "invalid_client"}, status=self.status)
        begun = self.codes.pop(form["code"], None)
        digest = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        right = begun is not None and begun["code_challenge"] == digest and form["redirect_uri"] == BACK
        if not right or request.headers.get("Authorization") != encode_basic_auth(CLIENT, SECRET):
            return web.json_response({"error": "invalid_grant"}, status=400)
        assert begun is not None
        access = self.issuer.token(client_id=CLIENT, token_use="access", aud=...)
        said = {"aud": CLIENT, "token_use": "id", "email": "ann@example.com", "name": "Ann", "nonce": begun["nonce"]}
        identity = self.issuer.token(**(said | self.wrong))
        return web.json_response({"access_token": access, "id_token": identity, "refresh_token": "refresh"})


@asynccontextmanager
async def hosted_api(folder: Path) -> AsyncIterator[tuple[AccountApi, LoginPages]]:
    """An API whose users log in at such pages."""
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(running_issuer())
        pages = LoginPages(issuer)
        issuer.answers["/oauth2/token"] = pages.token
        keys = await stack.enter_async_context(open_keys(issuer=issuer.issuer))
        access, identity = (
            TokenVerifier(issuer=issuer.issuer, keys=keys, audience=(CLIENT,), token_use=use) for use in ("access", "id")
        )
        hosted = await stack.enter_async_context(
            open_hosted_pages(domain=issuer.url, client_id=CLIENT, client_secret=SECRET, redirect_url=BACK)
        )
        late = LateIdentity(lambda store: CookieIdentity(access, beside=ApiKeyIdentity(store)))
        pool = MemoryPool()

        def accounts(catalog: Any) -> AccountParts:
            late.over(catalog)
            return AccountParts(accounts=pool, access=access, identity=identity, users=catalog, hosted=hosted)

        api = await stack.enter_async_context(running_api(folder, identity=late, accounts=accounts))
        yield AccountApi(api, pool), pages


async def begun(door: AccountApi, pages: LoginPages) -> tuple[str, str, dict[str, str]]:
    """Code, state and cookies of a browser that comes back."""
    sent = await door.ask("GET", "/auth/authorize")
    assert sent.status == 302
    code, state = pages.visit(sent.headers["Location"])
    return code, state, values_of(sent)


async def test_a_browser_goes_to_the_pages_and_comes_back_logged_in(tmp_path: Path, logs: LogLines) -> None:
    async with hosted_api(tmp_path) as (door, pages):
        code, state, cookies = await begun(door, pages)
        back = await door.ask("GET", f"/auth/callback?code={code}&state={state}", cookies=cookies, Sec_Fetch_Site="cross-site")
        assert (back.status, back.headers["Location"]) == (303, "/")
        jar = cookies_of(back)
        for name in (ACCESS_COOKIE, REFRESH_COOKIE):
            assert (jar[name]["httponly"], jar[name]["samesite"]) == (True, "Strict")
        assert (jar[LOGIN_COOKIE].value, jar[LOGIN_COOKIE]["path"]) == ("", "/auth/callback")
        me = await door.ask("GET", "/auth/me", cookies=values_of(back))
        again = await door.ask("GET", f"/auth/callback?code={code}&state={state}", cookies=cookies)
    assert me.json == {"owner": "ann", "admin": False, "email": "ann@example.com", "name": "Ann"}
    assert again.status == 401, "a code holds once"
    for secret in (*values_of(back).values(), *cookies[LOGIN_COOKIE].split("."), code):
        assert not secret or secret not in logs.text


async def test_the_cookie_of_a_log_in_is_short_and_lax(tmp_path: Path) -> None:
    """Lax, since the browser comes back from another site; out of reach of scripts."""
    async with account_api(tmp_path) as door:
        for host, secure in (("127.0.0.1", False), ("video.example", True)):
            cookie = cookies_of(await door.ask("GET", "/auth/authorize", Host=host))[LOGIN_COOKIE]
            assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/auth/callback")
            assert (int(cookie["max-age"]), bool(cookie["secure"])) == (LOGIN_S, secure)


async def test_each_log_in_has_its_own_state_and_verifier(tmp_path: Path) -> None:
    async with account_api(tmp_path) as door:
        held = [values_of(await door.ask("GET", "/auth/authorize"))[LOGIN_COOKIE].split(".") for _ in range(2)]
    assert len({value for values in held for value in values}) == 6


async def test_who_did_not_begin_a_log_in_does_not_end_it(tmp_path: Path) -> None:
    """Without the cookie, with another browser's, with another state: nothing is redeemed, so nobody is logged in as another."""
    async with hosted_api(tmp_path) as (door, pages):
        code, state, cookies = await begun(door, pages)
        _, _, others = await begun(door, pages)
        for path, sent in (
            (f"/auth/callback?code={code}&state={state}", {}),
            (f"/auth/callback?code={code}&state={state}", others),
            (f"/auth/callback?code={code}&state={'x' * 43}", cookies),
            (f"/auth/callback?code={code}", cookies),
            (f"/auth/callback?code={code}&state={state}", {LOGIN_COOKIE: "nonsense"}),
        ):
            refused = await door.ask("GET", path, cookies=sent)
            assert (refused.status, values_of(refused)) == (401, {})
    assert pages.asked == []


@pytest.mark.parametrize(
    "wrong", [{"nonce": "another"}, {"nonce": ...}, {"sub": "bob"}, {"aud": "another"}, {"token_use": "access"}, {"exp": 1}]
)
async def test_tokens_of_another_log_in_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    async with hosted_api(tmp_path) as (door, pages):
        pages.wrong = wrong
        code, state, cookies = await begun(door, pages)
        refused = await door.ask("GET", f"/auth/callback?code={code}&state={state}", cookies=cookies)
        assert (refused.status, values_of(refused)) == (401, {})
        assert await door.api.catalog.find_user("ann") is None


@pytest.mark.parametrize("status", [400, 401, 500, 302])
async def test_pages_that_give_no_tokens_are_a_503_that_the_log_names(tmp_path: Path, logs: LogLines, status: int) -> None:
    async with hosted_api(tmp_path) as (door, pages):
        pages.status = status
        code, state, cookies = await begun(door, pages)
        away = await door.ask("GET", f"/auth/callback?code={code}&state={state}", cookies=cookies)
    assert (away.status, away.headers["Retry-After"]) == (503, "2")
    [line] = logs.named("dependency_unavailable")
    assert "VPROC_COGNITO_DOMAIN" in line["detail"]
    assert SECRET not in logs.text


async def test_a_log_in_that_was_not_finished_says_so(tmp_path: Path) -> None:
    async with hosted_api(tmp_path) as (door, pages):
        _, state, cookies = await begun(door, pages)
        refused = await door.ask("GET", f"/auth/callback?error=access_denied&state={state}", cookies=cookies)
    assert refused.status == 401
    assert "no code" in refused.detail
    assert "access_denied" not in refused.detail


async def test_no_request_says_where_a_browser_is_sent(tmp_path: Path) -> None:
    """Neither by its host, nor by a parameter."""
    async with hosted_api(tmp_path) as (door, pages):
        sent = await door.ask("GET", "/auth/authorize?redirect_uri=https://evil.example&next=//evil.example", Host="evil.example")
        code, state = pages.visit(sent.headers["Location"])
        back = await door.ask(
            "GET", f"/auth/callback?code={code}&state={state}&next=//evil.example", cookies=values_of(sent), Host="evil.example"
        )
    assert "evil" not in sent.headers["Location"]
    assert back.headers["Location"] == "/"


async def test_without_pages_the_routes_name_the_setting(tmp_path: Path) -> None:
    async with account_api(tmp_path, hosted=False) as door:
        for path in ("/auth/authorize", "/auth/callback"):
            answer = await door.ask("GET", path)
            assert answer.status == 404
            assert "VPROC_COGNITO_DOMAIN" in answer.detail
        assert (await door.post("/auth/log-in", ANN)).status == 401
