"""The soak's verdicts: each can fail, and fails for what it names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cloud_server import operation_of
from bench.figures import MB, Conditions
from bench.soak_verdicts import Resident, SoakRun, slope, soak_lines, verdicts
from bench.standing import Standing

WELL = Standing(
    completed=100, missing=0, not_completed=0, raw_left=0, raw_states=0, wrong_manifests=0, written_twice=0,
    completed_twice=0, damaged=0, unnamed=0, waiting=0, dead=0, attempts=104, interrupted=4, open_attempts=0,
)  # fmt: skip


def life(first_mb: float, last_mb: float, *, seconds: int = 300) -> Resident:
    """A process that goes from one size to the other, after having been half as large while it was new."""
    grown = [
        (float(age), int(MB * (first_mb / 2 if age < 60 else first_mb + (last_mb - first_mb) * age / seconds)))
        for age in range(seconds)
    ]
    return Resident("daemon-1", 1, grown)


RUN = SoakRun(
    jobs=100, seconds=300.0, kills=5, kill_every_s=60.0, daemons=3, concurrency=2, seed=1, starts=8, standing=WELL,
    most_connections=11, connections_bound=30, resident=[life(100, 101)], calls={"s3 PUT": 400, "sqs DeleteMessage": 100},
    statements={"SELECT": 1000}, database_cpu_s=0.5, cloud_cpu_s=1.0,
    tracebacks=0, left_in_scratch=(), conditions=Conditions(1.0, 0.1, 0.0), ffmpeg="n8.1.2",
)  # fmt: skip


def failing(run: SoakRun) -> list[str]:
    """The first words of what does not hold."""
    return [verdict.text.partition(":")[0] for verdict in verdicts(run) if not verdict.holds]


def test_all_holds_where_all_is_well() -> None:
    assert failing(RUN) == []
    assert len(verdicts(RUN)) == 6


@pytest.mark.parametrize("what", ["missing", "not_completed", "wrong_manifests", "damaged", "waiting", "dead"])
def test_what_is_lost_is_told(what: str) -> None:
    assert failing(replace(RUN, standing=replace(WELL, **{what: 1}))) == ["none lost"]


def test_fewer_completed_than_were_put_is_a_loss() -> None:
    assert failing(replace(RUN, standing=replace(WELL, completed=99))) == ["none lost"]


@pytest.mark.parametrize("what", ["completed_twice", "written_twice", "unnamed", "raw_left", "raw_states"])
def test_what_is_done_twice_is_told(what: str) -> None:
    assert failing(replace(RUN, standing=replace(WELL, **{what: 1}))) == ["none twice"]


def test_a_soak_in_which_nothing_was_killed_proves_nothing() -> None:
    assert failing(replace(RUN, kills=1, starts=4)) == ["daemons were killed, and jobs with them"]
    assert failing(replace(RUN, standing=replace(WELL, interrupted=0))) == ["daemons were killed, and jobs with them"]


def test_memory_is_judged_by_the_tenths_of_each_life_that_is_long_enough() -> None:
    assert failing(replace(RUN, resident=[life(100, 101), life(100, 130)])) == ["memory flat"]
    assert failing(replace(RUN, resident=[life(100, 101), life(100, 130, seconds=90)])) == []
    assert failing(replace(RUN, resident=[life(100, 101, seconds=90)])) == ["memory flat"]


@pytest.mark.parametrize("most", [0, 31])
def test_connections_beyond_the_pools_or_none_seen_at_all_are_told(most: int) -> None:
    assert failing(replace(RUN, most_connections=most)) == ["connections to the database bounded by the pools"]


@pytest.mark.parametrize(
    "change", [{"starts": 9}, {"tracebacks": 1}, {"left_in_scratch": ("x",)}, {"standing": replace(WELL, open_attempts=1)}]
)
def test_what_crashed_or_was_left_is_told(change: dict[str, object]) -> None:
    assert failing(replace(RUN, **change)) == ["nothing crashed or was left open"]


def test_a_slope_is_by_least_squares() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert life(100, 100).bytes_per_hour == pytest.approx(0)
    with pytest.raises(ValueError, match="two points"):
        slope([(1, 1), (1, 2)])


def test_the_section_tells_verdicts_and_calls_for_each_job() -> None:
    text = "\n".join(soak_lines(replace(RUN, most_connections=31)))
    assert "**None lost: each file completed" in text
    assert "bounded by the pools: NOT held: 31 at most, of 30" in text
    assert "| requests to S3 | **4.0**: PUT 4.00 |" in text
    assert "| requests to SQS | **1.0**: DeleteMessage 1.00 |" in text
    assert "| statements to the catalog | **10.0**: SELECT 10.00 |" in text
    assert "| processor time of the database | 5.0 ms |" in text


@pytest.mark.parametrize(
    ("method", "query", "target", "operation"),
    [
        ("POST", "", "AmazonSQS.ReceiveMessage", "ReceiveMessage"),
        ("PUT", "", "", "PUT"),
        ("GET", "list-type=2&prefix=x", "", "GET list-type"),
        ("PUT", "partNumber=1&uploadId=x", "", "PUT uploadId"),
        ("POST", "delete", "", "POST delete"),
    ],
)
def test_requests_are_told_apart_by_what_they_do(method: str, query: str, target: str, operation: str) -> None:
    assert operation_of(method, query, target) == operation
