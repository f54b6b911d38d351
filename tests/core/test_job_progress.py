"""How far a job is, by what its parts cost: in order or at the same time, as expected or not, on its way or stalled."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import samples
from vproc.core.command import make_plan
from vproc.core.files import Stage
from vproc.core.job_progress import WINDOW_S, Costs, JobProgress, Rates, expected_costs
from vproc.profiles import builtin_profile

IN_TURN = Costs(download_s=2, encode_s=6, verify_s=1, publish_s=0.7)  # ten seconds with the finish
AT_ONCE = replace(IN_TURN, reads_early=True, sends_early=True)  # the encode, the verification, the finish: 7.3 s


def job(costs: Costs, *, media_s: float = 60.0) -> JobProgress:
    progress = JobProgress()
    progress.expect(costs, media_s=media_s)
    return progress


def test_what_is_done_in_turn_adds_up_by_what_it_costs() -> None:
    progress = job(IN_TURN)
    found = []
    for stage, share in (
        (Stage.DOWNLOAD, 0.5), (Stage.DOWNLOAD, 1.0), (Stage.ENCODE, 0.5), (Stage.ENCODE, 1.0), (Stage.VERIFY, 1.0),
        (Stage.PUBLISH, 1.0),
    ):  # fmt: skip
        progress.reach(stage, share, at_s=0)
        found.append(progress.fraction)
    assert found == pytest.approx([0.1, 0.2, 0.5, 0.8, 0.9, 0.97])


def test_what_is_done_at_once_counts_once() -> None:
    """Of download, encode and sending the longest is the way; the others move nothing until they are the longest."""
    progress = job(AT_ONCE)
    progress.reach(Stage.DOWNLOAD, 1.0, at_s=0)
    progress.reach(Stage.PUBLISH, 0.5, at_s=0)
    assert progress.fraction == 0
    progress.reach(Stage.ENCODE, 0.5, at_s=0)
    assert progress.fraction == pytest.approx(3 / 7.3)
    progress.reach(Stage.ENCODE, 1.0, at_s=0)
    assert progress.fraction == pytest.approx((6 - 0.35) / 7.3)
    slow = job(replace(AT_ONCE, download_s=20))
    slow.reach(Stage.ENCODE, 0.5, at_s=0)
    slow.reach(Stage.DOWNLOAD, 0.5, at_s=0)
    assert slow.fraction == pytest.approx(10 / 21.3)


def test_a_stage_that_begins_ends_those_before_it_but_not_an_arriving_source() -> None:
    progress = job(AT_ONCE)
    progress.reach(Stage.DOWNLOAD, 0.5, at_s=0)
    progress.enter(Stage.ENCODE, at_s=0)
    assert (progress.stage, progress.fraction) == (Stage.ENCODE, 0)
    progress.enter(Stage.VERIFY, at_s=0)
    assert (progress.stage, progress.fraction) == (Stage.VERIFY, pytest.approx((6 - 0.7) / 7.3))
    progress.enter(Stage.PROBE, at_s=0)
    assert progress.stage is Stage.VERIFY
    progress.enter(Stage.FINISH, at_s=0)
    assert progress.fraction == pytest.approx(7 / 7.3)
    assert JobProgress().fraction == 0


def test_a_job_whose_manifest_stood_already_is_nearly_done() -> None:
    progress = JobProgress()
    progress.enter(Stage.FINISH, at_s=0)
    assert 0.9 < progress.fraction < 1


def test_another_expectation_spreads_what_is_left_over_the_rest_of_the_bar() -> None:
    """Before the source is known, and when a fast way was left for a plain one: never back, and still to the end."""
    progress = JobProgress()
    progress.reach(Stage.DOWNLOAD, 1.0, at_s=0)
    before = progress.fraction
    assert before == pytest.approx(0.1, abs=0.01)
    progress.expect(IN_TURN, media_s=60)
    assert progress.fraction == before
    progress.reach(Stage.ENCODE, 0.5, at_s=0)
    assert progress.fraction == pytest.approx(before + (1 - before) * 3 / 8)
    progress.enter(Stage.VERIFY, at_s=0)
    half = progress.fraction
    progress.expect(replace(IN_TURN, encode_s=20), media_s=60)
    assert (progress.stage, progress.fraction) == (Stage.DOWNLOAD, half)
    progress.enter(Stage.ENCODE, at_s=0)
    progress.reach(Stage.ENCODE, 0.1, at_s=0)
    assert half < progress.fraction < half + 0.1
    progress.enter(Stage.FINISH, at_s=0)
    assert 0.98 < progress.fraction < 1


def test_speed_is_that_of_late_and_only_of_an_encode() -> None:
    progress = job(IN_TURN, media_s=60)
    assert progress.speed(at_s=0) is None
    progress.enter(Stage.ENCODE, at_s=0)
    assert progress.speed(at_s=0.5) is None, "too short to say"
    for second in range(1, 11):
        progress.reach(Stage.ENCODE, second / 60, at_s=second)
    assert progress.speed(at_s=10) == pytest.approx(1.0)
    for second in range(11, 21):
        progress.reach(Stage.ENCODE, (10 + 2 * (second - 10)) / 60, at_s=second)
    assert progress.speed(at_s=20) == pytest.approx(2.0)
    progress.reach(Stage.ENCODE, 1.0, at_s=21)
    assert progress.speed(at_s=22) is None
    assert job(IN_TURN, media_s=0).speed(at_s=5) is None


def test_a_stall_is_seen_and_so_is_its_end() -> None:
    progress = job(IN_TURN, media_s=60)
    progress.enter(Stage.ENCODE, at_s=0)
    for second in range(1, 31):
        progress.reach(Stage.ENCODE, second / 60, at_s=second)
    assert progress.eta_s(at_s=30) == pytest.approx(30 + 1 + 0.7 + 0.3 + 2)  # the download was never told
    slower = progress.speed(at_s=35)
    assert slower == pytest.approx(0.5)
    assert progress.eta_s(at_s=35) is not None
    assert (progress.speed(at_s=41), progress.eta_s(at_s=41)) == (0.0, None)
    progress.reach(Stage.ENCODE, 0.6, at_s=50)
    assert progress.speed(at_s=50) == pytest.approx(0.6)
    assert progress.eta_s(at_s=50) is not None


def test_a_stalled_download_is_seen_too() -> None:
    progress = job(IN_TURN)
    progress.reach(Stage.DOWNLOAD, 0.5, at_s=1)
    assert progress.eta_s(at_s=2) is not None
    assert progress.eta_s(at_s=12) is None


@pytest.mark.parametrize("costs", [IN_TURN, AT_ONCE])
@pytest.mark.parametrize("factor", [0.3, 1.0, 5.0])
def test_what_is_left_is_learned_from_how_long_it_took(costs: Costs, factor: float) -> None:
    """A machine that is faster or slower than expected: from a tenth of the encode on it is right, and counts down."""
    progress, now, encode_s = job(costs), 0.0, costs.encode_s * factor
    progress.reach(Stage.DOWNLOAD, 1.0, at_s=now)
    progress.enter(Stage.ENCODE, at_s=now)
    told = []
    for step in range(1, 100):
        now = encode_s * step / 100
        progress.reach(Stage.ENCODE, step / 100, at_s=now)
        if step >= 10:
            eta_s = progress.eta_s(at_s=now)
            left_s = encode_s - now
            assert eta_s == pytest.approx(max(left_s, 0.7) + 1.3 if costs.sends_early else left_s + 2.0, rel=0.1)
            told.append(eta_s)
    assert told == sorted(told, reverse=True)


def test_a_stage_that_cannot_tell_its_share_counts_down_what_it_should_take() -> None:
    progress = job(IN_TURN)
    progress.enter(Stage.VERIFY, at_s=100)
    assert [progress.eta_s(at_s=at) for at in (100.0, 100.5, 107.0)] == pytest.approx([2.0, 1.5, 1.0])


def test_what_was_sent_before_is_not_taken_for_speed() -> None:
    """Sending goes on after the encode with most of it done: what is left is by the pace since then."""
    progress = job(replace(AT_ONCE, publish_s=10))
    progress.enter(Stage.PUBLISH, at_s=50, share=0.8)
    progress.reach(Stage.PUBLISH, 0.9, at_s=55)
    assert progress.eta_s(at_s=55) == pytest.approx(5 + 0.3)


def test_nothing_is_told_of_the_end_before_the_source_is_known() -> None:
    progress = JobProgress()
    assert progress.eta_s(at_s=0) is None
    progress.reach(Stage.DOWNLOAD, 0.5, at_s=5)
    assert progress.eta_s(at_s=6) is None


def test_steps_in_quick_succession_take_no_room() -> None:
    progress = job(IN_TURN)
    for number in range(10_000):
        progress.reach(Stage.DOWNLOAD, number / 10_000, at_s=number / 1000)
    progress.speed(at_s=10)
    assert len(progress._parts[Stage.DOWNLOAD].steps) <= WINDOW_S * 4 + 2


COSTS = st.builds(Costs, *[st.floats(0.2, 1e5)] * 4, reads_early=st.booleans(), sends_early=st.booleans())
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("reach"), st.sampled_from(Stage), st.floats(-0.5, 1.5)),
        st.tuples(st.just("enter"), st.sampled_from(Stage), st.floats(0, 1)),
        st.tuples(st.just("expect"), COSTS, st.floats(0, 1e5)),
    ),
    max_size=30,
)


@given(ACTS, st.floats(0, 30))
def test_whatever_happens_it_never_goes_back_and_tells_nothing_absurd(
    acts: list[tuple[str, object, float]], step_s: float
) -> None:
    progress, now, last = JobProgress(), 100.0, 0.0
    for act, what, number in acts:
        now += step_s
        if isinstance(what, Costs):
            progress.expect(what, media_s=number)
        elif isinstance(what, Stage) and act == "enter":
            progress.enter(what, at_s=now, share=number)
        elif isinstance(what, Stage):
            progress.reach(what, number, at_s=now)
        assert last <= progress.fraction <= 1
        last = progress.fraction
        speed, eta_s = progress.speed(at_s=now + step_s), progress.eta_s(at_s=now + step_s)
        assert speed is None or 0 <= speed < float("inf")
        assert eta_s is None or 0 <= eta_s < float("inf")


# --- what a job costs ------------------------------------------------------------------------------------------------


def costs_of(profile: str, *, piped: bool = False, seconds: float = 10.0, sound_only: bool = False) -> Costs:
    picture = None if sound_only else samples.video(1280, 720, end_s=seconds)
    info = samples.media(picture, samples.audio(end_s=seconds), duration_s=seconds)
    plan = make_plan(
        info, builtin_profile(profile), ffmpeg="ffmpeg", source=Path("/s/source"), out_dir=Path("/s/out"), limits=samples.LIMITS,
        piped=piped,
    )  # fmt: skip
    return expected_costs(Rates(encode_px_per_s=1e6, download_bytes_per_s=1e6), plan, info, source_bytes=4_000_000)


def test_an_encode_costs_its_pictures_and_a_copy_its_bytes() -> None:
    one, ladder = costs_of("h264"), costs_of("abr")
    assert one.encode_s == pytest.approx(1280 * 720 * 30 * 10 / 1e6)
    assert ladder.encode_s == pytest.approx((1280 * 720 + 640 * 360) * 30 * 10 / 1e6)
    assert (one.download_s, ladder.download_s) == (4, 4)
    assert costs_of("copy").encode_s == pytest.approx(4.1)
    assert costs_of("audio", sound_only=True).encode_s == pytest.approx(4.1)
    assert costs_of("h264", seconds=20).encode_s == pytest.approx(2 * one.encode_s)


def test_what_overlaps_is_told_by_the_plan() -> None:
    assert (costs_of("abr").reads_early, costs_of("abr", piped=True).reads_early) == (False, True)
    assert (costs_of("abr").sends_early, costs_of("mp4").sends_early) == (True, False)


def test_rates_go_halfway_to_what_was_seen() -> None:
    rates = Rates()
    costs = rates.costs(source_bytes=400_000_000, media_s=60, pixels=1.6e9, output_bytes=200_000_000)
    assert (costs.download_s, costs.encode_s, costs.verify_s, costs.publish_s) == (10, 20, 2, 10)
    learned = rates.learned(costs, {"download": 5.0, "encode": 40.0, "verify": 0.5, "publish": 10.0})
    assert learned.download_bytes_per_s == rates.download_bytes_per_s * 1.5
    assert learned.encode_px_per_s == rates.encode_px_per_s * 0.75
    assert learned.verify_px_per_s == rates.verify_px_per_s, "less than a second says nothing"
    assert learned.publish_bytes_per_s == rates.publish_bytes_per_s
    assert rates.learned(costs, {}) == rates


def test_what_waited_for_something_else_teaches_nothing() -> None:
    rates = Rates()
    costs = replace(IN_TURN, reads_early=True, sends_early=True)
    starved = rates.learned(costs, {"download": 30.0, "encode": 31.0, "publish": 9.0})
    assert (starved.encode_px_per_s, starved.publish_bytes_per_s) == (rates.encode_px_per_s, rates.publish_bytes_per_s)
    fed = rates.learned(costs, {"download": 3.0, "encode": 12.0})
    assert fed.encode_px_per_s == rates.encode_px_per_s * 0.75


@given(st.dictionaries(st.sampled_from([stage.value for stage in Stage]), st.floats(0, 1e6)), COSTS)
def test_rates_stay_rates(took_s: dict[str, float], costs: Costs) -> None:
    learned = Rates().learned(costs, took_s)
    assert min(learned.download_bytes_per_s, learned.encode_px_per_s, learned.verify_px_per_s, learned.publish_bytes_per_s) > 0
    again = learned.costs(source_bytes=1, media_s=0, pixels=Fraction(1).numerator, output_bytes=1)
    assert again.longest_s(again.of) > 0
