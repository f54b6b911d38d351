"""What a job uses, added up where it is used: requests to S3 and SQS by whoever makes one, children by whoever reaps one.

Each task of a job counts for it, since tasks and threads inherit the context in which they were started. Outside of a job nothing
is kept. What the daemon itself computes for a job is not told apart from its other jobs, so it is not counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Usage:
    """The sums of one job. Requests by operation, as vproc makes them: what the SDK repeats by itself is one.

    ``cpu_s``: processor time of all children that ended. ``peak_memory_bytes``: of the largest of them.
    """

    s3_requests: Counter[str] = field(default_factory=Counter)
    sqs_requests: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0

    def child_ended(self, *, cpu_s: float, peak_memory_bytes: int) -> None:
        """Add a child, however it ended."""
        self.cpu_s += cpu_s
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes)


_current: ContextVar[Usage | None] = ContextVar("vproc_usage", default=None)


@contextmanager
def metered() -> Iterator[Usage]:
    """Count what this block uses, and what the tasks use that it starts."""
    usage = Usage()
    token = _current.set(usage)
    try:
        yield usage
    finally:
        _current.reset(token)


def current_usage() -> Usage:
    """Of the job that this code works for; outside of any, one that nobody reads."""
    return _current.get() or Usage()
