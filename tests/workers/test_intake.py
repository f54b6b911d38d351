"""Whether more work is taken: pauses by the clock, room on the disk, and the reason that /readyz shows."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry

import vproc.workers.intake
from tests.support.memory import ManualClock
from vproc.errors import UnavailableError
from vproc.telemetry import Metrics
from vproc.workers.intake import LONGEST_PAUSE_S, Intake
from vproc.workers.scratch import Scratch


class Disk(Scratch):
    """A scratch disk with as much room as a test says; None: it is gone."""

    free: int | None = 1000

    async def free_bytes(self) -> int:
        if self.free is None:
            raise UnavailableError("the scratch directory is gone")
        return self.free


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(0.5)  # a machine that has just been started


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def intake(disk: Disk, clock: ManualClock, metrics: Metrics) -> Intake:
    return Intake(scratch=disk, metrics=metrics, clock=clock, least_free_bytes=500)


async def test_it_is_open_at_first(intake: Intake, metrics: Metrics) -> None:
    assert await intake.wait_s() == 0
    assert intake.reason is None
    await intake.check()
    assert metrics.registry.get_sample_value("vproc_scratch_free_bytes") == 1000


async def test_a_pause_lasts_its_time_and_gives_its_reason(intake: Intake, clock: ManualClock) -> None:
    intake.pause("S3 is away", 10)
    assert await intake.wait_s() == 10
    clock.advance(9.5)
    assert await intake.wait_s() == pytest.approx(0.5)
    with pytest.raises(UnavailableError, match="S3 is away"):
        await intake.check()
    clock.advance(0.5)
    assert await intake.wait_s() == 0
    assert intake.reason is None


async def test_a_longer_pause_that_stands_is_kept(intake: Intake, clock: ManualClock) -> None:
    intake.pause("first", 20)
    intake.pause("second", 1)
    assert await intake.wait_s() == 20
    assert intake.reason == "second"


async def test_no_pause_is_longer_than_the_bound(intake: Intake) -> None:
    intake.pause("the policy erred", 1e9)
    assert await intake.wait_s() == LONGEST_PAUSE_S


async def test_a_full_disk_takes_no_work_until_there_is_room(intake: Intake, disk: Disk, metrics: Metrics) -> None:
    disk.free = 499
    assert await intake.wait_s() > 0
    assert intake.reason == "the scratch disk has 499 bytes free, and no job is taken below 500"
    assert metrics.registry.get_sample_value("vproc_scratch_free_bytes") == 499
    disk.free = 500
    assert await intake.wait_s() == 0
    assert intake.reason is None


async def test_a_scratch_directory_that_went_away_takes_no_work(intake: Intake, disk: Disk) -> None:
    disk.free = None
    assert await intake.wait_s() > 0
    with pytest.raises(UnavailableError, match="gone"):
        await intake.check()


async def test_the_gauge_stays_true_while_no_work_can_be_taken(
    intake: Intake, disk: Disk, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slots are taken for hours, which fills the disk; a look that fails is not the last."""
    monkeypatch.setattr(vproc.workers.intake, "OBSERVE_EVERY_S", 0.0)
    looked = 0

    async def observe() -> int:
        nonlocal looked
        looked += 1
        disk.free = None if looked == 1 else 7
        if looked == 3:
            watching.cancel()
        return await Intake.observe(intake)

    monkeypatch.setattr(intake, "observe", observe)
    with anyio.fail_after(10), anyio.CancelScope() as watching:
        await intake.watch()
    assert (looked, metrics.registry.get_sample_value("vproc_scratch_free_bytes")) == (3, 7)
    assert intake.reason is None
