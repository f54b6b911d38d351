"""A value that is made once for all who ask, and for how long."""

from __future__ import annotations

import anyio
import pytest

from tests.support.memory import ManualClock
from vproc.api.kept import Kept


class Made:
    """Counts how often it is made; ``go_on`` lets it be."""

    def __init__(self) -> None:
        self.times = 0
        self.error: Exception | None = None
        self.go_on = anyio.Event()
        self.clock = ManualClock()
        self.kept = Kept(self._make, for_s=2.0, clock=self.clock)

    async def _make(self) -> int:
        self.times += 1
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return self.times


async def test_ten_who_ask_at_once_have_it_made_once() -> None:
    made, got = Made(), []

    async def ask() -> None:
        got.append(await made.kept.get())

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        made.go_on.set()
    assert (got, made.times) == ([1] * 10, 1)


async def test_it_is_kept_for_its_time_and_no_longer() -> None:
    made = Made()
    made.go_on.set()
    got = []
    for passed_s in (0, 1.9, 0.1, 0):
        made.clock.advance(passed_s)
        got.append(await made.kept.get())
    made.kept.forget()
    assert (got, await made.kept.get()) == ([1, 1, 2, 2], 3)


async def test_whoever_hangs_up_or_hears_an_error_spoils_it_for_nobody() -> None:
    made = Made()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await made.kept.get()
    made.go_on.set()
    made.error = RuntimeError("away")
    with pytest.raises(RuntimeError):
        await made.kept.get()
    made.error = None
    assert await made.kept.get() == made.times
