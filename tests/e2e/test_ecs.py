"""The runner ecs: a daemon that watches, tasks that are processes of `vproc job`, and an ECS that has its faults."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from sqlalchemy import create_engine, text

from tests.support.cluster import until
from tests.support.daemon import Daemon, command, dev, environment, serve
from tests.support.ecs import CLUSTER, FakeEcs, FakeTask, Start, fake_ecs, register
from tests.support.media import clip

pytestmark = pytest.mark.xdist_group("e2e-ecs")


@dataclass(frozen=True)
class Place:
    """A `vproc dev` that takes no jobs, an ECS beside it, and what a daemon that watches is started with."""

    api: Daemon
    ecs: FakeEcs
    folder: Path
    start: Start

    @contextmanager
    def watching(self, **settings: str) -> Iterator[Daemon]:
        """A daemon that has tasks do the jobs."""
        (self.folder / "watcher").mkdir(exist_ok=True)
        with serve(self.folder / "watcher", **(self.settings | settings)) as daemon:
            yield daemon

    @contextmanager
    def doomed(self) -> Iterator[subprocess.Popen[bytes]]:
        """One that does not live to its end."""
        (self.folder / "doomed").mkdir()
        told = environment(self.folder / "doomed", **self.settings, VPROC_PORT="0")
        process = subprocess.Popen(command("serve"), env=told, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def settings(self) -> dict[str, str]:
        """Of a daemon that has tasks do the jobs."""
        own = {"VPROC_DATABASE_URL": self.api.ready["database_url"], "VPROC_VISIBILITY_TIMEOUT_S": "6"}
        return self.api.settings | self.ecs.settings | own

    def uploaded(self, name: str, **fields: object) -> str:
        """The id of a file that was uploaded."""
        return self.api.caller.upload(clip(name), **fields)

    def attempts(self, file_id: str) -> list[dict[str, Any]]:
        """Its rows, as an operator with SQL sees them."""
        engine = create_engine(self.api.ready["database_url"])
        try:
            with engine.connect() as connection:
                found = connection.execute(
                    text("select outcome, counted, error_code, task from transactions where file_id = :id order by id"),
                    {"id": file_id.replace("-", "")},
                )
                return [dict(row) | {"task": json.loads(row["task"] or "{}")} for row in found.mappings()]
        finally:
            engine.dispose()

    def started(self, number: int = 1) -> FakeTask:
        """The newest task, once there are so many."""
        until(lambda: len(self.ecs.tasks) >= number, within_s=30, what=f"task {number}")
        return list(self.ecs.tasks.values())[-1]

    def held(self) -> tuple[str, FakeTask, subprocess.Popen[bytes]]:
        """A file whose task stands still before it has done anything."""
        file_id = self.uploaded("second.mp4", profile="mp4")
        task = self.started()
        assert task.process is not None
        task.process.send_signal(signal.SIGSTOP)
        return file_id, task, task.process


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    for name in ("store", "task"):
        (tmp_path / name).mkdir()
    with dev(tmp_path / "store", VPROC_ROLES="api") as api:

        def start(told: Mapping[str, str]) -> subprocess.Popen[bytes]:
            of_the_definition = {name: value for name, value in api.settings.items() if name.startswith("AWS_")}
            own = {"VPROC_SCRATCH_DIR": str(tmp_path / "task")}
            with (tmp_path / "task.err").open("ab") as err:
                return subprocess.Popen(
                    command("job"),
                    cwd=tmp_path / "task",
                    env=environment(tmp_path / "task", **of_the_definition, **own, **told),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=err,
                )

        with fake_ecs(start) as ecs:
            yield Place(api, ecs, tmp_path, start)


def test_a_task_does_the_job_and_the_daemon_ends_it(place: Place) -> None:
    """The task does not know the database; what it did stands in the attempt's row, and nothing of it in the bucket."""
    with place.watching():
        file_id = place.uploaded("second.mp4", profile="mp4")
        task = place.started()
        assert place.api.caller.completed(file_id)["attempts"] == 1
    assert "VPROC_DATABASE_URL" not in task.environment
    assert task.request["startedBy"] == file_id
    (attempt,) = place.attempts(file_id)
    assert (attempt["outcome"], attempt["task"]["task"], attempt["task"]["adopted"]) == ("completed", task.arn, False)
    assert not any("/task/" in output["key"] for output in place.api.caller.outputs(file_id))
    assert place.ecs.calls["RunTask"] == 1


def test_a_daemon_that_is_killed_leaves_its_task_to_the_next(place: Place) -> None:
    """No second task is started, and the file is completed by the first one's commit."""
    with place.doomed():
        file_id, task, process = place.held()
    with place.watching() as second:
        assert second.logged("task_adopted", within_s=30)["task"] == task.arn
        process.send_signal(signal.SIGCONT)
        place.api.caller.completed(file_id)
    assert place.ecs.calls["RunTask"] == 1
    lost, done = place.attempts(file_id)
    assert (lost["outcome"], lost["error_code"]) == ("lost", "lease_lost")
    assert (done["outcome"], done["task"]["task"], done["task"]["adopted"]) == ("completed", task.arn, True)


def test_a_daemon_that_is_told_to_end_hands_its_task_over_at_once(place: Place) -> None:
    """It does not wait for the drain's time, since the task goes on without it; no attempt is counted."""
    with place.watching(VPROC_DRAIN_TIMEOUT_S="600"):
        file_id, task, process = place.held()
    assert process.poll() is None
    with place.watching() as second:
        assert second.logged("task_adopted", within_s=30)["task"] == task.arn
        process.send_signal(signal.SIGCONT)
        assert place.api.caller.completed(file_id)["attempts"] == 1
    assert place.ecs.calls["RunTask"] == 1
    assert [attempt["outcome"] for attempt in place.attempts(file_id)] == ["drained", "completed"]


def test_a_task_that_is_killed_is_tried_again_and_one_taken_away_counts_nothing(place: Place) -> None:
    """Exit code 137, then an interruption of Spot, then done: two attempts, with each task's end in its row."""
    with place.watching():
        file_id, first, process = place.held()
        process.kill()
        second = place.started(2)
        second.end("SpotInterruption", None, "Your Spot Task was interrupted.")
        assert place.api.caller.completed(file_id)["attempts"] == 2
    killed, interrupted, done = place.attempts(file_id)
    assert (killed["outcome"], killed["counted"], killed["error_code"]) == ("retried", 1, "internal")
    assert killed["task"] == {
        "task": first.arn,
        "run_id": killed["task"]["run_id"],
        "adopted": False,
        "stop_code": "EssentialContainerExited",
        "exit_code": 137,
        "reason": "Essential container in task exited",
    }
    assert (interrupted["outcome"], interrupted["counted"], interrupted["error_code"]) == ("drained", 0, None)
    assert interrupted["task"]["stop_code"] == "SpotInterruption"
    assert done["outcome"] == "completed"


def test_a_cancelled_file_s_task_is_stopped(place: Place) -> None:
    """By ECS; its process has ended."""
    with place.watching():
        file_id, task, process = place.held()
        until(lambda: place.api.caller.status(file_id)["processing_status"] == "processing", within_s=20, what="processing")
        assert place.api.caller.ask(f"/upload/{file_id}/cancel", "POST").status == 202
        assert place.api.caller.end_of(file_id)["processing_status"] == "cancelled"
        until(lambda: process.poll() is not None, within_s=20, what="the task's end")
    assert (task.status, task.stop_code) == ("STOPPED", "UserInitiated")
    assert place.ecs.calls["StopTask"] == 1


def test_a_file_that_is_no_video_fails_as_anywhere(place: Place, tmp_path: Path) -> None:
    """What the task says of it is what its owner reads."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all" * 99)
    with place.watching():
        file_id = place.api.caller.upload(broken)
        told = place.api.caller.end_of(file_id)
    assert (told["processing_status"], told["error"]["code"], told["attempts"]) == ("failed", "unsupported_media", 1)
    assert place.ecs.calls["RunTask"] == 1


def test_moto_s_ecs_gives_the_task_all_that_it_needs(place: Place) -> None:
    """moto starts nothing: whoever starts what RunTask ordered, with that environment, does the job."""
    where = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    registry = boto3.client("ecs", endpoint_url=place.api.ready["s3"], **where)
    network = boto3.client("ec2", endpoint_url=place.api.ready["s3"], **where)
    subnet, group = register(registry, network)
    own = {"VPROC_ECS_SUBNETS": subnet, "VPROC_ECS_SECURITY_GROUPS": group, "AWS_ENDPOINT_URL_ECS": place.api.ready["s3"]}
    with place.watching(**own):
        file_id = place.uploaded("second.mp4", profile="mp4")
        listed, _ = until(lambda: registry.list_tasks(cluster=CLUSTER, startedBy=file_id)["taskArns"], within_s=30, what="a task")
        (task,) = registry.describe_tasks(cluster=CLUSTER, tasks=listed)["tasks"]
        (override,) = task["overrides"]["containerOverrides"]
        process = place.start({each["name"]: each["value"] for each in override["environment"]})
        assert place.api.caller.completed(file_id)["attempts"] == 1
        assert process.wait(30) == 0
    registry.close()
    network.close()
