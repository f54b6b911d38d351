"""The instance metadata service and the ECS agent, over a fake of both: found, asked, and no trouble when they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from tests.support.imds import FakeHost, fake_host
from vproc.aws import host as host_module
from vproc.aws.ecs_agent import EcsAgent
from vproc.aws.host import Host, open_host
from vproc.aws.instance import ENDPOINT, InstanceMetadata, metadata_endpoint
from vproc.core.host_notice import HostNotice, NoticeKind
from vproc.errors import UnavailableError

TOKEN = "/latest/api/token"


@pytest.fixture
def ec2() -> Iterator[FakeHost]:
    with fake_host() as host:
        yield host


@pytest.fixture
async def found(ec2: FakeHost) -> AsyncIterator[Host]:
    environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": ec2.url + "/", "ECS_AGENT_URI": ec2.url + "/api/task"}
    async with open_host(environ) as host:
        yield host


@pytest.fixture
def notices(found: Host) -> InstanceMetadata:
    assert found.notices is not None
    return found.notices


@pytest.fixture
def agent(found: Host) -> EcsAgent:
    assert found.protection is not None
    return found.protection


@pytest.mark.parametrize(
    ("vendor", "hypervisor", "environ", "endpoint"),
    [
        ("Amazon EC2\n", None, {}, ENDPOINT),
        (None, "ec2e1916-9099-7caf-fd21-012345abcdef\n", {}, ENDPOINT),
        ("LENOVO\n", "", {}, None),
        (None, None, {}, None),
        ("Amazon EC2\n", None, {"AWS_EC2_METADATA_DISABLED": "TRUE"}, None),
        ("Amazon EC2\n", None, {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"}, None),
        ("LENOVO\n", None, {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://[fd00:ec2::254]/"}, "http://[fd00:ec2::254]"),
    ],
)
def test_it_is_looked_for_where_it_is(
    tmp_path: Path, vendor: str | None, hypervisor: str | None, environ: dict[str, str], endpoint: str | None
) -> None:
    """A laptop's daemon asks no address of the local link."""
    for name, text in (("vendor", vendor), ("hypervisor", hypervisor)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert metadata_endpoint(environ, vendor=tmp_path / "vendor", hypervisor=tmp_path / "hypervisor") == endpoint


async def test_where_there_is_nothing_nothing_is_opened() -> None:
    async with open_host({"AWS_EC2_METADATA_DISABLED": "true"}) as host:
        assert (host.notices, host.protection) == (None, None)


async def test_nothing_is_announced_as_a_rule(ec2: FakeHost, notices: InstanceMetadata) -> None:
    """One token for all questions."""
    ec2.lifecycle = "InService"
    assert await notices.look() == ()
    assert await notices.look() == ()
    assert ec2.asked[TOKEN] == 1


async def test_every_announcement_is_told(ec2: FakeHost, notices: InstanceMetadata) -> None:
    ec2.spot = '{"action": "stop", "time": "2026-05-04T12:02:00Z"}'
    ec2.lifecycle = "Terminated"
    ec2.rebalance = '{"noticeTime": "2026-05-04T12:00:00Z"}'
    assert await notices.look() == (
        HostNotice(NoticeKind.SPOT, datetime(2026, 5, 4, 12, 2, tzinfo=UTC)),
        HostNotice(NoticeKind.AUTOSCALING),
        HostNotice(NoticeKind.REBALANCE),
    )


async def test_a_token_that_has_ended_is_had_anew(ec2: FakeHost, notices: InstanceMetadata) -> None:
    await notices.look()
    ec2.token = "token-2"
    ec2.spot = "{}"
    assert await notices.look() == (HostNotice(NoticeKind.SPOT),)
    assert ec2.asked[TOKEN] == 2


@pytest.mark.parametrize("failing", [500, 403, 401, 302])
async def test_a_service_that_is_out_of_order_is_away(ec2: FakeHost, notices: InstanceMetadata, failing: int) -> None:
    ec2.failing = failing
    with pytest.raises(UnavailableError, match="instance metadata service"):
        await notices.look()


async def test_one_that_never_answers_is_given_up(ec2: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_module.ANSWERS_WITHIN_S == 2
    monkeypatch.setattr(host_module, "ANSWERS_WITHIN_S", 0.2)
    ec2.failing = 0
    async with open_host({"AWS_EC2_METADATA_SERVICE_ENDPOINT": ec2.url}) as host:
        assert host.notices is not None
        with anyio.fail_after(5), pytest.raises(UnavailableError):
            await host.notices.look()


async def test_a_task_is_protected_and_let_go(ec2: FakeHost, agent: EcsAgent) -> None:
    assert await agent.protect(60)
    await agent.release()
    assert ec2.protections == [{"ProtectionEnabled": True, "ExpiresInMinutes": 60}, {"ProtectionEnabled": False}]
    assert ec2.asked["/api/task/task-protection/v1/state"] == 2


async def test_a_task_of_no_service_is_said_to_be_one(ec2: FakeHost, agent: EcsAgent) -> None:
    ec2.protection_answer = (200, {"failure": {"Arn": "arn", "Reason": "TASK_NOT_VALID", "Detail": "no service"}})
    assert not await agent.protect(60)


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}),
        (400, {"error": {"Code": "AccessDeniedException", "Message": "no"}}),
        (200, {"failure": {"Reason": "DEPLOYMENT_BLOCKED"}}),
        (200, {"error": {"Code": "ServerException"}}),
    ],
)
async def test_an_agent_that_refuses_is_away(ec2: FakeHost, agent: EcsAgent, answer: tuple[int, dict[str, object]]) -> None:
    ec2.protection_answer = answer
    with pytest.raises(UnavailableError, match="ECS agent"):
        await agent.protect(60)
