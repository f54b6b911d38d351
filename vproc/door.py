"""The part of the composition root that is about who asks: the identity that ``VPROC_AUTH`` names, and the accounts behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from vproc.api.access import OpenIdentity
from vproc.api.identity import ApiKeyIdentity
from vproc.api.token_cookies import CookieIdentity
from vproc.aws.cognito import open_pool
from vproc.core.claims import ACCESS, ID
from vproc.db.catalog import SqlCatalog
from vproc.oidc.hosted import open_hosted_pages
from vproc.oidc.identity import MISSING, JwtIdentity, open_jwt_identity
from vproc.oidc.keys import open_keys
from vproc.oidc.tokens import TokenVerifier
from vproc.ports import AccountParts, HostedLogin, Identity
from vproc.settings import AuthMode, Settings, is_loopback

NO_LOG_IN = "Log in (POST /auth/log-in), or send an access token or an API key: Authorization: Bearer …"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """How callers prove who they are. ``accounts`` None: they have no accounts here."""

    identity: Identity
    accounts: AccountParts | None = None


@asynccontextmanager
async def open_door(settings: Settings, catalog: SqlCatalog) -> AsyncIterator[Door]:
    """The door that the settings name, with the clients that it needs."""
    async with AsyncExitStack() as stack:
        match settings.auth:
            case AuthMode.COGNITO:
                yield await _cognito(settings, catalog, stack)
            case AuthMode.JWT:
                keys = ApiKeyIdentity(catalog, missing=MISSING)
                tokens = open_jwt_identity(
                    issuer=settings.jwt_issuer or "", audience=settings.jwt_audience, jwks_url=settings.jwt_jwks_url, beside=keys
                )
                yield Door(await stack.enter_async_context(tokens))
            case AuthMode.API_KEY:
                yield Door(ApiKeyIdentity(catalog))
            case _:
                if not is_loopback(settings.host):
                    remedy = "VPROC_AUTH=api-key: anybody who reaches this may see and delete all"
                    log.warning("auth_none", host=settings.host, remedy=remedy)
                yield Door(OpenIdentity())


async def _cognito(settings: Settings, catalog: SqlCatalog, stack: AsyncExitStack) -> Door:
    client_id = settings.cognito_client_id or ""
    secret = settings.cognito_client_secret.get_secret_value() if settings.cognito_client_secret is not None else None
    pool = await stack.enter_async_context(
        open_pool(user_pool_id=settings.cognito_user_pool_id or "", client_id=client_id, client_secret=secret)
    )
    keys = await stack.enter_async_context(open_keys(issuer=pool.issuer, jwks_url=pool.jwks_url))
    access, identity = (
        TokenVerifier(issuer=pool.issuer, keys=keys, audience=(client_id,), token_use=use) for use in (ACCESS, ID)
    )
    hosted: HostedLogin | None = None
    if settings.cognito_domain is not None:
        hosted = await stack.enter_async_context(
            open_hosted_pages(
                domain=settings.cognito_domain,
                client_id=client_id,
                client_secret=secret,
                redirect_url=settings.cognito_redirect_url or "",
            )
        )
    beside = JwtIdentity(access, beside=ApiKeyIdentity(catalog, missing=NO_LOG_IN))
    return Door(
        CookieIdentity(access, beside=beside),
        AccountParts(accounts=pool.accounts, access=access, identity=identity, users=catalog, hosted=hosted),
    )
