"""Accounts in a Cognito user pool, called as an app client calls it: without AWS credentials, so no IAM rights are needed.

The app client must allow ``ALLOW_USER_PASSWORD_AUTH`` and token revocation (both may be set at any time), and the pool must sign
users in by e-mail. Refresh tokens are rotated where the app client has rotation. The password goes to Cognito as it came here, by
TLS: with SRP this process would know it just as well, and Cognito would tell who has no account.

Nothing that Cognito says is passed on: its messages hold what was sent.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from vproc import __version__
from vproc.aws.errors import code_of, translated
from vproc.errors import (
    ConfigError,
    ConflictError,
    InvalidRequestError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnavailableError,
)
from vproc.ports.accounts import Tokens

WRONG_LOG_IN = (
    "Wrong e-mail address or password, or too many were tried: then wait a while. "
    "POST /auth/forgot-password lets you set another password."
)
WRONG_CODE = (
    "code: it is wrong, was used, has expired, or too many were tried. POST /auth/resend or /auth/forgot-password sends another."
)
ENDED = "This session has ended: log in again."
RETRY_AFTER_S = 5
_BAD_FIELD = "A field has a form that the user pool does not take."

_THROTTLED = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded"})
_OF_PASSWORD = frozenset({"InvalidPasswordException", "PasswordHistoryPolicyViolationException"})
_OF_OWN_RULES = frozenset({"UserLambdaValidationException"})
# What Cognito answers according to whether there is such an account, and in which state: nobody learns which of them it was.
_OF_ACCOUNT = frozenset(
    {
        "UserNotFoundException", "UsernameExistsException", "AliasExistsException", "NotAuthorizedException",
        "LimitExceededException", "TooManyFailedAttemptsException", "CodeMismatchException", "ExpiredCodeException",
        "UserNotConfirmedException", "PasswordResetRequiredException", "InvalidParameterException",
        "RefreshTokenReuseException", "CodeDeliveryFailureException",
    }
)  # fmt: skip
_CANNOT_REVOKE = frozenset({"UnsupportedOperationException", "UnsupportedTokenTypeException", "UnauthorizedException"})

log = structlog.stdlib.get_logger(__name__)


class _RefusedError(Exception):
    """Cognito's refusal on account of the account. ``code`` is its own."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class CognitoAccounts:
    """`ports.accounts.Accounts` over a user pool."""

    def __init__(self, client: Any, *, client_id: str, client_secret: str | None) -> None:
        self._client = client
        self._client_id = client_id
        self._client_secret = client_secret

    async def sign_up(self, email: str, password: str, name: str | None) -> None:
        """Begin an account and send its code; nothing where there is one."""
        attributes = [{"Name": "email", "Value": email}, *([{"Name": "name", "Value": name}] if name else [])]
        call = self._client.sign_up(**self._of(email), Password=password, UserAttributes=attributes)
        await self._unless_refused(call, "sign up", but={"InvalidParameterException"})

    async def confirm(self, email: str, code: str) -> None:
        """Confirm an account by its code."""
        with _words_for_codes():
            await self._called(self._client.confirm_sign_up(**self._of(email), ConfirmationCode=code), "confirm an account")

    async def resend(self, email: str) -> None:
        """Send another code; nothing where no account awaits one."""
        await self._unless_refused(self._client.resend_confirmation_code(**self._of(email)), "send a code")

    async def log_in(self, email: str, password: str) -> Tokens:
        """Tokens for a password."""
        parameters = {"USERNAME": email, "PASSWORD": password}
        if self._client_secret is not None:
            parameters["SECRET_HASH"] = self._secret_hash(email)
        call = self._client.initiate_auth(ClientId=self._client_id, AuthFlow="USER_PASSWORD_AUTH", AuthParameters=parameters)
        try:
            answer = await self._called(call, "log in")
        except _RefusedError as error:
            raise _refused_log_in(error.code) from None
        if (challenge := answer.get("ChallengeName")) is not None:
            raise ConflictError(f"This account needs another step ({challenge}), which GET /auth/authorize offers.")
        return _tokens(answer)

    async def refresh(self, token: str) -> Tokens:
        """New tokens for a refresh token."""
        secret = {"ClientSecret": self._client_secret} if self._client_secret is not None else {}
        call = self._client.get_tokens_from_refresh_token(RefreshToken=token, ClientId=self._client_id, **secret)
        try:
            return _tokens(await self._called(call, "refresh a session"))
        except _RefusedError:
            raise UnauthenticatedError(ENDED) from None

    async def log_out(self, token: str) -> None:
        """End a refresh token and those that came of it."""
        secret = {"ClientSecret": self._client_secret} if self._client_secret is not None else {}
        await self._unless_refused(self._client.revoke_token(Token=token, ClientId=self._client_id, **secret), "end a session")

    async def forgot_password(self, email: str) -> None:
        """Send a code for a new password; nothing where there is no account."""
        await self._unless_refused(self._client.forgot_password(**self._of(email)), "send a code")

    async def reset_password(self, email: str, code: str, password: str) -> None:
        """Set a password by a code."""
        call = self._client.confirm_forgot_password(**self._of(email), ConfirmationCode=code, Password=password)
        with _words_for_codes():
            await self._called(call, "set a password")

    def _of(self, email: str) -> dict[str, str]:
        secret = {"SecretHash": self._secret_hash(email)} if self._client_secret is not None else {}
        return {"ClientId": self._client_id, "Username": email, **secret}

    def _secret_hash(self, email: str) -> str:
        """Cognito's proof that the caller knows the app client's secret (its guide: "Computing secret hash values")."""
        message = f"{email}{self._client_id}".encode()
        return b64encode(hmac.digest((self._client_secret or "").encode(), message, "sha256")).decode()

    async def _unless_refused(self, call: Awaitable[Any], action: str, *, but: Collection[str] = ()) -> None:
        """Make a call whose refusal is not told, but for those codes: they are not about the account."""
        try:
            await self._called(call, action)
        except _RefusedError as error:
            if error.code in but:
                raise InvalidRequestError(_BAD_FIELD) from None
            log.info("account_refused", action=action, code=error.code)

    async def _called(self, call: Awaitable[Any], action: str) -> Mapping[str, Any]:
        """The answer to a call. Raises `_RefusedError` beside what `Accounts` says."""
        with translated(f"{action} with Cognito"):
            try:
                answer: Mapping[str, Any] = await call
            except ParamValidationError:
                raise InvalidRequestError(_BAD_FIELD) from None
            except ClientError as error:
                _raise_ours(error, action)
                raise
        return answer


def _raise_ours(error: ClientError, action: str) -> None:
    """Raise what a refusal of Cognito's means; return where it is for `translated` to tell."""
    code, message = code_of(error), str(error.response.get("Error", {}).get("Message", "")).lower()
    if code in _THROTTLED:
        detail = "Too many requests for accounts are being made at the moment. Try again shortly."
        raise TooManyRequestsError(detail, retry_after_s=RETRY_AFTER_S) from None
    if code in _OF_PASSWORD:
        detail = (
            "password: it does not meet the rules: length, upper and lower case, digits, special characters, none used before."
        )
        raise InvalidRequestError(detail) from None
    if code in _OF_OWN_RULES:
        raise InvalidRequestError("The user pool's own rules refuse this.") from None
    if code in _CANNOT_REVOKE:
        raise UnavailableError(f"cannot {action} with Cognito: {code}: the app client takes EnableTokenRevocation") from None
    if code == "NotAuthorizedException" and "secret" in message:
        raise UnavailableError(
            f"cannot {action} with Cognito: {code}: VPROC_COGNITO_CLIENT_SECRET is not the app client's"
        ) from None
    if code == "InvalidParameterException" and "user_password_auth" in message:
        raise UnavailableError(f"cannot {action} with Cognito: {code}: the app client takes ALLOW_USER_PASSWORD_AUTH") from None
    if code == "ResourceNotFoundException":
        detail = f"cannot {action} with Cognito: {code}: VPROC_COGNITO_CLIENT_ID names no app client of the pool"
        raise UnavailableError(detail) from None
    if code in _OF_ACCOUNT:
        raise _RefusedError(code) from None


def _refused_log_in(code: str) -> UnauthenticatedError | ConflictError:
    """Cognito tells that an account awaits its confirmation only to whoever knows its password."""
    if code == "UserNotConfirmedException":
        return ConflictError("This account awaits its confirmation: POST /auth/confirm with the code that was sent.")
    return UnauthenticatedError(WRONG_LOG_IN)


@contextmanager
def _words_for_codes() -> Iterator[None]:
    try:
        yield
    except _RefusedError:
        raise InvalidRequestError(WRONG_CODE) from None


def _tokens(answer: Mapping[str, Any]) -> Tokens:
    result = answer.get("AuthenticationResult", {})
    if "AccessToken" not in result:
        raise UnavailableError("Cognito answers without tokens: is that the right address?")
    return Tokens(result["AccessToken"], result.get("IdToken"), result.get("RefreshToken"))


@dataclass(frozen=True, slots=True)
class OpenPool:
    """A pool that can be called. ``issuer`` is what its tokens name, ``jwks_url`` where its keys are."""

    accounts: CognitoAccounts
    issuer: str
    jwks_url: str


@asynccontextmanager
async def open_pool(*, user_pool_id: str, client_id: str, client_secret: str | None) -> AsyncIterator[OpenPool]:
    """The accounts of a user pool, in the region that its id names. Raises `ConfigError` for botocore's own configuration."""
    region = user_pool_id.partition("_")[0]
    config = AioConfig(
        signature_version=UNSIGNED,
        user_agent_extra=f"vproc/{__version__}",
        connect_timeout=3,
        read_timeout=10,
        max_pool_connections=16,
        # A retry would send a second code, or use up a refresh token that was rotated.
        retries={"mode": "standard", "total_max_attempts": 1},
        warm_up_loader_caches=True,
    )
    made = AioSession().create_client("cognito-idp", region_name=region, config=config)
    try:
        client = await made.__aenter__()
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"AWS configuration: {error}") from error
    try:
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        issuer = f"https://cognito-idp.{region}.{domain}/{user_pool_id}"
        endpoint = str(client.meta.endpoint_url).rstrip("/")
        # Another endpoint (AWS_ENDPOINT_URL) is a stand-in: its tokens name AWS as their issuer, its keys are its own.
        on_aws = (urlsplit(endpoint).hostname or "").endswith(f".{domain}")
        base = issuer if on_aws else f"{endpoint}/{user_pool_id}"
        yield OpenPool(
            CognitoAccounts(client, client_id=client_id, client_secret=client_secret), issuer, f"{base}/.well-known/jwks.json"
        )
    finally:
        await made.__aexit__(None, None, None)
