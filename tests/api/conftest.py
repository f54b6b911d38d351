"""What tests of the API share: the log as lines of JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from vproc.settings import LogFormat
from vproc.telemetry import configure_logging


class LogLines:
    """All that was logged, at every level, as the daemon would write it."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        """The whole log."""
        return self.stream.getvalue()

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in map(json.loads, self.text.splitlines()) if line["event"] == event]


@pytest.fixture
def logs() -> Iterator[LogLines]:
    """The log of this test."""
    lines = LogLines()
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logging(LogFormat.JSON, "debug", stream=lines.stream)
    yield lines
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
