"""Requests a minute, of an owner or of an address. Counted in this process's memory, so each process counts its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network, ip_address
from time import monotonic

from vproc.core.token_bucket import Bucket, take
from vproc.errors import TooManyRequestsError

_NETWORK_BITS = 64
"""What one customer of a network has of IPv6 at least: each address of it alone would be 2^64 buckets."""
MOST_HELD = 10_000
"""Buckets that are held. Of more callers the one that was silent longest is forgotten, and has a full bucket again."""


def counted_as(address: str | None) -> str:
    """What an address without an identity is counted by: IPv4 itself, also where it is written as IPv6; of IPv6 the /64."""
    try:
        read = ip_address(address or "")
    except ValueError:
        return address or ""
    if not isinstance(read, IPv6Address):
        return str(read)
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(IPv6Network((int(read), _NETWORK_BITS), strict=False))


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
