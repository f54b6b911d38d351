"""Reads how bucket and queue hang together, for `vproc doctor`.

Rights, of whoever runs it: ``s3:GetBucketNotification`` and ``s3:GetLifecycleConfiguration`` on the raw bucket,
``sqs:GetQueueAttributes`` on both queues. The daemon's own role has the last alone.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from vproc.aws.errors import code_of, translated
from vproc.aws.session import AwsClients
from vproc.core.wiring import Wiring

_NONE = "NoSuchLifecycleConfiguration"


async def read_wiring(clients: AwsClients, *, raw_bucket: str, queue_url: str, dlq_url: str | None) -> Wiring:
    """What stands. Raises `UnavailableError`, also where the credentials may not look."""
    with translated("read the bucket's notifications"):
        notifications = await clients.s3.get_bucket_notification_configuration(Bucket=raw_bucket)
    with translated("read the bucket's lifecycle"):
        try:
            lifecycle = (await clients.s3.get_bucket_lifecycle_configuration(Bucket=raw_bucket)).get("Rules", ())
        except ClientError as error:
            if code_of(error) != _NONE:
                raise
            lifecycle = ()
    queue = await _attributes(clients.sqs, queue_url)
    return Wiring(
        queue_arn=queue.get("QueueArn", ""),
        notifications={key: value for key, value in notifications.items() if key != "ResponseMetadata"},
        lifecycle=lifecycle,
        queue=queue,
        dead_letters=await _attributes(clients.sqs, dlq_url) if dlq_url else None,
        polices=".amazonaws." in clients.sqs.meta.endpoint_url,
    )


async def _attributes(sqs: Any, url: str) -> dict[str, str]:
    with translated("read the queue's attributes"):
        return dict((await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"])
