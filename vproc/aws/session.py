"""The AWS clients of a process, made once: polling, queue control, bulk transfer, small S3 calls and signing have a client
each, so that none waits for another's connection pool.

Rights that the daemon needs, by client: queue: ``sqs:ReceiveMessage``, ``ChangeMessageVisibility``, ``DeleteMessage``,
``SendMessage``, ``GetQueueAttributes``, ``GetQueueUrl``; of the dead letters ``StartMessageMoveTask``,
``ListMessageMoveTasks`` too; raw bucket: ``s3:ListBucket``, ``GetObject``, ``GetObjectVersion``,
``DeleteObject``, ``DeleteObjectVersion``, ``ListBucketMultipartUploads``, ``ListMultipartUploadParts``,
``AbortMultipartUpload``, ``PutObject`` (for what it signs); processed bucket: ``s3:ListBucket``, ``GetObject``,
``PutObject``, ``DeleteObject``, ``AbortMultipartUpload``, ``ListBucketMultipartUploads``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError

from vproc import __version__
from vproc.aws.credentials import keep_through_outages
from vproc.errors import ConfigError

_STANDARD = {"mode": "standard", "total_max_attempts": 3}


@dataclass(frozen=True, slots=True)
class AwsClients:
    """Open clients. ``presign`` signs for the address that browsers reach, which may differ from the daemon's own."""

    sqs_poll: Any
    sqs: Any
    s3: Any
    s3_bulk: Any
    presign: Any
    cloudwatch: Any | None
    ecs: Any | None


@asynccontextmanager
async def open_clients(
    *,
    region: str | None,
    poll_read_timeout_s: float,
    public_endpoint_url: str | None,
    cloudwatch: bool = False,
    ecs: bool = False,
) -> AsyncIterator[AwsClients]:
    """Make every client, once; CloudWatch's and ECS's where they are wanted. Raises `ConfigError` where botocore's own
    configuration is wrong.

    The definitions of the services are read in a thread (`warm_up_loader_caches`): a tenth of a second of processor each.
    """
    # The instance metadata service is given one second and one try by botocore: too little for a busy host.
    os.environ.setdefault("AWS_METADATA_SERVICE_TIMEOUT", "2")
    os.environ.setdefault("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "3")
    session = AioSession()
    async with AsyncExitStack() as stack:

        async def client(service: str, endpoint_url: str | None = None, **options: Any) -> Any:
            config = AioConfig(user_agent_extra=f"vproc/{__version__}", tcp_keepalive=True, warm_up_loader_caches=True, **options)
            made = session.create_client(service, region_name=region, config=config, endpoint_url=endpoint_url)
            return await stack.enter_async_context(made)

        try:
            await keep_through_outages(session)
            s3_options = await _s3_options(client)
            public = public_endpoint_url
            clients = AwsClients(
                sqs_poll=await client(
                    "sqs",
                    connect_timeout=5,
                    read_timeout=poll_read_timeout_s,
                    max_pool_connections=4,
                    # A retried receive would take new messages and leave the first ones invisible.
                    retries={"mode": "standard", "total_max_attempts": 1},
                ),
                sqs=await client("sqs", connect_timeout=3, read_timeout=5, max_pool_connections=32, retries=_STANDARD),
                s3=await client("s3", connect_timeout=5, read_timeout=20, max_pool_connections=32, **s3_options),
                s3_bulk=await client("s3", connect_timeout=5, read_timeout=30, max_pool_connections=64, **_unsigned(s3_options)),
                cloudwatch=await client("cloudwatch", connect_timeout=3, read_timeout=5, retries=_STANDARD)
                if cloudwatch
                else None,
                ecs=await client("ecs", connect_timeout=3, read_timeout=20, retries=_STANDARD) if ecs else None,
                presign=await client(
                    "s3", public, **({**s3_options, "s3": {"addressing_style": "path"}} if public else s3_options)
                ),
            )
        except (BotoCoreError, ValueError) as error:
            hint = "; set AWS_REGION" if "region" in str(error).lower() else ""
            raise ConfigError(f"AWS configuration: {error}{hint}") from error
        yield clients


def _unsigned(options: dict[str, Any]) -> dict[str, Any]:
    """Bodies are not hashed for the signature: botocore does that on the event loop, megabytes at a time, and the SHA-256
    that each of them carries is signed with the other headers."""
    return options | {"s3": options["s3"] | {"payload_signing_enabled": False}}


async def _s3_options(client: Any) -> dict[str, Any]:
    """SigV4, and the address form: regional virtual hosts on AWS, paths on any other store."""
    probe = await client("s3", retries=_STANDARD)
    host = urlsplit(probe.meta.endpoint_url).hostname or ""
    on_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    return {
        "signature_version": "s3v4",
        "s3": {"addressing_style": "virtual" if on_aws else "path"},
        "retries": _STANDARD,
        # Every upload carries a SHA-256 of ours; the SDK's default CRC trailers break several other stores.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
