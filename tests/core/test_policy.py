"""What each branch of the tree of errors decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.files import Outcome
from vproc.core.policy import BACKOFF_MOST_S, Decision, Settle, backoff_s, decide
from vproc.errors import (
    CancelledByOwnerError,
    EncoderError,
    ErrorCode,
    LeaseLostError,
    NoRoomError,
    RejectedError,
    TransientError,
    UnavailableError,
)


def verdict(error: BaseException, *, attempt: int = 1, earlier: tuple[ErrorCode, ...] = ()) -> Decision:
    return decide(error, attempt=attempt, max_attempts=3, earlier_codes=earlier, jitter=0.5)


def test_a_rejected_file_fails_at_once_and_for_ever() -> None:
    decision = verdict(RejectedError(ErrorCode.UNSUPPORTED_MEDIA, "no video"))
    assert (decision.settle, decision.outcome) == (Settle.DELETE, Outcome.REJECTED)
    assert (decision.error.code, decision.error.detail, decision.error.retryable) == ("unsupported_media", "no video", False)


def test_a_passing_error_is_tried_again_until_the_last_attempt() -> None:
    error = TransientError(ErrorCode.STALLED, "no progress")
    assert verdict(error, attempt=2).settle is Settle.RETURN
    assert verdict(error, attempt=2).count_attempt
    last = verdict(error, attempt=3)
    assert (last.settle, last.outcome, last.error.retryable) == (Settle.DEAD_LETTER, Outcome.DEAD, True)


def test_the_machines_fault_counts_no_attempt_and_pauses_the_intake() -> None:
    for attempt in (1, 3, 99):
        decision = verdict(UnavailableError("no disk", code=ErrorCode.OUT_OF_DISK), attempt=attempt)
        assert (decision.settle, decision.count_attempt, decision.pause_intake) == (Settle.RETURN, False, True)
        assert decision.error.code is ErrorCode.OUT_OF_DISK


def test_a_full_machine_gives_the_job_back_as_it_came() -> None:
    for attempt in (1, 3, 99):
        decision = verdict(NoRoomError("full"), attempt=attempt)
        assert (decision.settle, decision.outcome, decision.delay_s) == (Settle.RETURN, Outcome.DRAINED, 0)
        assert (decision.count_attempt, decision.pause_intake) == (False, False)


def test_ffmpeg_may_crash_once() -> None:
    error = EncoderError(ErrorCode.ENCODER_FAILED, "SIGSEGV")
    assert verdict(error).settle is Settle.RETURN
    second = verdict(error, attempt=2, earlier=(ErrorCode.ENCODER_FAILED,))
    assert (second.settle, second.outcome) == (Settle.DELETE, Outcome.REJECTED)
    assert verdict(error, attempt=2, earlier=(ErrorCode.OUT_OF_MEMORY,)).settle is Settle.RETURN


def test_a_lost_lease_touches_nothing() -> None:
    decision = verdict(LeaseLostError("taken over"))
    assert (decision.settle, decision.outcome, decision.count_attempt) == (Settle.LEAVE, Outcome.LOST, False)


def test_a_cancelled_job_is_acknowledged() -> None:
    assert (verdict(CancelledByOwnerError()).settle, verdict(CancelledByOwnerError()).outcome) == (
        Settle.DELETE,
        Outcome.CANCELLED,
    )


def test_an_unknown_error_is_internal_and_shows_no_text_of_its_own() -> None:
    decision = verdict(KeyError("AWS_SECRET"))
    assert decision.settle is Settle.RETURN
    assert (decision.error.code, decision.error.detail) == (ErrorCode.INTERNAL, "unexpected KeyError")
    assert verdict(KeyError("x"), attempt=3).settle is Settle.DEAD_LETTER


@given(st.integers(1, 60), st.floats(0, 1))
def test_the_backoff_grows_and_has_a_bound(attempt: int, jitter: float) -> None:
    assert 0 < backoff_s(attempt, jitter) <= BACKOFF_MOST_S
    assert backoff_s(attempt + 1, jitter) >= backoff_s(attempt, jitter)


@pytest.mark.parametrize("branch", [RejectedError, TransientError, EncoderError])
def test_every_decision_names_a_code_and_a_sentence(branch: type[TransientError]) -> None:
    decision = verdict(branch(ErrorCode.INTERNAL, "a sentence"))
    assert decision.error.detail == "a sentence"
