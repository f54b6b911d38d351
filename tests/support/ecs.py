"""ECS on loopback, in a thread of its own: the five calls that the runner makes, in the words of the real one, and its faults.

A task is a process of this machine where a test gives the words that start one, and a record that the test moves along otherwise.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CLUSTER = "videos"
DEFINITION = "vproc-job"
_ARN = "arn:aws:ecs:us-east-1:123456789012"
_TARGET = "AmazonEC2ContainerServiceV20141113."
_ENDS_WITHIN_S = 20

Start = Callable[[Mapping[str, str]], "subprocess.Popen[bytes]"]


@dataclass
class FakeTask:
    """A task as ECS tells of it. ``request`` is what it was started by."""

    arn: str
    request: dict[str, Any]
    status: str = "RUNNING"
    stop_code: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    container_reason: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the override gives the container."""
        (override,) = self.request["overrides"]["containerOverrides"]
        return {each["name"]: each["value"] for each in override["environment"]}

    def told(self) -> dict[str, Any]:
        """As DescribeTasks tells it. A process that has ended stopped its task."""
        if self.process is not None and self.status != "STOPPED" and (code := self.process.poll()) is not None:
            # Docker tells a signal as 128 and its number.
            self.end("EssentialContainerExited", code if code >= 0 else 128 - code, "Essential container in task exited")
        name = self.request["overrides"]["containerOverrides"][0]["name"]
        container = {"name": name, "lastStatus": self.status, "exitCode": self.exit_code, "reason": self.container_reason}
        task = {
            "taskArn": self.arn,
            "lastStatus": self.status,
            "startedBy": self.request.get("startedBy"),
            "overrides": self.request["overrides"],
            "containers": [{key: value for key, value in container.items() if value is not None}],
            "stopCode": self.stop_code,
            "stoppedReason": self.reason,
        }
        return {key: value for key, value in task.items() if value is not None}

    def end(self, stop_code: str, exit_code: int | None, reason: str, *, container_reason: str | None = None) -> None:
        """It stops, however its process is."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(_ENDS_WITHIN_S)
        self.status = "STOPPED"
        self.stop_code, self.exit_code, self.reason, self.container_reason = stop_code, exit_code, reason, container_reason


@dataclass
class FakeEcs:
    """What it says and does. ``refusing``: reasons for which the next RunTask starts nothing, by kind of capacity.
    ``losing``: operations of which the next answer is lost, though it was done. ``failing``: error codes that the next calls
    of an operation are answered with. ``unlisted``: ListTasks does not know the tasks yet. ``containers`` and
    ``network_mode`` are of the task definition."""

    start: Start | None = None
    url: str = ""
    tasks: dict[str, FakeTask] = field(default_factory=dict)
    tokens: dict[str, FakeTask] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    refusing: dict[str, list[str]] = field(default_factory=dict)
    losing: list[str] = field(default_factory=list)
    failing: dict[str, list[str]] = field(default_factory=dict)
    unlisted: bool = False
    containers: tuple[str, ...] = ("vproc",)
    network_mode: str = "bridge"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def settings(self) -> dict[str, str]:
        """What a daemon is told."""
        return {
            "AWS_ENDPOINT_URL_ECS": self.url,
            "VPROC_RUNNER": "ecs",
            "VPROC_ECS_CLUSTER": CLUSTER,
            "VPROC_ECS_TASK_DEFINITION": DEFINITION,
        }

    def task(self) -> FakeTask:
        """The only one that was started."""
        (task,) = self.tasks.values()
        return task

    def vanish(self) -> None:
        """No task was ever heard of."""
        for task in self.tasks.values():
            task.end("", None, "")
        self.tasks.clear()

    def close(self) -> None:
        """End what still runs."""
        for task in {**self.tasks, **self.tokens}.values():
            task.end("UserInitiated", None, "the test ended")

    def answer(self, operation: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        with self._lock:
            self.calls[operation] += 1
            if self.failing.get(operation):
                return _refused(self.failing[operation].pop(0), "as the test wants")
            does: dict[str, Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]] = {
                "RunTask": self._run,
                "ListTasks": self._list,
                "DescribeTasks": self._describe,
                "StopTask": self._stop,
                "DescribeTaskDefinition": self._define,
            }
            return does[operation](asked)

    def _run(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        token = asked.pop("clientToken")
        if (before := self.tokens.get(token)) is not None:
            if before.request != asked:
                return _refused("ConflictException", "The request used a client token with other parameters")
            return 200, {"tasks": [before.told()], "failures": []}
        if len(json.dumps(asked["overrides"])) > 8192:
            return _refused("InvalidParameterException", "Container Overrides length must be at most 8192")
        capacity = asked.get("launchType") or asked["capacityProviderStrategy"][0]["capacityProvider"]
        if self.refusing.get(capacity):
            return 200, {"tasks": [], "failures": [{"reason": self.refusing[capacity].pop(0)}]}
        arn = f"{_ARN}:task/{CLUSTER}/{len(self.tokens):032x}"
        task = FakeTask(arn, asked)
        if self.start is not None:
            task.process = self.start(task.environment)
        self.tasks[arn] = self.tokens[token] = task
        return 200, {"tasks": [task.told()], "failures": []}

    def _list(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        live = [task for task in self.tasks.values() if task.told()["lastStatus"] != "STOPPED" and not self.unlisted]
        return 200, {"taskArns": [task.arn for task in live if task.request.get("startedBy") == asked["startedBy"]]}

    def _describe(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        known = [self.tasks[arn].told() for arn in asked["tasks"] if arn in self.tasks]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in asked["tasks"] if arn not in self.tasks]
        return 200, {"tasks": known, "failures": missing}

    def _stop(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        task = self.tasks.get(asked["task"])
        if task is None:
            return _refused("InvalidParameterException", "The referenced task was not found.")
        task.end("UserInitiated", 143, asked.get("reason", ""))
        return 200, {"task": task.told()}

    def _define(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked["taskDefinition"] != DEFINITION:
            return _refused("ClientException", "Unable to describe task definition.")
        containers = [{"name": name} for name in self.containers]
        definition = {"family": DEFINITION, "networkMode": self.network_mode, "containerDefinitions": containers}
        return 200, {"taskDefinition": definition}


def _refused(code: str, message: str) -> tuple[int, dict[str, Any]]:
    return (500 if code == "ServerException" else 400), {"__type": code, "message": message}


def _handler(ecs: FakeEcs) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].removeprefix(_TARGET)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = ecs.answer(operation, json.loads(body))
            if operation in ecs.losing:
                ecs.losing.remove(operation)
                self.close_connection = True
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing."""

    return Handler


@contextmanager
def fake_ecs(start: Start | None = None) -> Iterator[FakeEcs]:
    """One that listens, until the block ends; what it started ends with it."""
    ecs = FakeEcs(start)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(ecs))
    server.daemon_threads = True
    ecs.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield ecs
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        ecs.close()


def register(ecs: Any, ec2: Any) -> tuple[str, str]:
    """The cluster and the task definition in a moto, by these clients of it; a subnet and a security group for tasks."""
    ecs.create_cluster(clusterName=CLUSTER)
    # moto adds up what each container reserves.
    container = {"name": "vproc", "image": "vproc", "command": ["job"], "cpu": 512, "memory": 1024}
    ecs.register_task_definition(
        family=DEFINITION,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="1024",
        memory="2048",
        containerDefinitions=[container],
    )
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    return subnet, ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
