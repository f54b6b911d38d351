"""From what sample encodes gave to the rates of a ladder: each rung's quality and cap, and which rungs add nothing.

All rungs take the largest one's CRF: at one CRF a picture has nearly the same VMAF at 1080p, 720p and 360p, each seen at its own
size. A cap is only ever lowered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vproc.core.ladder import Rung
from vproc.core.profile import Profile, RungSpec, VideoCodec

_BOUNDS = {
    VideoCodec.H264: (14.0, 36.0),
    VideoCodec.HEVC: (16.0, 38.0),
    VideoCodec.AV1: (16.0, 56.0),
    VideoCodec.VP9: (12.0, 54.0),
}
"""No CRF beyond these, whatever the samples say: below it costs bytes that nobody sees, above it samples say little."""
_MOST_STEP = 6.0  # the farthest from a sample that a CRF is believed
_PERFECT = 100.5  # what the distance to the best is counted from, so that it has a logarithm

_PEAK_RATIO = 2
"""A cap in average rates: Apple's authoring specification has peaks of stored video at 200 % of the average at most."""
_LEAST_CAP_SHARE = 0.5
"""Of the profile's cap: what no sample showed may be harder than what they did."""
_ADDS_SHARE = 0.8
"""A rung that takes more than this of the rate of the next larger one saves nothing: who can load it can load that one."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a sample encode gave. ``vmaf`` is None where it was not compared."""

    rung: Rung
    crf: float
    bitrate_bps: float
    vmaf: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What a rung is encoded with. ``bitrate_bps`` is what it is expected to take on average, within its cap."""

    rung: Rung
    crf: float
    maxrate_bps: int
    bufsize_bits: int
    bitrate_bps: float


def choose_crf(better: Trial, worse: Trial, target_vmaf: float, codec: VideoCodec) -> float:
    """The CRF at which the rung of both trials has the target's VMAF, to a tenth. The distance from the best grows with CRF
    exponentially, so it is drawn as a straight line through the trials' logarithms. Never falls when the target falls."""
    near, far = (math.log(_PERFECT - min(100.0, trial.vmaf or 0.0)) for trial in (better, worse))
    wanted = math.log(_PERFECT - min(100.0, target_vmaf))
    slope = (far - near) / (worse.crf - better.crf)
    least, most = _BOUNDS[codec]
    least, most = max(least, better.crf - _MOST_STEP), min(most, worse.crf + _MOST_STEP)
    if slope <= 0:
        # The worse one is no worse: noise decides, or every picture is flat. Where both will do, the cheaper.
        return round(min(most, worse.crf) if far <= wanted else max(least, better.crf), 1)
    return round(min(most, max(least, better.crf + (wanted - near) / slope)), 1)


def ladder_rates(trials: Sequence[Trial], ladder: Sequence[Rung], *, target_vmaf: float, codec: VideoCodec) -> tuple[Rates, ...]:
    """The rungs that stay, largest first, with their rates. ``trials``: two of the largest rung, the better first, then one of
    each other rung of the ladder. The largest rung always stays."""
    better, worse, *others = trials
    crf = choose_crf(better, worse, target_vmaf, codec)
    # The logarithm of a rate falls with CRF in a straight line, about alike for all rungs of one source.
    steepness = math.log(max(1.0, worse.bitrate_bps) / max(1.0, better.bitrate_bps)) / (worse.crf - better.crf)
    chosen: list[Rates] = []
    for rung, trial in zip(ladder, (better, *others), strict=True):
        rate = trial.bitrate_bps * math.exp(min(0.0, steepness) * (crf - trial.crf))
        rates = _capped(rung, crf, rate)
        if not chosen or rates.bitrate_bps <= _ADDS_SHARE * chosen[-1].bitrate_bps:
            chosen.append(rates)
    return tuple(chosen)


def _capped(rung: Rung, crf: float, rate_bps: float) -> Rates:
    cap = min(rung.maxrate_bps, max(round(_PEAK_RATIO * rate_bps), round(_LEAST_CAP_SHARE * rung.maxrate_bps)))
    buffer = max(1, rung.bufsize_bits * cap // rung.maxrate_bps)
    return Rates(rung, crf, cap, buffer, min(rate_bps, rung.maxrate_bps))


def with_rates(profile: Profile, rates: Sequence[Rates], *, short_side_px: int) -> Profile:
    """The profile with these rungs alone. ``short_side_px`` is the source's: `core.ladder.rungs` gives the same sizes again."""
    return replace(profile, rungs=tuple(_spec(profile, one, short_side_px) for one in rates))


def _spec(profile: Profile, rates: Rates, short_side_px: int) -> RungSpec:
    side = min(rates.rung.width, rates.rung.height)
    known = {spec.short_side_px: spec for spec in profile.rungs}
    spec = known.get(side) if side <= short_side_px else None
    if spec is None:
        # A rung of the source's own size, which no ladder names.
        spec = RungSpec(None, rates.crf, rates.maxrate_bps, rates.bufsize_bits)
    return replace(spec, crf=rates.crf, maxrate_bps=rates.maxrate_bps, bufsize_bits=rates.bufsize_bits, bitrate_bps=None)
