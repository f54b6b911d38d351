"""The fleet: its share of the processor, what its logs tell, and a small soak with everything real."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import pytest

from bench.cgroups import PERIOD_US, beside, capped
from bench.fleet import events_in
from bench.processes import BenchError
from bench.scale import DAEMONS, GOALS, scale_lines
from bench.soak import Plan, measure_soak
from bench.soak_verdicts import verdicts


async def test_a_share_of_the_processor_by_groups_of_version_one(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("")
    async with capped("x", 0.3, cpu=min(os.sched_getaffinity(0)), root=tmp_path) as group:
        assert group.path.parent == tmp_path / "cpu"
        assert int((group.path / "cpu.cfs_quota_us").read_text()) / int((group.path / "cpu.cfs_period_us").read_text()) == 0.3
        _empty(group.path)
    assert not group.path.exists()


async def test_a_share_of_the_processor_by_groups_of_version_two(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    async with capped("x", 0.5, cpu=min(os.sched_getaffinity(0)), root=tmp_path) as group:
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu"
        assert (group.path / "cpu.max").read_text() == f"{PERIOD_US // 2} {PERIOD_US}"
        _empty(group.path)
    assert not group.path.exists()


async def test_a_command_joins_its_group_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu")
    async with capped("x", 0.5, cpu=min(os.sched_getaffinity(0)), root=tmp_path) as group:
        done = await anyio.run_process([*group.words, "/bin/sh", "-c", "echo $$; taskset --cpu-list --pid $$"])
        pid, affinity = done.stdout.decode().splitlines()
        assert (group.path / "cgroup.procs").read_text().strip() == pid
        assert affinity.endswith(f": {group.cpu}")
        _empty(group.path)


def test_the_bench_itself_stays_off_that_processor() -> None:
    usual = os.sched_getaffinity(0)
    with beside(min(usual)):
        assert os.sched_getaffinity(0) == (usual - {min(usual)} or usual)
    assert os.sched_getaffinity(0) == usual


async def test_without_groups_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="it takes root"):
        async with capped("x", 0.5, cpu=min(os.sched_getaffinity(0)), root=tmp_path):
            pass


def _empty(path: Path) -> None:
    """The kernel's own files go with their group."""
    for file in path.iterdir():
        file.unlink()


def test_a_log_whose_end_was_cut_off_still_tells_its_events(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(json.dumps({"event": "job_ended", "outcome": "completed"}) + '\nnoise "job_ended"\n{"event": "job_ended", "ou')
    assert events_in(log, "job_ended") == [{"event": "job_ended", "outcome": "completed"}]


def test_the_goal_of_scale_compares_the_most_with_one() -> None:
    told = {
        "jobs_per_minute": 10.0, "wall_s": 60.0, "s3": 11.0, "sqs": 2.0, "statements": 50.0, "beside_cores": 0.1,
        "share_used": 0.95, "cpu_s_per_job": 1.0,
    }  # fmt: skip
    rounds = [{str(number): {**told, "jobs_per_minute": 9.5 * number} for number in DAEMONS}]
    assert all(goal.held(rounds) for goal in GOALS)
    slow = [{str(number): {**told, "jobs_per_minute": 9.0 * number**0.9, "sqs": 2.0 + number} for number in DAEMONS}]
    assert [goal.held(slow) for goal in GOALS] == [False, True, False, True, True, True]
    assert "| 4 | 38.0 | 60.0 |" in "\n".join(scale_lines(rounds, [], "n8.1.2"))


@pytest.mark.timeout(300)
async def test_a_small_soak_holds_but_for_what_takes_longer(tmp_path: Path) -> None:
    """Real daemons, ministack and PostgreSQL. Two kills: on a busy machine daemons would else do nothing but start."""
    run = await measure_soak(tmp_path, Plan(jobs=90, kill_every_s=3.0, concurrency=2, seed=3, most_kills=2))
    failed = {verdict.text.partition(":")[0]: verdict.found for verdict in verdicts(run) if not verdict.holds}
    assert failed.keys() - {"daemons were killed, and jobs with them"} == {"memory flat"}, failed
    assert 1 <= run.kills <= 2
    assert run.standing.interrupted >= 1
    assert run.calls["s3 PUT"] >= 4 * 90
    assert run.calls["sqs DeleteMessage"] >= 90
    assert run.statements["UPDATE"] >= 90
