"""A tracer whose spans stay here, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import format_span_id, format_trace_id

from vproc.otel.tracer import OtelTracer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLERS = f"00-{TRACE}-{SPAN}-01"
"""A context from outside."""


@dataclass
class Spans:
    """The tracer, and what it made. ``sampler`` None: all are kept."""

    sampler: Sampler | None = None
    tracer: OtelTracer = field(init=False)
    _kept: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    def __post_init__(self) -> None:
        provider = TracerProvider(sampler=self.sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = OtelTracer(provider.get_tracer("test"))

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        """Those that ended, in that order."""
        return tuple(self._kept.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        """The one of that name."""
        (span,) = [span for span in self.ended if span.name == name]
        return span


def place(span: ReadableSpan) -> tuple[str, str | None]:
    """Its trace, and the span above it."""
    assert span.context is not None
    return format_trace_id(span.context.trace_id), format_span_id(span.parent.span_id) if span.parent else None


def told(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes."""
    return dict(span.attributes or {})
