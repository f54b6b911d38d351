"""Real processes on one embedded AWS: `vproc dev` with the API alone, and as many `vproc serve` workers as a test wants.

Everything is asked from outside, as an operator would: HTTP, the queue's attributes, the bucket's listing, ``/proc``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import boto3

T = TypeVar("T")
STOPS_WITHIN_S = 30
ENCODES_WITHIN_S = 90


def until(look: Callable[[], T], *, within_s: float, what: str) -> tuple[T, float]:
    """What ``look`` gives once it is true, and the seconds that took. Another process changes it: nothing tells us."""
    begun = time.monotonic()
    while not (found := look()):
        if time.monotonic() - begun > within_s:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        Event().wait(0.05)
    return found, time.monotonic() - begun


@dataclass
class Cluster:
    """The shared parts, and the workers that were started."""

    folder: Path
    ready: dict[str, str]
    visibility_timeout_s: int
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        account: dict[str, Any] = {
            "endpoint_url": self.ready["s3"],
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        self.s3 = boto3.client("s3", **account)
        self.sqs = boto3.client("sqs", **account)

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a worker here."""
        return {
            "AWS_ENDPOINT_URL": self.ready["s3"],
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "VPROC_ROLES": "worker",
            "VPROC_RAW_BUCKET": self.ready["raw_bucket"],
            "VPROC_PROCESSED_BUCKET": self.ready["processed_bucket"],
            "VPROC_QUEUE_URL": self.ready["queue_url"],
            "VPROC_DATABASE_URL": self.ready["database_url"],
            "VPROC_VISIBILITY_TIMEOUT_S": str(self.visibility_timeout_s),
            "VPROC_SCRATCH_DIR": str(self.folder),
        }

    def start_worker(self, **settings: str) -> subprocess.Popen[str]:
        """Another `vproc serve`; it takes jobs as soon as it is up."""
        worker = start(["serve"], self.settings | settings, self.folder, f"worker-{len(self.workers)}")
        self.workers.append(worker)
        return worker

    def log_of(self, worker: subprocess.Popen[str]) -> str:
        """What a worker has logged so far."""
        return (self.folder / f"worker-{self.workers.index(worker)}.log").read_text()

    def wait_until_up(self, worker: subprocess.Popen[str]) -> None:
        """Wait until it takes jobs."""
        until(lambda: "daemon_started" in self.log_of(worker), within_s=20, what="a worker that is up")

    def stop(self, worker: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
        """Signal one and wait for its end; its exit code."""
        worker.send_signal(number)
        return worker.wait(STOPS_WITHIN_S)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the API."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.ready["api"] + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def upload(self, clip: Path, *, profile: str = "abr") -> str:
        """Upload a file through a presigned address; its id."""
        announced = self.call("POST", "/upload", {"file_name": clip.name, "profile": profile})
        request = urllib.request.Request(
            announced["upload_url"], data=clip.read_bytes(), method="PUT", headers=announced["headers"]
        )
        with urllib.request.urlopen(request, timeout=60):
            return str(announced["file_id"])

    def status(self, file_id: str) -> dict[str, Any]:
        """The file as the API tells it."""
        return self.call("GET", f"/upload/{file_id}/status")

    def wait_for(self, file_id: str, **wanted: object) -> float:
        """Wait until the status says so; the seconds that took."""

        def says() -> bool:
            told = self.status(file_id)
            return all(told[name] == value for name, value in wanted.items())

        return until(says, within_s=ENCODES_WITHIN_S, what=f"{wanted} of {file_id}")[1]

    def messages(self) -> tuple[int, int]:
        """Visible and in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=self.ready["queue_url"], AttributeNames=names)["Attributes"]
        return int(told[names[0]]), int(told[names[1]])

    def children(self) -> list[str]:
        """Command lines of every process, zombies left out, that works in this cluster's scratch."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"file:{self.folder}" in command:
                found.append(command)
        return found

    def keys(self, file_id: str) -> list[str]:
        """Keys of all outputs of a file."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.ready["processed_bucket"], Prefix=f"{file_id}/")
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def runs(self, file_id: str) -> set[str]:
        """The runs whose outputs stand."""
        return {key.split("/")[1] for key in self.keys(file_id) if key.count("/") > 1}

    def manifest(self, file_id: str) -> dict[str, Any]:
        """The committed manifest."""
        body = self.s3.get_object(Bucket=self.ready["processed_bucket"], Key=f"{file_id}/manifest.json")["Body"].read()
        told: dict[str, Any] = json.loads(body)
        return told

    def raw_keys(self) -> list[str]:
        """What stands in the raw bucket."""
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=self.ready["raw_bucket"]).get("Contents", ())]


def start(arguments: list[str], settings: dict[str, str], folder: Path, name: str) -> subprocess.Popen[str]:
    """A `vproc` process of these settings alone; its log is ``{name}.log``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "VPROC_"))}
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "vproc", *arguments],
            env=kept | settings,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


@contextmanager
def running_cluster(folder: Path, *, visibility_timeout_s: int = 6) -> Iterator[Cluster]:
    """A store, a queue, an API and a catalog; no worker yet. Every process that was started is ended."""
    store = start(["dev", "--port", "0", "--data", str(folder / "data")], {"VPROC_ROLES": "api"}, folder, "dev")
    cluster = None
    try:
        if store.stdout is None:
            raise AssertionError("no pipe")
        line = store.stdout.readline()
        assert line, (folder / "dev.log").read_text()
        cluster = Cluster(folder, json.loads(line), visibility_timeout_s)
        yield cluster
    finally:
        for process in [*(cluster.workers if cluster else ()), store]:
            if process.poll() is None:
                process.terminate()
        for process in [*(cluster.workers if cluster else ()), store]:
            try:
                process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
