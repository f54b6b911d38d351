"""``python -m bench.backend --data DIR``: all of AWS that a daemon needs, in one process on loopback: S3 on disk (`store`) and
SQS by moto, which keeps messages in memory and no object.

One line of JSON says where. Then each line on standard input is a command, answered by one line of JSON: ``limit N`` (MB/s in
each direction; 0: none) and ``calls`` both tell how many requests S3 and SQS have had, and when SQS had its last hundred;
``parts`` tells what uploads in parts have sent, and what of it stands in the raw bucket. It ends with its standard input.
``journal.jsonl`` in DIR tells of each object when it stands, and of each event when it is sent, by the clock of the day.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO
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
JOURNAL = "journal.jsonl"
LIMIT, CALLS, PARTS = "limit", "calls", "parts"


class Backend:
    """Both servers: where they are, and how many requests they have had."""

    def __init__(self, store: Store, raw: Bucket, environment: dict[str, str], sqs_calls: _Calls) -> None:
        self.environment = environment
        self._store = store
        self._raw = raw
        self._sqs_calls = sqs_calls

    def obey(self, command: str) -> dict[str, Any]:
        """One command. Raises `ValueError` for one that there is not."""
        word, _, value = command.partition(" ")
        if word == PARTS:
            standing = [piece.size_bytes for _, upload in self._raw.uploads("") for piece in upload.parts.values()]
            return {**asdict(self._store.parts_in), "standing_bytes": sum(standing), "standing": len(standing)}
        if word == LIMIT:
            self._store.limit(float(value))
        elif word != CALLS:
            raise ValueError(f"no such command: {command}")
        return {"s3_calls": self._store.calls, "sqs_calls": self._sqs_calls.count, "sqs_at": list(self._sqs_calls.answered_at)}


class _Calls(logging.Handler):
    """Counts the requests that moto's server logs: a line each, when it has answered."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.answered_at: deque[float] = deque(maxlen=100)

    def emit(self, record: logging.LogRecord) -> None:
        """Count, and log nothing."""
        if " HTTP/" in record.getMessage():
            self.count += 1
            self.answered_at.append(record.created)


class _Journal:
    """Writes the journal, and tells the queue of each new raw object, as S3 does."""

    def __init__(self, file: TextIO, sqs: Any, queue_url: str) -> None:
        self._file = file
        self._sqs = sqs
        self._queue_url = queue_url

    async def created(self, bucket: str, entry: Entry, event: str) -> None:
        self._write({"object": entry.key, "bucket": bucket, "bytes": entry.size_bytes})
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
        self._write({"event": entry.key})
        await self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=json.dumps({"Records": [record]}))

    def _write(self, line: dict[str, object]) -> None:
        print(json.dumps({"at": time.time(), **line}), file=self._file, flush=True)


@asynccontextmanager
async def open_backend(data: Path, *, limit_mb_per_s: float = 0) -> AsyncIterator[Backend]:
    """Both servers; ``environment`` points a daemon at them."""
    buckets = {name: Bucket(name, data / name) for name in (RAW, PROCESSED)}
    calls = _Calls()
    server_log = logging.getLogger("werkzeug")
    async with embedded_aws() as embedded, _open_sqs(embedded.sqs_url) as sqs:
        server_log.setLevel(logging.INFO)
        server_log.propagate = False
        server_log.addHandler(calls)
        with (data / JOURNAL).open("w") as file:
            journal = _Journal(file, sqs, embedded.queue_url)
            store = Store(buckets, on_created=journal.created, limit_mb_per_s=limit_mb_per_s)
            async with serve_store(store) as s3_url:
                environment = embedded.environment | {"VPROC_RAW_BUCKET": RAW, "VPROC_PROCESSED_BUCKET": PROCESSED}
                del environment["AWS_ENDPOINT_URL"]
                environment |= {"AWS_ENDPOINT_URL_S3": s3_url, "AWS_ENDPOINT_URL_SQS": embedded.sqs_url}
                yield Backend(store, buckets[RAW], environment, calls)
        server_log.removeHandler(calls)


@asynccontextmanager
async def _open_sqs(url: str) -> AsyncIterator[Any]:
    options: dict[str, Any] = {"region_name": "us-east-1", "aws_access_key_id": "bench", "aws_secret_access_key": "bench"}
    async with AioSession().create_client("sqs", endpoint_url=url, config=AioConfig(), **options) as sqs:
        yield sqs


async def _serve(data: Path, limit_mb_per_s: float) -> None:
    async with open_backend(data, limit_mb_per_s=limit_mb_per_s) as backend:
        click.echo(json.dumps(backend.environment))
        while command := (await anyio.to_thread.run_sync(sys.stdin.readline)).strip():
            click.echo(json.dumps(backend.obey(command)))


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--limit-mb-s", type=float, default=0, show_default=True, help="MB/s in each direction; 0: no limit.")
def main(data: Path, limit_mb_s: float) -> None:
    """Serve until standard input ends."""
    anyio.run(_serve, data, limit_mb_s)


if __name__ == "__main__":
    main()
