"""What CloudWatch is told, for fleets that are scaled by it."""

from __future__ import annotations

from typing import Any

from vproc.aws.errors import translated

METRIC = "BacklogMediaSeconds"


class CloudWatchBacklog:
    """`ports.BacklogListener` over an aiobotocore client. Every daemon of a queue tells the same number: its maximum counts."""

    def __init__(self, client: Any, *, namespace: str, queue_url: str) -> None:
        self._client = client
        self._namespace = namespace
        self._queue = queue_url.rstrip("/").rpartition("/")[2]

    async def tell(self, media_s: float) -> None:
        """As the port says."""
        datum = {
            "MetricName": METRIC,
            "Dimensions": [{"Name": "QueueName", "Value": self._queue}],
            "Value": media_s,
            "Unit": "Seconds",
        }
        with translated("tell CloudWatch of the backlog"):
            await self._client.put_metric_data(Namespace=self._namespace, MetricData=[datum])
