"""A collector of spans on loopback: OTLP over HTTP, decoded by OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.cluster import until

_COMES_WITHIN_S = 20
FAILED = 2
"""A span's status that is an error."""


@dataclass(frozen=True, slots=True)
class TakenSpan:
    """A span as it was sent. ``parent_id`` is empty for a root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    status: int
    message: str
    resource: dict[str, Any]


@dataclass
class SpanCollector:
    """What came."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def spans(self) -> list[TakenSpan]:
        """Every span so far."""
        return [span for body in tuple(self.bodies) for span in _decoded(body)]

    def of(self, trace_id: str) -> dict[str, list[TakenSpan]]:
        """The spans of a trace, by name."""
        found: dict[str, list[TakenSpan]] = {}
        for span in self.spans():
            if span.trace_id == trace_id:
                found.setdefault(span.name, []).append(span)
        return found

    def until(self, look: Callable[[list[TakenSpan]], Any], *, what: str) -> Any:
        """What it finds among the spans, once it does."""
        found, _ = until(lambda: look(self.spans()), within_s=_COMES_WITHIN_S, what=f"{what} among the spans")
        return found


def _decoded(body: bytes) -> Iterator[TakenSpan]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _values(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield TakenSpan(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    attributes=_values(span.attributes),
                    status=span.status.code,
                    message=span.status.message,
                    resource=resource,
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in attributes}


@contextmanager
def collecting() -> Iterator[SpanCollector]:
    """A collector, until the block ends."""
    collector = SpanCollector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: what came is asked of the collector."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def exporting_to(url: str, **settings: str) -> dict[str, str]:
    """The variables that send spans there, soon."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "200"} | settings
