"""The issuer over HTTP: whatever it answers costs little, and is said in words. A server on loopback misbehaves."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from tests.support.certificates import self_signed
from tests.support.issuer import DISCOVERY, JWKS, Handler, Signer, TokenIssuer, running_issuer
from vproc.errors import UnavailableError
from vproc.oidc import issuer as issuer_module
from vproc.oidc.issuer import MOST_BYTES, open_issuer
from vproc.oidc.jwk import VerifyingKey

GIB = 1024**3


@pytest.fixture
async def issuer() -> AsyncIterator[TokenIssuer]:
    async with running_issuer(Signer("one"), Signer("two", "RS256")) as running:
        yield running


async def fetched(issuer: TokenIssuer, jwks_url: str | None = None) -> tuple[VerifyingKey, ...]:
    with anyio.fail_after(20):
        async with open_issuer(issuer=issuer.issuer, jwks_url=jwks_url) as source:
            return await source.fetch_keys()


async def refusal(issuer: TokenIssuer, jwks_url: str | None = None) -> str:
    with pytest.raises(UnavailableError) as refused:
        await fetched(issuer, jwks_url)
    return refused.value.detail.replace(issuer.url, "")


def answering(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **named})

    return answer


class Flood:
    """Sends without end, or as much as it announces; ``sent_bytes`` is what was taken from it."""

    def __init__(self, announced_bytes: int | None = None) -> None:
        self._announced_bytes = announced_bytes
        self.sent_bytes = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.content_length = self._announced_bytes
        await answer.prepare(request)
        while True:
            await answer.write(b" " * 65536)
            self.sent_bytes += 65536


async def test_discovery_says_where_the_keys_are(issuer: TokenIssuer) -> None:
    assert [key.kid for key in await fetched(issuer)] == ["one", "two"]
    assert issuer.asked == [DISCOVERY, JWKS]


async def test_a_given_address_needs_no_discovery(issuer: TokenIssuer) -> None:
    assert len(await fetched(issuer, issuer.url + JWKS)) == 2
    assert issuer.asked == [JWKS]


@pytest.mark.parametrize("path", ["/", "/realms/video", "/realms/video/"])
async def test_an_issuer_may_have_a_path_and_a_last_slash(issuer: TokenIssuer, path: str) -> None:
    """Keycloak's has a path, Auth0's a slash: neither is doubled."""
    issuer.issuer = issuer.url + path
    at = path.rstrip("/") + DISCOVERY
    issuer.answers[at] = answering(json.dumps({"issuer": issuer.issuer, "jwks_uri": issuer.url + JWKS}).encode())
    assert len(await fetched(issuer)) == 2
    assert issuer.asked == [at, JWKS]


@pytest.mark.parametrize("said", ["https://evil.example", "", None, 7, "{url}/", "{url}x"])
async def test_discovery_must_name_the_issuer_to_the_letter(issuer: TokenIssuer, said: object) -> None:
    issuer.told = {"issuer": said.replace("{url}", issuer.url) if isinstance(said, str) else said}
    assert "VPROC_JWT_ISSUER must be the same to the letter" in await refusal(issuer)
    assert issuer.fetches == 0


@pytest.mark.parametrize(
    "url", [None, "", 7, "/jwks", "http://keys.example/jwks", "file:///etc/passwd", "https://a@b/jwks", "https://"]
)
async def test_keys_are_fetched_by_https_only(issuer: TokenIssuer, url: object) -> None:
    issuer.told = {"jwks_uri": url}
    assert "no https address for its keys" in await refusal(issuer)
    assert issuer.asked == [DISCOVERY]


@pytest.mark.parametrize("path", [DISCOVERY, JWKS])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON"),
        (b"<html>", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"keys": NaN}', "no JSON"),
    ],
)
async def test_what_is_no_json_is_said_to_be_none(issuer: TokenIssuer, path: str, body: bytes, words: str) -> None:
    issuer.answers[path] = answering(body)
    assert words in await refusal(issuer)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"keys"', b"7"])
async def test_json_of_another_shape_is_refused(issuer: TokenIssuer, body: bytes) -> None:
    issuer.answers[JWKS] = answering(body)
    assert "no JWK set" in await refusal(issuer)
    issuer.answers[DISCOVERY] = answering(body)
    assert "names the issuer None" in await refusal(issuer)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(issuer: TokenIssuer, status: int) -> None:
    issuer.answers[JWKS] = answering(b"", status, Location=f"{issuer.url}/elsewhere")
    assert await refusal(issuer) == f"{JWKS} answers {status}: a redirect is not followed"
    assert "/elsewhere" not in issuer.asked


@pytest.mark.parametrize("status", [204, 403, 404, 429, 500, 503])
async def test_another_status_is_told(issuer: TokenIssuer, status: int) -> None:
    issuer.answers[JWKS] = answering(b'{"keys": []}', status)
    assert await refusal(issuer) == f"{JWKS} answers {status}"


async def test_a_gigabyte_is_left_after_a_quarter_of_a_megabyte(issuer: TokenIssuer) -> None:
    issuer.answers[JWKS] = flood = Flood(GIB)
    assert await refusal(issuer) == f"{JWKS} answers more than 256 KiB"
    assert flood.sent_bytes < 64 * MOST_BYTES


async def test_an_answer_without_end_is_left_likewise(issuer: TokenIssuer) -> None:
    issuer.answers[JWKS] = flood = Flood()
    assert await refusal(issuer) == f"{JWKS} answers more than 256 KiB"
    assert flood.sent_bytes < 64 * MOST_BYTES


async def test_a_large_set_is_taken_to_its_bound(issuer: TokenIssuer) -> None:
    whole = json.dumps({"keys": [Signer().jwk()]}).encode()
    issuer.answers[JWKS] = answering(whole + b" " * (MOST_BYTES - len(whole)))
    assert len(await fetched(issuer)) == 1
    issuer.answers[JWKS] = answering(whole + b" " * (MOST_BYTES - len(whole) + 1))
    assert "more than 256 KiB" in await refusal(issuer)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
async def test_nothing_is_inflated(issuer: TokenIssuer, encoding: str) -> None:
    """A megabyte of nothing would be a gigabyte."""
    issuer.answers[JWKS] = answering(gzip.compress(b" " * 1_000_000), Content_Encoding=encoding)
    assert await refusal(issuer) == f"{JWKS} answers compressed, unasked"


@pytest.mark.parametrize("sends", [False, True])
async def test_an_answer_that_does_not_come_or_does_not_end_is_given_up(
    issuer: TokenIssuer, sends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_module, "WITHIN_S", 0.2)

    async def hang(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if sends:
            await answer.prepare(request)
            await answer.write(b'{"keys"')
        await anyio.sleep_forever()
        return answer

    issuer.answers[JWKS] = hang
    assert await refusal(issuer) == f"{JWKS} cannot be reached (no answer in time)"


async def test_a_connection_that_breaks_off_is_told(issuer: TokenIssuer) -> None:
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    issuer.answers[JWKS] = drop
    assert (await refusal(issuer)).startswith(f"{JWKS} cannot be reached (")


async def test_an_issuer_that_is_not_there_is_told_without_what_may_be_secret(issuer: TokenIssuer) -> None:
    gone = "http://127.0.0.1:1/jwks?key=hunter2"
    assert await refusal(issuer, gone) == "http://127.0.0.1:1/jwks cannot be reached (ClientConnectorError)"


async def test_nothing_but_a_plain_request_is_sent(issuer: TokenIssuer) -> None:
    seen: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        answer = web.json_response({"keys": [Signer().jwk()]})
        answer.set_cookie("a", "b")
        return answer

    issuer.answers[JWKS] = note
    async with open_issuer(issuer=issuer.issuer, jwks_url=issuer.url + JWKS) as source:
        for _ in range(2):
            await source.fetch_keys()
    assert [sorted(headers) for headers in seen] == [["Accept", "Accept-Encoding", "Host", "User-Agent"]] * 2
    assert seen[0]["Accept-Encoding"] == "identity"


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    async with running_issuer(tls=context) as issuer:
        assert issuer.issuer.startswith("https://")
        reason = await refusal(issuer)
        assert reason == f"{DISCOVERY} cannot be reached (ClientConnectorCertificateError)"
        assert issuer.asked == []


async def test_an_issuer_by_https_is_reached_through_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:

        async def refuse(connection: anyio.abc.SocketStream) -> None:
            async with connection:
                asked.append((await connection.receive()).partition(b"\r\n")[0])
                await connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        tasks.start_soon(listener.serve, refuse)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        async with open_issuer(issuer="https://issuer.example", jwks_url=None) as source:
            with pytest.raises(UnavailableError, match=r"https://issuer\.example/.* cannot be reached"):
                await source.fetch_keys()
        tasks.cancel_scope.cancel()
    assert asked == [b"CONNECT issuer.example:443 HTTP/1.1"]
