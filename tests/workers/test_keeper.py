"""The keeper's promise: message and lease are kept together, and a lease that cannot be proved ends the job in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import cast
from uuid import UUID

import anyio
import pytest
from prometheus_client import CollectorRegistry

from tests.support.memory import Faults, ManualClock, MemoryQueue
from vproc.core.files import Stage
from vproc.core.job_progress import Costs
from vproc.core.leases import Lease, LeaseView
from vproc.errors import CancelledByOwnerError, ErrorCode, JobError, LeaseLostError, TransientError, UnavailableError
from vproc.ports import Catalog, Message
from vproc.telemetry import Metrics
from vproc.vitals import Vitals
from vproc.workers import keeper as keeper_module
from vproc.workers.keeper import Keeper, Progress

LEASE = Lease(UUID("7f9d63f0-0a2b-4a63-9d0c-0b6f0f8a2a11"), "token", "run", 1)
LOST = LeaseLostError("run holds the lease no more")
AWAY = UnavailableError("it is away")
REFUSED = TransientError(ErrorCode.INTERNAL, "InvalidAddress (HTTP 400)")


class LeaseRow(Faults):
    """The part of a catalog that a keeper writes to; what a holder learns is a test's to say."""

    def __init__(self) -> None:
        super().__init__()
        self.cancel_requested = False
        self.receipts: Mapping[str, str] = {}
        self.ttls: list[float] = []
        self.told: list[tuple[float, Stage]] = []
        self.paces: list[tuple[float | None, float | None]] = []

    async def renew(self, lease: Lease, *, ttl_s: float) -> LeaseView:
        await self._written("renew")
        self.ttls.append(ttl_s)
        return self._view()

    async def report(
        self, lease: Lease, *, progress: float, stage: Stage, speed: float | None = None, eta_s: float | None = None
    ) -> LeaseView:
        await self._written("report")
        self.told.append((progress, stage))
        self.paces.append((speed, eta_s))
        return self._view()

    async def _written(self, method: str) -> None:
        if (late := await self.begin(method)) is not None:
            raise late

    def _view(self) -> LeaseView:
        return LeaseView(self.cancel_requested, self.receipts)


@dataclass
class Held:
    """One message in flight, its keeper, and the clock that both go by."""

    clock: ManualClock
    queue: MemoryQueue
    row: LeaseRow
    message: Message
    keeper: Keeper
    metrics: Metrics
    progress: Progress = field(default_factory=Progress)

    def beats(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("vproc_heartbeats_total", {"outcome": outcome}) or 0

    async def run(self) -> None:
        await self.keeper.run(LEASE, self.progress)

    async def ends_with(self, error: type[JobError]) -> None:
        with anyio.fail_after(5), pytest.raises(error):
            await self.run()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.run)
            yield
            tasks.cancel_scope.cancel()

    async def looked(self) -> None:
        """The keeper looked at the clock again, and found only progress to report."""
        await self.row.called("report", self.row.calls["report"] + 2)


async def hold(visibility_timeout_s: int = 30, *, vitals: Vitals | None = None) -> Held:
    clock, row, metrics = ManualClock(), LeaseRow(), Metrics(CollectorRegistry())
    queue = MemoryQueue(clock=clock, visibility_timeout_s=visibility_timeout_s)
    queue.put("a job")
    (message,) = await queue.receive(max_messages=1, wait_s=0)
    keeper = Keeper(
        message,
        queue=queue,
        catalog=cast("Catalog", row),
        visibility_timeout_s=visibility_timeout_s,
        metrics=metrics,
        vitals=vitals,
        clock=clock,
    )
    return Held(clock, queue, row, message, keeper, metrics)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is the test's to move; the keeper looks often."""
    monkeypatch.setattr(keeper_module, "REPORT_EVERY_S", 0.001)
    monkeypatch.setattr(keeper_module, "RETRY_EVERY_S", 0.001)


async def test_it_beats_at_a_third_of_the_visibility_counted_from_the_last_success() -> None:
    held = await hold(30)
    async with held.running():
        held.clock.advance(9.9)
        await held.looked()
        assert held.queue.calls["extend"] == 0
        held.clock.advance(0.1)
        await held.row.called("renew")
        held.clock.advance(9.9)
        await held.looked()
        assert held.queue.calls["extend"] == 1
        held.clock.advance(0.1)
        await held.row.called("renew", 2)
        await held.looked()
    assert held.beats("ok") == 2


async def test_it_keeps_a_message_far_beyond_its_visibility() -> None:
    held = await hold(30)
    async with held.running():
        for number in range(1, 11):
            held.clock.advance(25)
            await held.row.called("renew", number)
            assert held.queue.visible == 0
    held.clock.advance(30)
    assert held.queue.visible == 1


@pytest.mark.parametrize("visibility_s", [4, 30, 41400])
async def test_the_lease_never_outlives_the_visibility(visibility_s: int) -> None:
    """Counted from before the call that extended it, however long its answer took."""
    held = await hold(visibility_s)
    first_end = held.clock() + visibility_s
    assert held.clock() + held.keeper.lease_ttl_s() < first_end
    held.clock.advance(visibility_s / 2)
    assert held.clock() + held.keeper.lease_ttl_s() < first_end
    slow = held.queue.pause_next("extend")
    async with held.running():
        await slow.reached.wait()
        asked_at = held.clock()
        held.clock.advance(visibility_s / 4)
        slow.release()
        await held.row.called("renew")
        await held.looked()
    assert 0 < held.row.ttls[0] < asked_at + visibility_s - held.clock()
    assert held.row.ttls == [pytest.approx(held.keeper.lease_ttl_s())]


@pytest.mark.parametrize("error", [AWAY, REFUSED])
@pytest.mark.parametrize("where", ["queue", "catalog"])
async def test_a_failing_beat_is_tried_again_and_heals(where: str, error: TransientError) -> None:
    held = await hold(30)
    failing, method = (held.queue, "extend") if where == "queue" else (held.row, "renew")
    failing.fail_next(method, error, times=3)
    async with held.running():
        held.clock.advance(20)
        await held.row.called("renew", 1 if where == "queue" else 4)
        await held.looked()
    assert (held.beats("error"), held.beats("ok"), held.beats("lost")) == (3, 1, 0)
    assert held.queue.calls["extend"] == 4


@pytest.mark.parametrize("where", ["queue", "catalog"])
async def test_a_beat_that_goes_on_failing_loses_the_lease_before_the_visibility_ends(where: str) -> None:
    held = await hold(30)
    failing, method = (held.queue, "extend") if where == "queue" else (held.row, "renew")
    failing.fail_next(method, AWAY, times=float("inf"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(held.ends_with, LeaseLostError)
        held.clock.advance(28.9)
        await failing.called(method, 5)
        assert held.beats("lost") == 0
        held.clock.advance(0.2)
    assert held.beats("lost") == 1


@pytest.mark.parametrize("method", ["extend", "renew"])
async def test_a_beat_that_is_never_answered_loses_the_lease_in_time(method: str) -> None:
    """By the true clock: what a call may take is what is left of the lease."""
    held = await hold(1)
    now = monotonic()
    message = Message("m", "handle", "a job", asked_at=now)
    held.keeper = Keeper(
        message, queue=held.queue, catalog=cast("Catalog", held.row), visibility_timeout_s=1, metrics=held.metrics
    )
    (held.queue if method == "extend" else held.row).pause_next(method)
    await held.ends_with(LeaseLostError)
    assert monotonic() - now > 0.5
    assert held.beats("lost") == 1


async def test_a_lease_that_the_catalog_gave_to_another_is_lost_at_once() -> None:
    for method in ("report", "renew"):
        held = await hold(30)
        held.row.fail_next(method, LOST)
        held.clock.advance(0 if method == "report" else 10)
        await held.ends_with(LeaseLostError)
        assert held.beats("lost") == (1 if method == "renew" else 0)


async def test_a_stale_handle_alone_is_no_lost_lease() -> None:
    """Somebody received the message again: while the row is ours, they leave us their handle there."""
    held = await hold(30)
    held.queue.duplicate(held.message.message_id)
    (again,) = await held.queue.receive(max_messages=1, wait_s=0)
    async with held.running():
        held.clock.advance(10)
        await held.row.called("renew")
        held.row.receipts = {again.message_id: again.receipt_handle}
        await held.looked()
        assert held.keeper.receipts == {again.message_id: again.receipt_handle}
        held.clock.advance(15)
        await held.row.called("renew", 2)
        held.clock.advance(20)
        await held.row.called("renew", 3)
        assert held.queue.visible == 0


async def test_every_message_that_names_the_job_is_kept() -> None:
    held = await hold(30)
    held.queue.put("the same job")
    (other,) = await held.queue.receive(max_messages=1, wait_s=0)
    held.row.receipts = {other.message_id: other.receipt_handle}
    async with held.running():
        await held.looked()
        for beat in range(1, 4):
            held.clock.advance(12)
            await held.row.called("renew", beat)
            await held.looked()
    assert held.queue.visible == 0
    assert set(held.keeper.receipts) == {held.message.message_id, other.message_id}


async def test_a_cancel_is_heard_by_report_and_by_beat() -> None:
    for advance_s in (0, 10):
        held = await hold(30)
        held.row.cancel_requested = True
        held.clock.advance(advance_s)
        await held.ends_with(CancelledByOwnerError)
        assert held.row.calls["renew" if advance_s else "report"] == 1


@pytest.mark.parametrize("error", [AWAY, REFUSED])
async def test_progress_that_cannot_be_written_is_no_lost_lease(error: TransientError) -> None:
    held = await hold(30)
    held.row.fail_next("report", error, times=3)
    async with held.running():
        await held.row.called("report", 5)
    assert len(held.row.told) >= 1


async def test_progress_and_stage_are_reported_and_never_go_backwards() -> None:
    held = await hold(30)
    async with held.running():
        held.progress.enter(Stage.ENCODE)
        held.progress.reach(Stage.ENCODE, 0.5)
        half = held.progress.fraction
        await held.looked()
        held.progress.reach(Stage.ENCODE, 0.25)
        held.progress.enter(Stage.VERIFY)
        held.progress.reach(Stage.VERIFY, 1.5)
        await held.looked()
    assert held.row.told[0][0] in (0.0, half)
    assert held.row.told[-1] == (held.progress.fraction, Stage.VERIFY)
    assert 0 < half < held.progress.fraction < 1
    assert held.row.told == sorted(held.row.told, key=lambda told: told[0])


async def test_speed_and_what_is_left_are_reported_and_a_stall_is_too() -> None:
    """By the clock at the time of the report: without news they change too."""
    held = await hold(3000)
    held.progress = Progress(clock=held.clock)
    held.progress.expect(Costs(download_s=1, encode_s=40), media_s=60)
    held.progress.reach(Stage.DOWNLOAD, 1.0)
    async with held.running():
        await held.looked()
        held.progress.enter(Stage.ENCODE)
        held.clock.advance(10)
        held.progress.reach(Stage.ENCODE, 0.25)
        await held.looked()
        moving = held.row.paces[-1]
        held.clock.advance(11)
        await held.looked()
    assert held.row.paces[0] == (None, 41.0)
    assert moving == (1.5, 31.0)
    assert held.row.paces[-1] == (0.0, None)


def test_what_was_sent_early_counts_once_the_total_is_known() -> None:
    clock = ManualClock()
    progress = Progress(clock=clock)
    progress.expect(Costs(download_s=1, encode_s=1, verify_s=1, publish_s=10, sends_early=True), media_s=60)
    for stage in (Stage.ENCODE, Stage.VERIFY):
        progress.sent(300)
        progress.enter(stage)
    encoded = progress.fraction
    progress.publish(1000)
    assert progress.stage is Stage.PUBLISH
    assert progress.fraction > encoded
    clock.advance(2)
    progress.sent(200)
    assert progress.eta_s == 2.0
    before = progress.fraction
    progress.expect(Costs(download_s=1, encode_s=1), media_s=60)
    progress.sent(10_000)
    assert progress.fraction == before, "what another way sent is not what this one sends"
    progress.publish(0)
    assert progress.fraction > before


async def test_a_message_that_is_not_due_is_not_extended_before_the_claim() -> None:
    held = await hold(30)
    held.clock.advance(9)
    await held.keeper.ensure_fresh()
    assert held.queue.calls["extend"] == 0
    assert held.keeper.lease_ttl_s() == 20
    held.clock.advance(1)
    await held.keeper.ensure_fresh()
    assert held.queue.calls["extend"] == 1
    assert held.keeper.lease_ttl_s() == 29
    held.clock.advance(29.9)
    assert held.queue.visible == 0


async def test_the_lease_is_confirmed_by_writing_under_it() -> None:
    held = await hold(30)
    held.progress.enter(Stage.PUBLISH)
    held.progress.reach(Stage.PUBLISH, 0.9)
    held.row.receipts = {"other": "handle"}
    await held.keeper.confirm(LEASE, held.progress)
    assert held.row.told == [(held.progress.fraction, Stage.PUBLISH)]
    assert 0.9 < held.progress.fraction < 1
    assert held.keeper.receipts["other"] == "handle"


async def test_a_lease_that_ran_out_is_not_confirmed_and_nobody_is_asked() -> None:
    """A process that was stopped and went on: its clock alone tells it."""
    held = await hold(30)
    held.clock.advance(29.5)
    with pytest.raises(LeaseLostError, match="ran out"):
        await held.keeper.confirm(LEASE, held.progress)
    assert held.row.calls["report"] == 0


@pytest.mark.parametrize("error", [LOST, AWAY])
async def test_a_confirmation_that_fails_is_none(error: JobError) -> None:
    held = await hold(30)
    held.row.fail_next("report", error)
    with pytest.raises(type(error)):
        await held.keeper.confirm(LEASE, held.progress)
    held.row.cancel_requested = True
    with pytest.raises(CancelledByOwnerError):
        await held.keeper.confirm(LEASE, held.progress)


async def test_a_heartbeat_that_waits_for_ever_is_one_that_stands_still() -> None:
    """Its visibility timeout and half a minute more; a job that ended is waited for by nobody."""
    clock = ManualClock()
    vitals = Vitals(clock=clock)
    held = await hold(30, vitals=vitals)
    held.row.pause_next("report")
    async with held.running():
        await held.row.called("report")
        clock.advance(59)
        assert vitals.overdue() == ()
        clock.advance(2)
        assert vitals.overdue() == ("heartbeat",)
    assert vitals.overdue() == ()
