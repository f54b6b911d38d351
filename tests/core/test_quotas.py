"""Quotas: what is used up, and when it is free again."""

from __future__ import annotations

import pytest

from vproc.core.quotas import DAY_S, Quotas, Taken, day_begun_s, excess_of

NOON_S = 20_000 * DAY_S + DAY_S / 2
ALL = Quotas(open_uploads=2, bytes_per_day=1000, media_minutes_per_day=10)


def wait(taken: Taken, size_bytes: int | None = 100, quotas: Quotas = ALL) -> int | None:
    excess = excess_of(quotas, taken, size_bytes=size_bytes)
    return excess.retry_after_s if excess else None


def test_without_a_limit_nothing_is_too_much() -> None:
    assert not Quotas().limited
    assert wait(Taken(now_s=NOON_S, open_uploads=10**6, bytes_today=10**15, media_s_today=1e9), quotas=Quotas()) is None


def test_what_just_fits_is_taken() -> None:
    assert wait(Taken(now_s=NOON_S, open_uploads=1, bytes_today=900, media_s_today=599.9)) is None


@pytest.mark.parametrize(
    ("taken", "wait_s"),
    [
        (Taken(now_s=NOON_S, open_uploads=2, place_free_at_s=NOON_S + 61.2), 62),
        (Taken(now_s=NOON_S, open_uploads=2), 1),
        (Taken(now_s=NOON_S, bytes_today=901), DAY_S // 2),
        (Taken(now_s=NOON_S, media_s_today=600.0), DAY_S // 2),
        (Taken(now_s=NOON_S, open_uploads=2, place_free_at_s=NOON_S + 5, media_s_today=600.0), DAY_S // 2),
    ],
)
def test_over_a_quota_the_wait_is_until_the_last_of_them_is_free(taken: Taken, wait_s: int) -> None:
    assert wait(taken) == wait_s


def test_a_size_that_nobody_announced_counts_for_nothing_yet() -> None:
    assert wait(Taken(now_s=NOON_S, bytes_today=999), size_bytes=None) is None
    assert wait(Taken(now_s=NOON_S, bytes_today=1000), size_bytes=None) == DAY_S // 2


def test_the_sentence_names_the_quota() -> None:
    excess = excess_of(ALL, Taken(now_s=NOON_S, bytes_today=1000), size_bytes=1)
    assert excess is not None
    assert "bytes_per_day" in excess.detail
    assert str(DAY_S // 2) in excess.detail


@pytest.mark.parametrize("past_s", [0.0, 0.5, DAY_S - 0.001])
def test_a_day_is_utcs(past_s: float) -> None:
    begun = 20_000.0 * DAY_S
    assert day_begun_s(begun + past_s) == begun
    assert wait(Taken(now_s=begun, bytes_today=1000)) == DAY_S
