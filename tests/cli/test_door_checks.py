"""What `vproc doctor` says of a user pool, its app client and the clock: over a Cognito that misbehaves, and over moto's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from aiohttp import web

from tests.support.issuer import JWKS, Signer, TokenIssuer, running_issuer
from vproc.cli.door_checks import examine_door
from vproc.cli.findings import Finding, Level
from vproc.settings import load_partial_settings

POOL, CLIENT = "eu-central-1_AbC123", "4k2j3h4k2j3h4k"
KEYS = f"/{POOL}/.well-known/jwks.json"


@pytest.fixture(autouse=True)
def _around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RAW_BUCKET": "raw",
        "PROCESSED_BUCKET": "processed",
        "QUEUE_URL": "http://q/",
        "AUTH": "cognito",
    }.items():
        monkeypatch.setenv(f"VPROC_{name}", value)
    monkeypatch.setenv("VPROC_COGNITO_USER_POOL_ID", POOL)
    monkeypatch.setenv("VPROC_COGNITO_CLIENT_ID", CLIENT)


async def found() -> dict[str, Finding]:
    """The findings by their checks."""
    findings: list[Finding] = []
    known = load_partial_settings()
    await examine_door(known.settings, known.unknown, findings.append)
    assert all(finding.remedy for finding in findings if finding.level is not Level.OK)
    return {finding.check: finding for finding in findings}


def refusing(code: str, message: str = "no", status: int = 400) -> Callable[[web.Request], Any]:
    """What Cognito answers to a log-in."""

    async def answer(_: web.Request) -> web.Response:
        body = {"__type": code, "message": message}
        return web.json_response(
            body, status=status, headers={"x-amzn-errortype": code}, content_type="application/x-amz-json-1.1"
        )

    return answer


@pytest.fixture
async def cognito(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TokenIssuer]:
    """A pool that gives two keys and refuses whoever is not in it."""
    async with running_issuer(Signer("a", "RS256"), Signer("b", "RS256", number=2)) as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL", fake.url)

        async def keys(_: web.Request) -> web.Response:
            return web.json_response({"keys": [key.jwk() for key in fake.keys]})

        fake.answers = {KEYS: keys, "/": refusing("NotAuthorizedException", "Incorrect username or password.")}
        yield fake


async def test_a_pool_that_is_right(cognito: TokenIssuer) -> None:
    told = await found()
    assert list(told) == ["user_pool", "clock", "app_client"]
    assert {finding.level for finding in told.values()} == {Level.OK}
    assert told["user_pool"].detail == f"https://cognito-idp.eu-central-1.amazonaws.com/{POOL} gives 2 keys, for RS256"
    assert told["app_client"].detail == f"{CLIENT} takes log-ins by password"
    assert cognito.asked == [KEYS, "/"]


async def test_a_pool_that_is_not_there(cognito: TokenIssuer) -> None:
    """Its address answers 404; the client of no pool is none."""
    del cognito.answers[KEYS]
    cognito.answers["/"] = refusing("ResourceNotFoundException", f"User pool client {CLIENT} does not exist.")
    told = await found()
    assert told["user_pool"].detail == f"{cognito.url}{KEYS} answers 404"
    assert "VPROC_COGNITO_USER_POOL_ID" in str(told["user_pool"].remedy)
    assert told["app_client"].level is Level.FAILURE
    assert "VPROC_COGNITO_CLIENT_ID names no app client of the pool" in told["app_client"].detail


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (
            "NotAuthorizedException",
            "Unable to verify secret hash for client",
            "VPROC_COGNITO_CLIENT_SECRET is not the app client's",
        ),
        ("InvalidParameterException", "USER_PASSWORD_AUTH flow not enabled for this client", "takes ALLOW_USER_PASSWORD_AUTH"),
        ("TooManyRequestsException", "Rate exceeded", "Too many requests"),
        ("InternalErrorException", "", "InternalErrorException"),
    ],
)
async def test_an_app_client_that_lets_nobody_log_in(cognito: TokenIssuer, code: str, message: str, words: str) -> None:
    cognito.answers["/"] = refusing(code, message, status=500 if code.startswith("Internal") else 400)
    told = await found()
    assert told["user_pool"].level is Level.OK
    assert told["app_client"].level is Level.FAILURE
    assert words in told["app_client"].detail
    assert "VPROC_COGNITO_CLIENT_SECRET" in str(told["app_client"].remedy)


async def test_a_pool_that_lets_anybody_in(cognito: TokenIssuer) -> None:
    async def welcome(_: web.Request) -> web.Response:
        tokens = {"AuthenticationResult": {"AccessToken": "t0ken", "ExpiresIn": 3600}}
        return web.json_response(tokens, content_type="application/x-amz-json-1.1")

    cognito.answers["/"] = welcome
    told = (await found())["app_client"]
    assert told.level is Level.FAILURE
    assert "whom there is not" in told.detail
    assert "t0ken" not in told.detail


async def test_cognito_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check fails by itself, and nothing is known of the clock."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    told = await found()
    assert list(told) == ["user_pool", "app_client"]
    assert {finding.level for finding in told.values()} == {Level.FAILURE}
    assert "cannot be reached" in told["user_pool"].detail
    assert "Cognito of eu-central-1" in str(told["user_pool"].remedy)


@pytest.mark.parametrize(
    ("ahead_s", "age_s", "level", "words"),
    [
        (0, 0, Level.OK, "of the issuer's"),
        (40, 0, Level.OK, "s behind the issuer's; tokens allow 60 s"),
        (300, 0, Level.FAILURE, "s behind the issuer's"),
        (-300, 0, Level.FAILURE, "s ahead of the issuer's"),
        (-300, 300, Level.OK, "issuer's"),  # a cache's answer, which it tells the age of
    ],
)
async def test_the_clock_is_held_against_the_pools(
    cognito: TokenIssuer, ahead_s: int, age_s: int, level: Level, words: str
) -> None:
    async def keys(_: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
        return web.json_response({"keys": [Signer("a").jwk()]}, headers={"Date": date, **({"Age": str(age_s)} if age_s else {})})

    cognito.answers[KEYS] = keys
    told = (await found())["clock"]
    assert told.level is level
    assert words in told.detail or ahead_s == 0
    assert ("timedatectl" in str(told.remedy)) == (level is Level.FAILURE)


@pytest.mark.parametrize("date", ["yesterday", "", "Mon, 30 Feb 2026 10:00:00 GMT"])
async def test_a_date_that_is_none_tells_nothing_of_the_clock(cognito: TokenIssuer, date: str) -> None:
    async def keys(_: web.Request) -> web.Response:
        return web.json_response({"keys": [Signer("a").jwk()]}, headers={"Date": date})

    cognito.answers[KEYS] = keys
    assert "clock" not in await found()


async def test_the_clock_is_held_against_an_issuers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_issuer(Signer("a")) as issuer:
        for name, value in {"AUTH": "jwt", "JWT_ISSUER": issuer.issuer, "JWT_AUDIENCE": "api"}.items():
            monkeypatch.setenv(f"VPROC_{name}", value)
        told = await found()
        assert list(told) == ["issuer", "clock"]
        assert told["clock"].level is Level.OK
        assert issuer.asked[-1] == JWKS


@pytest.mark.parametrize("missing", ["VPROC_COGNITO_USER_POOL_ID", "VPROC_COGNITO_CLIENT_ID"])
async def test_what_is_not_set_is_a_fault_of_the_settings_and_nobody_is_asked(
    cognito: TokenIssuer, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    assert [fault for fault in load_partial_settings().faults if fault.startswith(f"{missing}: not set")]
    assert await found() == {}
    assert cognito.asked == []


async def test_a_true_pool_of_motos(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an app client that is not its own."""
    pools = boto3.client("cognito-idp")
    pool = pools.create_user_pool(PoolName="vproc", UsernameAttributes=["email"])["UserPool"]["Id"]
    app = pools.create_user_pool_client(UserPoolId=pool, ClientName="vproc", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"])
    pools.close()
    monkeypatch.setenv("VPROC_COGNITO_USER_POOL_ID", pool)
    monkeypatch.setenv("VPROC_COGNITO_CLIENT_ID", app["UserPoolClient"]["ClientId"])
    assert {name: finding.level for name, finding in (await found()).items()} == dict.fromkeys(
        ("user_pool", "clock", "app_client"), Level.OK
    )
    monkeypatch.setenv("VPROC_COGNITO_CLIENT_ID", "another")
    assert (await found())["app_client"].level is Level.FAILURE
