"""Every route and every kind of caller: the table is made of the routes themselves, so that a new one without a rule fails."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.api import Answered, RunningApi, TokenIdentity, running_api
from tests.support.catalog import FIGURES, completion
from tests.support.issuer import AUDIENCE, Signer
from tests.support.memory_letters import dead_letter
from vproc.api.route import Access, Route
from vproc.core.files import Status
from vproc.core.keys import manifest_key
from vproc.http import FOR_ADMINS, ROUTES
from vproc.oidc.identity import JwtIdentity
from vproc.oidc.jwk import VerifyingKey, read_key_set
from vproc.oidc.tokens import TokenVerifier
from vproc.ports import Caller

ISSUER = "https://issuer.example"
SIGNER = Signer()
NOBODYS = UUID(int=1, version=4)
SAME_ID = {"X-Request-ID": "the-same"}


class Rule(StrEnum):
    """Whom a route answers."""

    EVERYBODY = "everybody, without an identity"
    EACH_FOR_ITSELF = "whoever has an identity, of what is its own"
    OWNER_AND_ADMIN = "the owner of the file in its path, and an admin"
    ADMIN = "an admin"
    UPLOADER_AND_ADMIN = "the owner of the upload in its path and of the key in its query, and an admin"


RULES = {
    ("POST", "/upload"): Rule.EACH_FOR_ITSELF,
    ("GET", "/uploads"): Rule.EACH_FOR_ITSELF,
    ("GET", "/upload/{file_id}/status"): Rule.OWNER_AND_ADMIN,
    ("GET", "/upload/{file_id}/events"): Rule.OWNER_AND_ADMIN,
    ("GET", "/upload/{file_id}/download/original"): Rule.OWNER_AND_ADMIN,
    ("GET", "/upload/{file_id}/download/processed"): Rule.OWNER_AND_ADMIN,
    ("POST", "/upload/{file_id}/cancel"): Rule.OWNER_AND_ADMIN,
    ("POST", "/upload/{file_id}/retry"): Rule.OWNER_AND_ADMIN,
    ("DELETE", "/upload/{file_id}"): Rule.OWNER_AND_ADMIN,
    ("POST", "/upload/{file_id}/playback"): Rule.OWNER_AND_ADMIN,
    ("POST", "/s3/multipart"): Rule.EACH_FOR_ITSELF,
    ("GET", "/s3/multipart/{uploadId}"): Rule.UPLOADER_AND_ADMIN,
    ("GET", "/s3/multipart/{uploadId}/batch"): Rule.UPLOADER_AND_ADMIN,
    ("GET", r"/s3/multipart/{uploadId}/{partNumber:\d+}"): Rule.UPLOADER_AND_ADMIN,
    ("POST", "/s3/multipart/{uploadId}/complete"): Rule.UPLOADER_AND_ADMIN,
    ("DELETE", "/s3/multipart/{uploadId}"): Rule.UPLOADER_AND_ADMIN,
    ("GET", "/s3/params"): Rule.EACH_FOR_ITSELF,
    ("GET", "/s3/sts"): Rule.EACH_FOR_ITSELF,
    ("POST", "/s3/sign"): Rule.EACH_FOR_ITSELF,
    ("GET", "/play/{token}/{path:.+}"): Rule.EVERYBODY,
    ("POST", "/auth/session"): Rule.EACH_FOR_ITSELF,
    ("DELETE", "/auth/session"): Rule.EACH_FOR_ITSELF,
    ("POST", "/auth/sign-up"): Rule.EVERYBODY,
    ("POST", "/auth/confirm"): Rule.EVERYBODY,
    ("POST", "/auth/resend"): Rule.EVERYBODY,
    ("POST", "/auth/log-in"): Rule.EVERYBODY,
    ("POST", "/auth/refresh"): Rule.EVERYBODY,
    ("POST", "/auth/log-out"): Rule.EVERYBODY,
    ("POST", "/auth/forgot-password"): Rule.EVERYBODY,
    ("POST", "/auth/reset-password"): Rule.EVERYBODY,
    ("GET", "/auth/me"): Rule.EACH_FOR_ITSELF,
    ("GET", "/auth/authorize"): Rule.EVERYBODY,
    ("GET", "/auth/callback"): Rule.EVERYBODY,
    ("GET", "/healthz"): Rule.EVERYBODY,
    ("GET", "/readyz"): Rule.EVERYBODY,
    ("GET", "/metrics"): Rule.EVERYBODY,
    ("GET", "/version"): Rule.EACH_FOR_ITSELF,
    ("GET", "/ops/state"): Rule.ADMIN,
    ("GET", "/ops/dead-letters"): Rule.ADMIN,
    ("POST", "/ops/dead-letters/redrive"): Rule.ADMIN,
    ("GET", "/"): Rule.EVERYBODY,
    ("GET", "/ops"): Rule.EVERYBODY,
    ("GET", "/docs"): Rule.EVERYBODY,
    ("GET", "/openapi.json"): Rule.EVERYBODY,
}
_OPEN_PREFIXES = ("/assets/", "/docs/")
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/upload"): {"file_name": "a.mp4"},
    ("POST", "/s3/multipart"): {"filename": "a.mp4", "type": "video/mp4"},
    ("POST", "/s3/multipart/{uploadId}/complete"): {"parts": [{"PartNumber": 1, "ETag": "a"}]},
    ("POST", "/s3/sign"): {"method": "PUT", "key": "a.mp4"},
    ("POST", "/ops/dead-letters/redrive"): {"all": True},
}
UPLOAD_ID = "upload-1"
ids = [f"{route.method} {route.path}" for route in ROUTES]


def rule_of(route: Route) -> Rule:
    if route.path.startswith(_OPEN_PREFIXES):
        return Rule.EVERYBODY
    return RULES[route.method, route.path]


class SignedTokens:
    """The callers by their names again, each proved by an issuer's token as under ``VPROC_AUTH=jwt``."""

    def __init__(self) -> None:
        self._known = JwtIdentity(
            TokenVerifier(issuer=ISSUER, keys=_Keys(), audience=(AUDIENCE,), token_use="access"),  # type: ignore[arg-type]
            beside=TokenIdentity(),
        )

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """Put a token in the place of the name."""
        if authorization is None:
            return await self._known.identify(None, cookies)
        name = authorization.removeprefix("Bearer ")
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": name, "exp": time.time() + 60, "scope": "openid"}
        token = SIGNER.sign(claims | ({"cognito:groups": ["vproc-admin"]} if name == "admin" else {}))
        return await self._known.identify(f"Bearer {token}", cookies)


class _Keys:
    async def find(self, kid: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        return read_key_set({"keys": [SIGNER.jwk()]})


@pytest.fixture(params=[TokenIdentity, SignedTokens], ids=["by-name", "by-token"])
async def api(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path, identity=request.param()) as running:
        yield running


async def ask(api: RunningApi, route: Route, caller: str | None, file_id: UUID) -> Answered:
    headers = SAME_ID | ({"Authorization": f"Bearer {caller}"} if caller else {})
    path = route.path.replace("{file_id}", str(file_id)).replace("{uploadId}", UPLOAD_ID).replace(r"{partNumber:\d+}", "1")
    if "{uploadId}" in route.path:
        path += f"?key=videos/ann/{file_id}.mp4&partNumbers=1"
    options = {"json": BODIES[route.method, route.path]} if (route.method, route.path) in BODIES else {}
    return await api.ask(route.method, path, headers=headers, **options)


async def anns_file(api: RunningApi) -> UUID:
    """A completed file of ann's."""
    lease = await api.given.leased(owner="ann")
    await api.catalog.complete(lease, completion(lease.run_id, delete_raw=False), FIGURES)
    return lease.file_id


async def anns_upload(api: RunningApi) -> UUID:
    """A file of ann's that waits for its parts, of which one stands."""
    file = await api.given.pending(owner="ann", size_bytes=None)
    await api.catalog.bind_upload(file.file_id, UPLOAD_ID)
    api.multipart.stands(file.key, UPLOAD_ID, {1: b"x"})
    return file.file_id


async def anns(api: RunningApi, route: Route) -> UUID:
    """A file of ann's of the kind that the route is about."""
    return await (anns_upload(api) if rule_of(route) is Rule.UPLOADER_AND_ADMIN else anns_file(api))


def test_every_route_has_its_rule_and_every_rule_its_route() -> None:
    ruled = {(route.method, route.path) for route in ROUTES if not route.path.startswith(_OPEN_PREFIXES)}
    assert ruled == set(RULES)


@pytest.mark.parametrize("route", ROUTES, ids=ids)
def test_what_a_route_says_of_itself_is_its_rule(route: Route) -> None:
    assert (route.access is Access.OPEN) is (rule_of(route) is Rule.EVERYBODY)
    assert (route.access is Access.ADMIN) is (rule_of(route) is Rule.ADMIN)
    assert ("{file_id}" in route.path) is (rule_of(route) is Rule.OWNER_AND_ADMIN)
    assert ("{uploadId}" in route.path) is (rule_of(route) is Rule.UPLOADER_AND_ADMIN)


@pytest.mark.parametrize("route", ROUTES, ids=ids)
async def test_without_an_identity_only_open_routes_answer(api: RunningApi, route: Route) -> None:
    answer = await ask(api, route, None, await anns(api, route))
    assert (answer.status == 401) is (rule_of(route) is not Rule.EVERYBODY)
    if answer.status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("route", ROUTES, ids=ids)
async def test_whoever_is_no_admin_is_told_so_where_only_admins_are_answered(api: RunningApi, route: Route) -> None:
    """And nothing is done: a letter lies where it lay."""
    api.letters.letters.append(dead_letter("m-1"))
    file_id = await anns(api, route)
    told = {caller: await ask(api, route, caller, file_id) for caller in ("ann", "admin")}
    for_admins = rule_of(route) is Rule.ADMIN
    assert (told["ann"].status == 403) is for_admins
    assert told["admin"].status != 403
    if for_admins:
        assert told["ann"].detail == FOR_ADMINS
        assert "m-1" not in told["ann"].body.decode()
        assert told["admin"].status == 200


_OF_FILES = [route for route in ROUTES if "{file_id}" in route.path or "{uploadId}" in route.path]


@pytest.mark.parametrize("route", _OF_FILES, ids=lambda route: f"{route.method} {route.path}")
async def test_anothers_file_and_none_are_the_same(api: RunningApi, route: Route) -> None:
    """To the byte, headers too: nobody learns that a file is there."""
    file_id = await anns(api, route)
    anothers, none = [await ask(api, route, "bob", of) for of in (file_id, NOBODYS)]
    assert anothers.status == 404
    assert (anothers.body, told(anothers)) == (none.body, told(none))
    file = await api.catalog.get(file_id)
    assert file is not None
    assert file.status in {Status.COMPLETED, Status.PENDING}, "nothing came of it"


def told(answer: Answered) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "Date"}


@pytest.mark.parametrize("caller", ["ann", "admin"])
@pytest.mark.parametrize("route", _OF_FILES, ids=lambda route: f"{route.method} {route.path}")
async def test_its_owner_and_an_admin_are_answered(api: RunningApi, route: Route, caller: str) -> None:
    file_id = await anns(api, route)
    await api.processed.put(manifest_key(file_id), b"{}", content_type="application/json")
    answer = await ask(api, route, caller, file_id)
    assert answer.status not in {401, 403}
    assert b"There is no such" not in answer.body


async def test_a_list_is_ones_own_and_an_admins_is_all(api: RunningApi) -> None:
    await anns_file(api)
    await api.given.pending(owner="bob")
    seen = {}
    for caller in ("ann", "bob", "eve", "admin"):
        answer = await api.get("/uploads", headers={"Authorization": f"Bearer {caller}"})
        seen[caller] = len(answer.json["uploads"])
    assert seen == {"ann": 1, "bob": 1, "eve": 0, "admin": 2}


async def test_an_upload_is_its_announcers(api: RunningApi) -> None:
    answer = await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers={"Authorization": "Bearer a/b"})
    assert answer.json["s3_key"].startswith("videos/a%2Fb/")
    assert (await api.given.read(UUID(answer.json["file_id"]))).owner == "a/b"
