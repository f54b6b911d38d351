"""Watching the host: the end that it announces, and the protection of a task while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.support.faults import Faults, ManualClock, faulty
from vproc.core.host_notice import HostNotice, NoticeKind
from vproc.errors import UnavailableError
from vproc.telemetry import Metrics
from vproc.workers import host as host_module
from vproc.workers.host import PROTECT_MINUTES, RENEW_AFTER_S, SILENT_AFTER, SILENT_LOOK_EVERY_S, HostWatch

AWAY = UnavailableError("away")
SPOT = HostNotice(NoticeKind.SPOT)
ADVICE = HostNotice(NoticeKind.REBALANCE)


class Notices(Faults):
    def __init__(self) -> None:
        super().__init__()
        self.standing: tuple[HostNotice, ...] = ()

    @faulty
    async def look(self) -> tuple[HostNotice, ...]:
        return self.standing


class Protection(Faults):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.possible = True

    @faulty
    async def protect(self, minutes: int) -> bool:
        self.asked.append(minutes)
        return self.possible

    @faulty
    async def release(self) -> None:
        self.asked.append(0)


@dataclass
class Given:
    notices: Notices = field(default_factory=Notices)
    protection: Protection = field(default_factory=Protection)
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=lambda: Metrics(CollectorRegistry()))
    drained: list[HostNotice] = field(default_factory=list)
    jobs: int = 0

    def watch(self, *, drain: Callable[[HostNotice], None] | None = None) -> HostWatch:
        return HostWatch(
            notices=self.notices,
            protection=self.protection,
            jobs=lambda: self.jobs,
            drain=drain or self.drained.append,
            metrics=self.metrics,
            clock=self.clock,
        )

    def counted(self, kind: NoticeKind) -> float | None:
        return self.metrics.registry.get_sample_value("vproc_host_notices_total", {"kind": kind.value})


@pytest.fixture
def given() -> Given:
    return Given()


async def test_an_end_that_is_announced_drains_once(given: Given) -> None:
    """However often it is read, and whatever else is announced after it."""
    watch = given.watch()
    await watch.look()
    assert given.drained == []
    given.notices.standing = (SPOT,)
    await watch.look()
    given.notices.standing = (SPOT, HostNotice(NoticeKind.AUTOSCALING))
    await watch.look()
    assert given.drained == [SPOT]
    assert (given.counted(NoticeKind.SPOT), given.counted(NoticeKind.AUTOSCALING)) == (1, 1)


async def test_advice_is_told_and_nothing_is_drained(given: Given) -> None:
    given.notices.standing = (ADVICE,)
    watch = given.watch()
    with capture_logs() as logs:
        await watch.look()
        await watch.look()
    assert [entry["kind"] for entry in logs if entry["event"] == "host_notice"] == ["rebalance"]
    assert given.drained == []
    assert given.counted(NoticeKind.REBALANCE) == 1


async def test_a_host_that_does_not_answer_is_asked_seldom_and_told_of_once(given: Given) -> None:
    given.notices.fail_next("look", AWAY, times=float("inf"))
    watch = given.watch()
    with capture_logs() as logs:
        for _ in range(20):
            await watch.look()
            given.clock.advance(5)
    asked = given.notices.calls["look"]
    assert SILENT_AFTER <= asked <= SILENT_AFTER + 100 / SILENT_LOOK_EVERY_S
    assert [entry["event"] for entry in logs] == ["host_notices_silent"]
    given.notices.heal()
    given.notices.standing = (SPOT,)
    given.clock.advance(SILENT_LOOK_EVERY_S)
    await watch.look()
    assert given.drained == [SPOT]


async def test_a_task_is_protected_while_it_works(given: Given) -> None:
    """Renewed in time, and let go when the last job has ended."""
    watch = given.watch()
    await watch.look()
    assert given.protection.asked == []
    given.jobs = 2
    await watch.look()
    given.clock.advance(RENEW_AFTER_S - 1)
    await watch.look()
    assert given.protection.asked == [PROTECT_MINUTES]
    given.clock.advance(1)
    await watch.look()
    assert given.protection.asked == [PROTECT_MINUTES] * 2
    given.jobs = 0
    await watch.look()
    await watch.look()
    await watch.close()
    assert given.protection.asked == [PROTECT_MINUTES, PROTECT_MINUTES, 0]


async def test_an_agent_that_fails_is_asked_again_and_told_of_once(given: Given) -> None:
    given.protection.fail_next("protect", AWAY, times=3)
    given.jobs = 1
    watch = given.watch()
    with capture_logs() as logs:
        for _ in range(5):
            await watch.look()
    assert given.protection.asked == [PROTECT_MINUTES]
    assert [entry["event"] for entry in logs] == ["task_not_protected"]


async def test_a_task_that_cannot_be_protected_is_asked_no_more(given: Given) -> None:
    given.protection.possible = False
    given.jobs = 1
    watch = given.watch()
    for _ in range(3):
        await watch.look()
    await watch.close()
    assert given.protection.asked == [PROTECT_MINUTES]


async def test_at_the_end_the_task_is_let_go(given: Given) -> None:
    given.jobs = 1
    watch = given.watch()
    await watch.look()
    given.protection.fail_next("release", AWAY)
    await watch.close()
    await watch.close()
    assert given.protection.asked == [PROTECT_MINUTES, 0]


async def test_it_looks_until_it_is_cancelled(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_module.LOOK_EVERY_S == 5
    monkeypatch.setattr(host_module, "LOOK_EVERY_S", 0.001)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(given.watch().run)
            await given.notices.called("look", 3)
            tasks.cancel_scope.cancel()


async def test_where_there_is_nothing_to_watch_it_returns(given: Given) -> None:
    watch = HostWatch(notices=None, protection=None, jobs=lambda: 0, drain=given.drained.append, metrics=given.metrics)
    with anyio.fail_after(1):
        await watch.run()
    assert given.drained == []
