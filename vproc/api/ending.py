"""Work that must not stop half-way because a client hung up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from vproc.errors import UnavailableError
from vproc.tasks import task_group


async def to_its_end(work: Callable[[], Awaitable[None]], *, within_s: float) -> None:
    """Run ``work`` whole, although the handler is cancelled meanwhile. Raises `UnavailableError` after ``within_s``.

    aiohttp cancels a handler's task itself, which no shield of anyio's stops; a child's task it does not know.
    """

    async def child() -> None:
        with anyio.move_on_after(within_s, shield=True) as scope:
            await work()
        if scope.cancelled_caught:
            raise UnavailableError(f"no end within {within_s:g} s")

    async with task_group() as tasks:
        tasks.start_soon(child)
