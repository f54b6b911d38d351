"""Each account route gives the answers that its document names, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

import vproc.api.body
from tests.support.accounts import ANN, CODE, PASSWORD, AccountApi, account_api, values_of
from tests.support.api import PROFILES, RunningApi, running_api
from vproc.api import accounts, hosted
from vproc.api.openapi import openapi_document
from vproc.api.parts import Limits
from vproc.errors import UnavailableError
from vproc.http import ROUTES

ACCOUNT_ROUTES = {route.template for route in (*accounts.ROUTES, *hosted.ROUTES)}
CODED = {"email": ANN["email"], "code": CODE}
BODIES: dict[str, Any] = {
    "/auth/sign-up": ANN,
    "/auth/confirm": CODED,
    "/auth/resend": {"email": ANN["email"]},
    "/auth/log-in": ANN,
    "/auth/refresh": {"refresh_token": "none"},
    "/auth/log-out": {"refresh_token": "none"},
    "/auth/forgot-password": {"email": ANN["email"]},
    "/auth/reset-password": {**CODED, "password": PASSWORD},
}
Given = set[tuple[str, str, int]]


def given(api: RunningApi) -> Given:
    """Method, template and status of every answer so far, by the metrics."""
    counted = next(family for family in api.metrics.registry.collect() if family.name == "vproc_http_requests")
    return {
        (sample.labels["method"], sample.labels["route"], int(sample.labels["status"]))
        for sample in counted.samples
        if sample.name.endswith("_total") and sample.labels["route"] in ACCOUNT_ROUTES
    }


async def half_a_body(port: int, path: str) -> None:
    """Begin a body and let the server wait for the rest."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
        await stream.send(head.encode())
        assert b"408" in (await stream.receive()).split(b"\r\n")[0]


async def provoke_doors(door: AccountApi, monkeypatch: pytest.MonkeyPatch) -> None:
    json = {"Content-Type": "application/json"}
    for path, body in BODIES.items():
        await door.post(path, body)
        await door.post(path, body, Sec_Fetch_Site="cross-site")
        await door.post(path, {"unknown": 1})
        for sent in (b"{", b'"' + b"x" * 70_000 + b'"'):
            await door.api.ask("POST", path, data=sent, headers=json)
        await door.api.ask("POST", path, data=b"{}", headers={"Content-Type": "text/plain"})
        door.pool.failing = UnavailableError("away")
        await door.post(path, body)
        with monkeypatch.context() as patch:
            patch.setattr(vproc.api.body, "BODY_WITHIN_S", 0.1)
            await half_a_body(door.api.port, path)


async def provoke_log_ins(door: AccountApi) -> None:
    await door.post("/auth/sign-up", ANN)
    await door.post("/auth/log-in", ANN)
    logged_in = await door.with_ann()
    await door.post("/auth/log-in", ANN | {"password": "wrong"})
    cookies = values_of(logged_in)
    await door.post("/auth/refresh", cookies=cookies, Sec_Fetch_Site="same-origin")
    await door.ask("GET", "/auth/me", cookies=cookies)
    await door.ask("GET", "/auth/me")
    begun = await door.ask("GET", "/auth/authorize")
    held = values_of(begun)
    state, _, door.pool.nonce = held["vproc_login"].split(".")
    await door.ask("GET", "/auth/callback", cookies=held)
    door.pool.failing = UnavailableError("away")
    await door.ask("GET", f"/auth/callback?state={state}&code={ANN['email']}", cookies=held)
    await door.ask("GET", f"/auth/callback?state={state}&code={ANN['email']}", cookies=held)
    await door.ask("GET", "/auth/callback?code=a&code=b")


async def provoke_away(door: AccountApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **__: object) -> None:
        raise UnavailableError("away")

    cookies = values_of(await door.post("/auth/log-in", ANN))
    monkeypatch.setattr(door.api.catalog, "find_user", away)
    await door.ask("GET", "/auth/me", cookies=cookies)


async def test_each_account_route_gives_the_answers_that_its_document_names_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: Given = set()
    async with account_api(tmp_path) as door:
        await provoke_doors(door, monkeypatch)
        door.pool.members.clear()
        await provoke_log_ins(door)
        await provoke_away(door, monkeypatch)
        answers |= given(door.api)
    limits = Limits(profiles=PROFILES, unknown_per_minute=1)
    for number, route in enumerate((*accounts.ROUTES, *hosted.ROUTES)):
        (folder := tmp_path / f"api{number}").mkdir()
        async with running_api(folder, limits=limits) as api:
            for _ in range(2):
                await api.ask(route.method, route.path)
            answers |= given(api)
    (folder := tmp_path / "limited").mkdir()
    async with account_api(folder, limits=Limits(profiles=PROFILES, unknown_per_minute=1)) as door:
        for _ in range(2):
            await door.ask("GET", "/auth/me")
        answers |= given(door.api)
    document = openapi_document(ROUTES, version="1")
    named = {
        (method.upper(), path, int(status))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
        if status != "default" and path in ACCOUNT_ROUTES
    }
    assert answers == named
