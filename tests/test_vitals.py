"""What is expected and does not come is overdue; what rests, or is gone, is not."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

from vproc.vitals import Vitals, watch_lag


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_part_is_overdue_when_it_does_not_come_back_in_its_time(clock: Clock) -> None:
    vitals = Vitals(clock=clock)
    with vitals.pulse("poller") as pulse:
        assert vitals.overdue() == ()
        pulse.due(30)
        clock.now += 30
        assert vitals.overdue() == ()
        clock.now += 0.5
        assert (vitals.overdue(), pulse.overdue_s) == (("poller",), 0.5)
        pulse.due(30)
        assert vitals.overdue() == ()


def test_a_part_that_rests_is_waited_for_by_nobody(clock: Clock) -> None:
    vitals = Vitals(clock=clock)
    with vitals.pulse("poller") as pulse:
        pulse.due(1)
        pulse.rest()
        clock.now += 3600
        assert vitals.overdue() == ()


def test_one_of_several_is_enough_and_is_named_once(clock: Clock) -> None:
    vitals = Vitals(clock=clock)
    with vitals.pulse("heartbeat") as first, vitals.pulse("heartbeat") as second, vitals.pulse("poller") as third:
        for pulse in (first, second, third):
            pulse.due(5)
        clock.now += 6
        third.due(5)
        assert vitals.overdue() == ("heartbeat",)
        first.due(5)
        assert vitals.overdue() == ("heartbeat",)
        second.due(5)
        assert vitals.overdue() == ()


def test_a_part_that_is_gone_is_not_missed(clock: Clock) -> None:
    """However it went."""
    vitals = Vitals(clock=clock)

    def job() -> None:
        with vitals.pulse("heartbeat") as pulse:
            pulse.due(1)
            raise LookupError

    with pytest.raises(LookupError):
        job()
    clock.now += 2
    assert vitals.overdue() == ()


async def test_lag_is_how_late_a_wait_ends() -> None:
    """A call that holds the event loop shows itself; a loop that is free does not."""
    seen: list[float] = []
    looked = anyio.Event()

    def observe(lag_s: float) -> None:
        seen.append(lag_s)
        if len(seen) == 3:
            looked.set()

    def hold_the_loop() -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: watch_lag(observe, every_s=0.01))
        await anyio.lowlevel.checkpoint()
        hold_the_loop()
        with anyio.fail_after(10):
            await looked.wait()
        tasks.cancel_scope.cancel()
    assert seen[0] >= 0.25
    assert min(seen) < 0.25
