"""The page on traces: its variables, as they stand, make one of an upload."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.daemon import dev
from tests.support.documents import runs
from tests.support.span_collector import collecting

pytestmark = pytest.mark.xdist_group("e2e-traces")


@runs("docs/how-to/trace.md#switch-it-on")
def test_the_page_s_variables_switch_it_on(script: str, tmp_path: Path) -> None:
    """A collector at the address that they name hears of a request, from the service that they name."""
    variables = dict(re.findall(r"\b(OTEL_\w+)=(\S+)", script))
    assert script.split()[-2:] == ["vproc", "dev"]
    with collecting() as collector:
        assert variables.pop("OTEL_EXPORTER_OTLP_ENDPOINT") == "http://127.0.0.1:4318"
        with dev(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **variables) as daemon:
            assert daemon.caller.announce("a.mp4")
        (span,) = [span for span in collector.spans() if span.name == "POST /upload"]
    assert span.resource["service.name"] == variables["OTEL_SERVICE_NAME"]
