"""What CloudWatch holds after it was told, by moto; and a CloudWatch that is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from vproc.aws.cloudwatch import CloudWatchBacklog
from vproc.aws.session import open_clients
from vproc.errors import UnavailableError

QUEUE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/videos"


async def test_the_backlog_stands_there_by_its_queue(moto_url: str) -> None:
    """In the namespace that was chosen, with its unit, under the name that the example policies ask for."""
    async with open_clients(region="us-east-1", poll_read_timeout_s=30, public_endpoint_url=None, cloudwatch=True) as clients:
        await CloudWatchBacklog(clients.cloudwatch, namespace="vproc/films", queue_url=QUEUE_URL).tell(1800.5)
    now = datetime.now(UTC)
    stands = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="vproc/films",
        MetricName="BacklogMediaSeconds",
        Dimensions=[{"Name": "QueueName", "Value": "videos"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Maximum"],
    )
    assert [(point["Maximum"], point["Unit"]) for point in stands["Datapoints"]] == [(1800.5, "Seconds")]


async def test_nobody_asks_for_cloudwatch_unless_it_is_wanted(moto_url: str) -> None:
    async with open_clients(region="us-east-1", poll_read_timeout_s=30, public_endpoint_url=None) as clients:
        assert clients.cloudwatch is None


async def test_one_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch, moto_url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with open_clients(region="us-east-1", poll_read_timeout_s=30, public_endpoint_url=None, cloudwatch=True) as clients:
        backlog = CloudWatchBacklog(clients.cloudwatch, namespace="vproc/films", queue_url=QUEUE_URL)
        with pytest.raises(UnavailableError, match="cannot tell CloudWatch of the backlog"):
            await backlog.tell(1.0)
