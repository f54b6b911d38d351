"""The load that announces uploads, and how its section reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.announce import GOALS, announce_lines
from bench.announcer import announce, due_times
from bench.figures import Conditions
from tests.support.api import PROFILES, running_api
from vproc.api.parts import Limits

ROUND = {
    "vproc": {"per_s": 650.0, "cpu_ms": 1.4},
    "usual": {"per_s": 500.0, "cpu_ms": 1.8},
    "loaded": {"p50_ms": 4.0, "p99_ms": 18.0, "most_ms": 40.0, "late_p99_ms": 3.0},
}


def test_requests_are_due_evenly() -> None:
    assert list(due_times(10.0, 4, 1)) == [10.0, 10.25, 10.5, 10.75]


async def test_every_request_goes_out_and_is_counted(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        told = await announce(api.url, seconds=0.2, connections=None, per_second=100)
        again = await announce(api.url, seconds=0.1, connections=3, per_second=None)
        known = (await api.get("/uploads?limit=100")).json["uploads"]
    assert (len(told["latencies_ms"]), len(told["lateness_ms"]), told["failed"]) == (20, 20, 0)
    assert (again["failed"], len(known)) == (0, min(100, 20 + len(again["latencies_ms"])))


async def test_a_request_that_is_refused_is_no_answer(tmp_path: Path) -> None:
    async with running_api(tmp_path, limits=Limits(profiles=PROFILES, max_upload_bytes=1)) as api:
        told = await announce(api.url, seconds=0.1, connections=None, per_second=50)
    assert (told["latencies_ms"], told["failed"]) == ([], 5)


def test_the_section_tells_both_verdicts() -> None:
    lines = announce_lines([ROUND], [Conditions(load=0.5, others=0.02, stolen=0.0)], "8.1")
    assert [goal.held([ROUND]) for goal in GOALS] == [True, True]
    assert any("1.30" in line and "held" in line for line in lines)
    assert any("18.0 ms" in line for line in lines)


@pytest.mark.parametrize(("per_s", "holds"), [(600.0, True), (590.0, False)])
def test_a_fifth_more_is_wanted(per_s: float, holds: bool) -> None:
    assert GOALS[0].held([{**ROUND, "vproc": {"per_s": per_s}}]) is holds
