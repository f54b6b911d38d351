"""What is shown while files are on their way, and the tables at the end of a demo: on a terminal and without one."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO
from uuid import uuid4

import pytest

from tests.support.fake_api import status_body
from vproc.cli.progress import ProgressView, open_progress, readable_seconds
from vproc.cli.report import aligned, receipt_rows, show_table, stage_rows
from vproc.client import FileStatus
from vproc.core.manifest import Manifest, Receipt, Source

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
    sent = view.sending("clip.mp4", 1000)
    for sent_bytes in (0, 400, 0, 500, 996, 1000):
        sent(sent_bytes)
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


def test_how_fast_it_goes_and_what_is_left_is_shown_while_it_is_processed() -> None:
    stream = io.StringIO()
    with open_progress(stream) as view:
        view.told(told("processing", 0.1, stage="encode", speed=1.84, eta_s=185.0))
        view.told(told("processing", 0.2, stage="encode", speed=0.0, eta_s=None))
        view.told(told("processing", 0.9, stage="verify", speed=None, eta_s=4.0))
        view.told(told("completed", 1.0, speed=9.0, eta_s=9.0))
    assert stream.getvalue().splitlines() == [
        "encode 10%, 1.8x, 3 min 05 s left",
        "encode 20%, stalled",
        "verify 90%, 4 s left",
        "completed 100%",
    ]

    def show(terminal: TextIO) -> None:
        with open_progress(terminal) as view:
            view.told(told("processing", 0.5, stage="encode", speed=1.84, eta_s=61))

    assert "encode, 1.8x, 1 min 01 s left" in on_terminal(show)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (9e4, "25 h 00 min"),
    ],
)
def test_seconds_are_told_as_a_person_would(seconds: float, words: str) -> None:
    assert readable_seconds(seconds) == words


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
            view.sending("empty.mp4", 0)(0)

    assert "100%" in on_terminal(show)
    stream = io.StringIO()
    with open_progress(stream) as view:
        view.sending("empty.mp4", 0)(0)
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


def manifest(**receipt: Any) -> Manifest:
    """One that took three seconds of stages that overlap."""
    taken: dict[str, Any] = {
        "wall_s": 3.5, "cpu_s": 6.25, "peak_memory_bytes": 300_000_000, "bytes_in": 1000, "bytes_out": 2_000_000,
        "s3_requests": {"get": 2, "put": 9}, "sqs_requests": {"extend": 1}, **receipt,
    }  # fmt: skip
    source = Source(bucket="raw", key="k", etag="e", bytes=1000, container="mov")
    return Manifest(
        file_id=FILE_ID, run_id="r", profile="abr", created_at=datetime.now(UTC), source=source, outputs=(), entry_points=(),
        stages={"download": 1.0, "encode": 3.0}, receipt=Receipt(**taken),
    )  # fmt: skip


def test_the_demo_tells_the_receipt() -> None:
    made = manifest(speed=1.714)
    assert stage_rows(made) == [("download", "1.00"), ("encode", "3.00"), ("from claim to commit", "3.50")]
    assert receipt_rows(made) == [
        ("processor time of ffmpeg", "6.25 s"),
        ("memory of the largest ffmpeg", "286.1 MiB"),
        ("bytes in, out", "1000 bytes, 1.9 MiB"),
        ("requests to S3, SQS", "11, 1"),
        ("speed", "1.71 x real time"),
    ]
    assert len(receipt_rows(manifest())) == 4
    earlier = made.model_copy(update={"receipt": None})
    assert (receipt_rows(earlier), len(stage_rows(earlier))) == ([], 2)
