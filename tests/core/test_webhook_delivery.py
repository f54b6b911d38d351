"""What follows from an attempt."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vproc.core.webhook_delivery import LONGEST_WAIT_S, SCHEDULE_S, DeliveryOutcome, Sent, Trouble, Verdict, judge

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def judged(sent: Sent, *, attempt: int = 1, chance: float = 0.5) -> Verdict:
    return judge(sent, attempt=attempt, now=NOON, chance=chance)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_alone_is_success(status: int) -> None:
    assert judged(Sent(status)) == Verdict(DeliveryOutcome.DELIVERED)


@pytest.mark.parametrize(
    "sent", [*map(Sent, (199, 300, 301, 302, 308, 400, 401, 404, 429, 500, 503)), *(Sent(None, t) for t in Trouble)]
)
def test_all_else_is_tried_again(sent: Sent) -> None:
    """A redirect too."""
    assert judged(sent) == Verdict(DeliveryOutcome.RETRIED, 5.0)


def test_gone_ends_it() -> None:
    assert judged(Sent(410)) == Verdict(DeliveryOutcome.DISABLED)


def test_the_schedule_goes_on_for_three_days_and_ends() -> None:
    for attempt, delay_s in enumerate(SCHEDULE_S, 1):
        assert judged(Sent(500), attempt=attempt) == Verdict(DeliveryOutcome.RETRIED, delay_s)
    assert judged(Sent(500), attempt=len(SCHEDULE_S) + 1) == Verdict(DeliveryOutcome.GIVEN_UP)
    assert judged(Sent(500), attempt=99) == Verdict(DeliveryOutcome.GIVEN_UP)
    assert 72 < sum(SCHEDULE_S) / 3600 < 80


@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 240.0), (0.5, 300.0), (1.0, 360.0)])
def test_chance_moves_it_by_a_fifth(chance: float, delay_s: float) -> None:
    assert judged(Sent(500), attempt=2, chance=chance).delay_s == pytest.approx(delay_s)


@pytest.mark.parametrize(
    ("status", "header", "delay_s"),
    [
        (429, "120", 120), (503, "120", 120), (503, " 7 ", 7), (429, "1", 5), (429, "Fri, 02 Jan 2026 12:02:00 GMT", 120),
        (429, "Fri, 02 Jan 2026 11:00:00 GMT", 5), (429, "99999999999999999999", LONGEST_WAIT_S), (429, "soon", 5),
        (429, "Fri, 02 Jan 2026 12:02:00", 5), (429, "", 5), (429, "٣٣", 5), (429, "-1", 5), (500, "120", 5), (404, "120", 5),
    ],
)  # fmt: skip
def test_what_the_other_side_asks_for_is_kept_within_a_day(status: int, header: str, delay_s: float) -> None:
    assert judged(Sent(status, retry_after=header)).delay_s == delay_s


def test_the_result_is_a_word() -> None:
    assert [Sent(503).result, Sent(trouble=Trouble.TIMEOUT).result] == ["503", "timeout"]
