"""Uploads in parts in the catalog, on both databases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tests.support.catalog import Given
from vproc.core.files import Status
from vproc.db.catalog import SqlCatalog


async def test_a_pending_file_has_one_upload(catalog: SqlCatalog, given: Given) -> None:
    file = await given.pending()
    assert (file.upload_id, file.upload_open) == (None, False)
    assert [await catalog.bind_upload(file.file_id, upload_id) for upload_id in ("u-1", "u-2", "u-1")] == ["u-1"] * 3
    bound = await given.read(file.file_id)
    assert (bound.upload_id, bound.upload_open) == ("u-1", True)
    await catalog.upload_ended(file.file_id)
    assert not (await given.read(file.file_id)).upload_open
    assert await catalog.bind_upload(file.file_id, "u-2") == "u-1", "one that ended stays the file's"


async def test_of_many_at_once_one_is_bound(another: Callable[[], Awaitable[SqlCatalog]], given: Given) -> None:
    file = await given.pending()
    bound: list[str | None] = []

    async def bind(number: int) -> None:
        bound.append(await (await another()).bind_upload(file.file_id, f"u-{number}"))

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(bind, number)
    assert len(set(bound)) == 1


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
async def test_any_other_file_has_none(catalog: SqlCatalog, given: Given, status: Status) -> None:
    file = await given.in_status(status)
    assert await catalog.bind_upload(file.file_id, "u-1") is None
    buried = await given.pending()
    await catalog.bury(buried.file_id)
    assert await catalog.bind_upload(buried.file_id, "u-1") is None


async def test_a_file_waits_longer_and_never_shorter(catalog: SqlCatalog, given: Given) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    file = await given.pending(upload_expires_at=now)
    for until in (now + timedelta(seconds=60), now + timedelta(seconds=30)):
        await catalog.prolong_upload(file.file_id, until=until)
    assert (await given.read(file.file_id)).upload_expires_at == now + timedelta(seconds=60)
    arrived = await given.in_status(Status.PROCESSING)
    before = (await given.read(arrived.file_id)).upload_expires_at
    await catalog.prolong_upload(arrived.file_id, until=now + timedelta(days=1))
    assert (await given.read(arrived.file_id)).upload_expires_at == before


async def test_what_is_left_of_finished_and_deleted_files_is_found(catalog: SqlCatalog, given: Given) -> None:
    waiting, cancelled, buried, expired, ended = [(await given.pending()).file_id for _ in range(5)]
    for file_id in (waiting, cancelled, buried, expired, ended):
        await catalog.bind_upload(file_id, f"u-{file_id}")
    await catalog.upload_ended(ended)
    for file_id in (cancelled, ended):
        await catalog.request_cancel(file_id)
    await catalog.bury(buried)
    await given.pending()
    assert {file.file_id for file in await catalog.left_uploads(limit=10)} == {cancelled, buried}
    assert len(await catalog.left_uploads(limit=1)) == 1
    assert len(await catalog.left_uploads(limit=10, skip=1)) == 1
    await catalog.expire_pending(grace_s=-3600)
    left = {file.file_id: file.upload_id for file in await catalog.left_uploads(limit=10)}
    assert left == {file_id: f"u-{file_id}" for file_id in (waiting, cancelled, buried, expired)}
