"""What the end of a task of ECS means for the job that it did, where the task itself did not say."""

from __future__ import annotations

from dataclasses import dataclass

from vproc.errors import EncoderError, ErrorCode, InterruptedRunError, JobError, TransientError, UnavailableError

_TAKEN_AWAY = frozenset({"SpotInterruption", "TerminationNotice", "InfrastructureHealth"})
_NEVER_STARTED = "TaskFailedToStart"
_HOST_GONE = "Host EC2"
_OUT_OF_MEMORY = "OutOfMemory"
_REASON_KEPT = 300
_WRONG_CONFIGURATION = 78


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended, in the words of ECS. ``exit_code`` is of the container that did the job, None where it never ran.
    ``missing``: ECS does not know the task any more."""

    stop_code: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    missing: bool = False

    def note(self) -> dict[str, object]:
        """What the attempt's row keeps."""
        told: dict[str, object] = {
            "stop_code": self.stop_code,
            "exit_code": self.exit_code,
            "reason": self.reason and self.reason[:_REASON_KEPT],
            "missing": self.missing or None,
        }
        return {name: value for name, value in told.items() if value is not None}


def error_of(end: TaskEnd) -> JobError:
    """The error that a job ended with whose task stopped without a commit and without a report of its own."""
    reason = (end.reason or "")[:_REASON_KEPT]
    if end.missing:
        return TransientError(ErrorCode.DEPENDENCY_UNAVAILABLE, "its task vanished: ECS knows it no more")
    if end.stop_code in _TAKEN_AWAY or reason.startswith(_HOST_GONE):
        return InterruptedRunError(f"its task was taken away: {reason or end.stop_code}")
    if _OUT_OF_MEMORY in reason:
        return EncoderError(ErrorCode.OUT_OF_MEMORY, f"its task was killed for memory: {reason}")
    if end.stop_code == _NEVER_STARTED:
        return UnavailableError(f"its task could not be started: {reason or 'ECS does not say why'}")
    if end.exit_code == _WRONG_CONFIGURATION:
        return TransientError(ErrorCode.DEPENDENCY_UNAVAILABLE, "its task's own configuration is wrong: see the task's log")
    told = [f"exit code {end.exit_code}" if end.exit_code is not None else None, end.stop_code, reason or None]
    return TransientError(ErrorCode.INTERNAL, f"its task ended without a result: {', '.join(word for word in told if word)}")
