"""The token bucket: so many a minute, and no more over any time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vproc.core.token_bucket import Bucket, take


def test_a_minutes_tokens_may_be_taken_at_once_and_then_one_after_the_other() -> None:
    bucket, waits = None, []
    for now_s in (0.0, 0.0, 0.0, 19.0, 20.0, 20.0):
        bucket, wait_s = take(bucket, per_minute=3, now_s=now_s)
        waits.append(wait_s)
    assert waits == [0, 0, 0, 1, 0, 20]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket, wait_s = take(Bucket(0.0, 100.0), per_minute=60, now_s=50.0)
    assert (bucket, wait_s) == (Bucket(0.0, 100.0), 1)


@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=200))
def test_over_any_time_no_more_than_the_rate_and_one_minutes_worth(per_minute: int, gaps_s: list[float]) -> None:
    bucket, now_s, taken = None, 1000.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        bucket, wait_s = take(bucket, per_minute=per_minute, now_s=now_s)
        taken += wait_s == 0
    assert taken <= per_minute + (now_s - 1000.0) * per_minute / 60 + 1e-6


@given(st.integers(1, 600), st.floats(0, 0.99))
def test_after_the_wait_that_was_told_there_is_one(per_minute: int, tokens: float) -> None:
    bucket, wait_s = take(Bucket(tokens, 5.0), per_minute=per_minute, now_s=5.0)
    assert take(bucket, per_minute=per_minute, now_s=5.0 + wait_s + 1e-6)[1] == 0
