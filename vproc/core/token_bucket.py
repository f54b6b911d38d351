"""A token bucket as a value: how many requests a minute, and when the next may come. The clock is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many tokens at that time, in seconds of a monotonic clock."""

    tokens: float
    at_s: float


def take(bucket: Bucket | None, *, per_minute: int, now_s: float) -> tuple[Bucket, int]:
    """The bucket after one request, and 0; or, where no token is left, the whole seconds until there is one.

    A bucket holds a minute's tokens, and is full where there was none before. A clock that goes back gives nothing.
    """
    held = float(per_minute)
    if bucket is not None:
        held = min(held, bucket.tokens + max(0.0, now_s - bucket.at_s) * per_minute / 60)
        now_s = max(now_s, bucket.at_s)
    if held >= 1 - _ROUNDING:
        return Bucket(max(0.0, held - 1), now_s), 0
    return Bucket(held, now_s), max(1, math.ceil((1 - held) * 60 / per_minute - _ROUNDING))
