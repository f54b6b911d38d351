"""Logs and metrics. One `Metrics` object owns its registry; label values come from enums and the route table, never
from keys or messages. Logs are structlog events on standard error: one snake_case phrase in the past tense, with fields.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vproc.core.files import Outcome
from vproc.core.webhook_delivery import DeliveryOutcome
from vproc.settings import LogFormat
from vproc.usage import current_usage

_JOB_BUCKETS = (1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1800, 3600, 7200, 21600)
_STAGE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1800, 3600, 7200)
_HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SPEED_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)

MESSAGE_OUTCOMES = (
    *(outcome.value for outcome in Outcome if outcome is not Outcome.RUNNING),
    *("returned", "duplicate", "busy", "missing", "late_upload", "invalid", "test_event", "ignored"),
)
"""What can become of an object that a message named: the label of ``vproc_messages_total``."""
_HEARTBEAT_OUTCOMES = ("ok", "lost", "error")
_S3_OPERATIONS = ("get", "put", "head", "list", "delete")


class Metrics:
    """Every metric of the daemon, by the names that `docs/reference/metrics.md` lists."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.jobs = Counter("vproc_jobs", "Jobs ended, by profile and outcome.", ["profile", "outcome"], registry=registry)
        self.job_duration = Histogram(
            "vproc_job_duration_seconds",
            "Wall time of completed jobs, from the claim to the commit.",
            ["profile"],
            buckets=_JOB_BUCKETS,
            registry=registry,
        )
        self.stage_duration = Histogram(
            "vproc_stage_duration_seconds", "Wall time of a job's stages.", ["stage"], buckets=_STAGE_BUCKETS, registry=registry
        )
        self.jobs_in_progress = Gauge("vproc_jobs_in_progress", "Jobs that this process works on.", registry=registry)
        self.job_slots = Gauge("vproc_job_slots", "Usual jobs that this process works on at a time.", registry=registry)
        self.queue_messages = Gauge(
            "vproc_queue_messages", "Approximate number of messages.", ["queue", "state"], registry=registry
        )
        self.queue_oldest_age = Gauge(
            "vproc_queue_oldest_age_seconds", "Age of the oldest message that was lately received.", ["queue"], registry=registry
        )
        self.messages = Counter("vproc_messages", "Messages received, by what became of them.", ["outcome"], registry=registry)
        self.heartbeats = Counter("vproc_heartbeats", "Lease extensions, by outcome.", ["outcome"], registry=registry)
        self.s3_requests = Counter(
            "vproc_s3_requests", "Requests to the object store.", ["operation", "outcome"], registry=registry
        )
        self.transferred = Counter(
            "vproc_transferred_bytes", "Bytes of media moved from and to the object store.", ["direction"], registry=registry
        )
        self.media_seconds = Counter(
            "vproc_media_seconds", "Seconds of source media in completed jobs.", ["profile"], registry=registry
        )
        self.encode_speed = Histogram(
            "vproc_encode_speed_ratio",
            "Seconds of source media encoded in a second of wall time.",
            buckets=_SPEED_BUCKETS,
            registry=registry,
        )
        self.http_requests = Counter(
            "vproc_http_requests", "Requests to the API.", ["route", "method", "status"], registry=registry
        )
        self.http_duration = Histogram(
            "vproc_http_request_duration_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=_HTTP_BUCKETS,
            registry=registry,
        )
        self.scratch_free = Gauge("vproc_scratch_free_bytes", "Free space where jobs work.", registry=registry)
        self.late_uploads = Counter(
            "vproc_late_uploads", "Uploads to the key of a file that was finished already, dropped.", registry=registry
        )
        self.janitor_actions = Counter("vproc_janitor_actions", "What the janitor mended.", ["action"], registry=registry)
        self.sandbox_level = Gauge(
            "vproc_sandbox_enabled", "Whether a layer of ffmpeg's confinement is in force.", ["layer"], registry=registry
        )
        self.build_info = Gauge("vproc_build_info", "Versions; always 1.", ["version", "ffmpeg"], registry=registry)
        self._add_others(registry)
        self._begin_at_zero()

    def _add_others(self, registry: CollectorRegistry) -> None:
        self.jobs_waiting = Gauge("vproc_jobs_waiting", "Jobs taken that wait for room on this machine.", registry=registry)
        self.loop_lag = Histogram(
            "vproc_event_loop_lag_seconds", "How late the event loop takes up what is due.", buckets=_LAG_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.backlog = Gauge(
            "vproc_backlog_media_seconds", "Seconds of media that wait in the queue, by the mean of the last files.",
            registry=registry,
        )  # fmt: skip
        self.scratch_size = Gauge("vproc_scratch_size_bytes", "Size of the disk where jobs work.", registry=registry)
        self.queue_read_at = Gauge(
            "vproc_queue_read_timestamp_seconds", "When the number of messages was last read.", registry=registry
        )
        self.host_notices = Counter(
            "vproc_host_notices", "Announcements of this host's own end, or of its likelihood.", ["kind"], registry=registry
        )
        self.webhook_deliveries = Counter(
            "vproc_webhook_deliveries", "Attempts to deliver a webhook, by what they decide.", ["outcome"], registry=registry
        )
        self.webhook_duration = Histogram(
            "vproc_webhook_duration_seconds", "Time of an attempt to deliver a webhook.", buckets=_STAGE_BUCKETS[:10],
            registry=registry,
        )  # fmt: skip

    def _begin_at_zero(self) -> None:
        """A counter that first appears at 1 has not increased, as Prometheus reckons: the first dead letter would be no alarm."""
        for outcome in MESSAGE_OUTCOMES:
            self.messages.labels(outcome)
        for outcome in _HEARTBEAT_OUTCOMES:
            self.heartbeats.labels(outcome)
        for outcome in DeliveryOutcome:
            self.webhook_deliveries.labels(outcome.value)
        for operation in _S3_OPERATIONS:
            for outcome in ("ok", "error"):
                self.s3_requests.labels(operation, outcome)

    @contextmanager
    def s3_request(self, operation: str) -> Iterator[None]:
        """Count one request to the object store, by whether it raised, and for the job that makes it."""
        current_usage().s3_requests[operation] += 1
        try:
            yield
        except BaseException:
            self.s3_requests.labels(operation, "error").inc()
            raise
        self.s3_requests.labels(operation, "ok").inc()


def value_of(gauge: Gauge, *labels: str) -> float | None:
    """What a gauge stands at; None under labels that nobody has set."""
    for family in gauge.collect():
        for sample in family.samples:
            if tuple(sample.labels.values()) == labels:
                return float(sample.value)
    return None


class Stopwatch:
    """Seconds by stage, for one job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``, also when it raises."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - begun


# Anything that would let a reader of the log act as somebody else. A value ends before what ends a string in JSON.
_SECRET = re.compile(
    r"(?P<name>X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|token|password|secret)=[^&;\s\"'\\]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<name>Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# An address of the web has no slash in its password; a database's may, and an @ that nobody encoded.
_PASSWORD_IN_WEB_URL = re.compile(r"(?P<head>\bhttps?://[^:/@\s]*):[^@/\s]+@", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"(?P<head>\b(?!https?:)[a-z][a-z0-9+]*://[^:/@\s]*):[^\s\"'\\]+@", re.IGNORECASE)
_SECRET_FIELD = re.compile(r"(?:^|_)(?:password|secret|token|authorization|cookie|api_key|signature)$", re.IGNORECASE)


# Each of the patterns takes one of these. Most lines have none, and are not searched four times.
_BEFORE_A_SECRET = ("=", "://", "bearer ", "basic ")


def mask_secrets(text: str) -> str:
    """The text with signatures, tokens and passwords replaced by ``***``."""
    small = text.lower()
    if not any(sign in small for sign in _BEFORE_A_SECRET):
        return text
    text = _SECRET.sub(lambda match: f"{match['name']}=***", text)
    text = _BEARER.sub(lambda match: f"{match['name']} ***", text)
    for pattern in (_PASSWORD_IN_WEB_URL, _PASSWORD_IN_URL):
        text = pattern.sub(lambda match: f"{match['head']}:***@", text)
    return text


def _mask_fields(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if value is not None and _SECRET_FIELD.search(name):
            event[name] = "***"
    return event


def _masked(render: structlog.typing.Processor) -> structlog.typing.Processor:
    """The renderer, its whole line masked: what lies deep in a field or in a traceback is text only then."""

    def masked(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        return mask_secrets(_text(render(logger, name, event)))

    return masked


def _text(rendered: object) -> str:
    return rendered.decode() if isinstance(rendered, bytes) else str(rendered)


class _Lines:
    """Writes finished lines, and knows who asked for them, which `structlog.stdlib.add_logger_name` wants. A line of our own
    does not go through the standard library: a record, its formatter and its lock cost more than the line."""

    def __init__(self, out: TextIO, name: str) -> None:
        self.name = name
        self._out = out

    def msg(self, line: str) -> None:
        """One write, so that lines of several threads do not mix. Where nobody reads any more, or the disk is full, the line is
        lost and the work goes on."""
        with suppress(OSError, ValueError):
            self._out.write(f"{line}\n")
            self._out.flush()

    debug = info = warning = error = critical = exception = msg


def _journal_renderer() -> structlog.typing.Processor:
    """JSON behind the ``<N>`` priority that journald reads; no time, since the journal has its own."""
    render = structlog.processors.JSONRenderer()
    priorities = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

    def journal(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        event.pop("timestamp", None)
        priority = priorities.get(str(event.get("level")), 6)
        return f"<{priority}>{_text(render(logger, name, event))}"

    return journal


def configure_logging(log_format: LogFormat | None, level: str, *, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's lines through one pipeline to ``stream`` (standard error).

    Without a format: ``console`` where the stream is a terminal, else ``json``. May be called again.
    """
    out = stream or sys.stderr
    chosen = log_format or (LogFormat.CONSOLE if out.isatty() else LogFormat.JSON)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if chosen is not LogFormat.CONSOLE else _keep,
        _mask_fields,
    ]
    renderer: structlog.typing.Processor
    if chosen is LogFormat.CONSOLE:
        renderer = structlog.dev.ConsoleRenderer(colors=out.isatty())
    elif chosen is LogFormat.JOURNAL:
        renderer = _journal_renderer()
    else:
        renderer = structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _masked(renderer)],
        )
    )
    handler.addFilter(_is_news)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in ("botocore", "aiobotocore", "werkzeug", "alembic", "urllib3", "aiosqlite", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)  # a collector that is away is a warning a second
    structlog.configure(
        processors=[*shared, _masked(renderer)],
        logger_factory=lambda name="vproc": _Lines(out, name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a connection is thrown away whose request was cancelled. A client that goes ends its request by the server's own
    means, against which nothing is shielded; the pool's connection is then replaced, and that is no error."""
    cancelled = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not (cancelled and record.name.startswith("sqlalchemy.pool"))


def logger_at_any_level(name: str) -> Any:
    """A logger that `VPROC_LOG_LEVEL` does not silence: who changed what is told in any case."""
    return structlog.wrap_logger(
        structlog.get_config()["logger_factory"](name), wrapper_class=structlog.make_filtering_bound_logger("debug")
    )


def _keep(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event
