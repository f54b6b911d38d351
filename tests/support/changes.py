"""Waiting for something to have come true in this process, without sleeping."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio


class Changes:
    """Told by whoever changes something, asked by whoever waits for it."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def tell(self) -> None:
        """Something changed: those who wait look again."""
        self._event.set()
        self._event = anyio.Event()

    async def until(self, condition: Callable[[], bool], *, within_s: float = 5) -> None:
        """Return once it holds. Raises `TimeoutError`."""
        with anyio.fail_after(within_s):
            while not condition():
                await self._event.wait()


async def eventually(check: Callable[[], Awaitable[bool]], *, within_s: float = 15) -> None:
    """Return once it holds, of what tells nobody: another process's state, or a service's. Raises `TimeoutError`."""
    with anyio.fail_after(within_s):
        while not await check():  # noqa: ASYNC110 - it sets no event of ours
            await anyio.sleep(0.05)
