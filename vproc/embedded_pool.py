"""A Cognito user pool in this process, for `vproc dev --auth cognito` and tests: moto's, with what moto lacks: codes are checked,
sent again (nowhere: there is one code for everybody), refresh tokens are rotated and revoked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vproc.errors import ConfigError

CODE = "123456"
"""The code that every mail would hold."""
_READABLE = ["email", "email_verified", "name"]


@dataclass(frozen=True, slots=True)
class EmbeddedPool:
    """A pool and its app client."""

    user_pool_id: str
    client_id: str

    @property
    def settings(self) -> dict[str, str]:
        """Settings of a daemon that is to use it."""
        return {"cognito_user_pool_id": self.user_pool_id, "cognito_client_id": self.client_id}

    @property
    def told(self) -> dict[str, str]:
        """What the ready line of `vproc dev` tells of it."""
        return {**self.settings, "cognito_code": CODE}

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process that is to use it."""
        return {"VPROC_COGNITO_USER_POOL_ID": self.user_pool_id, "VPROC_COGNITO_CLIENT_ID": self.client_id}


async def make_pool(client: Any) -> EmbeddedPool:
    """Make a pool whose users sign in by e-mail, with an app client for vproc. ``client`` is one of ``cognito-idp``."""
    _complete_moto()
    pool = await client.create_user_pool(PoolName="vproc", UsernameAttributes=["email"], AutoVerifiedAttributes=["email"])
    user_pool_id = str(pool["UserPool"]["Id"])
    app = await client.create_user_pool_client(
        UserPoolId=user_pool_id,
        ClientName="vproc",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"],
        ReadAttributes=_READABLE,
        PreventUserExistenceErrors="ENABLED",
        EnableTokenRevocation=True,
        RefreshTokenRotation={"Feature": "ENABLED", "RetryGracePeriodSeconds": 0},
    )
    await client.create_group(UserPoolId=user_pool_id, GroupName="vproc-admin")
    return EmbeddedPool(user_pool_id, str(app["UserPoolClient"]["ClientId"]))


def _complete_moto() -> None:
    """Teach moto the calls that it does not know, once a process, and have it look at codes."""
    try:
        from moto.cognitoidp.responses import CognitoIdpResponse  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise ConfigError('the embedded user pool needs moto with joserfc: pip install "vproc[dev]"') from error
    responses: Any = CognitoIdpResponse
    if hasattr(responses, "revoke_token"):
        return
    for name in ("confirm_sign_up", "confirm_forgot_password"):
        setattr(responses, name, _with_the_code(getattr(responses, name)))
    responses.resend_confirmation_code = _resend_confirmation_code
    responses.revoke_token = _revoke_token
    responses.get_tokens_from_refresh_token = _get_tokens_from_refresh_token


def _with_the_code(take: Any) -> Any:
    def taken(request: Any) -> Any:
        from moto.cognitoidp.exceptions import CodeMismatchException  # noqa: PLC0415 - an extra, and heavy

        if _parameter(request, "ConfirmationCode") != CODE:
            raise CodeMismatchException("Invalid verification code provided, please try again.")
        return take(request)

    return taken


def _resend_confirmation_code(_: Any) -> Any:
    from moto.core.responses import EmptyResult  # noqa: PLC0415 - an extra, and heavy

    return EmptyResult()


def _revoke_token(request: Any) -> Any:
    from moto.core.responses import EmptyResult  # noqa: PLC0415 - an extra, and heavy

    _pool_of(request).refresh_tokens[_parameter(request, "Token")] = None
    return EmptyResult()


def _get_tokens_from_refresh_token(request: Any) -> Any:
    from moto.cognitoidp.exceptions import NotAuthorizedError  # noqa: PLC0415 - an extra, and heavy
    from moto.core.responses import ActionResult  # noqa: PLC0415 - likewise

    pool, token = _pool_of(request), _parameter(request, "RefreshToken")
    if (held := pool.refresh_tokens.get(token)) is None:
        raise NotAuthorizedError("Refresh Token has been revoked")
    access, identity, expires_in = pool.create_tokens_from_refresh_token(token)
    rotated, _ = pool.create_refresh_token(held[0], held[1])
    pool.refresh_tokens[token] = None
    result = {"AccessToken": access, "IdToken": identity, "RefreshToken": rotated, "ExpiresIn": expires_in}
    return ActionResult({"AuthenticationResult": result | {"TokenType": "Bearer"}})


def _pool_of(request: Any) -> Any:
    client_id = _parameter(request, "ClientId")
    backend = request._get_region_agnostic_backend()._find_backend_for_clientid(client_id)  # noqa: SLF001 - moto's way
    return next(pool for pool in backend.user_pools.values() if client_id in pool.clients)


def _parameter(request: Any, name: str) -> Any:
    return request._get_param(name)  # noqa: SLF001 - moto's way
