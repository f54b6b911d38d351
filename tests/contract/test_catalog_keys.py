"""API keys and sessions, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vproc.core.api_keys import ApiKey, Scope, Session, digest_of, make_key
from vproc.db.catalog import SqlCatalog

FILES = frozenset({Scope.FILES})


async def made(catalog: SqlCatalog, number: int = 1, owner: str = "ann", scopes: frozenset[Scope] = FILES) -> ApiKey:
    return await catalog.create_key(make_key(bytes([number]) * 40), owner=owner, scopes=scopes)


def session(key: ApiKey | None, value: str = "s", *, lasts_s: float = 60) -> Session:
    ends = datetime.now(UTC) + timedelta(seconds=lasts_s)
    return Session(digest_of(value), "ann", FILES, key.key_id if key else None, ends)


async def test_a_key_is_found_by_its_id(catalog: SqlCatalog) -> None:
    key = await made(catalog, scopes=frozenset({Scope.FILES, Scope.ADMIN}))
    assert await catalog.find_key(key.key_id) == key
    assert (key.owner, key.scopes, key.last_used_at, key.revoked_at) == ("ann", {Scope.FILES, Scope.ADMIN}, None, None)
    assert abs((datetime.now(UTC) - key.created_at).total_seconds()) < 60
    assert await catalog.find_key("none") is None


async def test_a_secret_is_not_in_the_database(catalog: SqlCatalog) -> None:
    new = make_key(bytes(40))
    await catalog.create_key(new, owner="ann", scopes=FILES)
    (key,) = await catalog.list_keys()
    assert new.token.rpartition("_")[2] not in repr(key)


async def test_keys_are_listed_for_all_and_for_one(catalog: SqlCatalog) -> None:
    keys = [await made(catalog, number, owner) for number, owner in ((1, "ann"), (2, "bob"), (3, "ann"))]
    assert {key.key_id for key in await catalog.list_keys()} == {key.key_id for key in keys}
    assert [key.owner for key in await catalog.list_keys(owner="bob")] == ["bob"]


async def test_a_revoked_key_stays_known_and_its_sessions_end(catalog: SqlCatalog) -> None:
    one, other = await made(catalog, 1), await made(catalog, 2)
    for key, value in ((one, "a"), (other, "b")):
        await catalog.open_session(session(key, value))
    assert await catalog.revoke_key(one.key_id)
    assert not await catalog.revoke_key(one.key_id)
    assert not await catalog.revoke_key("none")
    found = await catalog.find_key(one.key_id)
    assert found is not None
    assert found.revoked_at is not None
    assert await catalog.find_session(digest_of("a")) is None
    assert await catalog.find_session(digest_of("b")) is not None


async def test_the_last_use_is_noted_once_a_minute(catalog: SqlCatalog) -> None:
    key = await made(catalog)
    await catalog.key_used(key.key_id)
    first = await catalog.find_key(key.key_id)
    await catalog.key_used(key.key_id)
    assert first is not None
    assert first.last_used_at is not None
    assert await catalog.find_key(key.key_id) == first


@pytest.mark.parametrize(("lasts_s", "stands"), [(60, True), (-1, False)])
async def test_a_session_stands_for_its_time(catalog: SqlCatalog, lasts_s: float, stands: bool) -> None:
    opened = session(None, lasts_s=lasts_s)
    await catalog.open_session(opened)
    found = await catalog.find_session(opened.digest)
    assert (found is not None) is stands
    if found is not None:
        assert (found.owner, found.scopes, found.key_id) == ("ann", FILES, None)


async def test_a_session_ends_when_it_is_told_to(catalog: SqlCatalog) -> None:
    opened = session(None)
    await catalog.open_session(opened)
    await catalog.end_session(opened.digest)
    await catalog.end_session(opened.digest)
    assert await catalog.find_session(opened.digest) is None
