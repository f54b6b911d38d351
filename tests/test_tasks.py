"""A task group that does not show: its errors are those of its children, plain, with their causes."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from vproc.errors import UnavailableError
from vproc.tasks import task_group


async def fail(error: BaseException) -> None:
    await anyio.lowlevel.checkpoint()
    raise error


async def test_a_childs_error_leaves_it_plain() -> None:
    error = UnavailableError("S3 is away")

    async def group() -> None:
        async with task_group() as tasks:
            tasks.start_soon(fail, error)
            await anyio.sleep_forever()

    with pytest.raises(UnavailableError) as caught:
        await group()
    assert caught.value is error


async def test_an_error_of_the_block_ends_the_children_and_leaves_plain() -> None:
    ended = anyio.Event()

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def group() -> None:
        async with task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await group()
    assert ended.is_set()


async def test_the_first_error_counts_and_those_that_it_caused_do_not() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("caused")

    async def group() -> None:
        async with task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(fail_when_cancelled)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(fail, ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        await group()


async def test_groups_within_groups_do_not_show_either() -> None:
    async def inner() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        async with task_group() as tasks:
            tasks.start_soon(inner)


async def test_what_an_error_was_raised_from_stays_with_it() -> None:
    """The log shows the store's own words, however many groups an error passes."""

    async def adapter() -> None:
        try:
            await fail(ConnectionResetError("by peer"))
        except ConnectionResetError as foreign:
            raise UnavailableError("S3 is away") from foreign

    async def through(depth: int) -> None:
        async with task_group() as tasks:
            if depth:
                tasks.start_soon(through, depth - 1)
            else:
                tasks.start_soon(adapter)

    with pytest.raises(UnavailableError) as caught:
        await through(2)
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.__suppress_context__


async def test_a_cancellation_passes_through() -> None:
    reached: list[str] = []
    with anyio.CancelScope() as scope:
        async with task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
            reached.append("after the cancellation")
    assert scope.cancelled_caught
    assert reached == []


async def test_cancelling_the_group_itself_is_no_error() -> None:
    async with task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        tasks.cancel_scope.cancel()
    assert tasks.cancel_scope.cancelled_caught
