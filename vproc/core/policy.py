"""What an error decides: for the message, the file, the attempt and the intake. One pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vproc.core.files import FileError, Outcome
from vproc.errors import (
    CancelledByOwnerError,
    EncoderError,
    ErrorCode,
    InterruptedRunError,
    JobError,
    LeaseLostError,
    NoRoomError,
    RejectedError,
    UnavailableError,
)

BACKOFF_FIRST_S = 5.0
BACKOFF_MOST_S = 300.0
UNAVAILABLE_DELAY_S = 10.0


class Settle(StrEnum):
    """What becomes of the message."""

    DELETE = "delete"
    RETURN = "return"
    DEAD_LETTER = "dead_letter"
    LEAVE = "leave"
    """Touch nothing: it is somebody else's by now."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from an error. ``delay_s`` counts for RETURN. ``pause_intake``: take no message until the cause is gone."""

    settle: Settle
    outcome: Outcome
    error: FileError
    delay_s: float = 0.0
    count_attempt: bool = True
    pause_intake: bool = False


def decide(
    error: BaseException, *, attempt: int, max_attempts: int, earlier_codes: Sequence[ErrorCode], jitter: float
) -> Decision:
    """Decide from the error's branch.

    Args:
        error: What ended the attempt.
        attempt: Its number, from 1.
        max_attempts: From this attempt on, what would be tried again is dead.
        earlier_codes: How the file's earlier attempts failed.
        jitter: A random number from 0 to 1.
    """
    code = error.code if isinstance(error, JobError) else ErrorCode.INTERNAL
    detail = error.detail if isinstance(error, JobError) else f"unexpected {type(error).__name__}"
    permanent = FileError(code, detail, retryable=False)
    passing = FileError(code, detail, retryable=True)
    if isinstance(error, LeaseLostError):
        return Decision(Settle.LEAVE, Outcome.LOST, passing, count_attempt=False)
    if isinstance(error, NoRoomError | InterruptedRunError):
        return Decision(Settle.RETURN, Outcome.DRAINED, passing, count_attempt=False)
    if isinstance(error, CancelledByOwnerError):
        return Decision(Settle.DELETE, Outcome.CANCELLED, permanent)
    if isinstance(error, RejectedError):
        return Decision(Settle.DELETE, Outcome.REJECTED, permanent)
    if isinstance(error, UnavailableError):
        delay = UNAVAILABLE_DELAY_S * (0.5 + jitter)
        return Decision(Settle.RETURN, Outcome.RETRIED, passing, delay_s=delay, count_attempt=False, pause_intake=True)
    if isinstance(error, EncoderError) and error.code in earlier_codes:
        # A file that crashes ffmpeg twice crashes it on every worker.
        return Decision(Settle.DELETE, Outcome.REJECTED, permanent)
    if attempt >= max_attempts:
        return Decision(Settle.DEAD_LETTER, Outcome.DEAD, passing)
    return Decision(Settle.RETURN, Outcome.RETRIED, passing, delay_s=backoff_s(attempt, jitter))


def backoff_s(attempt: int, jitter: float) -> float:
    """Seconds before the next attempt: doubling from `BACKOFF_FIRST_S`, capped, the upper half of it random."""
    whole = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** (attempt - 1))
    return whole * (0.5 + 0.5 * jitter)
