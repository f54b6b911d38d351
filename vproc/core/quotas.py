"""What an owner may take: requests a minute, open uploads, bytes and minutes of media a day. Values in, an answer out.

A day is UTC's, so that the answer to "when again" is one time, and the same for everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

DAY_S = 86400
_MIDNIGHT = "at midnight UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Limits of one owner; None: no limit."""

    open_uploads: int | None = None
    bytes_per_day: int | None = None
    media_minutes_per_day: int | None = None

    @property
    def limited(self) -> bool:
        """Whether any of them is a limit."""
        return (self.open_uploads, self.bytes_per_day, self.media_minutes_per_day) != (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What an owner has taken by ``now_s``, seconds since the epoch. ``place_free_at_s``: when the address expires that keeps the
    last place from being free; None where all places that are asked for are free or nothing is known."""

    now_s: float
    open_uploads: int = 0
    place_free_at_s: float | None = None
    bytes_today: int = 0
    media_s_today: float = 0.0


@dataclass(frozen=True, slots=True)
class Excess:
    """A quota that is used up: a sentence, and the whole seconds until it is free again."""

    detail: str
    retry_after_s: int


def day_begun_s(now_s: float) -> float:
    """When the UTC day began, in seconds since the epoch."""
    return now_s - now_s % DAY_S


def excess_of(quotas: Quotas, taken: Taken, *, size_bytes: int | None) -> Excess | None:
    """The quota that one more upload of that announced size would exceed; of several the one that is free again last.

    A size that nobody announced counts for nothing until the object was seen.
    """
    until_midnight_s = math.ceil(day_begun_s(taken.now_s) + DAY_S - taken.now_s) or DAY_S
    found: list[Excess] = []
    if quotas.open_uploads is not None and taken.open_uploads >= quotas.open_uploads:
        wait_s = 1 if taken.place_free_at_s is None else max(1, math.ceil(taken.place_free_at_s - taken.now_s))
        found.append(
            Excess(
                f"Quota open_uploads: {quotas.open_uploads} may be open at a time, {taken.open_uploads} are. A place is free "
                f"when one has arrived, is cancelled or deleted, or when its address expires: in {wait_s} s at the latest.",
                wait_s,
            )
        )
    if quotas.bytes_per_day is not None:
        wanted = taken.bytes_today + (size_bytes or 0)
        if wanted > quotas.bytes_per_day or taken.bytes_today >= quotas.bytes_per_day:
            found.append(
                Excess(
                    f"Quota bytes_per_day: {quotas.bytes_per_day} bytes may be announced a day, {taken.bytes_today} were today, "
                    f"and this is {size_bytes or 0} more. It is free again {_MIDNIGHT}, in {until_midnight_s} s.",
                    until_midnight_s,
                )
            )
    if quotas.media_minutes_per_day is not None and taken.media_s_today >= quotas.media_minutes_per_day * 60:
        found.append(
            Excess(
                f"Quota media_minutes_per_day: {quotas.media_minutes_per_day} minutes of media may be processed a day, and "
                f"{taken.media_s_today / 60:.1f} were today. It is free again {_MIDNIGHT}, in {until_midnight_s} s.",
                until_midnight_s,
            )
        )
    return max(found, key=lambda excess: excess.retry_after_s, default=None)
