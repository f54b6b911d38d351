"""``VPROC_AUTH=jwt`` attacked at the socket: a true API, a true issuer, an attacker with a server of its own."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import vproc.api.body
import vproc.http
from tests.support.api import PROFILES, Answered, RunningApi
from tests.support.issuer import (
    DISCOVERY,
    JWKS,
    Signer,
    TokenIssuer,
    b64,
    bearer,
    made_by_hand,
    running_issuer,
    token_api,
)
from vproc.api.parts import Limits
from vproc.core.api_keys import Scope, make_key
from vproc.core.claims import LEEWAY_S
from vproc.oidc import keys as keys_module

NOBODYS = UUID(int=1, version=4)
ELLIPTIC, RSA = Signer("ec"), Signer("rsa", "RS256")
MALLORY = Signer("ec", number=666)


@dataclass
class Scene:
    """An API, the issuer that it believes, and the server of somebody who wants in."""

    api: RunningApi
    issuer: TokenIssuer
    attacker: TokenIssuer

    async def ask(self, token: str, path: str = "/uploads") -> Answered:
        return await self.api.get(path, headers=bearer(token))

    def token(self, **changes: Any) -> str:
        return ELLIPTIC.sign(self.issuer.claims(**changes))


@asynccontextmanager
async def scene(folder: Path, *, clock: Callable[[], float] = time.time, limits: Limits | None = None) -> AsyncIterator[Scene]:
    async with (
        running_issuer(ELLIPTIC, RSA) as issuer,
        running_issuer(MALLORY) as attacker,
        token_api(folder, issuer, clock=clock, limits=limits) as api,
    ):
        yield Scene(api, issuer, attacker)


# --- tokens ------------------------------------------------------------------------------------------------------------


def by_secret(secret: bytes, claims: dict[str, Any], alg: str) -> str:
    def sign(message: bytes) -> bytes:
        return hmac.new(secret, message, {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[alg]).digest()

    return made_by_hand({"alg": alg, "kid": "rsa", "typ": "JWT"}, claims, sign)


def public_key() -> bytes:
    pem: bytes = RSA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def tampered(token: str, **changes: Any) -> str:
    """Another payload under the signature that was there."""
    header, payload, signature = token.split(".")
    claims = json.loads(urlsafe_b64decode(payload + "=="))
    return f"{header}.{b64(json.dumps(claims | changes).encode())}.{signature}"


Forge = Callable[[Scene], str]

FORGED: dict[str, Forge] = {
    "alg none": lambda at: made_by_hand({"alg": "none", "typ": "JWT"}, at.issuer.claims(), lambda _: b""),
    "alg none with a signature": lambda at: made_by_hand({"alg": "none", "kid": "ec"}, at.issuer.claims(), ELLIPTIC.raw),
    "alg nOnE": lambda at: made_by_hand({"alg": "nOnE", "kid": "ec"}, at.issuer.claims(), ELLIPTIC.raw),
    "no alg": lambda at: made_by_hand({"kid": "ec"}, at.issuer.claims(), ELLIPTIC.raw),
    "HS256 with the public key": lambda at: by_secret(public_key(), at.issuer.claims(), "HS256"),
    "HS512 with the public key": lambda at: by_secret(public_key(), at.issuer.claims(), "HS512"),
    "HS256 with nothing": lambda at: by_secret(b"", at.issuer.claims(), "HS256"),
    "another's key under a known name": lambda at: MALLORY.sign(at.issuer.claims()),
    "another's key under an unknown name": lambda at: Signer("new", number=666).sign(at.issuer.claims()),
    "another's key without a name": lambda at: Signer(None, number=666).sign(at.issuer.claims()),
    "the name of a key of another type": lambda at: made_by_hand(
        {"alg": "ES256", "kid": "rsa"}, at.issuer.claims(), ELLIPTIC.raw
    ),
    "another algorithm of the key's type": lambda at: Signer("rsa", "PS256").sign(at.issuer.claims()),
    "a name that is a path": lambda at: Signer("../../jwks", number=666).sign(at.issuer.claims()),
    "a name that is a query": lambda at: Signer("' OR 1=1 --", number=666).sign(at.issuer.claims()),
    "its own key in jwk": lambda at: MALLORY.sign(at.issuer.claims(), jwk=MALLORY.jwk()),
    "its own keys at jku": lambda at: MALLORY.sign(at.issuer.claims(), jku=at.attacker.url + JWKS),
    "its own certificate at x5u": lambda at: MALLORY.sign(at.issuer.claims(), x5u=at.attacker.url + "/cert.pem"),
    "its own certificate in x5c": lambda at: MALLORY.sign(at.issuer.claims(), x5c=["MIIB"]),
    "its own issuer": lambda at: MALLORY.sign(at.attacker.claims()),
    "its own issuer, signed as ours": lambda at: ELLIPTIC.sign(at.attacker.claims()),
    "an extension": lambda at: ELLIPTIC.sign(at.issuer.claims(), crit=["exp"]),
    "an unencoded payload": lambda at: made_by_hand({"alg": "ES256", "kid": "ec", "b64": False}, b"", ELLIPTIC.raw),
    "a log-out token": lambda at: ELLIPTIC.sign(at.issuer.claims(), typ="logout+jwt"),
    "another subject": lambda at: tampered(at.token(), sub="bob"),
    "a later end": lambda at: tampered(at.token(exp=1), exp=int(time.time()) + 600),
    "a scope": lambda at: tampered(at.token(), scope="vproc:admin"),
    "half a signature": lambda at: at.token()[:-40],
    "no signature": lambda at: at.token().rpartition(".")[0] + ".",
    "a second signature": lambda at: at.token() + "." + at.token().rpartition(".")[2],
    "an encrypted token": lambda _: "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AA.AA.AA.AA",
    "an id token by Cognito": lambda at: at.token(token_use="id"),
    "an id token by Keycloak": lambda at: at.token(typ="ID"),
    "an id token by its nonce": lambda at: at.token(nonce="n", scope=...),
    "a refresh token": lambda at: at.token(typ="Refresh"),
    "another audience": lambda at: at.token(aud="https://other.example"),
    "no audience": lambda at: at.token(aud=...),
    "another client of Cognito's": lambda at: at.token(aud=..., token_use="access", client_id="other"),
    "expired": lambda at: at.token(exp=int(time.time()) - 3600),
    "no end": lambda at: at.token(exp=...),
    "not yet": lambda at: at.token(nbf=int(time.time()) + 3600),
    "issued tomorrow": lambda at: at.token(iat=int(time.time()) + 86400),
    "nobody's": lambda at: at.token(sub=...),
    "the default owner's": lambda at: at.token(sub="default"),
    "not a token": lambda _: "not-a-token",
    "nearly a key": lambda _: "vproc_aaaaaaaaaaaaa_" + "A" * 43,
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_token_that_does_not_hold_opens_nothing(tmp_path: Path, name: str) -> None:
    """And nobody but the issuer is asked anything."""
    async with scene(tmp_path) as at:
        token = FORGED[name](at)
        answer = await at.ask(token)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert token.encode() not in answer.body
        assert at.attacker.asked == []
        assert at.issuer.fetches <= 1
        assert (await at.ask(at.token())).status == 200


async def test_every_kind_of_key_opens(tmp_path: Path) -> None:
    signers = [Signer(name, name) for name in ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")]
    async with running_issuer(*signers) as issuer, token_api(tmp_path, issuer) as api:
        for signer in signers:
            assert (await api.get("/uploads", headers=bearer(signer.sign(issuer.claims())))).status == 200


async def test_clocks_may_be_a_minute_apart(tmp_path: Path) -> None:
    now = time.time()
    async with scene(tmp_path, clock=lambda: now) as at:
        for name, holds, does_not in (
            ("exp", now - LEEWAY_S + 1, now - LEEWAY_S),
            ("nbf", now + LEEWAY_S, now + LEEWAY_S + 1),
            ("iat", now + LEEWAY_S, now + LEEWAY_S + 1),
        ):
            answers = [await at.ask(at.token(**{name: value})) for value in (holds, does_not)]
            assert [answer.status for answer in answers] == [200, 401], name


async def test_cognitos_access_token_opens_by_its_client(tmp_path: Path) -> None:
    async with running_issuer(RSA) as issuer, token_api(tmp_path, issuer, audience=("app-client",)) as api:
        token = issuer.token(aud=..., token_use="access", client_id="app-client", **{"cognito:groups": ["vproc-admin"]})
        assert (await api.get("/uploads", headers=bearer(token))).status == 200


async def test_a_thousand_unknown_names_ask_the_issuer_once(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        asked = [Signer(uuid4().hex, number=666).sign(at.issuer.claims()) for _ in range(1000)]
        statuses: list[int] = []

        async def ask_all(tokens: list[str]) -> None:
            statuses.extend([(await at.ask(token)).status for token in tokens])

        async with anyio.create_task_group() as tasks:
            for start in range(0, 1000, 100):
                tasks.start_soon(ask_all, asked[start : start + 100])
        assert (set(statuses), len(statuses)) == ({401}, 1000)
        assert at.issuer.fetches == 1
        assert (await at.ask(at.token())).status == 200


async def test_guesses_are_counted_by_the_address_that_they_come_from(tmp_path: Path) -> None:
    async with scene(tmp_path, limits=Limits(profiles={"abr": PROFILES["abr"]}, unknown_per_minute=3)) as at:
        statuses = [(await at.ask(MALLORY.sign(at.issuer.claims()))).status for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        assert (await at.ask(at.token())).status == 200


# --- owners ------------------------------------------------------------------------------------------------------------


async def test_anothers_file_and_none_are_the_same(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        file = await at.api.given.pending(owner="ann")
        bobs = bearer(at.token(sub="bob")) | {"X-Request-ID": "the-same"}
        seen = [await at.api.get(f"/upload/{file_id}/status", headers=bobs) for file_id in (file.file_id, NOBODYS)]
        assert [answer.status for answer in seen] == [404, 404]
        assert seen[0].body == seen[1].body
        assert (await at.ask(at.token(), f"/upload/{file.file_id}/status")).status == 200
        assert (await at.ask(at.token(sub="eve", scope="vproc:admin"), f"/upload/{file.file_id}/status")).status == 200


@pytest.mark.parametrize(
    ("subject", "part"),
    [
        ("auth0|5f7c", "auth0%7C5f7c"),
        ("a/../b c", "a%2F..%2Fb%20c"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("ä@x.org", "%C3%A4%40x.org"),
        ("|" * 255, "%7C" * 255),
    ],
)
async def test_a_subject_owns_what_it_uploads_whatever_is_in_it(tmp_path: Path, subject: str, part: str) -> None:
    async with scene(tmp_path) as at:
        made = await at.api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=bearer(at.token(sub=subject)))
        assert made.status == 201
        assert made.json["s3_key"] == f"videos/{part}/{made.json['file_id']}.mp4"
        assert len(made.json["s3_key"]) <= 1024
        assert (await at.api.given.read(UUID(made.json["file_id"]))).owner == subject


async def test_an_api_key_is_taken_beside_tokens_and_may_have_the_same_owner(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        new = make_key(b"k" * 40)
        await at.api.catalog.create_key(new, owner="ann", scopes=frozenset({Scope.FILES}))
        made = await at.api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=bearer(at.token()))
        assert (await at.ask(new.token, f"/upload/{made.json['file_id']}/status")).status == 200


async def test_whoever_sends_nothing_is_told_what_to_send(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}):
            answer = await at.api.get("/uploads", headers=headers)
            assert answer.status == 401
            assert "access token of this API's issuer, or an API key" in answer.detail


# --- the issuer --------------------------------------------------------------------------------------------------------


async def flood(request: web.Request) -> web.StreamResponse:
    """A gigabyte, announced; and more if it is taken."""
    answer = web.StreamResponse()
    answer.content_length = 1024**3
    await answer.prepare(request)
    while True:
        await answer.write(b" " * 65536)


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b'{"keys": [' * 6000)


def saying(body: bytes = b"", status: int = 200, **headers: str) -> Callable[[web.Request], Any]:
    async def say(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return say


BROKEN = {
    "a gigabyte": flood,
    "an answer without end": endless,
    "a page": saying(b"<html>Sign in</html>"),
    "no key": saying(b'{"keys": []}'),
    "only secrets": saying(b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "ec", "alg": "HS256"}]}'),
    "a redirect": saying(status=302, Location="/elsewhere"),
    "an error": saying(b"{}", 500),
    "a bomb": saying(gzip.compress(b" " * 1_000_000), **{"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize("name", BROKEN)
async def test_an_issuer_that_is_broken_or_away_stops_tokens_alone(tmp_path: Path, name: str, path: str) -> None:
    """503 with ``Retry-After``; the daemon is ready, and API keys open as ever."""
    async with running_issuer(ELLIPTIC) as issuer:
        issuer.answers[path] = BROKEN[name]
        async with token_api(tmp_path, issuer) as api:
            token = issuer.token()
            with anyio.fail_after(20):
                answers = [await api.get("/uploads", headers=bearer(token)) for _ in range(3)]
            for answer in answers:
                assert answer.status == 503
                assert 1 <= int(answer.headers["Retry-After"]) <= 30
                assert "issuer" in answer.detail
            assert issuer.asked.count(path) == 1
            assert "/elsewhere" not in issuer.asked
            assert (await api.get("/readyz")).status == 200
            new = make_key(b"k" * 40)
            await api.catalog.create_key(new, owner="ann", scopes=frozenset({Scope.FILES}))
            assert (await api.get("/uploads", headers=bearer(new.token))).status == 200


async def test_an_issuer_of_another_name_is_not_believed(tmp_path: Path) -> None:
    async with running_issuer(ELLIPTIC) as issuer:
        issuer.told = {"issuer": "https://elsewhere.example"}
        async with token_api(tmp_path, issuer) as api:
            assert (await api.get("/uploads", headers=bearer(issuer.token()))).status == 503
        assert issuer.fetches == 0


async def test_keys_of_one_name_are_tried_each(tmp_path: Path) -> None:
    twins = [Signer("twin", number=1), Signer("twin", number=2)]
    async with running_issuer(*twins) as issuer, token_api(tmp_path, issuer) as api:
        for signer, status in ((twins[0], 200), (twins[1], 200), (Signer("twin", number=3), 401)):
            assert (await api.get("/uploads", headers=bearer(signer.sign(issuer.claims())))).status == status


async def test_an_issuer_that_returns_opens_again_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "APART_S", 0.0)
    async with running_issuer(ELLIPTIC) as issuer:
        issuer.answers[JWKS] = saying(status=500)
        async with token_api(tmp_path, issuer) as api:
            statuses = [(await api.get("/uploads", headers=bearer(issuer.token()))).status for _ in range(3)]
            del issuer.answers[JWKS]
            statuses.append((await api.get("/uploads", headers=bearer(issuer.token()))).status)
            assert statuses == [503, 503, 503, 200]
            issuer.answers[JWKS] = saying(status=500)
            new = Signer("newer", number=2)
            assert (await api.get("/uploads", headers=bearer(new.sign(issuer.claims())))).status == 503, "it cannot be known"
            assert (await api.get("/uploads", headers=bearer(issuer.token(sub="bob")))).status == 200, "known keys are kept"


async def test_keys_rotate_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "APART_S", 0.0)
    async with running_issuer(ELLIPTIC) as issuer, token_api(tmp_path, issuer) as api:
        for number in range(2, 5):
            issuer.keys.append(Signer(f"key-{number}", number=number))
            assert (await api.get("/uploads", headers=bearer(issuer.token()))).status == 200
        old = ELLIPTIC.sign(issuer.claims(sub="old"))
        del issuer.keys[0]
        assert (await api.get("/uploads", headers=bearer(Signer("none", number=9).sign(issuer.claims())))).status == 401
        assert (await api.get("/uploads", headers=bearer(old))).status == 401


# --- requests ----------------------------------------------------------------------------------------------------------


async def test_a_body_that_would_become_large_is_refused(tmp_path: Path) -> None:
    """A bomb is not inflated, whoever sends it; and a plain body has its bound."""
    async with scene(tmp_path) as at:
        headers = bearer(at.token()) | {"Content-Type": "application/json"}
        bomb = gzip.compress(b'{"file_name": "' + b"a" * 50_000_000)
        for more, body, status in (
            ({"Content-Encoding": "gzip"}, bomb, 415), ({}, b" " * 100_000, 413), ({"Content-Encoding": "br"}, b"x", 415),
        ):  # fmt: skip
            assert (await at.api.ask("POST", "/upload", data=body, headers=headers | more)).status == status
        unknown = await at.api.ask("POST", "/upload", data=bomb, headers={"Content-Encoding": "gzip"})
        assert unknown.status == 415


async def test_a_head_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte after byte does not keep it open: the time is that of the whole head."""
    monkeypatch.setattr(vproc.http, "_KEEPALIVE_S", 0.3)
    async with scene(tmp_path) as at, await anyio.connect_tcp("127.0.0.1", at.api.port) as connection:
        received = b""
        with anyio.fail_after(20):
            await connection.send(b"GET /uploads HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            try:
                while True:
                    with anyio.move_on_after(0.05):
                        received += await connection.receive()
                    await connection.send(b"a")
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
        assert received == b""
        assert (await at.api.get("/healthz")).status == 200


async def test_a_body_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vproc.api.body, "BODY_WITHIN_S", 0.2)
    async with scene(tmp_path) as at, await anyio.connect_tcp("127.0.0.1", at.api.port) as connection:
        head = (
            "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60\r\n"
            f"Authorization: Bearer {at.token()}\r\n\r\n"
        )
        await connection.send(head.encode() + b'{"file_name": ')
        with anyio.fail_after(20):
            assert (await connection.receive()).split(b" ")[1] == b"408"


async def test_a_head_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        assert (await at.ask(at.token(pad="x" * 9000))).status == 400
        assert (await at.ask(at.token(pad="x" * 5000))).status == 200
