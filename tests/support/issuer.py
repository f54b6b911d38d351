"""An OpenID Connect issuer on loopback, which signs what a test wants, misbehaves as it wants, and counts who asks.

`Signer` is a key pair; `TokenIssuer` the server; `token_api` an API that believes it.
"""

from __future__ import annotations

import json
import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from tests.support.api import RunningApi, running_api
from vproc.api.identity import ApiKeyIdentity
from vproc.api.parts import Limits
from vproc.oidc.identity import MISSING, JwtIdentity
from vproc.oidc.keys import open_keys
from vproc.oidc.tokens import TokenVerifier
from vproc.ports import Caller, Identity, KeyStore

AUDIENCE = "https://video.example/api"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/jwks"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def b64(data: bytes) -> str:
    """Base64 as tokens have it."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def made_by_hand(header: Mapping[str, Any], payload: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make. A header or payload in bytes is taken as it is."""
    parts = [b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)]
    signed = ".".join(parts)
    return f"{signed}.{b64(sign(signed.encode()))}"


@cache
def private_key(algorithm: str, number: int) -> Any:
    """A key pair, made once for all tests."""
    assert number >= 0
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, slots=True)
class Signer:
    """A key pair under a name. Two of another ``number`` have another key."""

    kid: str | None = "one"
    algorithm: str = "ES256"
    number: int = 1

    @property
    def private(self) -> Any:
        """The half that signs."""
        return private_key(self.algorithm if self.algorithm[:2] in {"ES", "Ed"} else "RSA", self.number)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The half that is published. A member that is ``...`` is left out."""
        told = json.loads(get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key()))
        told |= {"use": "sig", "alg": self.algorithm} | ({"kid": self.kid} if self.kid is not None else {})
        return {name: value for name, value in (told | changes).items() if value is not ... and name != "key_ops"}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token, with this in its header beside what is usual."""
        named = {"kid": self.kid} if self.kid is not None else {}
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers=named | header)

    def raw(self, message: bytes) -> bytes:
        """A signature."""
        signed: bytes = get_default_algorithms()[self.algorithm].sign(message, self.private)
        return signed


@dataclass(slots=True)
class TokenIssuer:
    """The server. ``keys`` are published; ``asked`` are the paths in their order; ``answers`` stand in for what it would say."""

    url: str = ""
    keys: list[Signer] = field(default_factory=lambda: [Signer()])
    asked: list[str] = field(default_factory=list)
    answers: dict[str, Handler] = field(default_factory=dict)
    issuer: str = ""
    told: dict[str, Any] = field(default_factory=dict)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """An access token's of ann, for an hour. A claim that is ``...`` is left out."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 3600, "scope": "openid"}
        return {name: value for name, value in (usual | changes).items() if value is not ...}

    def token(self, **changes: Any) -> str:
        """A token by the newest key."""
        return self.keys[-1].sign(self.claims(**changes))

    @property
    def fetches(self) -> int:
        """How often the keys were fetched."""
        return self.asked.count(JWKS)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever is asked for."""
        self.asked.append(request.path)
        if (handler := self.answers.get(request.path)) is not None:
            return await handler(request)
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.issuer, "jwks_uri": self.url + JWKS} | self.told)
        if request.path == JWKS:
            return web.json_response({"keys": [key.jwk() for key in self.keys]})
        return web.Response(status=404)


@asynccontextmanager
async def running_issuer(*keys: Signer, tls: ssl.SSLContext | None = None) -> AsyncIterator[TokenIssuer]:
    """An issuer on a port of its own; by https where it has a certificate."""
    issuer = TokenIssuer()
    if keys:
        issuer.keys = list(keys)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", issuer.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        issuer.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        issuer.issuer = issuer.url
        yield issuer
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class LateIdentity:
    """An identity over the catalog of an API that is made after it."""

    make: Callable[[KeyStore], Identity]
    inner: Identity | None = None

    def over(self, keys: KeyStore) -> None:
        """From now on it can tell."""
        self.inner = self.make(keys)

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The port's."""
        assert self.inner is not None
        return await self.inner.identify(authorization, cookies)


@asynccontextmanager
async def token_api(
    folder: Path,
    issuer: TokenIssuer,
    *,
    audience: tuple[str, ...] = (AUDIENCE,),
    jwks_url: str | None = None,
    clock: Callable[[], float] = time.time,
    limits: Limits | None = None,
) -> AsyncIterator[RunningApi]:
    """An API with ``VPROC_AUTH=jwt`` and this issuer, as the daemon opens it. ``clock`` is what tokens are held against."""
    async with open_keys(issuer=issuer.issuer, jwks_url=jwks_url) as keys:
        verifier = TokenVerifier(issuer=issuer.issuer, keys=keys, audience=audience, token_use="access", clock=clock)
        identity = LateIdentity(lambda store: JwtIdentity(verifier, beside=ApiKeyIdentity(store, missing=MISSING)))
        async with running_api(folder, identity=identity, limits=limits) as api:
            identity.over(api.catalog)
            yield api


def bearer(token: str) -> dict[str, str]:
    """The header that a token is sent in."""
    return {"Authorization": f"Bearer {token}"}
