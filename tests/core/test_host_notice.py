"""What EC2 says of an instance's end, and how long jobs then have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vproc.core.host_notice import HostNotice, NoticeKind, autoscaling_notice, spot_notice

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_a_spot_notice_tells_when() -> None:
    told = spot_notice('{"action": "terminate", "time": "2026-05-04T12:02:00Z"}')
    assert told == HostNotice(NoticeKind.SPOT, NOW + timedelta(minutes=2))
    assert told.ends


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"time": 5}', '{"time": "soon"}', "<html>"])
def test_one_that_cannot_be_read_is_a_notice_all_the_same(text: str) -> None:
    assert spot_notice(text) == HostNotice(NoticeKind.SPOT)


@pytest.mark.parametrize(("text", "ends"), [("Terminated\n", True), ("InService", False), ("Detached", False), ("", False)])
def test_a_groups_instance_ends_when_its_target_is_terminated(text: str, ends: bool) -> None:
    assert (autoscaling_notice(text) is not None) is ends


def test_advice_ends_nothing() -> None:
    assert not HostNotice(NoticeKind.REBALANCE).ends


@pytest.mark.parametrize(("left_s", "drain_s"), [(120, 90), (60, 45), (15, 0), (3, 0), (-30, 0), (None, 90)])
def test_jobs_have_what_is_left_but_for_a_quarter_of_a_minute(left_s: float | None, drain_s: float) -> None:
    notice = HostNotice(NoticeKind.SPOT, NOW + timedelta(seconds=left_s) if left_s is not None else None)
    assert notice.drain_s(90, now=NOW) == drain_s
