"""The composition root: settings in, parts built, services started in order, drained, exit code out.

Here alone clients are opened, adapters put into ports and signals listened to.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from vproc import __version__
from vproc.api.access import OpenIdentity
from vproc.api.parts import Limits, Versions
from vproc.api.readiness import Check, ReadinessChecks
from vproc.aws.dead_letters import SqsDeadLetters
from vproc.aws.presign import S3Presigner
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import AwsClients, open_clients
from vproc.aws.sqs import SqsQueue, resolve_dlq_url
from vproc.core.media import MediaLimits
from vproc.core.needs import needs_of_profile, unavailable
from vproc.core.profile import Profile
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.errors import ConfigError, DependencyError, TransientError
from vproc.http import make_app, serve_app
from vproc.settings import Role, SandboxMode, Settings, read_profiles
from vproc.tasks import task_group
from vproc.telemetry import Metrics
from vproc.workers.confinement import Layer
from vproc.workers.consumer import Consumer
from vproc.workers.ffmpeg import ToolPair, announce, find_pairs, with_trials
from vproc.workers.intake import Intake
from vproc.workers.janitor import Janitor
from vproc.workers.jobs import JobRules, Jobs
from vproc.workers.media import MediaTools
from vproc.workers.pipeline import Pipeline
from vproc.workers.reconcile import Reconciler, Repaired
from vproc.workers.runners import LocalRunner
from vproc.workers.sandbox import SandboxReport, graphics_devices, keep_memory_private, probe_sandbox
from vproc.workers.scratch import open_scratch

CHECK_WITHIN_S = 10.0
Value = TypeVar("Value")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """Said once, when everything is up. ``api_url`` is None in a process without the API."""

    api_url: str | None


@dataclass(frozen=True, slots=True)
class Outside:
    """The adapters that API and worker share, and what works on them alone."""

    clients: AwsClients
    catalog: SqlCatalog
    queue: SqsQueue
    raw: S3Bucket
    processed: S3Bucket
    metrics: Metrics
    letters: SqsDeadLetters | None

    def reconciler(self, *, delete_raw: bool, tell: Callable[[Repaired], None], dry_run: bool = False) -> Reconciler:
        """What finds lost events, messages and rows."""
        return Reconciler(
            catalog=self.catalog, raw=self.raw, processed=self.processed, queue=self.queue, metrics=self.metrics,
            delete_raw=delete_raw, tell=tell, letters=self.letters, dry_run=dry_run,
        )  # fmt: skip

    def janitor(self, reconciler: Reconciler) -> Janitor:
        """What finishes what a crash left."""
        return Janitor(
            catalog=self.catalog, raw=self.raw, processed=self.processed, queue=self.queue, metrics=self.metrics,
            reconciler=reconciler,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Worker:
    """What takes and does jobs."""

    consumer: Consumer
    janitor: Janitor
    intake: Intake
    tools: MediaTools
    sandbox: SandboxReport


async def run(settings: Settings, *, on_ready: Callable[[ReadyInfo], None] | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; its exit code.

    Raises `ConfigError` or `DependencyError` before it is ready. The first signal drains, a second hands everything back
    at once.
    """
    profiles = await anyio.to_thread.run_sync(read_profiles, settings.profiles_file)
    if settings.profile not in profiles:
        raise ConfigError(f"VPROC_PROFILE: takes one of {', '.join(profiles)} (got {settings.profile!r})")
    metrics = Metrics(CollectorRegistry())
    draining = anyio.Event()
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with AsyncExitStack() as stack:
            outside = await stack.enter_async_context(open_outside(settings, metrics))
            worker = None
            if Role.WORKER in settings.roles:
                worker = await stack.enter_async_context(_open_worker(settings, outside, profiles))
            metrics.build_info.labels(__version__, worker.tools.version if worker else "none").set(1)
            api_url = None
            if Role.API in settings.roles:
                app = _make_app(settings, outside, worker, draining, profiles)
                port = await stack.enter_async_context(serve_app(app, host=settings.host, port=settings.port))
                api_url = f"http://{_for_url(settings.host)}:{port}"
            async with task_group() as services:
                services.start_soon(_listen, signals, draining, worker)
                if worker is not None:
                    services.start_soon(worker.janitor.run)
                _spare_the_collector()
                log.info("daemon_started", version=__version__, api=api_url, roles=sorted(settings.roles))
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


async def _listen(signals: AsyncIterator[signal.Signals], draining: anyio.Event, worker: _Worker | None) -> None:
    async for received in signals:
        second = draining.is_set()
        log.info("signal_received", signal=received.name, second=second)
        draining.set()
        if worker is not None:
            worker.consumer.drain(at_once=second)


@asynccontextmanager
async def open_outside(settings: Settings, metrics: Metrics) -> AsyncIterator[Outside]:
    """Database, queue and buckets, each seen to answer."""
    async with (
        open_catalog(settings.sqlalchemy_url) as catalog,
        open_clients(
            region=settings.aws_region,
            poll_read_timeout_s=settings.poll_read_timeout_s,
            public_endpoint_url=settings.s3_public_endpoint_url,
        ) as clients,
    ):
        raw, processed = (
            S3Bucket(bucket=bucket, control=clients.s3, bulk=clients.s3_bulk, metrics=metrics)
            for bucket in (settings.raw_bucket, settings.processed_bucket)
        )
        dlq_url = await _at_start("VPROC_QUEUE_URL", resolve_dlq_url(clients.sqs, settings.queue_url, settings.dlq_url))
        if dlq_url is None and Role.WORKER in settings.roles:
            raise ConfigError(
                "VPROC_DLQ_URL: not set, and the queue has no redrive policy: dead letters would have no place; "
                "takes the address of a queue"
            )
        await _at_start("VPROC_RAW_BUCKET", raw.require("VPROC_RAW_BUCKET"))
        await _at_start("VPROC_PROCESSED_BUCKET", processed.require("VPROC_PROCESSED_BUCKET"))
        queue = SqsQueue(
            poll=clients.sqs_poll,
            control=clients.sqs,
            queue_url=settings.queue_url,
            dlq_url=dlq_url,
            visibility_timeout_s=settings.visibility_timeout_s,
        )
        letters = SqsDeadLetters(control=clients.sqs, queue_url=settings.queue_url, dlq_url=dlq_url) if dlq_url else None
        yield Outside(clients, catalog, queue, raw, processed, metrics, letters)


async def _at_start(variable: str, check: Awaitable[Value]) -> Value:
    """A dependency that does not answer at the start is exit 75."""
    try:
        with anyio.fail_after(CHECK_WITHIN_S):
            return await check
    except TransientError as error:
        raise DependencyError(f"{variable}: {error.detail}") from error
    except TimeoutError as error:
        raise DependencyError(f"{variable}: no answer within {CHECK_WITHIN_S:g} s") from error


@asynccontextmanager
async def _open_worker(settings: Settings, outside: Outside, profiles: Mapping[str, Profile]) -> AsyncIterator[_Worker]:
    """Scratch, ffmpeg, the sandbox around it, and the services that use them."""
    async with open_scratch(settings.scratch_dir) as scratch:
        tools, sandbox = await _open_tools(settings, outside.metrics, profiles, scratch.root)
        intake = Intake(scratch=scratch, metrics=outside.metrics)
        janitor = outside.janitor(outside.reconciler(delete_raw=settings.delete_raw, tell=lambda _: None))
        pipeline = Pipeline(
            raw=outside.raw,
            processed=outside.processed,
            tools=tools,
            scratch=scratch,
            limits=MediaLimits(settings.max_duration_s, settings.max_pixels),
            max_upload_bytes=settings.max_upload_bytes,
            metrics=outside.metrics,
            profiles=profiles,
        )
        jobs = Jobs(
            queue=outside.queue,
            catalog=outside.catalog,
            raw=outside.raw,
            processed=outside.processed,
            pipeline=pipeline,
            rules=JobRules(
                worker=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
                visibility_timeout_s=settings.visibility_timeout_s,
                max_attempts=settings.max_attempts,
                job_timeout_s=settings.job_timeout_s,
                default_profile=settings.profile,
                delete_raw=settings.delete_raw,
            ),
            intake=intake,
            metrics=outside.metrics,
            on_job_ended=janitor.wake,
        )
        consumer = Consumer(
            queue=outside.queue,
            jobs=jobs,
            intake=intake,
            slots=settings.concurrency or default_slots(),
            poll_wait_s=settings.poll_wait_s,
            drain_timeout_s=settings.drain_timeout_s,
            metrics=outside.metrics,
        )
        yield _Worker(consumer, janitor, intake, tools, sandbox)


async def _open_tools(
    settings: Settings, metrics: Metrics, profiles: Mapping[str, Profile], scratch_dir: Path
) -> tuple[MediaTools, SandboxReport]:
    """The sandbox that this machine gives, and within it the ffmpeg to work with."""
    if settings.sandbox is not SandboxMode.OFF:
        keep_memory_private()
    sandbox = await _at_start("VPROC_SANDBOX", probe_sandbox(settings.sandbox, scratch_dir=scratch_dir))
    log.info("sandbox_probed", sandbox=sandbox.describe())
    for layer in Layer:
        metrics.sandbox_level.labels(layer.value).set(layer in sandbox.confinement.layers)
    confinement = sandbox.confinement
    wanted = (needs_of_profile(profile).hardware for profile in profiles.values())
    codecs = {codec for codec in wanted if codec is not None}
    if codecs:
        confinement = replace(confinement, devices=await anyio.to_thread.run_sync(graphics_devices))
    runner = LocalRunner(confinement)
    pairs = await find_pairs(settings.ffmpeg, settings.ffprobe, runner, cwd=scratch_dir)
    announce(pairs)
    if codecs:
        pairs = tuple([await with_trials(pair, codecs, runner, cwd=scratch_dir) for pair in pairs])
    _check_profiles(settings, profiles, pairs)
    tools = MediaTools(
        runner=runner,
        pairs=pairs,
        max_pixels=settings.max_pixels,
        job_timeout_s=settings.job_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        threads=threads_of_a_job(settings.concurrency),
    )
    return tools, sandbox


def _check_profiles(settings: Settings, profiles: Mapping[str, Profile], pairs: Sequence[ToolPair]) -> None:
    """Say which profiles no ffmpeg here can make. Raises `ConfigError` where the default one is among them."""
    builds = [pair.capabilities for pair in pairs]
    for profile in profiles.values():
        lacked = unavailable(needs_of_profile(profile), builds)
        if lacked and profile.name == settings.profile:
            there = f"ffmpeg {pairs[0].version} ({pairs[0].ffmpeg})"
            raise ConfigError(f"VPROC_PROFILE: {profile.name} takes {', '.join(lacked)}, which {there} lacks")
        if lacked:
            log.warning("profile_unavailable", profile=profile.name, lacks=list(lacked), ffmpeg=pairs[0].version)


def _make_app(
    settings: Settings, outside: Outside, worker: _Worker | None, draining: anyio.Event, profiles: Mapping[str, Profile]
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
        queue=outside.queue,
        identity=OpenIdentity(),
        metrics=outside.metrics,
        limits=Limits(
            profiles=tuple(profiles),
            default_profile=settings.profile,
            max_upload_bytes=settings.max_upload_bytes,
            public_url=settings.public_url,
        ),
        versions=Versions(vproc=__version__, ffmpeg=worker.tools.version if worker else None),
        readiness=ReadinessChecks(checks, draining=draining, sandbox=_sandbox_state(worker)),
        draining=draining,
    )


def _sandbox_state(worker: _Worker | None) -> dict[str, bool | str]:
    if worker is None:
        return {}
    layers = {layer.value: layer in worker.sandbox.confinement.layers for layer in Layer}
    return {"level": worker.sandbox.level, **layers}


def threads_of_a_job(concurrency: int | None) -> int | None:
    """How many threads each encoder of a job has. Where more jobs run at a time than `default_slots`, each keeps to its share of
    the cores: encoders that all take the whole machine wait for each other. None: they choose."""
    if concurrency is None or concurrency <= default_slots():
        return None
    return max(1, len(os.sched_getaffinity(0)) // concurrency)


def default_slots() -> int:
    """Jobs at a time where nothing is said: one for two cores. One ffmpeg uses both, and more at once only adds memory."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


def _for_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
