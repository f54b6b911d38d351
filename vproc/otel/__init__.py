"""Traces by OpenTelemetry, where its own variables (``OTEL_…``) ask for them and the extra ``otel`` is installed. Nothing of
it is imported before that.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import structlog

from vproc.tracing import NoTracer, Tracer

FLUSH_WITHIN_S = 2.0
"""How long the end waits for the last spans to be taken. Who takes them may be away, and the end is not to be held up."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_OTLP = "otlp"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@asynccontextmanager
async def open_tracing(environ: Mapping[str, str]) -> AsyncIterator[Tracer]:
    """Traces as OpenTelemetry's own variables ask for them, else none. At the end what is left is sent, in bounded time.

    Nothing that is wrong with them stops the start: such variables are set for a whole fleet by who runs it.
    """
    opened = await _opened(environ) if _wanted(environ) else None
    if opened is None:
        yield NoTracer()
        return
    tracer, close = opened
    log.info("tracing_started")
    try:
        yield tracer
    finally:
        with anyio.CancelScope(shield=True):
            # A thread that nobody waits for at the interpreter's end: a request of the exporter may hang for ten seconds.
            closing = threading.Thread(target=close, name="tracing-close", daemon=True)
            closing.start()
            await anyio.to_thread.run_sync(partial(closing.join, FLUSH_WITHIN_S))
            if closing.is_alive():
                log.warning("spans_left", within_s=FLUSH_WITHIN_S)


def _wanted(environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporters:
        return _OTLP in (one.strip() for one in exporters.split(","))
    return any(environ.get(name) for name in _ENDPOINTS)


async def _opened(environ: Mapping[str, str]) -> tuple[Tracer, Callable[[], None]] | None:
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        log.warning("tracing_unavailable", reason=f"{_PROTOCOLS[1]}: takes {_PROTOCOL} (got {protocol!r})")
        return None
    try:
        return await anyio.to_thread.run_sync(_open, dict(environ))
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        log.warning("tracing_unavailable", reason="OTEL_… variables are set, but not installed: pip install 'vproc[otel]'")
    except ValueError as error:
        log.warning("tracing_unavailable", reason=str(error))
    return None


def _open(environ: Mapping[str, str]) -> tuple[Tracer, Callable[[], None]]:
    from vproc.otel.tracer import open_tracer  # noqa: PLC0415 - an extra, and half a second of imports, for those who want traces

    return open_tracer(environ)
