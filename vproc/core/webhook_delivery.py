"""What follows from an attempt to deliver a webhook: done, again and when, given up, or no more to that address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

SCHEDULE_S = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds from an attempt that failed to the next: ten attempts within 76 hours."""
LONGEST_WAIT_S = 86400.0
_JITTER = 0.2
_GONE = 410
_ASKS_TO_WAIT = frozenset({429, 503})


class Trouble(StrEnum):
    """Why an attempt brought no answer."""

    REFUSED = "refused"
    """Nothing is sent there: see `core.webhook_target`."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of an attempt: a status, or the trouble that there was instead. ``retry_after`` as the header says it."""

    status: int | None = None
    trouble: Trouble | None = None
    retry_after: str | None = None

    @property
    def result(self) -> str:
        """The status or the trouble, in a word."""
        return str(self.trouble or self.status)


class DeliveryOutcome(StrEnum):
    """What an attempt decides."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    GIVEN_UP = "given_up"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``delay_s``: until the next attempt, where there is one."""

    outcome: DeliveryOutcome
    delay_s: float = 0.0


def judge(sent: Sent, *, attempt: int, now: datetime, chance: float) -> Verdict:
    """Only 2xx is success: a redirect is none, and is not followed. ``attempt`` counts from 1; ``chance`` is from 0.0 to 1.0."""
    if sent.status is not None and 200 <= sent.status < 300:  # noqa: PLR2004 - RFC 9110
        return Verdict(DeliveryOutcome.DELIVERED)
    if sent.status == _GONE:
        return Verdict(DeliveryOutcome.DISABLED)
    if attempt > len(SCHEDULE_S):
        return Verdict(DeliveryOutcome.GIVEN_UP)
    delay_s = SCHEDULE_S[attempt - 1] * (1 + _JITTER * (2 * chance - 1))
    if sent.status in _ASKS_TO_WAIT and sent.retry_after is not None:
        delay_s = max(delay_s, min(_wait_s(sent.retry_after, now), LONGEST_WAIT_S))
    return Verdict(DeliveryOutcome.RETRIED, delay_s)


def _wait_s(retry_after: str, now: datetime) -> float:
    """Seconds that a ``Retry-After`` asks for, in either of its forms; 0 for what is neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return 0.0
