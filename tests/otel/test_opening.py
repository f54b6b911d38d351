"""Whether there are traces at all: by OpenTelemetry's own variables, and never at the price of a start or an end."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from structlog.testing import capture_logs

from tests.support.span_collector import collecting
from vproc.otel import open_tracing
from vproc.tracing import NoTracer

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "vproc"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        ENDPOINT | {"OTEL_SDK_DISABLED": "True"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "console"},
    ],
)
async def test_without_a_place_to_send_them_there_are_none(environ: dict[str, str]) -> None:
    with capture_logs() as logs:
        async with open_tracing(environ) as tracer:
            assert isinstance(tracer, NoTracer)
            with tracer.span("job"):
                assert tracer.traceparent() is None
    assert logs == []


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "takes http/protobuf (got 'grpc')"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "takes http/protobuf (got 'http/json')"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "max_queue_size must be a positive integer."),
    ],
)
async def test_what_cannot_be_done_is_a_line_and_no_traces(
    environ: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (ENDPOINT | environ).items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        async with open_tracing(ENDPOINT | environ) as tracer:
            assert isinstance(tracer, NoTracer)
    (line,) = logs
    assert line["event"] == "tracing_unavailable"
    assert reason in line["reason"]


async def test_without_the_extra_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that a whole fleet has do not stop a process that lacks it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "vproc.otel.tracer", raising=False)
    with capture_logs() as logs:
        async with open_tracing(ENDPOINT) as tracer:
            assert isinstance(tracer, NoTracer)
    assert [(line["event"], "pip install 'vproc[otel]'" in line["reason"]) for line in logs] == [("tracing_unavailable", True)]


async def test_what_is_left_at_the_end_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the next batch would be due in an hour."""
    with collecting() as collector:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        begun = time.monotonic()
        async with open_tracing(environ) as tracer:
            with tracer.span("job"):
                pass
        assert time.monotonic() - begun < 30
        assert [span.name for span in collector.spans()] == ["job"]


def test_nothing_of_opentelemetry_is_imported_where_no_traces_are_wanted() -> None:
    """Neither by the daemon and all that it is made of, nor when it opens its traces."""
    program = """
import os, sys, anyio
import vproc.daemon, vproc.cli, vproc.cli.serve
from vproc.otel import open_tracing

async def main():
    async with open_tracing({"OTEL_SERVICE_NAME": "vproc"}):
        print(sorted(name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf"))))

anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
