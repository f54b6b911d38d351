"""Logs and metrics: what a line looks like, what never stands in one, what is counted."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from vproc.settings import LogFormat
from vproc.telemetry import Metrics, Stopwatch, configure_logging, logger_at_any_level, mask_secrets

SIGNED = (
    "https://raw.s3.eu-west-1.amazonaws.com/videos/default/1.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F20261121"
    "&X-Amz-Date=20261121T000000Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Security-Token=FwoGZXIvYXdzE&X-Amz-Signature=0123abcd"
)
SECRETS = ("AKIAEXAMPLE", "FwoGZXIvYXdzE", "0123abcd")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Logging is the process's: put back what a test changes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("botocore", "asyncio", "urllib3")}
    yield
    root.handlers, root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(log_format: LogFormat | None = LogFormat.JSON, level: str = "info", stream: io.StringIO | None = None) -> io.StringIO:
    """A stream that logging goes to from now on."""
    out = stream or io.StringIO()
    configure_logging(log_format, level, stream=out)
    return out


def failed_with(error: Exception) -> None:
    """Log an error as whoever caught it does."""
    try:
        raise error
    except type(error):
        structlog.get_logger("vproc.test").exception("job_failed")


# --- logs --------------------------------------------------------------------------------------------------------------


def test_a_line_is_one_json_object() -> None:
    """An event has its name, level, logger, time in UTC, and its fields; what is bound to the context is on it."""
    out = logged()
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("vproc.test").info("job_published", attempt=2, size_bytes=1234)
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "job_published",
        "level": "info",
        "logger": "vproc.test",
        "request_id": "r-1",
        "attempt": 2,
        "size_bytes": 1234,
    }


def test_the_standard_library_goes_the_same_way() -> None:
    """A library's warning is a line like ours, with its `extra` fields."""
    out = logged()
    logging.getLogger("aiohttp.server").warning("Error handling %s", "request", extra={"peer": "127.0.0.1"})
    event = json.loads(out.getvalue())
    assert (event["event"], event["level"], event["logger"]) == ("Error handling request", "warning", "aiohttp.server")
    assert event["peer"] == "127.0.0.1"


def test_an_error_brings_its_traceback_in_one_line() -> None:
    """A traceback is a field of its line, not lines of its own."""
    out = logged()
    failed_with(ValueError("boom"))
    (line,) = out.getvalue().splitlines()
    assert "ValueError: boom" in json.loads(line)["exception"]


@pytest.mark.parametrize(("level", "names"), [("debug", ["a", "b", "c"]), ("info", ["b", "c"]), ("error", ["c"])])
def test_what_is_below_the_level_is_not_written(level: str, names: list[str]) -> None:
    """`VPROC_LOG_LEVEL` holds for our own lines."""
    out = logged(level=level)
    log = structlog.get_logger("vproc.test")
    log.debug("a")
    log.info("b")
    log.error("c")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == names


def test_chatty_libraries_are_heard_from_warnings_on() -> None:
    """botocore at debug level would write every request, signatures and all."""
    out = logged(level="debug")
    logging.getLogger("botocore.endpoint").debug("Making request")
    logging.getLogger("botocore.endpoint").warning("Connection pool is full")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["Connection pool is full"]


@pytest.mark.parametrize(
    ("method", "priority"),
    [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)],
    ids=str,
)
def test_the_journal_gets_a_priority_and_no_time(method: str, priority: int) -> None:
    """journald reads `<N>` and has its own clock."""
    out = logged(LogFormat.JOURNAL, level="debug")
    getattr(structlog.get_logger("vproc.test"), method)("tick", number=1)
    line = out.getvalue().strip()
    assert line.startswith(f"<{priority}>{{")
    assert "timestamp" not in json.loads(line[3:])


def test_a_terminal_gets_lines_for_people() -> None:
    """Without a format a terminal shows console lines, with colours; a pipe gets JSON."""
    terminal = logged(None, stream=Terminal())
    structlog.get_logger("vproc.test").info("job_claimed", attempt=1)
    assert "job_claimed" in terminal.getvalue()
    assert "\x1b[" in terminal.getvalue()
    pipe = logged(None)
    structlog.get_logger("vproc.test").info("job_claimed", attempt=1)
    assert json.loads(pipe.getvalue())["attempt"] == 1


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    tried = 0

    def write(self, _: str) -> int:
        self.tried += 1
        raise BrokenPipeError


def test_a_line_that_cannot_be_written_fails_nothing() -> None:
    """The reader of the log has ended, or its disk is full: the daemon works on."""
    gone = Gone()
    logged(stream=gone)
    structlog.get_logger("vproc.test").info("a")
    closed = logged()
    closed.close()
    structlog.get_logger("vproc.test").info("b")
    assert gone.tried == 1


def test_who_changed_what_is_told_at_any_level() -> None:
    """`VPROC_LOG_LEVEL=error` does not silence the audit of a command."""
    out = logged(level="error")
    logger_at_any_level("vproc.audit").info("audit", action="key.revoke")
    assert json.loads(out.getvalue())["logger"] == "vproc.audit"


def test_configuring_again_replaces_what_was() -> None:
    """No line is written twice."""
    first, second = logged(), logged()
    structlog.get_logger("vproc.test").info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


# --- what never stands in a line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_no_line_lets_its_reader_act_as_somebody_else(log_format: LogFormat) -> None:
    """Signatures, tokens and passwords are masked in the event, in fields, in nested fields, and in tracebacks."""
    out = logged(log_format)
    log = structlog.get_logger("vproc.test")
    log.info("address_signed", url=SIGNED, nested={"urls": [SIGNED]}, pair=(SIGNED,))
    log.info(SIGNED)
    logging.getLogger("aiohttp.client").warning("cannot connect to %s", SIGNED)
    failed_with(OSError(f"no answer from {SIGNED}"))
    log.info("database_opened", url="postgresql://vproc:hunter2@db/vproc", password="hunter2", token="hunter2")
    log.info("error_told", error=OSError(f"no answer from {SIGNED}"))
    text = out.getvalue()
    assert [secret for secret in (*SECRETS, "hunter2") if secret in text] == []
    assert "X-Amz-Expires=900" in text, "what is no secret stays readable"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://vproc:p@ss/w:rd@db:5432/x", "postgresql://vproc:***@db:5432/x"),
        ("postgresql+asyncpg://u:p@h/n", "postgresql+asyncpg://u:***@h/n"),
        ("https://example.org/a:b@c", "https://example.org/a:b@c"),
        ("?X-Amz-Signature=ab&x=1", "?X-Amz-Signature=***&x=1"),
        ("?AWSAccessKeyId=AKIA&Signature=a%2Fb&Expires=1", "?AWSAccessKeyId=***&Signature=***&Expires=1"),
        ("access_token=abc;refresh_token=def", "access_token=***;refresh_token=***"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    """Only the secret part goes; the rest stays for whoever looks for a fault."""
    assert mask_secrets(text) == masked


@given(st.text())
def test_masking_twice_is_masking_once(text: str) -> None:
    """Masked text has nothing left to mask."""
    assert mask_secrets(mask_secrets(text)) == mask_secrets(text)


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="&\"';\\"), min_size=8))
def test_no_signature_survives(secret: str) -> None:
    """Whatever the signature is made of, it is gone."""
    assert mask_secrets(f"https://h/k?X-Amz-Signature={secret}&a=1") == "https://h/k?X-Amz-Signature=***&a=1"


# --- metrics -----------------------------------------------------------------------------------------------------------


def test_each_registry_has_its_own_metrics() -> None:
    """Two daemons in one process count apart, and nothing enters the library's global registry."""
    one, two = Metrics(CollectorRegistry()), Metrics(CollectorRegistry())
    one.late_uploads.inc()
    assert one.registry.get_sample_value("vproc_late_uploads_total") == 1
    assert two.registry.get_sample_value("vproc_late_uploads_total") == 0


def test_requests_to_the_store_are_counted_by_how_they_ended() -> None:
    """A request that raised, or was cancelled, is an error; the exception goes on."""
    metrics = Metrics(CollectorRegistry())

    def count(operation: str, outcome: str) -> float | None:
        return metrics.registry.get_sample_value("vproc_s3_requests_total", {"operation": operation, "outcome": outcome})

    with metrics.s3_request("get"):
        pass
    with pytest.raises(KeyError), metrics.s3_request("get"):
        raise KeyError
    with pytest.raises(KeyboardInterrupt), metrics.s3_request("put"):
        raise KeyboardInterrupt
    assert (count("get", "ok"), count("get", "error"), count("put", "ok"), count("put", "error")) == (1, 1, 0, 1)


def test_a_stopwatch_adds_up_by_stage() -> None:
    """A stage may be entered more than once, and counts when it raises."""
    watch = Stopwatch()
    with watch.measure("encode"):
        pass
    first = watch.seconds["encode"]
    with pytest.raises(KeyError), watch.measure("encode"):
        raise KeyError
    with watch.measure("verify"):
        pass
    assert watch.seconds["encode"] > first > 0
    assert set(watch.seconds) == {"encode", "verify"}


def test_a_connection_of_a_cancelled_request_is_no_error() -> None:
    """The pool throws it away and says so with a traceback; whatever else it says is told."""
    out = io.StringIO()
    configure_logging(LogFormat.JSON, "info", stream=out)
    pool = logging.getLogger("sqlalchemy.pool.impl.AsyncAdaptedQueuePool")
    for error in (asyncio.CancelledError(), OSError("gone")):
        try:
            raise error
        except (asyncio.CancelledError, OSError):
            pool.exception("Exception during reset or similar")
    (told,) = [json.loads(line) for line in out.getvalue().splitlines()]
    assert "OSError: gone" in told["exception"]
