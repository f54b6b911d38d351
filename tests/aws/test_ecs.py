"""Tasks by way of ECS's API: over moto what goes well, over an ECS of our own what does not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import boto3
import pytest

from tests.support.ecs import CLUSTER, DEFINITION, FakeEcs, fake_ecs, register
from vproc.aws.ecs import EcsTasks, TaskPlace, open_tasks
from vproc.aws.session import open_clients
from vproc.core.task_end import TaskEnd
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import JOB_VARIABLE, TaskOrder, TaskState

PLACE = TaskPlace(CLUSTER, DEFINITION, ("FARGATE",))
ORDER = TaskOrder("run1", "file-1", {"VPROC_RAW_BUCKET": "raw", JOB_VARIABLE: '{"delegated": 1}'})
GIB = 1024**3


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch, moto_url: str) -> Iterator[FakeEcs]:
    with fake_ecs() as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ECS", fake.url)
        yield fake


@asynccontextmanager
async def opened(**changes: Any) -> AsyncIterator[EcsTasks]:
    async with open_clients(region="us-east-1", poll_read_timeout_s=30, public_endpoint_url=None, ecs=True) as clients:
        yield await open_tasks(clients.ecs, replace(PLACE, **changes))


async def test_a_task_of_moto_is_started_found_and_stopped(moto_url: str) -> None:
    """On Fargate with a network of its own, as AWS demands it."""
    subnet, group = register(boto3.client("ecs"), boto3.client("ec2"))
    async with opened(subnets=(subnet,), security_groups=(group,)) as tasks:
        name = await tasks.start(ORDER)
        (found,) = await tasks.find("file-1")
        assert (found.name, found.job) == (name, '{"delegated": 1}')
        assert (await tasks.look(name)).end is None
        assert await tasks.find("another") == ()
        await tasks.stop(name, reason="it is not wanted")
        assert await tasks.find("file-1") == ()
        end = (await tasks.look(name)).end
        assert end is not None
        assert end.reason == "it is not wanted"


async def test_the_same_order_gives_one_task_however_often_the_answer_is_lost(ecs: FakeEcs) -> None:
    ecs.losing = ["RunTask", "RunTask"]
    async with opened() as tasks:
        name = await tasks.start(ORDER)
        assert await tasks.start(ORDER) == name
    assert list(ecs.tasks) == [name]
    assert ecs.calls["RunTask"] == 4


async def test_an_answer_that_is_lost_for_good_is_no_reason_to_try_another_capacity(ecs: FakeEcs) -> None:
    """A task may be there already; it is found by its job."""
    ecs.losing = ["RunTask"] * 3
    async with opened(capacity=("FARGATE_SPOT", "FARGATE")) as tasks:
        with pytest.raises(UnavailableError, match="cannot start a task"):
            await tasks.start(ORDER)
        (found,) = await tasks.find("file-1")
        assert found.job == ORDER.environment[JOB_VARIABLE]
    assert len(ecs.tasks) == 1


async def test_capacities_are_tried_in_their_order(ecs: FakeEcs) -> None:
    ecs.refusing = {"FARGATE_SPOT": ["Capacity is unavailable at this time."]}
    async with opened(capacity=("FARGATE_SPOT", "FARGATE"), subnets=("subnet-1",), public_ip=True) as tasks:
        await tasks.start(ORDER)
    request = ecs.task().request
    assert request["launchType"] == "FARGATE"
    assert request["networkConfiguration"] == {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}


async def test_no_room_anywhere_says_why(ecs: FakeEcs) -> None:
    ecs.refusing = {"FARGATE": ["RESOURCE:MEMORY"], "EC2": ["RESOURCE:CPU"]}
    async with opened(capacity=("FARGATE", "EC2")) as tasks:
        with pytest.raises(UnavailableError) as raised:
            await tasks.start(ORDER)
    assert raised.value.detail == "ECS starts no task (FARGATE: RESOURCE:MEMORY; EC2: RESOURCE:CPU)"


@pytest.mark.parametrize("code", ["ThrottlingException", "ServerException", "AccessDeniedException", "ClusterNotFoundException"])
async def test_whatever_ecs_refuses_is_no_fault_of_the_job(ecs: FakeEcs, code: str) -> None:
    async with opened(capacity=("FARGATE", "EC2")) as tasks:
        ecs.failing = {"RunTask": [code] * 3}
        with pytest.raises(UnavailableError, match=rf"cannot start a task: {code}: as the test wants"):
            await tasks.start(ORDER)
    assert ecs.tasks == {}


async def test_a_request_that_is_refused_is_told_in_the_words_of_ecs(ecs: FakeEcs) -> None:
    async with opened() as tasks:
        with pytest.raises(UnavailableError, match="InvalidParameterException: Container Overrides length must be at most 8192"):
            await tasks.start(replace(ORDER, environment={"A": "x" * 8192}))


async def test_a_task_that_stopped_is_told_in_the_words_of_ecs(ecs: FakeEcs) -> None:
    async with opened() as tasks:
        name = await tasks.start(ORDER)
        ecs.task().status = "PROVISIONING"
        assert await tasks.look(name) == TaskState(running=False)
        ecs.task().status = "RUNNING"
        assert await tasks.look(name) == TaskState(running=True)
        reason = "Essential container in task exited"
        ecs.task().end("EssentialContainerExited", 137, reason, container_reason="OutOfMemoryError: killed")
        assert (await tasks.look(name)).end == TaskEnd("EssentialContainerExited", 137, f"OutOfMemoryError: killed; {reason}")
        await tasks.stop(name, reason="again")
        ecs.vanish()
        assert (await tasks.look(name)).end == TaskEnd(missing=True)
        await tasks.stop(name, reason="it is gone")


@pytest.mark.parametrize(
    ("capacity", "needed", "disk"),
    [
        ("FARGATE", 14 * GIB, None),
        ("FARGATE", 15 * GIB, 21),
        ("FARGATE_SPOT", 100 * GIB, 106),
        ("FARGATE", 900 * GIB, 200),
        ("EC2", 100 * GIB, None),
    ],
)
async def test_a_large_source_gets_a_larger_disk_where_there_is_one_to_ask_for(
    ecs: FakeEcs, capacity: str, needed: int, disk: int | None
) -> None:
    async with opened(capacity=(capacity,)) as tasks:
        await tasks.start(replace(ORDER, disk_bytes=needed))
    assert ecs.task().request["overrides"].get("ephemeralStorage") == (disk and {"sizeInGiB": disk})


async def test_the_container_is_the_one_of_that_name_or_the_only_one(ecs: FakeEcs) -> None:
    ecs.containers = ("sidecar", "vproc")
    async with opened() as tasks:
        await tasks.start(ORDER)
    assert ecs.task().request["overrides"]["containerOverrides"][0]["name"] == "vproc"
    ecs.containers = ("encoder",)
    async with opened() as tasks:
        await tasks.start(replace(ORDER, token="run2"))
    assert json.dumps(list(ecs.tasks.values())[-1].request["overrides"]).count('"name": "encoder"') == 1
    ecs.containers = ("one", "two")
    with pytest.raises(ConfigError, match="VPROC_ECS_TASK_DEFINITION: takes one with a container named 'vproc'"):
        async with opened():
            pass


async def test_a_definition_that_is_not_there_or_lacks_a_network_stops_the_start(ecs: FakeEcs) -> None:
    with pytest.raises(ConfigError, match=r"VPROC_ECS_TASK_DEFINITION: takes a task definition that is active .got 'other'"):
        async with opened(task_definition="other"):
            pass
    ecs.network_mode = "awsvpc"
    with pytest.raises(ConfigError, match="VPROC_ECS_SUBNETS: not set, and required"):
        async with opened():
            pass
    async with opened(subnets=("subnet-1",)) as tasks:
        assert await tasks.find("nobody") == ()
