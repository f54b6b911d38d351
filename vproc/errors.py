"""The tree of errors. The branch an error stands on is the decision about its message; `core.policy` reads it.

    VprocError
    ├── ConfigError            cannot start: exit 78, every fault at once
    ├── DependencyError        a queue, bucket or database is away at the start: exit 75
    ├── RejectedError          the input is at fault and trying again will not help
    ├── InvalidMessageError    the queue held something that is not a message of ours
    ├── TransientError         trying again may help
    │   ├── UnavailableError   the machine or a dependency is at fault: no attempt is counted, intake pauses
    │   └── InterruptedRunError  what ran the job was taken away: no attempt is counted
    ├── NoRoomError            this machine is busy: the job goes back to the queue as it came
    ├── LeaseLostError         the job is no longer ours: touch nothing
    ├── CancelledByOwnerError  its owner cancelled the job
    └── RequestError           what the API answers: NotFoundError, ConflictError, …

Adapters turn foreign errors into these at the edge. Inside, nobody has heard of botocore or SQLAlchemy.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Every code that a file's ``error`` or an attempt's row may hold. A released code never changes."""

    UNSUPPORTED_MEDIA = "unsupported_media"
    CORRUPT_MEDIA = "corrupt_media"
    TOO_LARGE = "too_large"
    UNKNOWN_PROFILE = "unknown_profile"
    UNSUPPORTED_PROFILE = "unsupported_profile"
    SOURCE_MISSING = "source_missing"
    SOURCE_CHANGED = "source_changed"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    LIMIT_EXCEEDED = "limit_exceeded"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_DISK = "out_of_disk"
    ENCODER_FAILED = "encoder_failed"
    OUTPUT_INVALID = "output_invalid"
    DEPENDENCY_UNAVAILABLE = "dependency_unavailable"
    LEASE_LOST = "lease_lost"
    DRAINED = "drained"
    CANCELLED = "cancelled"
    INVALID_MESSAGE = "invalid_message"
    INTERNAL = "internal"


class VprocError(Exception):
    """The root: everything that vproc raises on purpose."""


class ConfigError(VprocError):
    """The process cannot start. ``faults`` holds a line for each setting at fault: name, what it got, what it takes."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class DependencyError(VprocError):
    """A queue, bucket or database cannot be reached at the start. Start again when it is back."""


class JobError(VprocError):
    """A job did not end well. ``code`` is for programs, ``detail`` is a sentence for people."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class RejectedError(JobError):
    """The input is at fault and another attempt will not help. The file fails, the message is deleted."""


class InvalidMessageError(JobError):
    """The queue held something that is not a message of ours. It goes to the dead letters at once."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.INVALID_MESSAGE, detail)


class TransientError(JobError):
    """Another attempt may help. The message goes back, and is visible again after the policy's delay."""


class UnavailableError(TransientError):
    """The machine or a dependency is at fault, not the job: no attempt is counted and this daemon's intake pauses."""

    def __init__(self, detail: str, *, code: ErrorCode = ErrorCode.DEPENDENCY_UNAVAILABLE) -> None:
        super().__init__(code, detail)


class InterruptedRunError(TransientError):
    """The machine that ran the job was taken away, by no fault of the job's: no attempt is counted, and others go on."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.DRAINED, detail)


class EncoderError(TransientError):
    """ffmpeg crashed or was killed for memory. Terminal at the second time: see `core.policy`."""


class NoRoomError(JobError):
    """Other jobs fill this machine, or it stops. The message goes back at once, for whoever is free; no attempt is counted."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.DRAINED, detail)


class LeaseLostError(JobError):
    """Another worker owns the job, or ours cannot be proved. Stop, publish nothing, acknowledge nothing."""

    def __init__(self, detail: str) -> None:
        super().__init__(ErrorCode.LEASE_LOST, detail)


class CancelledByOwnerError(JobError):
    """The file's owner cancelled it while it was processed."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.CANCELLED, "cancelled by its owner")


class RequestError(VprocError):
    """A request that cannot be answered as asked. ``status`` and ``title`` are HTTP's; ``detail`` says it in words."""

    status = 400
    title = "Bad Request"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class UnauthenticatedError(RequestError):
    """No identity, or one that does not hold."""

    status = 401
    title = "Unauthorized"


class NotFoundError(RequestError):
    """No such file, or not the caller's: the two answers are the same."""

    status = 404
    title = "Not Found"


class LetterNotFoundError(NotFoundError):
    """No dead letter of that name, at least none that nobody else looks at just now."""

    def __init__(self, name: str, *, among: int) -> None:
        super().__init__(f"There is no dead letter {name!r} among the {among} that are seen; others may be looked at elsewhere.")
        self.name = name
        self.among = among


class ForbiddenError(RequestError):
    """Known, and still not allowed. The detail says who is."""

    status = 403
    title = "Forbidden"


class ConflictError(RequestError):
    """The file's state does not allow it. The detail names the state and what does."""

    status = 409
    title = "Conflict"


class PayloadTooLargeError(RequestError):
    """A body or an announced upload over its limit."""

    status = 413
    title = "Content Too Large"


class InvalidRequestError(RequestError):
    """A body that is JSON but not what the route takes. The detail names the field."""

    status = 422
    title = "Unprocessable Content"


class TooManyRequestsError(RequestError):
    """A quota or a rate is used up. The detail names it; ``retry_after_s`` is when it is free again."""

    status = 429
    title = "Too Many Requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ServiceUnavailableError(RequestError):
    """A dependency is away. ``retry_after_s`` is when to try again."""

    status = 503
    title = "Service Unavailable"

    def __init__(self, detail: str, *, retry_after_s: int = 2) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
