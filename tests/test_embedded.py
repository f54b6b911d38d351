"""The embedded S3 and SQS: where they listen, what is made in them, and that they end."""

from __future__ import annotations

import json
import socket

import anyio
import pytest
from prometheus_client import CollectorRegistry

from vproc.aws.dead_letters import SqsDeadLetters
from vproc.aws.s3 import S3Bucket
from vproc.aws.session import open_clients
from vproc.aws.sqs import SqsQueue, resolve_dlq_url
from vproc.embedded import EmbeddedAws, embedded_aws
from vproc.errors import ConfigError
from vproc.telemetry import Metrics


@pytest.fixture
def _no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_aws")
async def test_an_upload_tells_the_queue_and_the_dead_have_a_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the daemon's own adapters and nothing but the environment that it gives."""
    async with embedded_aws() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        async with open_clients(region=None, poll_read_timeout_s=5, public_endpoint_url=None) as clients:
            assert await resolve_dlq_url(clients.sqs, aws.queue_url, None) == aws.dlq_url
            metrics = Metrics(CollectorRegistry())
            raw = S3Bucket(bucket=aws.raw_bucket, control=clients.s3, bulk=clients.s3_bulk, metrics=metrics)
            queue = SqsQueue(
                poll=clients.sqs_poll, control=clients.sqs, queue_url=aws.queue_url, dlq_url=aws.dlq_url, visibility_timeout_s=30
            )
            await raw.put("videos/a.mp4", b"x", content_type="video/mp4")
            events: list[str] = []
            # Not alone: moto keeps one queue for all servers of a process, and what an earlier test left in it.
            while received := await queue.receive(max_messages=10, wait_s=1):
                bodies = [json.loads(message.body) for message in received]
                events += [body["Event"] if "Event" in body else body["Records"][0]["s3"]["object"]["key"] for body in bodies]
            assert "videos%2Fa.mp4" in events
            letters = SqsDeadLetters(control=clients.sqs, queue_url=aws.queue_url, dlq_url=aws.dlq_url)
            assert await letters.move_all() is None  # so it is done by hand
    assert "Traceback" not in caplog.text
    await check_closed(aws)


async def check_closed(aws: EmbeddedAws) -> None:
    port = int(aws.s3_url.rpartition(":")[2])
    with pytest.raises(OSError, match="connection"):
        await anyio.connect_tcp("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
async def test_an_address_that_cannot_be_listened_on_is_told_at_once(host: str) -> None:
    """Taken, or none of this machine's: moto itself would wait for ever."""
    with socket.create_server(("127.0.0.1", 0)) as taken, anyio.fail_after(5):
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on {host}:{port}: "):
            async with embedded_aws(host=host, port=port):
                pass
