"""Two daemons, one PostgreSQL: the distributed form, from an empty database on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, running_cluster, start
from tests.support.media import clip
from tests.support.postgres import PostgresServer


@pytest.fixture
def database_url() -> Iterator[str]:
    server = PostgresServer()
    server.start()
    try:
        yield server.url(server.create_database()).replace("postgresql+asyncpg", "postgresql")
    finally:
        server.stop()
        server.remove()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path) as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_daemons_share_the_work_over_one_postgresql(cluster: Cluster, database_url: str) -> None:
    settings = cluster.settings | {"VPROC_DATABASE_URL": database_url}
    unmigrated = start(["serve"], settings, cluster.folder, "unmigrated")
    cluster.workers.append(unmigrated)
    assert unmigrated.wait(20) == 78
    assert "vproc migrate" in (cluster.folder / "unmigrated.log").read_text()
    migrate = start(["migrate"], settings, cluster.folder, "migrate")
    cluster.workers.append(migrate)
    assert migrate.wait(20) == 0

    port = free_port()
    both = [
        cluster.start_worker(VPROC_DATABASE_URL=database_url, VPROC_ROLES="api,worker", VPROC_PORT=str(port)),
        cluster.start_worker(VPROC_DATABASE_URL=database_url),
    ]
    for worker in both:
        cluster.wait_until_up(worker)
    cluster.ready["api"] = f"http://127.0.0.1:{port}"
    file_ids = [cluster.upload(clip("short.mp4"), profile="mp4") for _ in range(6)]
    for file_id in file_ids:
        cluster.wait_for(file_id, processing_status="completed")
    assert [cluster.runs(file_id) == {cluster.manifest(file_id)["run_id"]} for file_id in file_ids] == [True] * 6
    ended = [cluster.log_of(worker).count('"job_ended"') for worker in both]
    assert sum(ended) == 6
    assert min(ended) >= 1
