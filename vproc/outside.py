"""What is outside of the process, opened once and seen to answer: database, queue, buckets, receivers of webhooks.

Only here and in `daemon` are adapters put into ports.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio

from vproc import __version__
from vproc.aws.cloudwatch import CloudWatchBacklog
from vproc.aws.dead_letters import SqsDeadLetters
from vproc.aws.ecs import EcsTasks, TaskPlace, open_tasks
from vproc.aws.multipart import S3Multipart
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import AwsClients, open_clients
from vproc.aws.sqs import SqsQueue, resolve_dlq_url
from vproc.core.runners import RunnerKind
from vproc.core.webhook_signing import SECRET_BYTES, read_secrets
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.errors import ConfigError, DependencyError, TransientError
from vproc.outgoing import CheckedSender
from vproc.queue_gauges import QueueGauges
from vproc.settings import Role, Settings
from vproc.telemetry import Metrics
from vproc.workers.janitor import Janitor
from vproc.workers.reconcile import Reconciler, Repaired

CHECK_WITHIN_S = 10.0
Value = TypeVar("Value")


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
    multipart: S3Multipart
    gauges: QueueGauges
    tasks: EcsTasks | None = None

    def reconciler(self, *, delete_raw: bool, tell: Callable[[Repaired], None], dry_run: bool = False) -> Reconciler:
        """What finds lost events, messages and rows."""
        return Reconciler(
            catalog=self.catalog, raw=self.raw, processed=self.processed, queue=self.queue, metrics=self.metrics,
            delete_raw=delete_raw, tell=tell, letters=self.letters, dry_run=dry_run,
        )  # fmt: skip

    def janitor(self, reconciler: Reconciler) -> Janitor:
        """What finishes what a crash left."""
        return Janitor(
            catalog=self.catalog, raw=self.raw, processed=self.processed, gauges=self.gauges, metrics=self.metrics,
            reconciler=reconciler,
        )  # fmt: skip


@asynccontextmanager
async def open_outside(settings: Settings, metrics: Metrics, *, kinds: Collection[RunnerKind] = ()) -> AsyncIterator[Outside]:
    """Database, queue and buckets, each seen to answer; the tasks of ECS where ``kinds`` of runners has them."""
    settings.check_runners(kinds)
    async with (
        open_catalog(settings.sqlalchemy_url) as catalog,
        open_clients(
            region=settings.aws_region,
            poll_read_timeout_s=settings.poll_read_timeout_s,
            public_endpoint_url=settings.s3_public_endpoint_url,
            cloudwatch=settings.cloudwatch_namespace is not None,
            ecs=RunnerKind.ECS in kinds,
        ) as clients,
    ):
        raw, processed = (
            S3Bucket(bucket=bucket, control=clients.s3, bulk=clients.s3_bulk, metrics=metrics)
            for bucket in (settings.raw_bucket, settings.processed_bucket)
        )
        dlq_url = await at_start("VPROC_QUEUE_URL", resolve_dlq_url(clients.sqs, settings.queue_url, settings.dlq_url))
        if dlq_url is None and Role.WORKER in settings.roles:
            raise ConfigError(
                "VPROC_DLQ_URL: not set, and the queue has no redrive policy: dead letters would have no place; "
                "takes the address of a queue"
            )
        await at_start("VPROC_RAW_BUCKET", raw.require("VPROC_RAW_BUCKET"))
        await at_start("VPROC_PROCESSED_BUCKET", processed.require("VPROC_PROCESSED_BUCKET"))
        queue = SqsQueue(
            poll=clients.sqs_poll,
            control=clients.sqs,
            queue_url=settings.queue_url,
            dlq_url=dlq_url,
            visibility_timeout_s=settings.visibility_timeout_s,
        )
        letters = SqsDeadLetters(control=clients.sqs, queue_url=settings.queue_url, dlq_url=dlq_url) if dlq_url else None
        multipart = S3Multipart(
            bucket=settings.raw_bucket, control=clients.s3, presign=clients.presign, metrics=metrics,
            upload_expires_s=settings.upload_expires_s,
        )  # fmt: skip
        listener = None
        if settings.cloudwatch_namespace is not None:
            listener = CloudWatchBacklog(
                clients.cloudwatch, namespace=settings.cloudwatch_namespace, queue_url=settings.queue_url
            )
        gauges = QueueGauges(queue=queue, reader=catalog, metrics=metrics, listener=listener)
        tasks = None
        if clients.ecs is not None:
            tasks = await at_start("VPROC_ECS_TASK_DEFINITION", open_tasks(clients.ecs, task_place(settings)))
        yield Outside(clients, catalog, queue, raw, processed, metrics, letters, multipart, gauges, tasks)


def task_place(settings: Settings) -> TaskPlace:
    """Where the settings have tasks run. `RunnerSettings.check_runners` has seen to it that they name a definition."""
    return TaskPlace(
        cluster=settings.ecs_cluster,
        task_definition=settings.ecs_task_definition or "",
        capacity=settings.ecs_capacity,
        subnets=settings.ecs_subnets,
        security_groups=settings.ecs_security_groups,
        public_ip=settings.ecs_public_ip,
    )


async def at_start(variable: str, check: Awaitable[Value]) -> Value:
    """A dependency that does not answer at the start is exit 75."""
    try:
        with anyio.fail_after(CHECK_WITHIN_S):
            return await check
    except TransientError as error:
        raise DependencyError(f"{variable}: {error.detail}") from error
    except TimeoutError as error:
        raise DependencyError(f"{variable}: no answer within {CHECK_WITHIN_S:g} s") from error


def open_sender(settings: Settings) -> CheckedSender:
    """What sends webhooks."""
    return CheckedSender(allowed_hosts=settings.webhook_allowed_hosts or frozenset(), agent=f"vproc/{__version__}")


async def webhook_secrets(settings: Settings, catalog: SqlCatalog) -> tuple[bytes, ...]:
    """What webhooks are signed with: what is set, else a secret that the catalog keeps for every process."""
    if settings.webhook_secret is not None:
        return read_secrets(settings.webhook_secret.get_secret_value())
    return (await catalog.secret("webhooks", secrets.token_bytes(SECRET_BYTES)),)
