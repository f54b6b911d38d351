"""A job's span: what it is of when it begins, what came of it in the end. Its stages are spans beneath it, by `JobFigures`."""

from __future__ import annotations

from contextlib import AbstractContextManager

from vproc.core.files import File, FileError, Outcome
from vproc.core.leases import Lease
from vproc.ports import Message
from vproc.tracing import Attributes, SpanKind, Tracer
from vproc.workers.figures import JobFigures


def job_span(tracer: Tracer, file: File, lease: Lease, message: Message) -> AbstractContextManager[None]:
    """Of one attempt, beneath the request that announced the file. An object that nobody announced begins a trace of its own."""
    attributes: Attributes = {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.message.id": message.message_id,
        "vproc.file_id": str(file.file_id),
        "vproc.profile": file.profile,
        "vproc.attempt": lease.attempt,
        "vproc.run_id": lease.run_id,
    }
    return tracer.span("job", kind=SpanKind.CONSUMER, parent=file.traceparent, attributes=attributes)


def tell_end(tracer: Tracer, outcome: Outcome, figures: JobFigures, error: FileError | None) -> None:
    """How it ended. That its owner cancelled a job is no fault of it."""
    told = {"vproc.outcome": outcome.value, "vproc.bytes_in": figures.bytes_in, "vproc.bytes_out": figures.bytes_out}
    if error is None or outcome is Outcome.CANCELLED:
        tracer.tell(told)
    else:
        tracer.tell(told, error=error.code.value, detail=error.detail)
