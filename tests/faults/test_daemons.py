"""Three daemons on one queue, of which one is killed, stopped or terminated every few seconds while they work, over a store and a
queue of bad manners (`tests.support.sqs_manners`); then their history is judged: by the catalog, by every version that the store
ever held, by what the daemons said.

Twenty jobs in `make test`, a thousand in `make chaos`. The order of the blows follows from a seed; it is told where a test fails,
and in ``tests/artefacts/daemons.txt``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from uuid import UUID

import pytest
from anyio.from_thread import start_blocking_portal

from tests.support.cluster import Cluster, running_cluster, until
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.media import clip
from tests.support.source import ROOT
from tests.support.sqs_manners import SqsManners, weather

CHAOS = bool(os.environ.get("VPROC_TEST_CHAOS"))
JOBS = int(os.environ.get("VPROC_TEST_CHAOS_JOBS", "1000")) if CHAOS else 20
SEED = int(os.environ.get("VPROC_TEST_SEED", "0")) or (random.SystemRandom().randrange(1, 1 << 32) if CHAOS else 4)
WITHIN_S = 5400 if CHAOS else 150
DAEMONS = 3
VISIBILITY_TIMEOUT_S = 5
FAULTS, TWICE, REPLAYED = 0.01, 0.05, 0.02
"""Shares: of requests that fail, of messages that come twice, of deleted ones that come again."""
AHEAD = 12
"""So many jobs wait or run at a time: the queue is never empty, and never long."""


@contextmanager
def bad_manners(upstream: str) -> Iterator[FaultProxy]:
    """What stands for the AWS at ``upstream``."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fault_proxy(upstream)) as proxy:
        SqsManners(random.Random(SEED + 1), twice=TWICE, replayed=REPLAYED).install(proxy)
        proxy.weather = weather(random.Random(SEED + 2), FAULTS)
        yield proxy


@dataclass
class Blows:
    """What is done to the workers of a cluster, and by when the stopped ones are let go on."""

    cluster: Cluster
    random: random.Random
    store_url: str
    done: Counter[str] = field(default_factory=Counter)
    next_at: float = 0.0
    stopped: dict[int, tuple[subprocess.Popen[str], float]] = field(default_factory=dict)

    def tick(self) -> None:
        """Strike where it is time, let go on who was stopped long enough, and replace who is gone."""
        now = time.monotonic()
        for pid, (worker, until_s) in list(self.stopped.items()):
            if now >= until_s:
                del self.stopped[pid]
                worker.send_signal(signal.SIGCONT)
        living = [worker for worker in self.cluster.workers if worker.poll() is None]
        for _ in range(DAEMONS - len(living)):
            self.cluster.start_worker(
                AWS_ENDPOINT_URL=self.store_url,
                VPROC_MAX_ATTEMPTS="20",
                VPROC_DRAIN_TIMEOUT_S="2",
                VPROC_CONCURRENCY="2",
            )
        if now < self.next_at:
            return
        up = [worker for worker in living if worker.pid not in self.stopped and "daemon_started" in self.cluster.log_of(worker)]
        self.next_at = now + self.random.uniform(2, 5)
        if up:
            self._strike(self.random.choice(up), now)

    def _strike(self, worker: subprocess.Popen[str], now: float) -> None:
        blow = self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        self.done[blow.name] += 1
        worker.send_signal(blow)
        if blow is signal.SIGSTOP:
            # Sometimes shorter than its lease, sometimes longer.
            self.stopped[worker.pid] = (worker, now + self.random.uniform(1, 2 * VISIBILITY_TIMEOUT_S))

    def cease(self) -> None:
        """No more of it."""
        for worker, _ in self.stopped.values():
            worker.send_signal(signal.SIGCONT)
        self.stopped.clear()


class Catalog:
    """The daemons' catalog, read from beside."""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite+aiosqlite:///").removeprefix("sqlite:///")

    def ask(self, query: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=20)) as connection:
            return connection.execute(query).fetchall()

    def statuses(self) -> Counter[str]:
        return Counter(status for (status,) in self.ask("SELECT status FROM files"))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(tmp_path, visibility_timeout_s=VISIBILITY_TIMEOUT_S) as running:
        # So that what was ever written stays to be seen.
        running.s3.put_bucket_versioning(Bucket=running.ready["processed_bucket"], VersioningConfiguration={"Status": "Enabled"})
        yield running


def work_through(cluster: Cluster, blows: Blows, catalog: Catalog) -> set[str]:
    """Upload as fast as they are done, strike meanwhile; the ids of the files."""
    source = clip("tiny.mp4")
    file_ids: set[str] = set()
    ends = time.monotonic() + WITHIN_S
    while True:
        blows.tick()
        statuses = catalog.statuses()
        finished = statuses["completed"] + statuses["failed"] + statuses["cancelled"]
        if finished >= JOBS:
            return file_ids
        assert time.monotonic() < ends, f"seed {SEED}: {statuses} after {WITHIN_S} s and {blows.done}"
        if len(file_ids) < min(JOBS, finished + AHEAD):
            try:
                file_ids.add(cluster.upload(source, profile="mp4"))
            except urllib.error.HTTPError as error:
                # One that was stopped within a transaction holds SQLite's lock until it goes on. The API says so; ask again.
                if error.code != 503 or not blows.stopped:
                    raise
        else:
            Event().wait(0.1)


@pytest.mark.timeout(WITHIN_S + 120)
def test_daemons_that_are_killed_all_the_time_lose_nothing(cluster: Cluster) -> None:
    catalog = Catalog(cluster.ready["database_url"])
    with bad_manners(cluster.ready["s3"]) as proxy:
        blows = Blows(cluster, random.Random(SEED), proxy.url)
        begun = time.monotonic()
        file_ids = work_through(cluster, blows, catalog)
        report(f"VPROC_TEST_SEED={SEED}: {len(file_ids)} jobs in {time.monotonic() - begun:.0f} s under {dict(blows.done)}")
        blows.cease()
        proxy.weather = lambda _: None
        try:
            come_to_rest(cluster, catalog, proxy.url)
            judge(cluster, catalog, file_ids)
        except AssertionError as error:
            left = [
                entry
                for key in cluster.raw_keys()
                for entry in catalog.ask(f"SELECT file_id, status, raw_state, attempts FROM files WHERE key = '{key}'")
            ]
            raise AssertionError(f"seed {SEED}, {dict(blows.done)}: {error}; originals of {left}") from error
        assert blows.done["SIGKILL"] >= max(1, JOBS // 40)
        living = [worker for worker in cluster.workers if worker.poll() is None]
        assert [cluster.stop(worker) for worker in living] == [0] * len(living)
    assert cluster.children() == []
    assert [path.name for path in cluster.folder.glob("vproc-scratch-*")] == []


def report(line: str) -> None:
    """For a person, who reads it after hours of it."""
    folder = ROOT / "tests" / "artefacts"
    folder.mkdir(exist_ok=True)
    with (folder / "daemons.txt").open("a") as file:
        file.write(line + "\n")


def come_to_rest(cluster: Cluster, catalog: Catalog, store_url: str) -> None:
    """The queue runs empty, and the janitors have done what there is. One daemon is new: it clears away after the dead ones."""
    newest = cluster.start_worker(AWS_ENDPOINT_URL=store_url)
    cluster.wait_until_up(newest)
    until(lambda: cluster.messages() == (0, 0), within_s=60, what=f"an empty queue: {cluster.messages()}")
    running = "SELECT run_id FROM transactions WHERE outcome = 'running'"
    until(lambda: not catalog.ask(running), within_s=30, what="no attempt open")
    until(lambda: cluster.raw_keys() == [], within_s=120, what="no original left")
    winners = {str(UUID(file_id)): run_id for file_id, run_id in catalog.ask("SELECT file_id, run_id FROM files")}
    until(lambda: not losers(cluster, winners), within_s=120, what="no outputs of a run that lost")


def losers(cluster: Cluster, winners: dict[str, str]) -> set[str]:
    """Prefixes of runs that are not the file's."""
    keys = (entry["Key"].split("/") for entry in listed(cluster))
    return {f"{parts[0]}/{parts[1]}" for parts in keys if len(parts) > 2 and winners.get(parts[0]) != parts[1]}


def listed(cluster: Cluster) -> list[dict[str, str]]:
    """Everything that stands in the processed bucket."""
    pages = cluster.s3.get_paginator("list_objects_v2").paginate(Bucket=cluster.ready["processed_bucket"])
    return [entry for page in pages for entry in page.get("Contents", ())]


def judge(cluster: Cluster, catalog: Catalog, file_ids: set[str]) -> None:
    """One end for each upload, one commit, and just what it names."""
    rows = {str(UUID(row[0])): row[1:] for row in catalog.ask("SELECT file_id, status, run_id, raw_state FROM files")}
    assert set(rows) == file_ids
    assert Counter(row[0] for row in rows.values()) == {"completed": len(file_ids)}
    assert {row[2] for row in rows.values()} == {"deleted"}
    twice = "SELECT file_id FROM transactions WHERE outcome = 'completed' GROUP BY file_id HAVING count(*) <> 1"
    assert catalog.ask(twice) == [], "completed twice"
    dead = cluster.sqs.receive_message(QueueUrl=cluster.ready["dlq_url"]).get("Messages", [])
    assert dead == [], f"dead letters: {dead}"
    assert manifests_ever(cluster) == dict.fromkeys((f"{file_id}/manifest.json" for file_id in file_ids), 1)
    standing = {entry["Key"] for entry in listed(cluster)}
    named: set[str] = set()
    for file_id in file_ids:
        manifest = cluster.manifest(file_id)
        assert manifest["run_id"] == rows[file_id][1]
        for output in (*manifest["outputs"], *manifest["entry_points"]):
            body = cluster.s3.get_object(Bucket=cluster.ready["processed_bucket"], Key=output["key"])["Body"].read()
            assert (len(body), hashlib.sha256(body).hexdigest()) == (output["bytes"], output["sha256"]), output["key"]
            named.add(output["key"])
        named.add(f"{file_id}/manifest.json")
    assert standing == named
    for worker in cluster.workers:
        assert "Traceback" not in cluster.log_of(worker), cluster.log_of(worker)[-3000:]


def manifests_ever(cluster: Cluster) -> dict[str, int]:
    """How many versions each manifest ever had; one that was deleted counts as another."""
    found: Counter[str] = Counter()
    for page in cluster.s3.get_paginator("list_object_versions").paginate(Bucket=cluster.ready["processed_bucket"]):
        for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            if entry["Key"].endswith("/manifest.json"):
                found[entry["Key"]] += 1
    return dict(found)


def test_the_judge_sees_a_second_commit(cluster: Cluster) -> None:
    """Else it could not fail."""
    for body in ({"run_id": "one"}, {"run_id": "two"}):
        cluster.s3.put_object(Bucket=cluster.ready["processed_bucket"], Key="x/manifest.json", Body=json.dumps(body).encode())
    assert manifests_ever(cluster) == {"x/manifest.json": 2}
