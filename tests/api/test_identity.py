"""``VPROC_AUTH=api-key``: keys, sessions, and what is said to whoever has neither."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.support.api import RunningApi, running_api
from vproc.api.identity import BELIEVED_S, COOKIE, ApiKeyIdentity
from vproc.core.api_keys import ApiKey, Scope, make_key
from vproc.errors import UnauthenticatedError, UnavailableError
from vproc.ports import Caller, KeyStore


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Late:
    """The identity, over the catalog of an API that is made after it."""

    clock: Clock = field(default_factory=Clock)
    keys: KeyStore | None = None
    inner: ApiKeyIdentity | None = None

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        assert self.keys is not None
        self.inner = self.inner or ApiKeyIdentity(self.keys, clock=self.clock)
        return await self.inner.identify(authorization, cookies)


@dataclass
class Door:
    api: RunningApi
    clock: Clock

    async def key(self, number: int = 1, owner: str = "ann", *scopes: Scope) -> tuple[str, ApiKey]:
        new = make_key(bytes([number]) * 40)
        made = await self.api.catalog.create_key(new, owner=owner, scopes=frozenset(scopes or (Scope.FILES,)))
        return new.token, made

    async def ask(
        self, method: str = "GET", path: str = "/uploads", *, key: str | None = None, cookie: str | None = None, **headers: str
    ) -> aiohttp.ClientResponse:
        sent = dict(headers) | ({"Authorization": f"Bearer {key}"} if key else {})
        if cookie is not None:
            sent["Cookie"] = f"{COOKIE}={cookie}"
        async with self.api.session.request(method, self.api.url + path, headers=sent) as answer:
            await answer.read()
            return answer


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    identity = Late()
    async with running_api(tmp_path, identity=identity) as api:
        identity.keys = api.catalog
        yield Door(api, identity.clock)


async def test_a_key_opens_and_its_use_is_noted(door: Door) -> None:
    token, made = await door.key()
    assert (await door.ask(key=token)).status == 200
    found = await door.api.catalog.find_key(made.key_id)
    assert found is not None
    assert found.last_used_at is not None


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer x",
        "bearer vproc_aaaaaaaaaaaaa_" + "A" * 43,
        "vproc_x",
        "Bearer a b",
        "Bearer é",
    ],
)
async def test_what_is_no_key_opens_nothing(door: Door, authorization: str) -> None:
    await door.key()
    answer = await door.ask(Authorization=authorization)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_without_any_identity_the_answer_says_how_to_get_one(door: Door) -> None:
    answer = await door.ask()
    assert answer.status == 401
    assert "vproc keys create" in (await answer.json(content_type=None))["detail"]


async def test_the_secret_of_another_key_is_none(door: Door) -> None:
    one, _ = await door.key(1)
    other, _ = await door.key(2)
    mixed = one.rpartition("_")[0] + "_" + other.rpartition("_")[2]
    assert (await door.ask(key=mixed)).status == 401


async def test_a_revoked_key_is_believed_for_five_seconds_at_most(door: Door) -> None:
    token, made = await door.key()
    assert (await door.ask(key=token)).status == 200
    await door.api.catalog.revoke_key(made.key_id)
    door.clock.now_s += BELIEVED_S + 0.1
    assert (await door.ask(key=token)).status == 401


async def test_a_wrong_header_is_not_mended_by_a_cookie(door: Door) -> None:
    token, _ = await door.key()
    cookie = (await door.ask("POST", "/auth/session", key=token)).cookies[COOKIE].value
    assert (await door.ask(cookie=cookie)).status == 200
    assert (await door.ask(cookie=cookie, Authorization="Bearer nonsense")).status == 401


# --- sessions --------------------------------------------------------------------------------------------------------


async def test_a_key_is_traded_for_a_cookie_that_no_script_reads(door: Door) -> None:
    token, _ = await door.key(1, "ann", Scope.ADMIN)
    answer = await door.ask("POST", "/auth/session", key=token)
    cookie = answer.cookies[COOKIE]
    assert answer.status == 204
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "Strict", "/", "43200")
    assert token.rpartition("_")[2] not in answer.headers["Set-Cookie"]
    caller = await ApiKeyIdentity(door.api.catalog).identify(None, {COOKIE: cookie.value})
    assert (caller.owner, caller.admin, caller.by_cookie) == ("ann", True, True)


async def test_a_cookie_is_secure_but_on_this_machine_alone(door: Door) -> None:
    token, _ = await door.key()
    here = await door.ask("POST", "/auth/session", key=token)
    elsewhere = await door.ask("POST", "/auth/session", key=token, Host="video.example.org")
    assert [bool(answer.cookies[COOKIE]["secure"]) for answer in (here, elsewhere)] == [False, True]


async def test_a_session_that_was_ended_opens_nothing(door: Door) -> None:
    token, _ = await door.key()
    cookie = (await door.ask("POST", "/auth/session", key=token)).cookies[COOKIE].value
    ours = {"Sec-Fetch-Site": "same-origin"}
    assert (await door.ask("DELETE", "/auth/session", cookie=cookie, **ours)).status == 204
    door.clock.now_s += BELIEVED_S + 0.1
    assert (await door.ask(cookie=cookie)).status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 204),
        ({"Sec-Fetch-Site": "none"}, 204),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "{own}"}, 403),
        ({"Origin": "{own}"}, 204),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_a_cookie_changes_something_only_from_our_own_pages(door: Door, headers: dict[str, str], status: int) -> None:
    token, _ = await door.key()
    cookie = (await door.ask("POST", "/auth/session", key=token)).cookies[COOKIE].value
    sent = {name: value.replace("{own}", door.api.url) for name, value in headers.items()}
    assert (await door.ask("DELETE", "/auth/session", cookie=cookie, **sent)).status == status
    assert (await door.ask(cookie=cookie)).status == 200, "a look changes nothing"


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_key_is_taken_from_anywhere(door: Door, headers: dict[str, str]) -> None:
    token, _ = await door.key()
    assert (await door.ask("POST", "/auth/session", key=token, **headers)).status == 204


async def test_without_identities_there_is_no_cookie(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api, api.session.post(f"{api.url}/auth/session") as answer:
        assert (answer.status, dict(answer.cookies)) == (204, {})


# --- what fails ------------------------------------------------------------------------------------------------------


class AwayKeys:
    """A catalog that is away, or only cannot be written."""

    def __init__(self, key: ApiKey | None) -> None:
        self._key = key

    async def find_key(self, key_id: str) -> ApiKey:
        assert key_id
        if self._key is None:
            raise UnavailableError("away")
        return self._key

    async def key_used(self, key_id: str) -> None:
        raise UnavailableError(f"{key_id} is not written")


async def test_a_catalog_that_is_away_is_no_wrong_key(door: Door) -> None:
    token, made = await door.key()
    with pytest.raises(UnavailableError):
        await ApiKeyIdentity(AwayKeys(None)).identify(f"Bearer {token}", {})  # type: ignore[arg-type]
    caller = await ApiKeyIdentity(AwayKeys(made)).identify(f"Bearer {token}", {})  # type: ignore[arg-type]
    assert (caller.owner, caller.key_id) == ("ann", made.key_id), "a use that cannot be noted is one all the same"


async def test_what_is_believed_is_bounded_and_holds_no_secret(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vproc.api.identity._MOST_BELIEVED", 2)
    identity = ApiKeyIdentity(door.api.catalog)
    tokens = [(await door.key(number))[0] for number in range(1, 5)]
    for token in tokens:
        await identity.identify(f"Bearer {token}", {})
    with pytest.raises(UnauthenticatedError):
        await identity.identify("Bearer vproc_x", {})
    assert len(identity._believed) == 2
    assert all(token not in repr(identity._believed) for token in tokens)
