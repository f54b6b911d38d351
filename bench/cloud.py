"""The S3 and SQS of many daemons: ministack in a process of its own (`cloud_server`), with both buckets, the queue, its dead
letters and the notification; every request counted by who made it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from bench.daemon import environment
from bench.own_environment import own_environment
from bench.processes import BenchError, started
from vproc.tasks import task_group

RAW, PROCESSED = "bench-raw", "bench-processed"
OURS = "bench"
"""The access key of the bench itself, whose requests are no daemon's."""
_HERE = Path(__file__).parent
_REGION = "us-east-1"
_READY_WITHIN_S = 30.0
_CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running one. ``s3`` and ``sqs`` are the bench's own clients."""

    url: str
    pid: int
    queue_url: str
    dlq_url: str
    s3: Any
    sqs: Any
    session: aiohttp.ClientSession

    def environment(self, caller: str) -> dict[str, str]:
        """What points a daemon here; its requests are counted as ``caller``'s."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": caller,
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
            "VPROC_RAW_BUCKET": RAW,
            "VPROC_PROCESSED_BUCKET": PROCESSED,
            "VPROC_QUEUE_URL": self.queue_url,
            "VPROC_DLQ_URL": self.dlq_url,
        }

    async def calls(self) -> Counter[tuple[str, str]]:
        """How many requests all daemons have made so far, by service (``s3``, ``sqs``) and operation."""
        async with self.session.get(f"{self.url}/_calls") as answer:
            told = await answer.json()
        counted: Counter[tuple[str, str]] = Counter()
        for caller, service, operation, count in told:
            if caller != OURS:
                counted[service, operation] += count
        return counted

    async def queued(self) -> tuple[int, int]:
        """Messages that wait, and those in flight."""
        return await self._depth(self.queue_url)

    async def dead(self) -> int:
        """Dead letters."""
        return sum(await self._depth(self.dlq_url))

    async def _depth(self, url: str) -> tuple[int, int]:
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        told = (await self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names)))["Attributes"]
        return int(told[names[0]]), int(told[names[1]])

    async def put(self, prefix: str, number: int, body: bytes, metadata: Mapping[str, str], *, at_once: int) -> list[str]:
        """So many raw objects of the same bytes, ``at_once`` in parallel; their keys. Each makes an event of its own."""
        keys = [f"{prefix}/{index:06d}.mp4" for index in range(number)]
        left = iter(keys)

        async def some() -> None:
            for key in left:
                await self.s3.put_object(Bucket=RAW, Key=key, Body=body, Metadata=dict(metadata))

        async with task_group() as tasks:
            for _ in range(at_once):
                tasks.start_soon(some)
        return keys

    async def send(self, entries: Sequence[Mapping[str, str]]) -> None:
        """Up to ten messages. Raises `BenchError` where one was not taken."""
        answer = await self.sqs.send_message_batch(QueueUrl=self.queue_url, Entries=list(entries))
        if answer.get("Failed"):
            raise BenchError(f"a message was not taken: {answer['Failed'][0]}")

    async def listed(self, bucket: str) -> dict[str, int]:
        """Every object that stands, with its bytes."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"]: entry["Size"] async for page in pages for entry in page.get("Contents", ())}

    async def ever(self, suffix: str) -> Counter[str]:
        """How often each processed object whose key ends so was ever written or deleted."""
        found: Counter[str] = Counter()
        async for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=PROCESSED):
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if entry["Key"].endswith(suffix):
                    found[entry["Key"]] += 1
        return found

    async def get(self, key: str) -> bytes:
        """A processed object's bytes."""
        answer = await self.s3.get_object(Bucket=PROCESSED, Key=key)
        async with answer["Body"] as body:
            return bytes(await body.read())


@asynccontextmanager
async def open_cloud(work: Path) -> AsyncIterator[Cloud]:
    """Start it, make what a daemon needs. Its processed bucket keeps versions, so that what was ever written stays to be seen."""
    python = await own_environment(_HERE / "cloud.lock")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    url, log = f"http://127.0.0.1:{port}", work / "cloud.log"
    argv = [str(python), str(_HERE / "cloud_server.py"), str(port)]
    options: dict[str, Any] = {
        "endpoint_url": url,
        "region_name": _REGION,
        "aws_access_key_id": OURS,
        "aws_secret_access_key": "bench",
        "config": AioConfig(
            s3={"addressing_style": "path"},
            max_pool_connections=_CONNECTIONS,
            request_checksum_calculation="when_required",
            warm_up_loader_caches=True,
        ),
    }
    session = AioSession()
    async with (
        started(argv, env=environment(TMPDIR=str(work)), log=log) as process,
        aiohttp.ClientSession() as web,
        session.create_client("s3", **options) as s3,
        session.create_client("sqs", **options) as sqs,
    ):
        await _answers(web, url, log)
        queue_url, dlq_url = await _provision(s3, sqs)
        yield Cloud(url, process.pid, queue_url, dlq_url, s3, sqs, web)


async def _answers(web: aiohttp.ClientSession, url: str, log: Path) -> None:
    with anyio.move_on_after(_READY_WITHIN_S):
        while True:
            try:
                async with web.get(f"{url}/_calls") as answer:
                    answer.raise_for_status()
                    return
            except aiohttp.ClientConnectionError:
                await anyio.sleep(0.1)
    raise BenchError(f"ministack did not start: {(await anyio.Path(log).read_text())[-300:]}")


async def _provision(s3: Any, sqs: Any) -> tuple[str, str]:
    for bucket in (RAW, PROCESSED):
        await s3.create_bucket(Bucket=bucket)
    await s3.put_bucket_versioning(Bucket=PROCESSED, VersioningConfiguration={"Status": "Enabled"})
    dlq_url = str((await sqs.create_queue(QueueName="bench-dead"))["QueueUrl"])
    redrive = json.dumps({"deadLetterTargetArn": await _arn(sqs, dlq_url), "maxReceiveCount": "100"})
    queue_url = str((await sqs.create_queue(QueueName="bench-jobs", Attributes={"RedrivePolicy": redrive}))["QueueUrl"])
    configuration = {"QueueConfigurations": [{"QueueArn": await _arn(sqs, queue_url), "Events": ["s3:ObjectCreated:*"]}]}
    await s3.put_bucket_notification_configuration(Bucket=RAW, NotificationConfiguration=configuration)
    return queue_url, dlq_url


async def _arn(sqs: Any, queue_url: str) -> str:
    answer = await sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])
