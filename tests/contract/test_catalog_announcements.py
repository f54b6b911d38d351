"""Announced uploads: quotas and idempotency keys, on both databases, with several at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import anyio
import pytest
from sqlalchemy import update

from tests.support.catalog import FIGURES, Given, completion, new_file
from vproc.core.files import Status
from vproc.core.idempotency import Announced, IdempotencyKey
from vproc.core.quotas import Quotas
from vproc.db.catalog import SqlCatalog
from vproc.db.tables import files, idempotency_keys
from vproc.errors import ConflictError, InvalidRequestError, TooManyRequestsError, VprocError

KEY = IdempotencyKey("k-1", "digest-1")
ONE = Quotas(open_uploads=1)


async def at_once(catalogs: list[SqlCatalog], *, quotas: Quotas | None = None, key: IdempotencyKey | None = None) -> list[object]:
    """What each catalog answers when all announce together: the file, or the kind of error."""
    answers: list[object] = []

    async def one(catalog: SqlCatalog) -> None:
        try:
            answers.append(await catalog.announce(new_file(), quotas=quotas, key=key))
        except VprocError as error:
            answers.append(type(error))

    async with anyio.create_task_group() as tasks:
        for catalog in catalogs:
            tasks.start_soon(one, catalog)
    return answers


async def test_of_many_at_once_one_alone_takes_the_last_place(another: Callable[[], Awaitable[SqlCatalog]]) -> None:
    """From several processes, and several requests in each."""
    catalogs = [await another() for _ in range(3)]
    answers = await at_once(catalogs * 3, quotas=Quotas(open_uploads=2))
    assert sum(isinstance(answer, Announced) for answer in answers) == 2
    assert answers.count(TooManyRequestsError) == 7


async def test_of_many_at_once_one_alone_takes_the_last_bytes(another: Callable[[], Awaitable[SqlCatalog]]) -> None:
    catalogs = [await another() for _ in range(2)]
    answers = await at_once(catalogs * 3, quotas=Quotas(bytes_per_day=6_000_000_000))
    assert sum(isinstance(answer, Announced) for answer in answers) == 1


async def test_a_place_is_free_when_the_upload_came_or_its_address_expired(catalog: SqlCatalog, given: Given) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    file = (await catalog.announce(new_file(upload_expires_at=soon), quotas=ONE)).file
    with pytest.raises(TooManyRequestsError, match="open_uploads") as refused:
        await catalog.announce(new_file(), quotas=ONE)
    assert 90 <= refused.value.retry_after_s <= 101
    await given.leased(file.file_id)
    past = datetime.now(UTC) - timedelta(seconds=1)
    await catalog.announce(new_file(upload_expires_at=past), quotas=ONE)
    await catalog.announce(new_file(), quotas=ONE)
    with pytest.raises(TooManyRequestsError):
        await catalog.announce(new_file(), quotas=ONE)
    await catalog.announce(new_file(owner="bob"), quotas=ONE)


async def test_a_lowered_limit_waits_for_as_many_addresses_as_are_too_many(catalog: SqlCatalog, given: Given) -> None:
    now = datetime.now(UTC)
    for seconds in (300, 100, 200):
        await given.pending(upload_expires_at=now + timedelta(seconds=seconds))
    with pytest.raises(TooManyRequestsError) as refused:
        await catalog.announce(new_file(), quotas=Quotas(open_uploads=2))
    assert 190 <= refused.value.retry_after_s <= 201


async def test_bytes_of_today_count_and_a_deleted_file_gives_none_back(catalog: SqlCatalog) -> None:
    quotas = Quotas(bytes_per_day=100)
    file = (await catalog.announce(new_file(size_bytes=100), quotas=quotas)).file
    await catalog.bury(file.file_id)
    with pytest.raises(TooManyRequestsError, match="bytes_per_day"):
        await catalog.announce(new_file(size_bytes=1), quotas=quotas)
    await _set(catalog, file.file_id, created_at=0.0)
    await catalog.announce(new_file(size_bytes=100), quotas=quotas)


async def test_media_of_what_was_completed_today_count(catalog: SqlCatalog, given: Given) -> None:
    quotas = Quotas(media_minutes_per_day=10)
    for seconds in (599.0, 1.5):
        await catalog.announce(new_file(), quotas=quotas)
        lease = await given.leased()
        await catalog.complete(lease, completion(lease.run_id, media_s=seconds), FIGURES)
    with pytest.raises(TooManyRequestsError, match="media_minutes_per_day"):
        await catalog.announce(new_file(), quotas=quotas)
    await _set(catalog, lease.file_id, completed_at=0.0)
    await catalog.announce(new_file(), quotas=quotas)


async def test_the_same_request_again_gives_the_same_file_and_takes_no_place(catalog: SqlCatalog, given: Given) -> None:
    first = await catalog.announce(new_file(), quotas=ONE, key=KEY)
    later = new_file(upload_expires_at=datetime.now(UTC) + timedelta(hours=1))
    again = await catalog.announce(later, quotas=ONE, key=KEY)
    assert (first.replayed, again.replayed, again.file.file_id) == (False, True, first.file.file_id)
    assert again.file.upload_expires_at == later.upload_expires_at
    assert len(await given.rows("files")) == 1


async def test_many_at_once_with_one_key_make_one_file(another: Callable[[], Awaitable[SqlCatalog]]) -> None:
    catalogs = [await another() for _ in range(3)]
    answers = await at_once(catalogs * 3, key=KEY)
    found = [answer for answer in answers if isinstance(answer, Announced)]
    assert len(found) == 9
    assert len({answer.file.file_id for answer in found}) == 1
    assert sum(not answer.replayed for answer in found) == 1


async def test_a_key_is_its_owners_and_its_requests(catalog: SqlCatalog) -> None:
    await catalog.announce(new_file(), key=KEY)
    assert not (await catalog.announce(new_file(owner="bob"), key=KEY)).replayed
    with pytest.raises(InvalidRequestError, match="another request"):
        await catalog.announce(new_file(), key=IdempotencyKey(KEY.key, "digest-2"))


async def test_a_refused_announcement_keeps_no_key(catalog: SqlCatalog, given: Given) -> None:
    await catalog.announce(new_file(), quotas=ONE)
    with pytest.raises(TooManyRequestsError):
        await catalog.announce(new_file(), quotas=ONE, key=KEY)
    assert await given.rows("idempotency_keys") == []


async def test_a_key_whose_file_is_past_its_upload_is_a_conflict(catalog: SqlCatalog, given: Given) -> None:
    file = (await catalog.announce(new_file(), key=KEY)).file
    await given.leased(file.file_id)
    with pytest.raises(ConflictError, match="processing"):
        await catalog.announce(new_file(), key=KEY)
    other = IdempotencyKey("k-2", "digest")
    deleted = (await catalog.announce(new_file(), key=other)).file
    await catalog.bury(deleted.file_id)
    with pytest.raises(ConflictError, match="deleted"):
        await catalog.announce(new_file(), key=other)


async def test_an_expired_file_is_open_again_by_its_key(catalog: SqlCatalog, given: Given) -> None:
    file = (await catalog.announce(new_file(upload_expires_at=datetime.now(UTC) - timedelta(hours=1)), key=KEY)).file
    await catalog.expire_pending(grace_s=60)
    again = await catalog.announce(new_file(), key=KEY)
    assert again.file.file_id == file.file_id
    assert (await given.read(file.file_id)).status is Status.PENDING


@pytest.mark.parametrize("swept", [False, True])
async def test_a_key_whose_address_expired_takes_a_place_again(catalog: SqlCatalog, given: Given, *, swept: bool) -> None:
    """Else each key would be one more open upload than the quota has."""
    past = datetime.now(UTC) - timedelta(hours=1)
    first = (await catalog.announce(new_file(upload_expires_at=past), quotas=ONE, key=KEY)).file
    if swept:
        await catalog.expire_pending(grace_s=60)
    other = (await catalog.announce(new_file(), quotas=ONE)).file
    with pytest.raises(TooManyRequestsError, match="open_uploads"):
        await catalog.announce(new_file(), quotas=ONE, key=KEY)
    assert (await given.read(first.file_id)).upload_expires_at == first.upload_expires_at
    await catalog.bury(other.file_id)
    assert (await catalog.announce(new_file(), quotas=ONE, key=KEY)).file.file_id == first.file_id


async def test_a_replay_does_not_end_an_address_of_before(catalog: SqlCatalog) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    first = (await catalog.announce(new_file(upload_expires_at=later), key=KEY)).file
    again = (await catalog.announce(new_file(upload_expires_at=later - timedelta(hours=1)), key=KEY)).file
    assert again.upload_expires_at == first.upload_expires_at


async def test_an_upload_whose_address_expired_is_prolonged_where_a_place_is_free(catalog: SqlCatalog, given: Given) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    later = now + timedelta(hours=1)
    first = (await catalog.announce(new_file(upload_expires_at=now - timedelta(seconds=1)), quotas=ONE)).file
    other = (await catalog.announce(new_file(), quotas=ONE)).file
    with pytest.raises(TooManyRequestsError, match="open_uploads"):
        await catalog.prolong_upload(first.file_id, until=later, quotas=ONE)
    assert (await given.read(first.file_id)).upload_expires_at == first.upload_expires_at
    await catalog.prolong_upload(other.file_id, until=later, quotas=ONE)
    assert (await given.read(other.file_id)).upload_expires_at == later, "its place is its own"
    await catalog.bury(other.file_id)
    await catalog.prolong_upload(first.file_id, until=later, quotas=ONE)
    assert (await given.read(first.file_id)).upload_expires_at == later


async def test_a_key_is_forgotten_after_a_day(catalog: SqlCatalog, given: Given) -> None:
    first = await catalog.announce(new_file(), key=KEY)
    await catalog.announce(new_file(), key=IdempotencyKey("k-2", "digest"))
    assert await catalog.forget_idempotency_keys() == 0
    await _age(catalog, KEY.key)
    second = await catalog.announce(new_file(), key=KEY)
    assert second.file.file_id != first.file.file_id
    await _age(catalog, KEY.key)
    assert await catalog.forget_idempotency_keys() == 1
    assert [row["key"] for row in await given.rows("idempotency_keys")] == ["k-2"]


async def _set(catalog: SqlCatalog, file_id: UUID, **values: float) -> None:
    async with catalog._database.write() as connection:
        await connection.execute(update(files).where(files.c.file_id == file_id).values(**values))


async def _age(catalog: SqlCatalog, key: str) -> None:
    async with catalog._database.write() as connection:
        await connection.execute(update(idempotency_keys).where(idempotency_keys.c.key == key).values(created_at=0.0))
