"""The real adapters over an embedded S3 and SQS: moto's server, one a process, emptied between tests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry

from vproc.aws.presign import S3Presigner
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import AwsClients, open_clients
from vproc.aws.sqs import SqsQueue
from vproc.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Aws:
    """Adapters over resources of this test alone."""

    clients: AwsClients
    queue: SqsQueue
    raw: S3Bucket
    processed: S3Bucket
    presigner: S3Presigner
    metrics: Metrics
    queue_url: str
    dlq_url: str

    async def dead_letters(self) -> list[dict[str, Any]]:
        """What lies in the dead-letter queue now."""
        answer = await self.clients.sqs.receive_message(
            QueueUrl=self.dlq_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        return list(answer.get("Messages", ()))


@asynccontextmanager
async def open_aws(url: str, *, visibility_timeout_s: int = 4, queues: tuple[str, str] | None = None) -> AsyncIterator[Aws]:
    """Buckets, a queue and dead letters of one's own on the server at ``url``; ``queues`` are the addresses of earlier ones."""
    name = f"t{uuid4().hex[:12]}"
    async with open_clients(region="us-east-1", poll_read_timeout_s=5, public_endpoint_url=None) as clients:
        buckets = [f"{name}-raw", f"{name}-processed"]
        for bucket in buckets:
            await clients.s3.create_bucket(Bucket=bucket)
        queue_url, dlq_url = queues or await _made(clients.sqs, name)
        metrics = Metrics(CollectorRegistry())
        yield Aws(
            clients=clients,
            queue=SqsQueue(
                poll=clients.sqs_poll,
                control=clients.sqs,
                queue_url=queue_url,
                dlq_url=dlq_url,
                visibility_timeout_s=visibility_timeout_s,
            ),
            raw=S3Bucket(bucket=buckets[0], control=clients.s3, bulk=clients.s3_bulk, metrics=metrics),
            processed=S3Bucket(bucket=buckets[1], control=clients.s3, bulk=clients.s3_bulk, metrics=metrics),
            presigner=S3Presigner(
                client=clients.presign,
                raw_bucket=buckets[0],
                processed_bucket=buckets[1],
                upload_expires_s=900,
                download_expires_s=60,
            ),
            metrics=metrics,
            queue_url=queue_url,
            dlq_url=dlq_url,
        )


async def _made(sqs: Any, name: str) -> tuple[str, str]:
    dlq_url = (await sqs.create_queue(QueueName=f"{name}-dead"))["QueueUrl"]
    redrive = {"deadLetterTargetArn": await _arn(sqs, dlq_url), "maxReceiveCount": "100"}
    queue_url = (await sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)}))["QueueUrl"]
    return queue_url, dlq_url


async def _arn(sqs: Any, url: str) -> str:
    return str((await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"])
