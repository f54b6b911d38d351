"""From trials to rates: the CRF that reaches the target, caps that are only lowered, rungs that add nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.ladder import Rung, rungs
from vproc.core.profile import Profile, RungSpec, VideoCodec
from vproc.core.rates import Rates, Trial, choose_crf, ladder_rates, with_rates
from vproc.profiles import builtin_profile

ABR, H264 = builtin_profile("abr"), builtin_profile("h264")
LADDER = rungs(1920, 1080, ABR, codec=VideoCodec.H264)
TOP = LADDER[0]
BETTER, WORSE = 19.0, 25.0

VMAFS = st.floats(min_value=0, max_value=100)
TARGETS = st.floats(min_value=50, max_value=99)
RATES = st.floats(min_value=1, max_value=1e9)
CODECS = st.sampled_from(VideoCodec)


def crf(better: float, worse: float, target: float = 93, codec: VideoCodec = VideoCodec.H264) -> float:
    return choose_crf(Trial(TOP, BETTER, 4e6, better), Trial(TOP, WORSE, 2e6, worse), target, codec)


def chosen(*bitrates_bps: float, vmafs: tuple[float, float] = (95.0, 90.0), target: float = 93) -> tuple[Rates, ...]:
    """Of the largest rung at both qualities, then of the others at the better one."""
    largest = [Trial(TOP, at, rate, vmaf) for at, rate, vmaf in zip((BETTER, WORSE), bitrates_bps[:2], vmafs, strict=True)]
    others = [Trial(rung, BETTER, rate) for rung, rate in zip(LADDER[1:], bitrates_bps[2:], strict=True)]
    return ladder_rates([*largest, *others], LADDER, target_vmaf=target, codec=VideoCodec.H264)


# --- the quality -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        (93.0, 87.0, 19.0),
        (96.0, 93.0, 25.0),
        (95.0, 90.0, 21.9),
        (96.5, 94.5, 28.3),  # beyond the worse one
        (91.0, 84.0, 16.4),  # beyond the better one
        (99.9, 99.0, 31.0),  # a still picture: no farther than samples can be believed
        (60.0, 50.0, 14.0),  # noise: no lower than anybody sees
    ],
)
def test_the_crf_lies_where_the_trials_line_meets_the_target(better: float, worse: float, expected: float) -> None:
    assert crf(better, worse) == pytest.approx(expected, abs=0.11)


@pytest.mark.parametrize(
    ("better", "worse", "expected"), [(97.0, 97.0, 25.0), (96.0, 96.5, 25.0), (90.0, 90.0, 19.0), (89.0, 91.0, 19.0)]
)
def test_trials_that_contradict_each_other_are_not_drawn_on(better: float, worse: float, expected: float) -> None:
    assert crf(better, worse) == expected


@given(VMAFS, VMAFS, TARGETS, CODECS)
def test_a_crf_is_never_far_from_what_was_tried(better: float, worse: float, target: float, codec: VideoCodec) -> None:
    found = crf(better, worse, target, codec)
    assert BETTER - 6 <= found <= WORSE + 6
    assert found == round(found, 1)


@given(VMAFS, VMAFS, TARGETS, TARGETS)
def test_a_higher_target_never_gives_a_higher_crf(better: float, worse: float, one: float, other: float) -> None:
    assert crf(better, worse, max(one, other)) <= crf(better, worse, min(one, other))


@given(st.floats(min_value=50, max_value=99), st.floats(min_value=0.5, max_value=10), st.floats(min_value=0, max_value=3))
def test_a_harder_source_never_gets_a_higher_crf(better: float, drop: float, harder: float) -> None:
    assert crf(better - harder, better - drop - harder) <= crf(better, better - drop)


# --- the rungs -------------------------------------------------------------------------------------------------------


def test_every_rung_has_the_largest_ones_crf() -> None:
    """At one CRF a picture has nearly the same VMAF at each size."""
    rates = chosen(3e6, 1.5e6, 1.4e6, 4e5)
    assert [one.rung.name for one in rates] == ["v1080", "v720", "v360"]
    assert {one.crf for one in rates} == {crf(95.0, 90.0)}


def test_a_rung_that_saves_nothing_is_dropped() -> None:
    assert [one.rung.name for one in chosen(3e5, 2e5, 2.6e5, 1e5)] == ["v1080", "v360"]
    assert [one.rung.name for one in chosen(3e5, 2e5, 2.3e5, 2.2e5)] == ["v1080", "v720"]
    assert [one.rung.name for one in chosen(3e5, 2e5, 2.9e5, 2.8e5)] == ["v1080"]


def test_what_a_cap_cuts_off_is_no_difference_of_rates() -> None:
    """Noise: all three run into their caps, and those are far enough apart."""
    assert len(chosen(9e7, 6e7, 4e7, 1e7)) == 3


def test_an_easy_source_has_half_the_cap_and_a_buffer_as_long() -> None:
    rates = chosen(3e5, 2e5, 1e5, 4e4)
    assert [(one.maxrate_bps, one.bufsize_bits) for one in rates] == [
        (2_500_000, 5_000_000), (1_400_000, 2_800_000), (400_000, 800_000)
    ]  # fmt: skip


def test_a_cap_is_twice_the_average_in_between() -> None:
    (largest, *_) = chosen(2e6, 2e6, 1e6, 3e5)
    assert largest.maxrate_bps == 4_000_000


def test_a_hard_source_keeps_its_caps() -> None:
    rates = chosen(9e6, 6e6, 4e6, 1e6)
    assert [one.maxrate_bps for one in rates] == [rung.maxrate_bps for rung in LADDER]
    assert rates[0].bitrate_bps == TOP.maxrate_bps


@given(st.tuples(RATES, RATES, RATES, RATES), st.tuples(VMAFS, VMAFS), TARGETS)
def test_the_largest_stays_and_no_cap_is_raised(
    bitrates_bps: tuple[float, ...], vmafs: tuple[float, float], target: float
) -> None:
    rates = chosen(*bitrates_bps, vmafs=vmafs, target=target)
    assert rates[0].rung == TOP
    sides = [rates_.rung.height for rates_ in rates]
    assert sides == sorted(set(sides), reverse=True)
    for each in rates:
        assert each.rung.maxrate_bps / 2 <= each.maxrate_bps <= each.rung.maxrate_bps
        assert 1 <= each.bufsize_bits <= each.rung.bufsize_bits
        assert each.bitrate_bps <= each.rung.maxrate_bps
    for larger, smaller in itertools.pairwise(rates):
        assert smaller.bitrate_bps <= 0.8 * larger.bitrate_bps


# --- the profile -----------------------------------------------------------------------------------------------------


def applied(profile: Profile, width: int, height: int, *names: str) -> tuple[Rung, ...]:
    """The rungs that the profile gives once the rungs of these names were chosen, at CRF 21.5 and half the cap."""
    found = rungs(width, height, profile, codec=VideoCodec.H264)
    rates = [Rates(rung, 21.5, rung.maxrate_bps // 2, rung.bufsize_bits // 2, 1e6) for rung in found if rung.name in names]
    return rungs(width, height, with_rates(profile, rates, short_side_px=min(width, height)), codec=VideoCodec.H264)


@pytest.mark.parametrize(
    ("profile", "width", "height"),
    [(ABR, 1920, 1080), (ABR, 3840, 1600), (ABR, 1080, 1920), (ABR, 1280, 719), (ABR, 641, 359), (ABR, 64, 64),
     (H264, 3840, 2160), (H264, 643, 361), (replace(H264, rungs=(RungSpec(720, 20, 10**6, 10**6),)), 854, 480)],
)  # fmt: skip
def test_the_chosen_rungs_have_their_sizes_and_the_chosen_rates(profile: Profile, width: int, height: int) -> None:
    before = rungs(width, height, profile, codec=VideoCodec.H264)
    after = applied(profile, width, height, *(rung.name for rung in before))
    assert after == tuple(
        replace(rung, crf=21.5, maxrate_bps=rung.maxrate_bps // 2, bufsize_bits=rung.bufsize_bits // 2) for rung in before
    )


def test_a_dropped_rung_is_not_in_the_profile() -> None:
    assert [rung.name for rung in applied(ABR, 1920, 1080, "v1080", "v360")] == ["v1080", "v360"]
    assert [rung.name for rung in applied(ABR, 1920, 1080, "v1080")] == ["v1080"]


def test_a_fixed_rate_gives_way_to_quality() -> None:
    fixed = replace(ABR, rungs=tuple(replace(spec, bitrate_bps=spec.maxrate_bps) for spec in ABR.rungs))
    found = with_rates(fixed, [Rates(rung, 22, 10**6, 10**6, 1e6) for rung in LADDER], short_side_px=1080)
    assert [spec.bitrate_bps for spec in found.rungs] == [None, None, None]
