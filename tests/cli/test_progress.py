"""What is shown while files are on their way, and the tables at the end of a demo: on a terminal and without one."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable
from typing import Any, TextIO
from uuid import uuid4

import pytest

from tests.support.fake_api import status_body
from vproc.cli.progress import ProgressView, open_progress
from vproc.cli.report import aligned, show_table
from vproc.client import FileStatus

FILE_ID = uuid4()


def told(status: str, progress: float, **more: Any) -> FileStatus:
    return FileStatus(status_body(FILE_ID, status, progress, **more))


def on_terminal(show: Callable[[TextIO], None]) -> str:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        show(stream)
    received = b""
    # Linux tells the end of a terminal as an error.
    try:
        while piece := os.read(ours, 65536):
            received += piece
    except OSError:
        pass
    os.close(ours)
    return received.decode()


def story(view: ProgressView) -> None:
    view.sending("clip.mp4", 1000)
    for sent_bytes in (0, 400, 0, 500, 996, 1000):
        view.sent(sent_bytes)
    view.told(told("pending", 0.0))
    view.told(told("uploaded", 0.0))
    view.told(told("processing", 0.0))
    for progress in (0.1, 0.11, 0.12, 0.5):
        view.told(told("processing", progress, stage="encode"))
    view.told(told("completed", 1.0))


def test_without_a_terminal_it_is_a_line_now_and_then() -> None:
    """No control characters, no line said twice in a row."""
    stream = io.StringIO()
    with open_progress(stream) as view:
        story(view)
    assert stream.getvalue().splitlines() == [
        "uploading clip.mp4 (1000 bytes)",
        "uploaded 40%",
        "uploaded 50%",
        "uploaded 90%",
        "uploaded 100%",
        "waiting for a worker",
        "processing 0%",
        "encode 10%",
        "encode 50%",
        "completed 100%",
    ]


def test_on_a_terminal_it_is_two_bars() -> None:
    """One for the upload, one for the processing, which names the stage."""

    def show(stream: TextIO) -> None:
        with open_progress(stream) as view:
            story(view)

    shown = on_terminal(show)
    for words in ("upload clip.mp4", "1000 bytes", "process clip.mp4", "completed", "100%", "\x1b["):
        assert words in shown


def test_an_empty_file_ends_its_bar() -> None:
    def show(stream: TextIO) -> None:
        with open_progress(stream) as view:
            view.sending("empty.mp4", 0)
            view.sent(0)

    assert "100%" in on_terminal(show)
    stream = io.StringIO()
    with open_progress(stream) as view:
        view.sending("empty.mp4", 0)
        view.sent(0)
    assert stream.getvalue().splitlines() == ["uploading empty.mp4 (0 bytes)", "uploaded 100%"]


ROWS = [("hls", "h264", "[1280x720]"), ("segment x 6", "", "")]


def test_a_table_without_a_terminal_is_aligned_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns as wide as their longest word, no trailing space."""
    show_table("Made", ("kind", "codec", "size"), ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "Made:",
        "  kind         codec  size",
        "  hls          h264   [1280x720]",
        "  segment x 6",
    ]
    assert aligned([("a",)]) == "  a"


def test_a_table_on_a_terminal_has_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are shown as they are, also what rich would take for its markup."""

    def show(stream: TextIO) -> None:
        monkeypatch.setattr("sys.stdout", stream)
        show_table("Made", ("kind", "codec", "size"), ROWS)

    shown = on_terminal(show)
    assert "[1280x720]" in shown
    assert "│" in shown
