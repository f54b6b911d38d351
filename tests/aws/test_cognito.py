"""Accounts over moto's Cognito, and what Cognito's refusals become, by a server that answers as it is told."""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from vproc.aws.cognito import ENDED, WRONG_CODE, WRONG_LOG_IN, CognitoAccounts, open_pool
from vproc.embedded import embedded_aws
from vproc.embedded_pool import CODE
from vproc.errors import (
    ConflictError,
    InvalidRequestError,
    TooManyRequestsError,
    TransientError,
    UnauthenticatedError,
    UnavailableError,
)

POOL = "eu-central-1_abc"
EMAIL, PASSWORD = "ann@example.com", "Correct-horse-1"
SECRET = "hush" * 8


@dataclass(slots=True)
class Scripted:
    """A Cognito that answers what it is told and remembers what it was asked."""

    status: int = 200
    answer: Any = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)

    def refuse(self, code: str, message: str = "No.", status: int = 400) -> None:
        """From now on."""
        self.status, self.answer = status, {"__type": code, "message": message}

    async def handle(self, request: web.Request) -> web.Response:
        """Whatever is called."""
        self.asked.append((request.headers["X-Amz-Target"].partition(".")[2], await request.json()))
        self.headers.append(request.headers)
        body = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(status=self.status, text=body, content_type="application/x-amz-json-1.1")


@asynccontextmanager
async def scripted(monkeypatch: pytest.MonkeyPatch, secret: str | None = None) -> AsyncIterator[tuple[Scripted, CognitoAccounts]]:
    """Accounts over such a server."""
    cognito = Scripted()
    app = web.Application()
    app.router.add_post("/", cognito.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", f"http://127.0.0.1:{runner.addresses[0][1]}")
        async with open_pool(user_pool_id=POOL, client_id="client", client_secret=secret) as pool:
            yield cognito, pool.accounts
    finally:
        await runner.cleanup()


async def call(accounts: CognitoAccounts, name: str) -> Any:
    """Call one by its name."""
    arguments = {
        "sign_up": (EMAIL, PASSWORD, "Ann"),
        "confirm": (EMAIL, "1"),
        "resend": (EMAIL,),
        "log_in": (EMAIL, PASSWORD),
        "refresh": ("token",),
        "log_out": ("token",),
        "forgot_password": (EMAIL,),
        "reset_password": (EMAIL, "1", PASSWORD),
    }
    return await getattr(accounts, name)(*arguments[name])


CALLS = ("sign_up", "confirm", "resend", "log_in", "refresh", "log_out", "forgot_password", "reset_password")


@pytest.fixture
async def accounts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CognitoAccounts]:
    """Accounts in a pool of moto's."""
    async with embedded_aws(accounts=True) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.s3_url)
        assert aws.pool is not None
        async with open_pool(user_pool_id=aws.pool.user_pool_id, client_id=aws.pool.client_id, client_secret=None) as pool:
            assert pool.issuer == f"https://cognito-idp.us-east-1.amazonaws.com/{aws.pool.user_pool_id}"
            assert pool.jwks_url == f"{aws.s3_url}/{aws.pool.user_pool_id}/.well-known/jwks.json"
            yield pool.accounts


async def test_an_account_over_moto(accounts: CognitoAccounts) -> None:
    """Signed up, confirmed, logged in, refreshed by a token that holds once, logged out."""
    await accounts.sign_up(EMAIL, PASSWORD, "Ann")
    with pytest.raises(ConflictError, match="awaits its confirmation"):
        await accounts.log_in(EMAIL, PASSWORD)
    with pytest.raises(InvalidRequestError) as wrong:
        await accounts.confirm(EMAIL, "000000")
    assert wrong.value.detail == WRONG_CODE
    await accounts.resend(EMAIL)
    await accounts.confirm(EMAIL, CODE)
    first = await accounts.log_in(EMAIL, PASSWORD)
    assert first.refresh is not None
    second = await accounts.refresh(first.refresh)
    assert second.refresh not in {None, first.refresh}
    assert second.access != first.access
    with pytest.raises(UnauthenticatedError):
        await accounts.refresh(first.refresh)
    assert second.refresh is not None
    await accounts.log_out(second.refresh)
    with pytest.raises(UnauthenticatedError) as ended:
        await accounts.refresh(second.refresh)
    assert ended.value.detail == ENDED


async def test_moto_tells_nobody_who_has_an_account(accounts: CognitoAccounts) -> None:
    await accounts.sign_up(EMAIL, PASSWORD, None)
    await accounts.sign_up(EMAIL, PASSWORD, None)
    await accounts.confirm(EMAIL, CODE)
    said = []
    for email, password in ((EMAIL, "wrong"), ("nobody@example.com", PASSWORD)):
        with pytest.raises(UnauthenticatedError) as refused:
            await accounts.log_in(email, password)
        said.append(refused.value.detail)
    assert said == [WRONG_LOG_IN] * 2
    await accounts.forgot_password("nobody@example.com")


async def test_a_password_is_reset_over_moto(accounts: CognitoAccounts) -> None:
    await accounts.sign_up(EMAIL, PASSWORD, None)
    await accounts.confirm(EMAIL, CODE)
    await accounts.forgot_password(EMAIL)
    with pytest.raises(InvalidRequestError):
        await accounts.reset_password(EMAIL, "000000", "Another-horse-2")
    await accounts.reset_password(EMAIL, CODE, "Another-horse-2")
    assert (await accounts.log_in(EMAIL, "Another-horse-2")).access


async def test_a_password_against_the_rules_is_named(accounts: CognitoAccounts) -> None:
    with pytest.raises(InvalidRequestError, match=r"^password: "):
        await accounts.sign_up(EMAIL, "short", None)


@pytest.mark.parametrize("name", CALLS)
async def test_throttling_is_a_429_everywhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse("TooManyRequestsException")
        with pytest.raises(TooManyRequestsError) as throttled:
            await call(accounts, name)
        assert throttled.value.retry_after_s > 0
        assert len(cognito.asked) == 1, "nothing is sent twice"


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("code", "message", "word"),
    [
        ("InternalErrorException", "No.", "InternalErrorException"),
        ("ResourceNotFoundException", "No.", "VPROC_COGNITO_CLIENT_ID"),
        ("NotAuthorizedException", "Unable to verify secret hash for client x", "VPROC_COGNITO_CLIENT_SECRET"),
        ("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client", "ALLOW_USER_PASSWORD_AUTH"),
        ("UnsupportedOperationException", "No.", "EnableTokenRevocation"),
    ],
)
async def test_what_is_set_wrong_and_what_is_away_is_a_503_that_the_log_names(
    monkeypatch: pytest.MonkeyPatch, name: str, code: str, message: str, word: str
) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse(code, message, 500 if code.startswith("Internal") else 400)
        with pytest.raises(UnavailableError) as away:
            await call(accounts, name)
    assert word in away.value.detail
    assert EMAIL not in away.value.detail


@pytest.mark.parametrize(
    "code",
    [
        "UserNotFoundException",
        "UsernameExistsException",
        "AliasExistsException",
        "LimitExceededException",
        "CodeDeliveryFailureException",
        "NotAuthorizedException",
    ],
)
@pytest.mark.parametrize("name", ["sign_up", "resend", "forgot_password", "log_out"])
async def test_a_refusal_on_account_of_the_account_is_not_told(monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse(code)
        assert await call(accounts, name) is None


@pytest.mark.parametrize(
    "code",
    [
        "UserNotFoundException",
        "NotAuthorizedException",
        "CodeMismatchException",
        "ExpiredCodeException",
        "LimitExceededException",
        "TooManyFailedAttemptsException",
        "InvalidParameterException",
        "AliasExistsException",
    ],
)
@pytest.mark.parametrize("name", ["confirm", "reset_password"])
async def test_every_code_that_does_not_do_is_told_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse(code)
        with pytest.raises(InvalidRequestError) as refused:
            await call(accounts, name)
    assert refused.value.detail == WRONG_CODE


@pytest.mark.parametrize(
    "code",
    [
        "UserNotFoundException",
        "NotAuthorizedException",
        "PasswordResetRequiredException",
        "InvalidParameterException",
        "LimitExceededException",
    ],
)
async def test_every_log_in_that_does_not_do_is_told_in_the_same_words(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse(code)
        with pytest.raises(UnauthenticatedError) as refused:
            await call(accounts, "log_in")
    assert refused.value.detail == WRONG_LOG_IN


@pytest.mark.parametrize("code", ["NotAuthorizedException", "RefreshTokenReuseException", "UserNotFoundException"])
async def test_a_refresh_token_that_ended_is_a_401(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse(code)
        with pytest.raises(UnauthenticatedError, match="ended"):
            await call(accounts, "refresh")


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("sign_up", "InvalidPasswordException", "password: "),
        ("reset_password", "PasswordHistoryPolicyViolationException", "password: "),
        ("sign_up", "InvalidParameterException", "form"),
        ("sign_up", "UserLambdaValidationException", "own rules"),
    ],
)
async def test_what_its_sender_can_mend_is_told(monkeypatch: pytest.MonkeyPatch, name: str, code: str, word: str) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.refuse(code, f"Value '{PASSWORD}' at 'password' failed")
        with pytest.raises(InvalidRequestError) as refused:
            await call(accounts, name)
    assert word in refused.value.detail
    assert PASSWORD not in refused.value.detail


async def test_another_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.answer = {"ChallengeName": "SOFTWARE_TOKEN_MFA", "Session": "s" * 20}
        with pytest.raises(ConflictError, match="SOFTWARE_TOKEN_MFA"):
            await call(accounts, "log_in")


@pytest.mark.parametrize("answer", ["<html>captive portal</html>", {}, {"AuthenticationResult": {}}])
async def test_an_answer_that_is_none_of_cognitos_is_a_503(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    async with scripted(monkeypatch) as (cognito, accounts):
        cognito.answer = answer
        with pytest.raises(TransientError):
            await call(accounts, "log_in")


async def test_a_cognito_that_is_not_there_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with open_pool(user_pool_id=POOL, client_id="client", client_secret=None) as pool:
        for name in CALLS:
            with pytest.raises(UnavailableError):
                await call(pool.accounts, name)


async def test_an_app_clients_secret_is_proved_by_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """And given as it is where Cognito takes it so: refresh and revoke."""
    proof = b64encode(hmac.digest(SECRET.encode(), f"{EMAIL}client".encode(), "sha256")).decode()
    async with scripted(monkeypatch, SECRET) as (cognito, accounts):
        cognito.answer = {"AuthenticationResult": {"AccessToken": "a", "RefreshToken": "r"}}
        for name in CALLS:
            await call(accounts, name)
    asked = dict(cognito.asked)
    for operation in ("SignUp", "ConfirmSignUp", "ResendConfirmationCode", "ForgotPassword", "ConfirmForgotPassword"):
        assert asked[operation]["SecretHash"] == proof
    assert asked["InitiateAuth"]["AuthParameters"]["SECRET_HASH"] == proof
    assert asked["GetTokensFromRefreshToken"]["ClientSecret"] == asked["RevokeToken"]["ClientSecret"] == SECRET


async def test_no_credentials_of_aws_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor asked for: a machine without a role serves accounts too."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    async with scripted(monkeypatch) as (cognito, accounts):
        await call(accounts, "resend")
    assert "Authorization" not in cognito.headers[0]
    assert "AKIAEXAMPLE" not in str(cognito.headers[0])


async def test_on_aws_keys_and_issuer_are_aws_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    async with open_pool(user_pool_id=POOL, client_id="client", client_secret=None) as pool:
        assert pool.issuer == "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc"
        assert pool.jwks_url == f"{pool.issuer}/.well-known/jwks.json"
