"""The composition root: settings in, parts built, services started in order, drained, exit code out.

Here alone clients are opened, adapters put into ports and signals listened to.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import anyio.to_thread
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from vproc import __version__
from vproc.api.desk import OperationsDesk
from vproc.api.parts import Limits, Versions
from vproc.api.readiness import Check, ReadinessChecks
from vproc.aws.host import open_host
from vproc.aws.presign import S3Presigner
from vproc.core.host_notice import HostNotice
from vproc.core.origins import reached_at
from vproc.core.profile import Profile
from vproc.core.quotas import Quotas
from vproc.core.runners import RunnerKind
from vproc.door import Door, open_door
from vproc.ffmpegs import Ffmpegs, layers_of, level_of
from vproc.http import make_app, serve_app
from vproc.otel import open_tracing
from vproc.outside import Outside, open_outside, open_sender, webhook_secrets
from vproc.settings import AuthMode, Role, Settings, read_profiles
from vproc.supervisor import Notifier, Supervisor
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.tracing import Tracer
from vproc.vitals import Vitals, watch_lag
from vproc.workers.consumer import Consumer
from vproc.workers.host import HostWatch
from vproc.workers.intake import Intake
from vproc.workers.janitor import Janitor
from vproc.workers.job_runner import runners_wanted
from vproc.workers.webhooks import Webhooks
from vproc.workplace import open_workplace, require_default

CHECK_WITHIN_S = 10.0
END_WITHIN_S = 60.0
_SWITCH_INTERVAL_S = 0.0005
"""How long a thread keeps the interpreter while another wants it. The catalog's driver gives it up and takes it back several
times in a statement, and at Python's 5 ms each time waits for the event loop's whole turn: docs/why/performance.md."""
Value = TypeVar("Value")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """Said once, when everything is up. ``api_url`` is None in a process without the API."""

    api_url: str | None


@dataclass(frozen=True, slots=True)
class _Worker:
    """What takes and does jobs."""

    consumer: Consumer
    janitor: Janitor
    intake: Intake
    ffmpegs: Mapping[RunnerKind, Ffmpegs]

    @property
    def ffmpeg_version(self) -> str | None:
        """Of what runs jobs that name no other runner, where this process does."""
        return next((ffmpegs.tools.version for ffmpegs in self.ffmpegs.values()), None)


async def run(settings: Settings, *, on_ready: Callable[[ReadyInfo], None] | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; its exit code.

    Raises `ConfigError` or `DependencyError` before it is ready. The first signal drains, a second hands everything back
    at once.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    profiles = await anyio.to_thread.run_sync(read_profiles, settings.profiles_file)
    require_default(settings, profiles)
    metrics = Metrics(CollectorRegistry())
    draining, vitals = anyio.Event(), Vitals()
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with AsyncExitStack() as stack:
            tracer = await stack.enter_async_context(open_tracing(os.environ))
            works = Role.WORKER in settings.roles
            kinds = runners_wanted(profiles, default=settings.runner) if works else frozenset()
            outside = await stack.enter_async_context(open_outside(settings, metrics, kinds=kinds))
            worker = None
            if works:
                worker = await stack.enter_async_context(_open_worker(settings, outside, profiles, vitals, tracer, kinds))
            metrics.build_info.labels(__version__, (worker and worker.ffmpeg_version) or "none").set(1)
            api_url = None
            if Role.API in settings.roles:
                door = await stack.enter_async_context(open_door(settings, outside.catalog))
                app = _make_app(settings, outside, worker, draining, profiles, door, vitals=vitals, tracer=tracer)
                port = await stack.enter_async_context(serve_app(app, host=settings.host, port=settings.port))
                api_url = f"http://{reached_at(settings.host)}:{port}"
            drain = _Drain(draining, worker.consumer if worker else None, _drain_timeout_s(settings, kinds))
            host = await stack.enter_async_context(_open_watch(drain, metrics))
            notifier = Notifier.of(os.environ, pid=os.getpid())
            supervisor = Supervisor(notifier, vitals, draining=draining, drain_s=drain.longest_s, jobs=drain.jobs)
            async with task_group() as services:
                services.start_soon(_listen, signals, drain)
                services.start_soon(supervisor.run)
                services.start_soon(host.run)
                services.start_soon(watch_lag, metrics.loop_lag.observe)
                if worker is not None:
                    services.start_soon(worker.janitor.run)
                services.start_soon((await _open_webhooks(settings, outside, tracer)).run)
                _spare_the_collector()
                log.info("daemon_started", version=__version__, api=api_url, roles=sorted(settings.roles))
                supervisor.ready()
                if on_ready is not None:
                    on_ready(ReadyInfo(api_url))
                if worker is not None:
                    await worker.consumer.run()
                await draining.wait()
                services.cancel_scope.cancel()
    log.info("daemon_stopped")
    return 0


def _spare_the_collector() -> None:
    """Take all that the start made out of the garbage collector's sight: it stays to the end, and one full collection over
    it stops the event loop for a tenth of a second."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True, slots=True)
class _Drain:
    """How the daemon ends, whoever says so."""

    begun: anyio.Event
    consumer: Consumer | None
    timeout_s: float

    def begin(self, *, at_once: bool = False, within_s: float | None = None) -> None:
        """Take no more work; again: sooner."""
        self.begun.set()
        if self.consumer is not None:
            self.consumer.drain(at_once=at_once, within_s=within_s)

    def on_notice(self, notice: HostNotice) -> None:
        """The host ends: what cannot end before it is handed back."""
        self.begin(within_s=notice.drain_s(self.timeout_s, now=datetime.now(UTC)))

    @property
    def longest_s(self) -> float:
        """How long the end may take: the jobs, the poll in flight, and what each hands back."""
        return self.timeout_s + END_WITHIN_S

    def jobs(self) -> int:
        """How many run."""
        return self.consumer.jobs if self.consumer is not None else 0


async def _listen(signals: AsyncIterator[signal.Signals], drain: _Drain) -> None:
    second = False
    async for received in signals:
        log.info("signal_received", signal=received.name, second=second)
        drain.begin(at_once=second)
        second = True


@asynccontextmanager
async def _open_watch(drain: _Drain, metrics: Metrics) -> AsyncIterator[HostWatch]:
    """What hears the host's own announcements. At the end the task is let go."""
    async with open_host(os.environ) as host:
        watch = HostWatch(
            notices=host.notices, protection=host.protection, jobs=drain.jobs, drain=drain.on_notice, metrics=metrics
        )
        yield watch
        await watch.close()


@asynccontextmanager
async def _open_worker(
    settings: Settings,
    outside: Outside,
    profiles: Mapping[str, Profile],
    vitals: Vitals,
    tracer: Tracer,
    kinds: frozenset[RunnerKind],
) -> AsyncIterator[_Worker]:
    """Where jobs are done, and what takes them from the queue."""
    async with open_workplace(settings, outside, profiles, vitals, queue=outside.queue, tracer=tracer, kinds=kinds) as place:
        consumer = Consumer(
            queue=outside.queue,
            jobs=place.jobs,
            intake=place.intake,
            capacity=place.capacity,
            poll_wait_s=settings.poll_wait_s,
            drain_timeout_s=_drain_timeout_s(settings, kinds),
            metrics=outside.metrics,
            vitals=vitals,
        )
        yield _Worker(consumer, place.janitor, place.intake, place.ffmpegs)


def _drain_timeout_s(settings: Settings, kinds: frozenset[RunnerKind]) -> float:
    """What is done elsewhere goes on by itself: another daemon watches it at once."""
    return 0.0 if kinds == {RunnerKind.ECS} else settings.drain_timeout_s


async def _open_webhooks(settings: Settings, outside: Outside, tracer: Tracer) -> Webhooks:
    """What tells of files' states. Every process does: the outbox's leases share the work."""
    return Webhooks(
        outbox=outside.catalog,
        sender=open_sender(settings),
        secrets=await webhook_secrets(settings, outside.catalog),
        metrics=outside.metrics,
        tracer=tracer,
    )


def _make_app(
    settings: Settings,
    outside: Outside,
    worker: _Worker | None,
    draining: anyio.Event,
    profiles: Mapping[str, Profile],
    door: Door,
    *,
    vitals: Vitals,
    tracer: Tracer,
) -> web.Application:
    checks: dict[str, Check] = {
        "database": outside.catalog.check,
        "queue": outside.queue.check,
        "raw_bucket": outside.raw.check,
        "processed_bucket": outside.processed.check,
    }
    if worker is not None:
        checks["intake"] = worker.intake.check
    return make_app(
        catalog=outside.catalog,
        raw=outside.raw,
        processed=outside.processed,
        presigner=S3Presigner(
            client=outside.clients.presign,
            raw_bucket=settings.raw_bucket,
            processed_bucket=settings.processed_bucket,
            upload_expires_s=settings.upload_expires_s,
            download_expires_s=settings.download_expires_s,
        ),
        multipart_uploads=outside.multipart,
        queue=outside.queue,
        identity=door.identity,
        accounts=door.accounts,
        keys=outside.catalog,
        metrics=outside.metrics,
        limits=Limits(
            profiles=profiles,
            default_profile=settings.profile,
            auth=settings.auth or AuthMode.NONE,
            max_upload_bytes=settings.max_upload_bytes,
            public_url=settings.public_url,
            upload_expires_s=settings.upload_expires_s,
            cors_origins=settings.cors_origins,
            requests_per_minute=settings.quota_requests_per_minute,
            unknown_per_minute=settings.quota_unknown_per_minute,
            quotas=Quotas(
                open_uploads=settings.quota_open_uploads,
                bytes_per_day=settings.quota_bytes_per_day,
                media_minutes_per_day=settings.quota_media_minutes_per_day,
            ),
            webhook_hosts=settings.webhook_allowed_hosts or frozenset(),
        ),
        versions=Versions(vproc=__version__, ffmpeg=worker.ffmpeg_version if worker else None),
        readiness=ReadinessChecks(checks, draining=draining, sandbox=_sandbox_state(worker)),
        draining=draining,
        desk=OperationsDesk(reader=outside.catalog, letters=outside.letters, gauges=outside.gauges, metrics=outside.metrics),
        vitals=vitals,
        tracer=tracer,
    )


def _sandbox_state(worker: _Worker | None) -> dict[str, bool | str]:
    if worker is None or not worker.ffmpegs:
        return {}
    return {"level": level_of(worker.ffmpegs), **layers_of(worker.ffmpegs)}
