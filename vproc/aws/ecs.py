"""ECS as `ports.Tasks`: RunTask with an override that carries the job, DescribeTasks, StopTask.

Rights that it needs: ``ecs:DescribeTaskDefinition``; ``ecs:RunTask`` on the task definition; ``ecs:ListTasks``,
``ecs:DescribeTasks`` and ``ecs:StopTask`` in the cluster; ``iam:PassRole`` on the two roles of the task definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

from botocore.exceptions import ClientError

from vproc.aws.errors import code_of, translated
from vproc.core.task_end import TaskEnd
from vproc.core.task_template import CONTAINER
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import JOB_VARIABLE, LiveTask, TaskOrder, TaskState

_LAUNCH_TYPES = frozenset({"FARGATE", "EC2", "EXTERNAL"})
_FARGATE = "FARGATE"
_GIB = 1024**3
_DISK_GIVEN_GIB, _DISK_LEAST_GIB, _DISK_MOST_GIB = 20, 21, 200
"""Ephemeral storage of a Fargate task: what it has, and what may be asked for."""
_DISK_KEPT_FREE_GIB = 6
"""Of what it has: the image lies there, too."""
_STOP_REASON_MOST = 255
_PLAIN_NO = frozenset({"ClientException", "InvalidParameterException", "LimitExceededException"})
_SAID_MOST = 300
_STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Where tasks run: cluster, task definition, and kinds of capacity to try in order. Subnets and security groups are those of
    tasks that have a network interface of their own."""

    cluster: str
    task_definition: str
    capacity: Sequence[str]
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    public_ip: bool = False


class EcsTasks:
    """`ports.Tasks` over an aiobotocore client. Use `open_tasks`."""

    def __init__(self, client: Any, place: TaskPlace, *, container: str) -> None:
        self._client = client
        self._place = place
        self._container = container

    async def start(self, order: TaskOrder) -> str:
        """As the port says. The kinds of capacity are tried in order, each with a token of its own: a token with other parameters
        would be a conflict."""
        refusals: list[str] = []
        for number, capacity in enumerate(self._place.capacity):
            with _explained("start a task"):
                try:
                    answer = await self._client.run_task(**self._request(order, capacity), clientToken=f"{order.token}-{number}")
                except ClientError as error:
                    # Only after a plain no: where an answer was lost a task may be there, and another token gives another.
                    if code_of(error) not in _PLAIN_NO:
                        raise
                    answer = {"failures": [{"reason": _said(error)}]}
            if answer.get("tasks"):
                return str(answer["tasks"][0]["taskArn"])
            reasons = {str(failure.get("reason", "")) for failure in answer.get("failures", ())}
            refusals.append(f"{capacity}: {', '.join(sorted(reasons)) or 'no reason given'}")
        raise UnavailableError(f"ECS starts no task ({'; '.join(refusals)})")

    async def find(self, started_by: str) -> tuple[LiveTask, ...]:
        """As the port says."""
        with _explained("list tasks"):
            listed = await self._client.list_tasks(cluster=self._place.cluster, startedBy=started_by)
        names = listed.get("taskArns", ())
        if not names:
            return ()
        with _explained("look at tasks"):
            told = await self._client.describe_tasks(cluster=self._place.cluster, tasks=names)
        return tuple(LiveTask(task["taskArn"], self._job_of(task)) for task in told["tasks"] if task["lastStatus"] != _STOPPED)

    async def look(self, name: str) -> TaskState:
        """As the port says."""
        with _explained("look at a task"):
            told = await self._client.describe_tasks(cluster=self._place.cluster, tasks=[name])
        if not told.get("tasks"):
            return TaskState(running=False, end=TaskEnd(missing=True))
        task = told["tasks"][0]
        if task["lastStatus"] != _STOPPED:
            return TaskState(running=task["lastStatus"] == "RUNNING")
        ours: Mapping[str, Any] = next((each for each in task.get("containers", ()) if each.get("name") == self._container), {})
        # The container's own reason is the cause (OutOfMemoryError …), the task's says what followed from it.
        reasons = [reason for reason in (ours.get("reason"), task.get("stoppedReason")) if reason]
        end = TaskEnd(task.get("stopCode"), ours.get("exitCode"), "; ".join(dict.fromkeys(reasons)) or None)
        return TaskState(running=False, end=end)

    async def stop(self, name: str, *, reason: str) -> None:
        """As the port says."""
        with _explained("stop a task"):
            try:
                await self._client.stop_task(cluster=self._place.cluster, task=name, reason=reason[:_STOP_REASON_MOST])
            except ClientError as error:
                if code_of(error) != "InvalidParameterException":  # it is gone
                    raise

    def _request(self, order: TaskOrder, capacity: str) -> dict[str, Any]:
        environment = [{"name": name, "value": value} for name, value in order.environment.items()]
        overrides: dict[str, Any] = {"containerOverrides": [{"name": self._container, "environment": environment}]}
        if capacity.startswith(_FARGATE) and (disk := _disk_gib(order.disk_bytes)) is not None:
            overrides["ephemeralStorage"] = {"sizeInGiB": disk}
        place = self._place
        request: dict[str, Any] = {
            "cluster": place.cluster,
            "taskDefinition": place.task_definition,
            "count": 1,
            "startedBy": order.started_by,
            "overrides": overrides,
        }
        if capacity in _LAUNCH_TYPES:
            request["launchType"] = capacity
        else:
            request["capacityProviderStrategy"] = [{"capacityProvider": capacity, "weight": 1}]
        if place.subnets:
            network: dict[str, Any] = {
                "subnets": list(place.subnets),
                "assignPublicIp": "ENABLED" if place.public_ip else "DISABLED",
            }
            if place.security_groups:
                network["securityGroups"] = list(place.security_groups)
            request["networkConfiguration"] = {"awsvpcConfiguration": network}
        return request

    def _job_of(self, task: Mapping[str, Any]) -> str | None:
        for container in task.get("overrides", {}).get("containerOverrides", ()):
            for variable in container.get("environment", ()):
                if variable.get("name") == JOB_VARIABLE:
                    return str(variable.get("value"))
        return None


async def open_tasks(client: Any, place: TaskPlace) -> EcsTasks:
    """The tasks of that place, once its task definition is seen to stand. Raises `ConfigError`, or `UnavailableError` where ECS
    does not answer."""
    variable = "VPROC_ECS_TASK_DEFINITION"
    with _explained("read the task definition"):
        try:
            told = await client.describe_task_definition(taskDefinition=place.task_definition)
        except ClientError as error:
            if code_of(error) != "ClientException":
                raise
            raise ConfigError(f"{variable}: takes a task definition that is active (got {place.task_definition!r})") from error
    definition = told["taskDefinition"]
    names = [str(container["name"]) for container in definition["containerDefinitions"]]
    if CONTAINER not in names and len(names) != 1:
        raise ConfigError(
            f"{variable}: takes one with a container named {CONTAINER!r}, or with one alone (got {', '.join(names)})"
        )
    if definition.get("networkMode") == "awsvpc" and not place.subnets:
        raise ConfigError(
            "VPROC_ECS_SUBNETS: not set, and required: tasks of this definition have a network interface of their own"
        )
    return EcsTasks(client, place, container=CONTAINER if CONTAINER in names else names[0])


def _disk_gib(needed_bytes: int) -> int | None:
    """The storage to ask for; None where what every task has will do."""
    wanted = ceil(needed_bytes / _GIB) + _DISK_KEPT_FREE_GIB
    return None if wanted <= _DISK_GIVEN_GIB else min(max(wanted, _DISK_LEAST_GIB), _DISK_MOST_GIB)


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """As `translated`, but whatever ECS refuses is no fault of the job's, and ECS says what it is."""
    with translated(action):
        try:
            yield
        except ClientError as error:
            raise UnavailableError(f"cannot {action}: {_said(error)}") from error


def _said(error: ClientError) -> str:
    lines = str(error.response.get("Error", {}).get("Message", "")).splitlines()
    return f"{code_of(error)}: {lines[0][:_SAID_MOST]}" if lines else code_of(error)
