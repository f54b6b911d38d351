"""An OpenID Connect issuer over HTTP: its discovery, and the keys that it publishes. Every answer is bounded in size and time,
no redirect is followed, and nothing is inflated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pydantic_core
from aiohttp import hdrs

from vproc import __version__
from vproc.errors import UnavailableError
from vproc.oidc.jwk import VerifyingKey, read_key_set
from vproc.settings import is_trusted_address

MOST_BYTES = 256 * 1024
WITHIN_S = 5.0
_DISCOVERY = "/.well-known/openid-configuration"
_CHUNK_BYTES = 16 * 1024
_MOST_SHOWN = 200


class Issuer:
    """One issuer. ``jwks_url`` None: its discovery says where its keys are.

    ``ahead_s``: how far the clock of what answered last is ahead of ours, by its ``Date``; None where it told none.
    """

    def __init__(self, session: aiohttp.ClientSession, *, issuer: str, jwks_url: str | None) -> None:
        self.ahead_s: float | None = None
        self._session = session
        self._issuer = issuer
        self._jwks_url = jwks_url

    async def fetch_keys(self) -> tuple[VerifyingKey, ...]:
        """All keys that verify. Raises `UnavailableError`, whose detail says what is wrong with what answered."""
        url = self._jwks_url or await self._discovered()
        return read_key_set(await self._fetch(url))

    async def _discovered(self) -> str:
        """Where the keys are. Asked every time: an issuer may move them."""
        url = self._issuer.removesuffix("/") + _DISCOVERY
        document = await self._fetch(url)
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            said = repr(document.get("issuer") if isinstance(document, dict) else None)[:_MOST_SHOWN]
            raise UnavailableError(f"{url} names the issuer {said}: VPROC_JWT_ISSUER must be the same to the letter")
        jwks_url = document.get("jwks_uri")
        if not isinstance(jwks_url, str) or not is_trusted_address(jwks_url):
            raise UnavailableError(f"{url} names no https address for its keys (jwks_uri)")
        return jwks_url

    async def _fetch(self, url: str) -> Any:
        """The JSON at an address."""
        shown = _shown(url)
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                self.ahead_s = _ahead_s(response.headers)
                body = await _body(response, shown)
        except (aiohttp.ClientError, OSError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
            raise UnavailableError(f"{shown} cannot be reached ({reason})") from error
        try:
            return pydantic_core.from_json(body, allow_inf_nan=False)
        except ValueError:
            raise UnavailableError(f"{shown} answers what is no JSON") from None


async def _body(response: aiohttp.ClientResponse, shown: str) -> bytes:
    if response.status != HTTPStatus.OK:
        moved = ": a redirect is not followed" if response.status in range(300, 400) else ""
        raise UnavailableError(f"{shown} answers {response.status}{moved}")
    if response.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise UnavailableError(f"{shown} answers compressed, unasked")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > MOST_BYTES:
            raise UnavailableError(f"{shown} answers more than {MOST_BYTES // 1024} KiB")
    return bytes(body)


def _ahead_s(headers: Mapping[str, str]) -> float | None:
    """By ``Date``, which a cache leaves as it was and tells the ``Age`` of (RFC 9111, section 4.2.3)."""
    try:
        told_at = parsedate_to_datetime(headers[hdrs.DATE])
        age = timedelta(seconds=int(headers.get(hdrs.AGE, "0")))
        return (told_at + age - datetime.now(UTC)).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def _shown(url: str) -> str:
    """An address for a message: without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@asynccontextmanager
async def open_issuer(*, issuer: str, jwks_url: str | None) -> AsyncIterator[Issuer]:
    """An issuer with connections of its own, through the environment's proxy where it is reached by https."""
    headers: Mapping[str, str] = {
        hdrs.ACCEPT: "application/json",
        hdrs.ACCEPT_ENCODING: "identity",
        hdrs.USER_AGENT: f"vproc/{__version__}",
    }
    async with aiohttp.ClientSession(
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=WITHIN_S),
        auto_decompress=False,
        trust_env=(jwks_url or issuer).startswith("https:"),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield Issuer(session, issuer=issuer, jwks_url=jwks_url)
