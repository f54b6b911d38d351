"""Which jobs run together. Any history of jobs is played in virtual time: a job takes as many seconds as it has work."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vproc.core.admission import SMALLER, Admission, Ticket
from vproc.core.cost import Cost

CORES, MEMORY = 8, 100
LARGE = Cost(cores=8, memory_bytes=20, work_s=1000)
SMALL = Cost(cores=2, memory_bytes=5, work_s=10)


def admission(*costs: Cost, cores: float = CORES, memory: float = MEMORY) -> tuple[Admission, list[Ticket]]:
    """A machine, and the tickets of jobs that asked one after another."""
    machine = Admission(cores=cores, memory_bytes=memory)
    tickets = []
    for cost in costs:
        tickets.append(machine.ask(cost))
        machine.admit()
    return machine, tickets


def running(tickets: list[Ticket]) -> list[bool]:
    return [ticket.admitted for ticket in tickets]


# --- cores and memory ------------------------------------------------------------------------------------------------


def test_jobs_run_together_while_cores_are_left() -> None:
    one = Cost(cores=3, memory_bytes=1, work_s=10)
    machine, tickets = admission(one, one, one, one)
    # The third begins with two of the three that it could use, the fourth not with none.
    assert [ticket.cores for ticket in tickets] == [3, 3, 2, None]
    machine.leave(tickets[0])
    assert machine.admit() == [tickets[3]]
    assert machine.free_cores == 0


def test_a_job_begins_with_half_of_its_cores_and_not_with_less() -> None:
    assert running(admission(Cost(4, 1, 10), Cost(8, 1, 10))[1]) == [True, True]
    assert running(admission(Cost(5, 1, 10), Cost(8, 1, 10))[1]) == [True, False]


def test_a_job_that_could_use_more_cores_than_there_are_takes_all() -> None:
    machine, (film,) = admission(Cost(30, 1, 10))
    assert (film.cores, machine.free_cores) == (8, 0)


def test_memory_holds_back_what_cores_would_not() -> None:
    hungry = Cost(cores=1, memory_bytes=60, work_s=10)
    machine, tickets = admission(hungry, hungry)
    assert running(tickets) == [True, False]
    machine.leave(tickets[0])
    assert machine.admit() == [tickets[1]]


def test_a_job_that_is_larger_than_the_machine_runs_alone() -> None:
    giant = Cost(cores=1, memory_bytes=500, work_s=100_000)
    machine, tickets = admission(SMALL, giant, SMALL)
    assert running(tickets) == [True, False, True]  # the small one passes
    machine.leave(tickets[0])
    machine.leave(tickets[2])
    assert machine.admit() == [tickets[1]]
    machine.ask(SMALL)
    assert machine.admit() == []


def test_without_a_bound_of_cores_any_number_runs_together() -> None:
    machine, tickets = admission(*[LARGE] * 5, cores=float("inf"))
    assert running(tickets) == [True] * 5
    machine.ask(LARGE)
    assert machine.admit() == []  # memory is one all the same


# --- order -----------------------------------------------------------------------------------------------------------


def test_equal_jobs_begin_in_the_order_in_which_they_came() -> None:
    machine, tickets = admission(*[LARGE] * 4)
    assert running(tickets) == [True, False, False, False]
    for number in range(3):
        machine.leave(tickets[number])
        assert machine.admit() == [tickets[number + 1]]


def test_one_small_job_runs_beside_those_that_hold_all_cores() -> None:
    machine, tickets = admission(LARGE, LARGE, SMALL, SMALL)
    assert running(tickets) == [True, False, True, False]
    assert (tickets[2].beside, tickets[2].cores) == (True, 0)
    machine.leave(tickets[2])
    assert machine.admit() == [tickets[3]]
    assert not tickets[1].admitted


def test_what_is_not_much_smaller_waits_its_turn() -> None:
    nearly = Cost(cores=2, memory_bytes=5, work_s=LARGE.work_s / SMALLER + 1)
    assert running(admission(LARGE, nearly)[1]) == [True, False]
    assert running(admission(LARGE, Cost(2, 5, LARGE.work_s / SMALLER))[1]) == [True, True]


def test_a_small_one_beside_large_ones_needs_its_memory() -> None:
    assert running(admission(Cost(8, 98, 1000), SMALL)[1]) == [True, False]


def test_small_ones_wait_for_a_small_one_that_holds_cores() -> None:
    """It ends soon, and what is beside it would only slow it."""
    assert running(admission(Cost(7, 5, 1000), Cost(1, 5, 10), SMALL)[1]) == [True, True, False]


def test_what_passes_a_job_is_no_more_work_than_the_job() -> None:
    waiting = Cost(cores=8, memory_bytes=20, work_s=200)
    small = Cost(cores=1, memory_bytes=5, work_s=10)
    machine, tickets = admission(LARGE, waiting)
    for _ in range(20):
        passing = machine.ask(small)
        assert machine.admit() == [passing]
        machine.leave(passing)
    late = machine.ask(small)
    assert machine.admit() == []
    machine.leave(tickets[0])
    assert machine.admit() == [tickets[1], late]


def test_who_stops_waiting_makes_room_for_those_behind() -> None:
    machine, tickets = admission(LARGE, Cost(8, 100, 900), Cost(8, 10, 800), Cost(1, 10, 790))
    assert running(tickets) == [True, False, False, False]
    machine.leave(tickets[0])
    machine.leave(tickets[1])
    assert machine.admit() == [tickets[2]]


# --- any history -----------------------------------------------------------------------------------------------------


@dataclass
class Job:
    arrives_s: float
    cost: Cost
    gives_up_after_s: float | None = None
    begun_s: float | None = None
    ended: bool = False
    ticket: Ticket | None = None


@dataclass
class Played:
    """A machine in virtual time."""

    jobs: list[Job]
    machine: Admission = field(default_factory=lambda: Admission(cores=CORES, memory_bytes=MEMORY))

    def play(self) -> None:
        """Until nothing happens any more, looking at the machine after every event."""
        numbers, events = count(), list[tuple[float, int, str, Job]]()
        for job in self.jobs:
            heappush(events, (job.arrives_s, next(numbers), "arrives", job))
        while events:
            now_s, _, event, job = heappop(events)
            if event == "arrives":
                job.ticket = self.machine.ask(job.cost)
                if job.gives_up_after_s is not None:
                    heappush(events, (now_s + job.gives_up_after_s, next(numbers), "gives up", job))
            elif event == "ends" or (job.begun_s is None and not job.ended):
                assert job.ticket is not None
                self.machine.leave(job.ticket)
                job.ended = True
            for ticket in self.machine.admit():
                (begun,) = [other for other in self.jobs if other.ticket is ticket]
                begun.begun_s = now_s
                heappush(events, (now_s + begun.cost.work_s, next(numbers), "ends", begun))
            self.look()

    def look(self) -> None:
        """What holds at any time."""
        held = self.machine.running
        assert sum(ticket.cores or 0 for ticket in held) <= CORES
        assert len(held) == 1 or sum(ticket.cost.memory_bytes for ticket in held) <= MEMORY
        assert sum(ticket.beside for ticket in held) <= 1
        assert held or not self.machine.waiting
        assert all(ticket.passed <= ticket.cost.work_s for ticket in self.machine.waiting)


costs = st.builds(
    Cost,
    cores=st.sampled_from([1.0, 1.5, 2.3, 5.0, 8.0, 15.0]),
    memory_bytes=st.integers(1, 150),
    work_s=st.sampled_from([1.0, 2.0, 7.0, 40.0, 300.0, 5000.0]),
)
jobs = st.builds(
    Job, arrives_s=st.integers(0, 3000).map(float), cost=costs, gives_up_after_s=st.none() | st.integers(1, 2000).map(float)
)


@settings(max_examples=400, deadline=None)
@given(st.lists(jobs, max_size=40))
def test_nothing_is_given_away_twice_and_nobody_waits_longer_than_what_was_there_before(history: list[Job]) -> None:
    """While it waits, something runs: what came before it, or what passed it, which is no more work than its own."""
    Played(history).play()
    history.sort(key=lambda job: job.arrives_s)
    for place, job in enumerate(history):
        if job.begun_s is None:
            assert job.gives_up_after_s is not None
            continue
        before = sum(other.cost.work_s for other in history[:place])
        assert job.begun_s - job.arrives_s <= before + job.cost.work_s
        assert job.ended


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.sampled_from([1.0, 2.0, 10.0]))
def test_a_stream_of_small_jobs_neither_starves_the_large_nor_waits_for_them(small: int, large: int, every_s: float) -> None:
    """Small ones come faster than one at a time can do them; large ones are far longer than all of them."""
    films = [Job(0.0, Cost(8, 20, 5000)) for _ in range(large)]
    clips = [Job(1 + number * every_s, SMALL) for number in range(small)]
    Played(films + clips).play()
    begins = [film.begun_s for film in films]
    assert begins == sorted(begins, key=lambda begun_s: begun_s or 0.0)
    assert all(film.ended for film in films)
    for number, clip in enumerate(clips):
        assert clip.begun_s is not None
        assert clip.begun_s - clip.arrives_s <= number * SMALL.work_s  # those before it, and no film


@pytest.mark.parametrize("work_s", [1.0, 8.0, 60.0])
def test_an_endless_stream_of_small_jobs_delays_a_large_one_by_its_own_length_at_most(work_s: float) -> None:
    large = Job(0.0, Cost(8, 90, 480))
    stream = [Job(number / 2, Cost(4, 5, work_s)) for number in range(300)]
    first = Job(0.0, Cost(4, 5, work_s))
    Played([first, large, *stream]).play()
    assert large.begun_s is not None
    assert large.begun_s <= 480 + 2 * work_s
