"""Files that are announced at once: one transaction for many, and each its own answer."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel

from tests.support.catalog import new_file
from vproc.core.files import Status
from vproc.core.leases import NewFile
from vproc.db.catalog import SqlCatalog
from vproc.db.group_commit import MOST_AT_ONCE
from vproc.errors import ConflictError, VprocError

TOO_LARGE = 2**64  # for a column of 64 bits


async def announced(catalog: SqlCatalog, news: list[NewFile]) -> list[Any]:
    """What each comes to when all are announced together."""
    came: dict[int, Any] = {}

    async def one(number: int) -> None:
        try:
            came[number] = (await catalog.announce(news[number])).file
        except VprocError as error:
            came[number] = error

    async with anyio.create_task_group() as tasks:
        for number in range(len(news)):
            tasks.start_soon(one, number)
    return [came[number] for number in range(len(news))]


async def test_each_of_many_gets_its_own_file(catalog: SqlCatalog) -> None:
    """More than one transaction takes, too."""
    news = [new_file() for _ in range(2 * MOST_AT_ONCE + 7)]
    files = await announced(catalog, news)
    assert [(file.file_id, file.key, file.status) for file in files] == [(new.file_id, new.key, Status.PENDING) for new in news]
    assert [await catalog.get(new.file_id) for new in news] == files


async def test_one_that_is_refused_takes_nobody_with_it(catalog: SqlCatalog) -> None:
    news = [new_file() for _ in range(9)]
    news[4] = new_file(size_bytes=TOO_LARGE)
    came = await announced(catalog, news)
    assert isinstance(came[4], VprocError)
    assert [file.file_id for number, file in enumerate(came) if number != 4] == [
        new.file_id for number, new in enumerate(news) if number != 4
    ]
    assert await catalog.get(news[4].file_id) is None


async def test_the_same_at_once_is_one_file_and_another_of_its_id_is_refused(catalog: SqlCatalog) -> None:
    new = new_file()
    first, again, other = await announced(catalog, [new, new, new_file(file_id=new.file_id, key=f"videos/other/{uuid4()}.mp4")])
    assert first == again
    assert isinstance(other, ConflictError)


async def test_who_is_cancelled_before_its_turn_writes_nothing_and_who_has_begun_ends(catalog: SqlCatalog) -> None:
    """The one that writes for the others is cancelled in the midst of it: its file and theirs stand."""
    first, second, third = new_file(), new_file(), new_file()
    writer, waiter = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_cancelled, catalog, first, writer)
        await anyio.lowlevel.checkpoint()
        tasks.start_soon(_until_cancelled, catalog, second, waiter)
        tasks.start_soon(catalog.announce, third)
        await anyio.lowlevel.checkpoint()
        writer.cancel()
        waiter.cancel()
    assert await catalog.get(first.file_id) is not None
    assert await catalog.get(second.file_id) is None
    assert await catalog.get(third.file_id) is not None


async def _until_cancelled(catalog: SqlCatalog, new: NewFile, scope: anyio.CancelScope) -> None:
    with scope:
        await catalog.announce(new)
