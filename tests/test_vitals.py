"""What is expected and does not come is overdue; what rests, or is gone, is not."""

from __future__ import annotations

import pytest

from vproc.vitals import Vitals


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
