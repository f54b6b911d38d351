"""Goals: what is divided by what, in which round, and when it holds."""

from __future__ import annotations

import pytest

from bench.figures import Conditions
from bench.goals import TIMES, Figure, Goal, arms_table, goal_lines, rounds_table

ROUNDS = [
    {"vproc": {"wall_s": 10.0, "cpu_s": 20.0, "own_cpu_s": 0.5}, "bare": {"wall_s": 8.0, "cpu_s": 19.0}, "down": {"wall_s": 4.0}},
    {
        "vproc": {"wall_s": 12.0, "cpu_s": 20.0, "own_cpu_s": 0.3},
        "bare": {"wall_s": 12.0, "cpu_s": 20.0},
        "down": {"wall_s": 4.0},
    },
    {
        "vproc": {"wall_s": 11.0, "cpu_s": 20.0, "own_cpu_s": 0.4},
        "bare": {"wall_s": 10.0, "cpu_s": 20.0},
        "down": {"wall_s": 22.0},
    },
]


def test_a_ratio_is_taken_within_each_round_and_judged_by_its_median() -> None:
    """The ratio of the medians would be another one, and would compare runs of different rounds."""
    goal = Goal("Wall", Figure("vproc"), (Figure("bare"),), bound=1.1)
    assert goal.values(ROUNDS) == pytest.approx([1.25, 1.0, 1.1])
    assert goal.held(ROUNDS)
    assert not Goal("Wall", Figure("vproc"), (Figure("bare"),), bound=1.09).held(ROUNDS)


def test_a_goal_may_want_no_less_than_its_bound() -> None:
    faster = Goal("Faster", Figure("vproc"), (Figure("bare"),), bound=1.1, at_most=False)
    assert faster.held(ROUNDS)
    assert not Goal("Faster", Figure("vproc"), (Figure("bare"),), bound=1.11, at_most=False).held(ROUNDS)


def test_over_several_the_greatest_of_the_round_counts() -> None:
    goal = Goal("Parts", Figure("vproc"), (Figure("bare"), Figure("down")), bound=1.1)
    assert goal.values(ROUNDS) == pytest.approx([1.25, 1.0, 0.5])


def test_a_share_is_told_in_per_cent_and_a_time_in_seconds() -> None:
    share = Goal("Own", Figure("vproc", "own_cpu_s"), (Figure("vproc", "cpu_s"),), bound=3, unit="%")
    assert share.values(ROUNDS) == pytest.approx([2.5, 1.5, 2.0])
    time = Goal("Time", Figure("vproc"), bound=3, unit="s")
    assert time.values(ROUNDS) == [10.0, 12.0, 11.0]
    assert not time.held(ROUNDS)


def test_a_verdict_tells_every_round() -> None:
    goal = Goal("Wall, vproc over bare", Figure("vproc"), (Figure("bare"),), bound=1.05)
    told = f"**Wall, vproc over bare: 1.10 {TIMES} (1.00 to 1.25); goal ≤ 1.05 {TIMES}: NOT held.**"
    assert goal_lines([goal], ROUNDS) == [f"{told} Round by round: 1.25, 1.00, 1.10.", ""]
    assert " goal ≥ 2 " in Goal("Faster", Figure("vproc"), bound=2, at_most=False).line(ROUNDS)


def test_a_table_tells_medians_and_leaves_out_what_was_not_measured() -> None:
    assert arms_table(ROUNDS, {"bare": "one bare ffmpeg", "down": "download alone"})[2:] == [
        "| one bare ffmpeg | 10.00 s (8.00 to 12.00) | 20.00 s (19.00 to 20.00) |",
        "| download alone | 4.00 s (4.00 to 22.00) |  |",
    ]


def test_what_went_on_beside_is_told_of_each_round() -> None:
    told = rounds_table([Conditions(load=0.5, others=0.02, stolen=0.001), Conditions(load=3, others=0.5, stolen=0)])
    assert told[2:] == ["| 1 | 0.5 | 2% | 0.1% |", "| 2 | 3.0 | 50% | 0.0% |"]
