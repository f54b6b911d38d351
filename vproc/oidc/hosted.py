"""The user pool's own log-in pages, as an OAuth client: where the browser is sent, and the code that is traded for tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pydantic_core
from aiohttp import hdrs

from vproc import __version__
from vproc.errors import UnauthenticatedError, UnavailableError
from vproc.ports.accounts import Tokens

WITHIN_S = 10.0
MOST_BYTES = 64 * 1024
SCOPES = "openid email profile"


class HostedPages:
    """`ports.accounts.HostedLogin`. ``domain`` is the address of the pages, ``redirect_url`` where they send the browser back."""

    def __init__(
        self, session: aiohttp.ClientSession, *, domain: str, client_id: str, client_secret: str | None, redirect_url: str
    ) -> None:
        self._session = session
        self._domain = domain.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_url = redirect_url

    def address(self, *, state: str, challenge: str, nonce: str) -> str:
        """Where the browser is sent to."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_url,
            "scope": SCOPES,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._domain}/oauth2/authorize?{urlencode(query)}"

    async def redeem(self, code: str, *, verifier: str) -> Tokens:
        """The tokens for the code that the browser comes back with."""
        form = {
            "grant_type": "authorization_code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_url,
            "code": code,
            "code_verifier": verifier,
        }
        headers = {}
        if self._client_secret is not None:
            headers[hdrs.AUTHORIZATION] = aiohttp.encode_basic_auth(self._client_id, self._client_secret)
        try:
            async with self._session.post(
                f"{self._domain}/oauth2/token", data=form, headers=headers, allow_redirects=False
            ) as response:
                body, status = await _body(response), response.status
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"VPROC_COGNITO_DOMAIN cannot be reached ({type(error).__name__})") from error
        return _tokens(status, body)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        body += chunk
        if len(body) > MOST_BYTES:
            raise UnavailableError(f"VPROC_COGNITO_DOMAIN answers more than {MOST_BYTES // 1024} KiB")
    return bytes(body)


def _tokens(status: int, body: bytes) -> Tokens:
    said = _object(body)
    if status == HTTPStatus.BAD_REQUEST and said.get("error") == "invalid_grant":
        raise UnauthenticatedError("This log-in's code does not hold: it was used, or is too old. Begin again.")
    if status != HTTPStatus.OK:
        raise UnavailableError(f"VPROC_COGNITO_DOMAIN gives no tokens (HTTP {status}): are client id and secret right?")
    access, identity, refresh = (said.get(name) for name in ("access_token", "id_token", "refresh_token"))
    if not isinstance(access, str) or not isinstance(identity, str) or not isinstance(refresh, str | None):
        raise UnavailableError("VPROC_COGNITO_DOMAIN answers without tokens: is that the right address?")
    return Tokens(access, identity, refresh)


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


@asynccontextmanager
async def open_hosted_pages(
    *, domain: str, client_id: str, client_secret: str | None, redirect_url: str
) -> AsyncIterator[HostedPages]:
    """The pages, with connections of their own."""
    async with aiohttp.ClientSession(
        headers={hdrs.ACCEPT: "application/json", hdrs.USER_AGENT: f"vproc/{__version__}"},
        timeout=aiohttp.ClientTimeout(total=WITHIN_S),
        trust_env=domain.startswith("https:"),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield HostedPages(session, domain=domain, client_id=client_id, client_secret=client_secret, redirect_url=redirect_url)
