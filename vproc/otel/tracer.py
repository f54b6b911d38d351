"""Spans by OpenTelemetry's SDK as `tracing.Tracer`, sent by its own OTLP exporter in its own thread. Imported only where
traces are wanted. Nothing global is set: no other library of this process makes spans by it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, Status, StatusCode, format_trace_id, get_current_span
from opentelemetry.trace import SpanKind as OtelKind
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vproc import __version__
from vproc.core.trace_context import TRACEPARENT, read_traceparent
from vproc.errors import JobError
from vproc.telemetry import mask_secrets
from vproc.tracing import NO_ATTRIBUTES, Attributes, SpanKind

_KINDS = MappingProxyType(
    {
        SpanKind.SERVER: OtelKind.SERVER,
        SpanKind.CONSUMER: OtelKind.CONSUMER,
        SpanKind.CLIENT: OtelKind.CLIENT,
        SpanKind.INTERNAL: OtelKind.INTERNAL,
    }
)


class OtelTracer:
    """Makes spans by one tracer of the SDK."""

    def __init__(self, tracer: ApiTracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self, name: str, *, kind: SpanKind = SpanKind.INTERNAL, parent: str | None = None, attributes: Attributes = NO_ATTRIBUTES
    ) -> Iterator[None]:
        """A span around the block. What is no ``traceparent`` is as good as none."""
        given = read_traceparent(parent)
        context = None if given is None else self._propagator.extract({TRACEPARENT: given}, context=Context())
        # An exception's message and traceback may hold whatever it was about: only what is ours is told of it.
        with self._tracer.start_as_current_span(
            name, context=context, kind=_KINDS[kind], attributes=_present(attributes), record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip
            named = {"trace_id": format_trace_id(span.get_span_context().trace_id)} if span.is_recording() else {}
            with structlog.contextvars.bound_contextvars(**named):
                try:
                    yield
                except JobError as error:
                    _fail(span, error.code.value, error.detail)
                    raise
                except Exception as error:
                    _fail(span, type(error).__qualname__, None)
                    raise

    def tell(self, attributes: Attributes, *, error: str | None = None, detail: str | None = None) -> None:
        """Add to the span that is open."""
        span = get_current_span()
        span.set_attributes(_present(attributes))
        if error is not None:
            _fail(span, error, detail)

    def traceparent(self) -> str | None:
        """Also of a trace that the sampler left out, so that it is left out everywhere."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(TRACEPARENT)


def open_tracer(environ: Mapping[str, str]) -> tuple[OtelTracer, Callable[[], None]]:
    """The tracer, and what sends the rest and ends it: it may block. Endpoint, headers, sampler, limits and batches are
    read by the SDK from its own variables. Raises `ValueError` for one that it cannot read."""
    own = {"service.version": __version__, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        own["service.name"] = "vproc"
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider.get_tracer("vproc", __version__)), provider.shutdown


def _present(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _fail(span: Span, error: str, detail: str | None) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR, mask_secrets(detail) if detail else None))
