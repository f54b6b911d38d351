"""Spans as the SDK makes them: what is beneath what, and what is told of an error."""

from __future__ import annotations

import anyio
import pytest
import structlog
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace import StatusCode

from tests.support.spans import CALLERS, SPAN, TRACE, Spans, place, told
from vproc.errors import ErrorCode, RejectedError
from vproc.tracing import SpanKind


def test_a_span_is_beneath_the_one_that_is_open_or_beneath_what_came() -> None:
    spans = Spans()
    with spans.tracer.span("request", kind=SpanKind.SERVER, parent=CALLERS, attributes={"a": 1, "b": None}):
        assert (spans.tracer.traceparent() or "").startswith(f"00-{TRACE}-")
        with spans.tracer.span("inner"):
            pass
    request, inner = spans.named("request"), spans.named("inner")
    assert place(request) == (TRACE, SPAN)
    assert place(inner) == (TRACE, f"{request.context.span_id:016x}")
    assert (request.kind, told(request)) == (OtelKind.SERVER, {"a": 1})
    assert spans.tracer.traceparent() is None


@pytest.mark.parametrize("parent", [None, "no context", CALLERS[:-3]])
def test_what_is_no_context_begins_a_trace(parent: str | None) -> None:
    spans = Spans()
    with spans.tracer.span("job", parent=parent):
        pass
    assert place(spans.named("job"))[0] != TRACE
    assert place(spans.named("job"))[1] is None


async def test_tasks_go_on_with_the_span_that_started_them() -> None:
    """And one that ends in a task is open in no other."""
    spans = Spans()

    async def stage(name: str) -> None:
        with spans.tracer.span(name):
            await anyio.lowlevel.checkpoint()

    with spans.tracer.span("job"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage, "download")
            tasks.start_soon(stage, "encode")
    above = f"{spans.named('job').context.span_id:016x}"
    assert [place(spans.named(name))[1] for name in ("download", "encode")] == [above, above]


def test_an_error_of_ours_is_told_with_its_code_and_its_secrets_masked() -> None:
    spans = Spans()
    error = RejectedError(ErrorCode.CORRUPT_MEDIA, "no https://ann:pass@b.example/k?X-Amz-Signature=abc123&token=t0k")
    with pytest.raises(RejectedError), spans.tracer.span("probe"):
        raise error
    span = spans.named("probe")
    assert told(span) == {"error.type": "corrupt_media"}
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "no https://ann:***@b.example/k?X-Amz-Signature=***&token=***"
    assert span.events == ()


def test_of_any_other_error_its_kind_alone_is_told() -> None:
    """Its message may hold anything."""
    spans = Spans()
    with pytest.raises(ValueError, match="s3cret"), spans.tracer.span("probe"):
        raise ValueError("s3cret")
    span = spans.named("probe")
    assert (told(span), span.status.description, span.events) == ({"error.type": "ValueError"}, None, ())


def test_what_is_told_stands_on_the_span_that_is_open() -> None:
    spans = Spans()
    with spans.tracer.span("job"):
        with spans.tracer.span("encode"):
            pass
        spans.tracer.tell({"vproc.outcome": "dead"}, error="timeout", detail="it took too long: password=x")
    assert told(spans.named("encode")) == {}
    assert told(spans.named("job")) == {"vproc.outcome": "dead", "error.type": "timeout"}
    assert spans.named("job").status.description == "it took too long: password=***"
    spans.tracer.tell({"nobody": 1}, error="x")
    assert len(spans.ended) == 2


def test_lines_within_a_span_are_marked_with_its_trace() -> None:
    spans = Spans()
    with spans.tracer.span("request", parent=CALLERS):
        assert structlog.contextvars.get_contextvars()["trace_id"] == TRACE
    assert "trace_id" not in structlog.contextvars.get_contextvars()


def test_a_trace_that_is_left_out_says_so_to_whoever_goes_on() -> None:
    """The sampler's word travels too: else half a trace would be kept elsewhere."""
    spans = Spans(ParentBased(ALWAYS_OFF))
    with spans.tracer.span("request"):
        given = spans.tracer.traceparent()
        assert given is not None
        assert int(given[-2:], 16) & 1 == 0  # sampled
        assert "trace_id" not in structlog.contextvars.get_contextvars()
    other = Spans()
    with other.tracer.span("job", parent=given):
        pass
    assert (spans.ended, other.ended) == ((), ())
