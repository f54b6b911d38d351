"""S3, SQS and, where asked for, a user pool in this process, for `vproc dev`, `vproc demo` and tests: moto's server on loopback,
with both buckets, the queue, its dead letters and the bucket's notification. The daemon speaks to it by the same code as to AWS.

Everything is kept in memory and gone at the end. It checks no signatures: never put it on a network.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from vproc.core.origins import reached_at
from vproc.embedded_pool import EmbeddedPool, make_pool
from vproc.embedded_store import complete_store
from vproc.errors import ConfigError

REGION = "us-east-1"
RAW_BUCKET = "vproc-raw"
PROCESSED_BUCKET = "vproc-processed"
QUEUE = "vproc-jobs"
DEAD_LETTERS = "vproc-dead-letters"
MAX_RECEIVE_COUNT = 100
"""SQS counts every receive, a drain's as well; what counts is `VPROC_MAX_ATTEMPTS`."""

_CORS = {
    "CORSRules": [
        {
            "AllowedMethods": ["PUT", "POST", "GET", "HEAD", "DELETE"],
            "AllowedOrigins": ["*"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag", "Location"],
        }
    ]
}
# A player fetches what a playlist names without a signature, and moto, like S3, answers such a GET with 403 unless the
# bucket says otherwise. A real bucket stays private: a CDN or signed playback stands before it.
_OUTPUTS_FOR_ALL = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{PROCESSED_BUCKET}/*"}
    ],
}


@dataclass(frozen=True, slots=True)
class EmbeddedAws:
    """Where the embedded store and queue are. ``environment`` points a daemon, or any AWS client, at them."""

    s3_url: str
    sqs_url: str
    raw_bucket: str
    processed_bucket: str
    queue_url: str
    dlq_url: str
    pool: EmbeddedPool | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process that is to use them."""
        return {
            "AWS_ENDPOINT_URL": self.s3_url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_EC2_METADATA_DISABLED": "true",
            "VPROC_RAW_BUCKET": self.raw_bucket,
            "VPROC_PROCESSED_BUCKET": self.processed_bucket,
            "VPROC_QUEUE_URL": self.queue_url,
            "VPROC_DLQ_URL": self.dlq_url,
            **(self.pool.environment if self.pool is not None else {}),
        }


@asynccontextmanager
async def embedded_aws(*, host: str = "127.0.0.1", port: int = 0, accounts: bool = False) -> AsyncIterator[EmbeddedAws]:
    """Start the server, make the resources, stop it at the end. ``accounts``: with a user pool.

    Raises `ConfigError` where moto is not installed or the port is taken.
    """
    # moto signs its own answers with whatever credentials it finds, and must not look for a role's.
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "embedded")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "embedded")
    server = await anyio.to_thread.run_sync(_start, host, port)
    try:
        _, bound_port = server.get_host_and_port()
        yield await _provision(f"http://{reached_at(host)}:{bound_port}", accounts=accounts)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(server.stop)


def _start(host: str, port: int) -> Any:
    try:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - an extra, and heavy
    except ImportError as error:
        raise ConfigError('the embedded S3 and SQS need moto: pip install "vproc[dev]"') from error
    complete_store()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        # moto binds in a thread of its own, waits for that for ever, and hears of no error there.
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConfigError(f"the embedded S3 cannot listen on {host}:{port}: {error.strerror or error}") from error
    server = ThreadedMotoServer(ip_address=host, port=port, verbose=False)
    server.start()
    return server


async def _provision(url: str, *, accounts: bool) -> EmbeddedAws:
    options: dict[str, Any] = {
        "region_name": REGION,
        "endpoint_url": url,
        "aws_access_key_id": "embedded",
        "aws_secret_access_key": "embedded",
        "config": AioConfig(s3={"addressing_style": "path"}, warm_up_loader_caches=True),
    }
    session = AioSession()
    async with session.create_client("s3", **options) as s3, session.create_client("sqs", **options) as sqs:
        for bucket in (RAW_BUCKET, PROCESSED_BUCKET):
            await s3.create_bucket(Bucket=bucket)
            await s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=_CORS)
        await s3.put_bucket_policy(Bucket=PROCESSED_BUCKET, Policy=json.dumps(_OUTPUTS_FOR_ALL))
        dlq_url = (await sqs.create_queue(QueueName=DEAD_LETTERS, Attributes={"MessageRetentionPeriod": "1209600"}))["QueueUrl"]
        dlq_arn = await _arn(sqs, dlq_url)
        redrive = {"deadLetterTargetArn": dlq_arn, "maxReceiveCount": str(MAX_RECEIVE_COUNT)}
        queue_url = (
            await sqs.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": "120", "RedrivePolicy": json.dumps(redrive)})
        )["QueueUrl"]
        await s3.put_bucket_notification_configuration(
            Bucket=RAW_BUCKET,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": await _arn(sqs, queue_url), "Events": ["s3:ObjectCreated:*"]}]
            },
        )
    pool = None
    if accounts:
        async with session.create_client("cognito-idp", **options) as cognito:
            pool = await make_pool(cognito)
    return EmbeddedAws(
        s3_url=url,
        sqs_url=url,
        raw_bucket=RAW_BUCKET,
        processed_bucket=PROCESSED_BUCKET,
        queue_url=queue_url,
        dlq_url=dlq_url,
        pool=pool,
    )


async def _arn(sqs: Any, queue_url: str) -> str:
    answer = await sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])
