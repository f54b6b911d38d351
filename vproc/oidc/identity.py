"""``VPROC_AUTH=jwt``: who a request comes from, by an issuer's access token; API keys and sessions are taken beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from vproc.core.api_keys import KEY_PREFIX
from vproc.core.claims import ACCESS
from vproc.errors import UnauthenticatedError
from vproc.oidc.keys import open_keys
from vproc.oidc.tokens import TokenVerifier
from vproc.ports import Caller, Identity, TokenCheck

MISSING = "Send an access token of this API's issuer, or an API key: Authorization: Bearer …"


class JwtIdentity:
    """A token's subject is the owner. What is no token, an API key or a cookie, is for ``beside`` to tell."""

    def __init__(self, tokens: TokenCheck, *, beside: Identity) -> None:
        self._tokens = tokens
        self._beside = beside

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The token's subject. A header that is wrong is refused, whatever cookie comes with it."""
        scheme, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if authorization is None or credential.startswith(KEY_PREFIX):
            return await self._beside.identify(authorization, cookies)
        if scheme.lower() != "bearer" or not credential:
            raise UnauthenticatedError(MISSING)
        claims = await self._tokens.verify(credential)
        return Caller(claims.subject, admin=claims.admin, expires_at=claims.expires_at)


@asynccontextmanager
async def open_jwt_identity(
    *, issuer: str, audience: tuple[str, ...], jwks_url: str | None, beside: Identity
) -> AsyncIterator[JwtIdentity]:
    """The identity of an issuer's tokens. Opening waits for no issuer: until its keys are there, tokens are answered 503."""
    async with open_keys(issuer=issuer, jwks_url=jwks_url) as keys:
        yield JwtIdentity(TokenVerifier(issuer=issuer, keys=keys, audience=audience, token_use=ACCESS), beside=beside)
