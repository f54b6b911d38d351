"""How far a job is, how fast it goes, and how long it still takes. Pure: the time is an argument, in seconds of any clock.

The measure is what is left of the longest way through the work, by what each part is expected to cost: parts that run at the same
time count once. What was said before is never taken back: when the expectation changes, what is left is spread over what is left
of the bar.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vproc.core.files import Stage
from vproc.core.media import MediaInfo
from vproc.core.plan import Plan

WINDOW_S = 10.0
"""Speed is that of the last so many seconds; without a step in them the job stalls."""
_STEP_S = 0.25  # nearer steps are one
_LEAST_S = 0.2
_FINISH_S = 0.3
_TRUSTED_SHARE = 0.05
"""From here on what is left is reckoned by the pace alone, before by the expectation too."""
_ORDER = tuple(Stage)
_EARLY = frozenset({Stage.DOWNLOAD, Stage.PROBE, Stage.ENCODE})


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds that each part of a job is expected to take by itself. ``reads_early``: it is encoded while it arrives;
    ``sends_early``: it is sent while it is encoded."""

    download_s: float
    encode_s: float
    verify_s: float = _LEAST_S
    publish_s: float = _LEAST_S
    reads_early: bool = False
    sends_early: bool = False

    def of(self, stage: Stage) -> float:
        """What a stage costs."""
        by_stage = {
            Stage.DOWNLOAD: self.download_s, Stage.PROBE: 0.0, Stage.ENCODE: self.encode_s, Stage.VERIFY: self.verify_s,
            Stage.PUBLISH: self.publish_s, Stage.FINISH: _FINISH_S,
        }  # fmt: skip
        return by_stage[stage]

    def longest_s(self, left_s: Callable[[Stage], float]) -> float:
        """The longest way through the work, when so much of each stage is left."""
        download, encode, publish = (left_s(stage) for stage in (Stage.DOWNLOAD, Stage.ENCODE, Stage.PUBLISH))
        way = max(download, encode) if self.reads_early else download + encode
        way = max(way, publish) if self.sends_early else way + publish
        return way + left_s(Stage.VERIFY) + left_s(Stage.FINISH)


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a machine does each kind of work; as it begins, those of two cores and a preset in the middle. Pixels are those of
    all pictures that are encoded."""

    download_bytes_per_s: float = 40e6
    encode_px_per_s: float = 80e6
    verify_px_per_s: float = 800e6
    publish_bytes_per_s: float = 20e6

    def costs(
        self,
        *,
        source_bytes: int,
        media_s: float,
        pixels: float,
        output_bytes: int,
        reads_early: bool = False,
        sends_early: bool = False,
    ) -> Costs:
        """What a job costs. Without pixels it is sound or a copy, which goes as fast as bytes can be read."""
        copied_s = source_bytes / self.download_bytes_per_s + media_s / 100
        return Costs(
            download_s=max(_LEAST_S, source_bytes / self.download_bytes_per_s),
            encode_s=max(_LEAST_S, pixels / self.encode_px_per_s if pixels else copied_s),
            verify_s=max(_LEAST_S, pixels / self.verify_px_per_s if pixels else copied_s / 2),
            publish_s=max(_LEAST_S, output_bytes / self.publish_bytes_per_s),
            reads_early=reads_early,
            sends_early=sends_early,
        )

    def learned(self, costs: Costs, took_s: Mapping[str, float]) -> Rates:
        """The rates after a job that was expected to cost that and took so many seconds by stage: halfway to what was seen. What
        waited for something else tells nothing of its own pace."""
        waited = costs.reads_early and took_s.get(Stage.ENCODE, 0.0) < 1.1 * took_s.get(Stage.DOWNLOAD, 0.0)
        return replace(
            self,
            download_bytes_per_s=_nearer(self.download_bytes_per_s, costs.download_s, took_s.get(Stage.DOWNLOAD)),
            encode_px_per_s=_nearer(self.encode_px_per_s, costs.encode_s, None if waited else took_s.get(Stage.ENCODE)),
            verify_px_per_s=_nearer(self.verify_px_per_s, costs.verify_s, took_s.get(Stage.VERIFY)),
            publish_bytes_per_s=_nearer(
                self.publish_bytes_per_s, costs.publish_s, None if costs.sends_early else took_s.get(Stage.PUBLISH)
            ),
        )


def expected_costs(rates: Rates, plan: Plan, info: MediaInfo, *, source_bytes: int) -> Costs:
    """What a plan costs at those rates. Of a source of unknown duration only the pieces that do not hang on it are known."""
    media_s = plan.duration_s or info.duration_s or 0.0
    fps = plan.fps or (info.video.fps if info.video else None) or 0
    pictures = sum((output.width or 0) * (output.height or 0) for output in plan.outputs if output.is_media and not output.copied)
    return rates.costs(
        source_bytes=source_bytes,
        media_s=media_s,
        pixels=0.0 if any(output.rendition == "copy" for output in plan.outputs) else float(pictures * fps * media_s),
        output_bytes=plan.estimated_bytes,
        reads_early=plan.piped,
        sends_early=any(output.is_track for output in plan.outputs),
    )


def _nearer(rate: float, expected_s: float, took_s: float | None) -> float:
    """A job of less than a second says little of a rate, and one that went a hundred times as it should was another kind of."""
    if took_s is None or took_s < 1.0 or expected_s <= _LEAST_S:
        return rate
    return rate * (1 + min(100.0, max(0.01, expected_s / took_s))) / 2


@dataclass(slots=True)
class _Part:
    """How far a stage is. ``first`` is the share that it began with, ``steps`` are the latest ones: time and share."""

    begun_s: float
    first: float = 0.0
    share: float = 0.0
    steps: deque[tuple[float, float]] = field(default_factory=deque)

    def reach(self, share: float, at_s: float) -> None:
        if share <= self.share:
            return
        self.share = min(1.0, share)
        if self.steps and at_s - self.steps[-1][0] < _STEP_S:
            at_s = self.steps.pop()[0]
        self.steps.append((at_s, self.share))

    def pace(self, at_s: float) -> float | None:
        """Share in a second, of late; None while that is too short to say."""
        since_s = at_s - WINDOW_S
        while len(self.steps) > 1 and self.steps[1][0] <= since_s:
            self.steps.popleft()
        first_s, first = self.begun_s, self.first
        if self.steps and self.steps[0][0] <= since_s:
            first_s, first = max(self.steps[0][0], since_s), self.steps[0][1]
        elif self.begun_s <= since_s:
            first_s = since_s
        return (self.share - first) / (at_s - first_s) if at_s - first_s >= 1 else None


class JobProgress:
    """Follows one job. Stages may overlap; `reach` takes the share of one that is done, 0.0 to 1.0, in any order. Until `expect`
    it goes by a guess."""

    def __init__(self) -> None:
        self.stage = Stage.DOWNLOAD
        """What a person is told."""
        self.fraction = 0.0
        """How far the job is; 1.0 is never reached here: only the commit ends it."""
        self._costs = Costs(download_s=1, encode_s=8, verify_s=0.5, publish_s=0.5)
        self._known = False
        self._media_s = 0.0
        self._parts: dict[Stage, _Part] = {}
        self._base = 0.0
        self._from_s = self._left_s()

    def expect(self, costs: Costs, *, media_s: float) -> None:
        """What the job costs is known now, or is another thing. All but the download begins anew. ``media_s``: how long the
        source is, 0 where that is unknown."""
        self._costs, self._media_s, self._known = costs, media_s, True
        self.stage = Stage.DOWNLOAD
        self._parts = {stage: part for stage, part in self._parts.items() if stage is Stage.DOWNLOAD}
        self._base, self._from_s = self.fraction, self._left_s()

    def enter(self, stage: Stage, *, at_s: float, share: float = 0.0) -> None:
        """The stage is what is being done now, so much of it is done already, and those before it are over; but an encode may
        begin before the download ends. One that comes earlier stays hidden."""
        if stage not in self._parts:
            self._parts[stage] = _Part(at_s, share, share)
        if _ORDER.index(stage) >= _ORDER.index(self.stage):
            self.stage = stage
        for before in _ORDER[1 if stage in _EARLY else 0 : _ORDER.index(stage)]:
            self._part(before, at_s).reach(1.0, at_s)
        self._move()

    def reach(self, stage: Stage, share: float, *, at_s: float) -> None:
        """So much of a stage is done; less than before is no news."""
        self._part(stage, at_s).reach(share, at_s)
        self._move()

    def speed(self, *, at_s: float) -> float | None:
        """Seconds of source encoded in a second, of late: 0.0 where it stalls, None where nothing is encoded."""
        part = self._parts.get(Stage.ENCODE)
        if part is None or part.share >= 1 or not self._media_s:
            return None
        pace = part.pace(at_s)
        return None if pace is None else pace * self._media_s

    def eta_s(self, *, at_s: float) -> float | None:
        """Seconds until the end; None where what is being done stalls, and before `expect`."""
        part = self._parts.get(self.stage)
        if (
            part is None
            or not self._known
            or (self.stage in (Stage.DOWNLOAD, Stage.ENCODE) and part.share < 1 and part.pace(at_s) == 0)
        ):
            return None
        return self._costs.longest_s(lambda stage: self._reckoned_s(stage, at_s))

    def _part(self, stage: Stage, at_s: float) -> _Part:
        if stage not in self._parts:
            self._parts[stage] = _Part(at_s)
        return self._parts[stage]

    def _share(self, stage: Stage) -> float:
        part = self._parts.get(stage)
        return part.share if part else 0.0

    def _left_s(self) -> float:
        return self._costs.longest_s(lambda stage: self._costs.of(stage) * (1 - self._share(stage)))

    def _move(self) -> None:
        done = 1 - self._left_s() / self._from_s
        self.fraction = max(self.fraction, self._base + (1 - self._base) * done)

    def _reckoned_s(self, stage: Stage, at_s: float) -> float:
        """What is left of a stage: by what it costs, and the more of it is done by how long that took."""
        part = self._parts.get(stage)
        if part is None:
            return self._costs.of(stage)
        spent_s = max(0.0, at_s - part.begun_s)
        expected_s = self._costs.of(stage) * (1 - part.share)
        done = part.share - part.first
        if not done:
            return max(0.0, expected_s - spent_s)
        trust = min(1.0, done / _TRUSTED_SHARE)
        return trust * spent_s * (1 - part.share) / done + (1 - trust) * expected_s
