"""When a request of the API's is made again, and after which pause. Values in, a pause out; nothing here waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vproc.client.errors import ApiError, ApiUnreachableError

MOST_WAIT_S = 60.0
"""For one request, all pauses together: whoever asks for more is told so instead."""

_BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_CONFLICT, _TOO_MANY, _AWAY = 409, 429, 503


@dataclass(slots=True)
class Patience:
    """The pauses of one request. ``repeatable``: made twice it does what it does once. ``network_delays_s``: the pauses after
    an answer that never came."""

    repeatable: bool
    network_delays_s: Sequence[float]
    waited_s: float = 0.0
    tries: int = 0
    losses: int = 0

    def pause_s(self, error: ApiError) -> float | None:
        """How long to wait before the same request again; None where it must not be made again, or has waited enough."""
        if isinstance(error, ApiUnreachableError):
            if not self.repeatable or self.losses >= len(self.network_delays_s):
                return None
            pause_s = self.network_delays_s[self.losses]
            self.losses += 1
        elif self._passes(error) and self.tries < len(_BACKOFF_S):
            pause_s = _BACKOFF_S[self.tries] if error.retry_after_s is None else error.retry_after_s
            self.tries += 1
        else:
            return None
        if self.waited_s + pause_s > MOST_WAIT_S:
            return None
        self.waited_s += pause_s
        return pause_s

    def _passes(self, error: ApiError) -> bool:
        if error.status == _TOO_MANY:
            return True  # it was refused before anything was done
        if not self.repeatable:
            return False
        return error.status == _AWAY or (error.status == _CONFLICT and error.retry_after_s is not None)


def read_retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` (RFC 9110, section 10.2.3). vproc sends no dates, and one of a proxy's is not followed."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
