"""The store's line: bytes pass as fast as it is said, whoever sends them."""

from __future__ import annotations

from itertools import pairwise
from time import monotonic

import anyio
import pytest

from bench.bandwidth import Line, Pace

SECOND = 1_000_000


def test_bytes_pass_one_after_another() -> None:
    pace = Pace(SECOND)
    assert [pace.reserve(500_000, now=10) for _ in range(3)] == pytest.approx([0.5, 1.0, 1.5])


def test_an_idle_line_saves_nothing_up() -> None:
    """A burst after a pause would be faster than any real line."""
    pace = Pace(SECOND)
    pace.reserve(100_000, now=0)
    assert pace.reserve(500_000, now=1000) == pytest.approx(0.5)


def test_what_came_late_is_caught_up() -> None:
    """Who asks a little later than it might does not lose that time: the line's own clock counts."""
    pace = Pace(SECOND)
    waits = [now + pace.reserve(100_000, now=now) for now in (0.0, 0.09, 0.2, 0.29)]
    assert [later - sooner for sooner, later in pairwise(waits)] == pytest.approx([0.1] * 3)


def test_without_a_limit_nothing_waits() -> None:
    pace = Pace(None)
    assert pace.reserve(10**12, now=0) == 0
    pace.change(SECOND)
    assert pace.reserve(SECOND, now=0) == pytest.approx(1)


async def test_connections_share_one_line() -> None:
    """Four at once take together what the bytes take on the line."""
    line, begun = Line(1), monotonic()

    async def send() -> None:
        for _ in range(5):
            await line.passed(10_000)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(send)
    assert monotonic() - begun >= 4 * 5 * 10_000 / SECOND - 0.02
