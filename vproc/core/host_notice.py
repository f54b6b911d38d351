"""What a host says of its own end, as EC2's instance metadata words it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

_SPARE_S = 15.0
"""Kept of the time that is left: to hand jobs back and to stop."""


class NoticeKind(StrEnum):
    """Which announcement it is."""

    SPOT = "spot"
    """The instance is taken back, two minutes later as a rule."""
    AUTOSCALING = "autoscaling"
    """The group has chosen the instance for its end."""
    REBALANCE = "rebalance"
    """The instance is likelier than others to be taken back. Advice, which may never come true."""


@dataclass(frozen=True, slots=True)
class HostNotice:
    """An announcement. ``ends_at``: aware UTC, where it is told."""

    kind: NoticeKind
    ends_at: datetime | None = None

    @property
    def ends(self) -> bool:
        """Whether the host ends, so that its work has to go elsewhere."""
        return self.kind is not NoticeKind.REBALANCE

    def drain_s(self, longest_s: float, *, now: datetime) -> float:
        """How long running jobs may take to end; ``longest_s`` where no end is told."""
        if self.ends_at is None:
            return longest_s
        return max(0.0, min(longest_s, (self.ends_at - now).total_seconds() - _SPARE_S))


def spot_notice(text: str) -> HostNotice:
    """Of ``spot/instance-action``, which stands only once there is a notice: one that cannot be read is one all the same."""
    try:
        at = datetime.fromisoformat(json.loads(text)["time"])
    except (ValueError, TypeError, KeyError):
        return HostNotice(NoticeKind.SPOT)
    return HostNotice(NoticeKind.SPOT, at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC))


def autoscaling_notice(text: str) -> HostNotice | None:
    """Of ``autoscaling/target-lifecycle-state``."""
    return HostNotice(NoticeKind.AUTOSCALING) if text.strip() == "Terminated" else None
