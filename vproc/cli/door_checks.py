"""What `vproc doctor` looks at of those who prove who callers are: an issuer of tokens, a user pool with its app client, and this
machine's clock, by which tokens are judged. Nothing is changed; at the pool nobody's log-in is tried, and refused.
"""

from __future__ import annotations

import secrets
from functools import partial

from vproc.aws.cognito import OpenPool, open_pool
from vproc.cli.findings import Finding, Level, Tell, tried
from vproc.core.claims import LEEWAY_S
from vproc.errors import ConfigError, ConflictError, RequestError, UnauthenticatedError
from vproc.oidc.issuer import Issuer, open_issuer
from vproc.settings import AuthMode, Settings

_NOBODY = "doctor@vproc.invalid"
_JWT = {"jwt_issuer", "jwt_jwks_url"}
_COGNITO = {"cognito_user_pool_id", "cognito_client_id"}


async def examine_door(settings: Settings, unknown: frozenset[str], tell: Tell) -> None:
    """The checks of ``VPROC_AUTH``, as far as its settings are known."""
    if settings.auth is AuthMode.JWT and not unknown & _JWT:
        issuer, jwks_url = settings.jwt_issuer or "", settings.jwt_jwks_url
        await _examine_issuer("issuer", issuer, jwks_url, "start it, or correct VPROC_JWT_ISSUER or VPROC_JWT_JWKS_URL", tell)
    if settings.auth is AuthMode.COGNITO and not unknown & _COGNITO:
        await _examine_pool(settings, tell)


async def _examine_issuer(check: str, issuer: str, jwks_url: str | None, remedy: str, tell: Tell) -> None:
    async with open_issuer(issuer=issuer, jwks_url=jwks_url) as opened:
        tell(await tried(check, partial(_keys, opened, issuer), remedy))
        if (clock := _clock(opened.ahead_s)) is not None:
            tell(clock)


async def _keys(opened: Issuer, issuer: str) -> str:
    keys = await opened.fetch_keys()
    algorithms = sorted({algorithm for key in keys for algorithm in key.algorithms})
    return f"{issuer} gives {len(keys)} keys, for {', '.join(algorithms)}"


def _clock(ahead_s: float | None) -> Finding | None:
    """How far the other side's clock is ahead of ours, where it told: tokens are judged by ours."""
    if ahead_s is None:
        return None
    which = "behind" if ahead_s > 0 else "ahead of"
    detail = f"this machine's is {abs(ahead_s):.0f} s {which} the issuer's; tokens allow {LEEWAY_S:.0f} s"
    if abs(ahead_s) < LEEWAY_S:
        return Finding("clock", Level.OK, detail)
    return Finding("clock", Level.FAILURE, f"{detail}: good ones are refused", "set it by NTP: `timedatectl` says whether it is")


async def _examine_pool(settings: Settings, tell: Tell) -> None:
    pool_id, client_id = settings.cognito_user_pool_id or "", settings.cognito_client_id or ""
    secret = settings.cognito_client_secret.get_secret_value() if settings.cognito_client_secret is not None else None
    region = pool_id.partition("_")[0]
    remedy = f"correct VPROC_COGNITO_USER_POOL_ID, or let this machine reach Cognito of {region} by https"
    try:
        async with open_pool(user_pool_id=pool_id, client_id=client_id, client_secret=secret) as pool:
            await _examine_issuer("user_pool", pool.issuer, pool.jwks_url, remedy, tell)
            client_remedy = "compare VPROC_COGNITO_CLIENT_ID and VPROC_COGNITO_CLIENT_SECRET with the app client in the pool"
            tell(await tried("app_client", partial(_client, pool, client_id), client_remedy))
    except ConfigError as error:
        tell(Finding("user_pool", Level.FAILURE, "; ".join(error.faults), remedy))


async def _client(pool: OpenPool, client_id: str) -> str:
    """Log nobody in: what is refused because there is nobody came as far as a password."""
    try:
        await pool.accounts.log_in(_NOBODY, secrets.token_urlsafe(24))
    except (UnauthenticatedError, ConflictError):
        return f"{client_id} takes log-ins by password"
    except RequestError as error:
        raise ConfigError(error.detail) from error
    raise ConfigError(f"the pool let {_NOBODY} in, whom there is not, with any password")
