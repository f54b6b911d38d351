"""Real daemons, killed in the middle of an encode: nothing is lost, nothing is done twice, nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, running_cluster, until
from tests.support.media import clip

VISIBILITY_TIMEOUT_S = 6


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, visibility_timeout_s=VISIBILITY_TIMEOUT_S) as running:
        yield running


@pytest.fixture(scope="module")
def film() -> Path:
    """Long enough to be killed while it is encoded."""
    return clip("hd.mp4")


def encoding(cluster: Cluster, film: Path) -> str:
    """Upload, and wait until ffmpeg works on it."""
    file_id = cluster.upload(film)
    cluster.wait_for(file_id, stage="encode")
    until(cluster.children, within_s=10, what="an ffmpeg")
    return file_id


def finished_once(cluster: Cluster, file_id: str) -> None:
    """One manifest, outputs of one run only, everything that it lists, no raw, no message, no child."""
    until(lambda: cluster.messages() == (0, 0), within_s=20, what="an empty queue")
    manifest = cluster.manifest(file_id)
    until(lambda: cluster.runs(file_id) == {manifest["run_id"]}, within_s=20, what="the loser's outputs swept")
    listed = {output["key"] for output in (*manifest["outputs"], *manifest["entry_points"])}
    assert listed | {f"{file_id}/manifest.json"} == set(cluster.keys(file_id))
    assert cluster.raw_keys() == []
    assert cluster.children() == []


def test_sigterm_without_drain_time_hands_the_job_back_at_once(cluster: Cluster, film: Path) -> None:
    first = cluster.start_worker(VPROC_DRAIN_TIMEOUT_S="0")
    file_id = encoding(cluster, film)
    first.send_signal(signal.SIGTERM)
    until(lambda: cluster.messages()[0] == 1, within_s=4, what="the message visible again")
    assert first.wait(10) == 0
    assert cluster.children() == []
    told = cluster.status(file_id)
    assert (told["processing_status"], told["attempts"]) == ("uploaded", 0)
    cluster.start_worker()
    cluster.wait_for(file_id, processing_status="completed")
    assert cluster.status(file_id)["attempts"] == 1
    finished_once(cluster, file_id)


def test_a_second_sigterm_ends_the_drain_at_once(cluster: Cluster, film: Path) -> None:
    first = cluster.start_worker()
    file_id = encoding(cluster, film)
    first.send_signal(signal.SIGTERM)
    until(lambda: "intake_stopped" in cluster.log_of(first), within_s=5, what="the drain")
    assert cluster.children()
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    assert cluster.status(file_id)["processing_status"] == "uploaded"
    assert cluster.children() == []


def test_sigterm_with_drain_time_lets_the_job_end(cluster: Cluster, film: Path) -> None:
    first = cluster.start_worker()
    file_id = encoding(cluster, film)
    assert cluster.stop(first) == 0
    assert cluster.status(file_id)["processing_status"] == "completed"
    finished_once(cluster, file_id)


def test_after_sigkill_another_daemon_starts_within_visibility_and_five_seconds(cluster: Cluster, film: Path) -> None:
    first = cluster.start_worker()
    file_id = encoding(cluster, film)
    cluster.wait_until_up(cluster.start_worker())
    assert cluster.stop(first, signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not cluster.children(), within_s=2, what="the dead daemon's ffmpeg gone")
    restarted_s = cluster.wait_for(file_id, attempts=2)
    assert restarted_s < VISIBILITY_TIMEOUT_S + 5
    cluster.wait_for(file_id, processing_status="completed")
    finished_once(cluster, file_id)


def test_a_daemon_that_was_stopped_past_its_lease_publishes_nothing(cluster: Cluster, film: Path) -> None:
    """SIGSTOP until another has taken over, then SIGCONT: the first notices, and only one run's outputs stand."""
    first = cluster.start_worker()
    file_id = encoding(cluster, film)
    first.send_signal(signal.SIGSTOP)
    cluster.start_worker()
    cluster.wait_for(file_id, attempts=2)
    first.send_signal(signal.SIGCONT)
    cluster.wait_for(file_id, processing_status="completed")
    finished_once(cluster, file_id)
    assert '"outcome": "lost"' in cluster.log_of(first)
