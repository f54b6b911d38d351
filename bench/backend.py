"""``python -m bench.backend --data DIR``: all of AWS that a daemon needs, in one process on loopback: S3 on disk (`store`) and
SQS by moto, which keeps messages in memory and no object. One line of JSON says where; it ends with its standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import anyio
import anyio.to_thread
import click
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from bench.objects import Bucket, Entry
from bench.store import Store, serve_store
from vproc.embedded import embedded_aws

RAW, PROCESSED = "bench-raw", "bench-processed"


@asynccontextmanager
async def open_backend(data: Path) -> AsyncIterator[dict[str, str]]:
    """Both servers; gives the environment that points a daemon at them."""
    async with embedded_aws() as embedded, _open_sqs(embedded.sqs_url) as sqs:
        buckets = {name: Bucket(name, data / name) for name in (RAW, PROCESSED)}
        store = Store(buckets, on_created=partial(_notify, sqs, embedded.queue_url))
        async with serve_store(store) as s3_url:
            environment = embedded.environment | {"VPROC_RAW_BUCKET": RAW, "VPROC_PROCESSED_BUCKET": PROCESSED}
            del environment["AWS_ENDPOINT_URL"]
            yield environment | {"AWS_ENDPOINT_URL_S3": s3_url, "AWS_ENDPOINT_URL_SQS": embedded.sqs_url}


@asynccontextmanager
async def _open_sqs(url: str) -> AsyncIterator[Any]:
    options: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    async with AioSession().create_client("sqs", endpoint_url=url, config=AioConfig(), **options) as sqs:
        yield sqs


async def _notify(sqs: Any, queue_url: str, bucket: str, entry: Entry, event: str) -> None:
    """Tell the queue of a new raw object, as S3 does."""
    if bucket != RAW:
        return
    what = {"key": quote_plus(entry.key), "size": entry.size_bytes, "eTag": entry.etag, "sequencer": "0"}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": entry.modified_at.isoformat(),
        "eventName": event,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"}, "object": what},
    }
    await sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"Records": [record]}))


async def _serve(data: Path) -> None:
    async with open_backend(data) as environment:
        click.echo(json.dumps(environment))
        await anyio.to_thread.run_sync(sys.stdin.read)


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
def main(data: Path) -> None:
    """Serve until standard input ends."""
    anyio.run(_serve, data)


if __name__ == "__main__":
    main()
