"""Real daemons on a host that announces its end, and on one that gives no credentials."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, running_cluster, until
from tests.support.daemon import run
from tests.support.imds import FakeHost, fake_host
from tests.support.media import clip


@pytest.fixture
def ec2() -> Iterator[FakeHost]:
    with fake_host() as host:
        yield host


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path) as running:
        yield running


def encoding(cluster: Cluster) -> str:
    """Upload, and wait until ffmpeg works on it."""
    file_id = cluster.upload(clip("hd.mp4"))
    cluster.wait_for(file_id, stage="encode")
    return file_id


def spot(seconds: float) -> str:
    return f'{{"action": "terminate", "time": "{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"}}'


def test_an_end_that_is_near_hands_the_job_back(cluster: Cluster, ec2: FakeHost) -> None:
    """Nothing is taken six seconds after the notice, the message is there for others, no attempt is counted, the exit is well."""
    worker = cluster.start_worker(AWS_EC2_METADATA_SERVICE_ENDPOINT=ec2.url)
    file_id = encoding(cluster)
    ec2.spot = spot(10)
    until(lambda: "intake_stopped" in cluster.log_of(worker), within_s=6, what="the intake stopped")
    until(lambda: cluster.messages()[0] == 1, within_s=10, what="the message visible again")
    assert worker.wait(15) == 0
    told = cluster.status(file_id)
    assert (told["processing_status"], told["attempts"]) == ("uploaded", 0)
    assert cluster.children() == []
    cluster.start_worker()
    cluster.wait_for(file_id, processing_status="completed")


def test_an_end_in_two_minutes_lets_the_job_end(cluster: Cluster, ec2: FakeHost) -> None:
    """And the task is protected while it works."""
    settings = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": ec2.url, "ECS_AGENT_URI": ec2.url}
    worker = cluster.start_worker(**settings)
    file_id = encoding(cluster)
    until(lambda: bool(ec2.protections), within_s=10, what="the task's protection")
    ec2.spot, ec2.failing = spot(120), None
    assert worker.wait(60) == 0
    assert cluster.status(file_id)["processing_status"] == "completed"
    assert ec2.protections[0] == {"ProtectionEnabled": True, "ExpiresInMinutes": 60}
    assert ec2.protections[-1] == {"ProtectionEnabled": False}


@pytest.mark.parametrize("failing", [500, 0], ids=["answers 500", "never answers"])
def test_without_credentials_the_start_ends_and_says_so(tmp_path: Path, ec2: FakeHost, failing: int) -> None:
    ec2.failing = failing
    ended = run(
        tmp_path,
        "serve",
        AWS_EC2_METADATA_SERVICE_ENDPOINT=ec2.url,
        AWS_REGION="eu-west-1",
        AWS_CONFIG_FILE="/dev/null",
        AWS_SHARED_CREDENTIALS_FILE="/dev/null",
        VPROC_RAW_BUCKET="raw-of-nobody",
        VPROC_PROCESSED_BUCKET="processed-of-nobody",
        VPROC_QUEUE_URL="http://127.0.0.1:1/queue",
    )
    assert ended.code == 75
    (fault,) = ended.faults
    assert "credentials" in fault
    assert "hop limit" in fault
    assert "Traceback" not in ended.stderr
