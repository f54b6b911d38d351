"""Requests a minute, of an owner or of an address. Counted in this process's memory, so each process counts its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from vproc.core.token_bucket import Bucket, take
from vproc.errors import TooManyRequestsError

MOST_HELD = 10_000
"""Buckets that are held. Of more callers the one that was silent longest is forgotten, and has a full bucket again."""


class RateLimit:
    """One quota over many callers. ``per_minute`` None: no limit, and nothing is held."""

    def __init__(
        self, name: str, per_minute: int | None, *, clock: Callable[[], float] = monotonic, most: int = MOST_HELD
    ) -> None:
        self._name = name
        self._per_minute = per_minute
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, who: str) -> None:
        """Count a request. Raises `TooManyRequestsError`."""
        if self._per_minute is None:
            return
        bucket, wait_s = take(self._buckets.get(who), per_minute=self._per_minute, now_s=self._clock())
        self._buckets[who] = bucket
        self._buckets.move_to_end(who)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        if wait_s:
            detail = f"Quota {self._name}: {self._per_minute} requests a minute are taken. The next is in {wait_s} s."
            raise TooManyRequestsError(detail, retry_after_s=wait_s)
