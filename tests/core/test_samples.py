"""Sample encodes: which pieces of a source, at which qualities, by which command lines."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.graphs import labels
from tests.support.samples import LIMITS, audio, media, video
from vproc.core.command import make_plan
from vproc.core.container import Container
from vproc.core.media import MediaInfo
from vproc.core.profile import Profile, Quality, VideoCodec
from vproc.core.samples import (
    COMPARED,
    REFERENCE,
    SAMPLE_FILES,
    WHOLE_S,
    Piece,
    SamplePlan,
    choose_pieces,
    compare_argv,
    encode_argv,
    plan_samples,
    read_compared,
)
from vproc.errors import RejectedError
from vproc.profiles import builtin_profile

ABR = replace(builtin_profile("abr"), quality=Quality.AUTO)
SOURCE, CWD = Path("/scratch/source"), Path("/scratch")


def film(duration_s: float | None = 30.0, width: int = 1920, height: int = 1080, **changes: Any) -> MediaInfo:
    return media(video(width, height, end_s=duration_s, **changes), audio(), duration_s=duration_s)


def planned(info: MediaInfo | None = None, profile: Profile = ABR) -> SamplePlan:
    plan = plan_samples(info or film(), profile)
    assert plan is not None
    return plan


def encoding(plan: SamplePlan) -> tuple[str, ...]:
    return encode_argv(plan, ffmpeg="/bin/ffmpeg", source=SOURCE, cwd=CWD, max_pixels=LIMITS.max_pixels)


def comparing(plan: SamplePlan, *, libvmaf: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return compare_argv(plan, ffmpeg="/bin/ffmpeg", source=SOURCE, cwd=CWD, max_pixels=LIMITS.max_pixels, libvmaf=libvmaf)


def values(argv: tuple[str, ...], option: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def assert_connected(argv: tuple[str, ...]) -> None:
    """Every label of the graph is made once and used once; what nobody makes is a stream of an input."""
    (graph,) = values(argv, "-filter_complex")
    made, used = labels(graph)
    used += Counter(word.strip("[]") for word in values(argv, "-map"))
    assert set(made.values()) == {1}
    streams = used - made
    assert made - used == Counter()
    assert all(label.partition(":")[0].isdigit() for label in streams)
    assert {int(label.partition(":")[0]) for label in streams} == set(range(argv.count("-i")))


# --- pieces ----------------------------------------------------------------------------------------------------------


def test_a_very_short_source_is_taken_whole() -> None:
    assert choose_pieces(0.1) == choose_pieces(WHOLE_S) == (Piece(0.0, WHOLE_S),)


def test_a_source_of_unknown_length_is_tried_at_its_start() -> None:
    assert [piece.start_s for piece in choose_pieces(None)] == [0.0]


@pytest.mark.parametrize(
    ("duration_s", "number", "together_s"), [(4, 4, 1.6), (30, 4, 1.6), (60, 7, 2.7), (600, 8, 8), (20000, 8, 8)]
)
def test_pieces_are_more_and_longer_the_longer_the_source(duration_s: float, number: int, together_s: float) -> None:
    pieces = choose_pieces(duration_s)
    assert len(pieces) == number
    assert sum(piece.length_s for piece in pieces) == pytest.approx(together_s)


@given(st.floats(min_value=WHOLE_S, max_value=21600, exclude_min=True))
def test_pieces_lie_apart_and_within_the_source(duration_s: float) -> None:
    pieces = choose_pieces(duration_s)
    assert pieces[0].start_s >= 0
    assert pieces[-1].start_s + pieces[-1].length_s <= duration_s
    for one, other in itertools.pairwise(pieces):
        assert other.start_s - one.start_s >= one.length_s


@given(st.floats(min_value=WHOLE_S, max_value=21600, exclude_min=True))
def test_a_long_sources_samples_are_a_small_share_of_it(duration_s: float) -> None:
    together_s = sum(piece.length_s for piece in choose_pieces(duration_s))
    assert together_s <= max(1.6, 0.045 * duration_s) + 1e-6
    assert together_s <= 8 + 1e-6


# --- what is tried ---------------------------------------------------------------------------------------------------


def test_the_largest_rung_is_tried_twice_and_each_other_once() -> None:
    plan = planned()
    assert [(sample.rung.name, sample.rung.crf) for sample in plan.samples] == [
        ("v1080", 19.0), ("v1080", 25.0), ("v720", 19.0), ("v360", 19.0)
    ]  # fmt: skip
    assert {sample.rung for sample in plan.samples[:COMPARED]} == {replace(plan.largest, crf=at) for at in (19.0, 25.0)}


def test_a_sample_is_not_capped() -> None:
    """What a piece needs shows only so."""
    assert {int(value) for value in values(encoding(planned()), "-maxrate")} == {80_000_000}


@pytest.mark.parametrize(("target", "expected"), [(93, [19.0, 25.0]), (85, [22.6, 28.6]), (97, [17.2, 23.2])])
def test_a_lower_target_is_looked_for_at_worse_qualities(target: float, expected: list[float]) -> None:
    plan = planned(profile=replace(ABR, target_vmaf=target))
    assert [sample.rung.crf for sample in plan.samples[:COMPARED]] == expected


@pytest.mark.parametrize("codec", VideoCodec)
def test_every_codec_has_two_qualities_of_its_own(codec: VideoCodec) -> None:
    plan = planned(profile=replace(ABR, codec=codec))
    better, worse = (sample.rung.crf for sample in plan.samples[:COMPARED])
    assert 15 <= better < worse <= 40


@pytest.mark.parametrize("name", ["audio", "thumbnails", "copy"])
def test_where_no_picture_is_encoded_nothing_is_tried(name: str) -> None:
    assert plan_samples(film(), replace(builtin_profile(name), quality=Quality.AUTO)) is None


def test_a_source_without_picture_is_refused_as_the_plan_does() -> None:
    with pytest.raises(RejectedError, match="takes a video stream"):
        plan_samples(media(None, audio()), ABR)


def test_a_guessed_length_is_not_believed() -> None:
    info = replace(film(), container=Container.MPEG)
    assert planned(info).pieces == choose_pieces(None)


# --- command lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "info",
    [film(), film(2.0), film(None), film(width=640, height=360), film(rotation=90), film(7200.0),
     film(field_order="tt", fps=Fraction(25))],
)  # fmt: skip
def test_every_label_is_made_once_and_used_once(info: MediaInfo) -> None:
    plan = planned(info)
    assert_connected(encoding(plan))
    for libvmaf in (True, False):
        assert_connected(comparing(plan, libvmaf=libvmaf)[0])


def test_every_piece_is_an_input_behind_the_allow_list() -> None:
    argv, plan = encoding(planned()), planned()
    assert argv.count("-i") == len(plan.pieces) == 4
    assert values(argv, "-i") == ["file:/scratch/source"] * 4
    assert values(argv, "-f")[:4] == ["mov"] * 4
    assert values(argv, "-protocol_whitelist") == ["file"] * 4
    assert values(argv, "-ss") == [f"{piece.start_s:.3f}" for piece in plan.pieces]
    assert values(argv, "-t") == [f"{piece.length_s:.3f}" for piece in plan.pieces]


def test_a_piece_begins_at_a_key_frame() -> None:
    """To decode up to the very frame may cost more than all the rest."""
    assert encoding(planned()).count("-noaccurate_seek") == 4
    assert "-ss" not in encoding(planned(film(2.0)))


def test_the_job_s_own_filters_make_the_samples() -> None:
    plan = planned()
    (graph,) = values(encoding(plan), "-filter_complex")
    job = make_plan(film(), ABR, ffmpeg="/bin/ffmpeg", source=SOURCE, out_dir=CWD, limits=LIMITS)
    (whole,) = values(job.argv, "-filter_complex")
    for rung in plan.encode.rungs:
        chain = whole.partition(f"[{rung.name}-in]scale")[2].partition("[")[0]
        assert graph.count(f"scale{chain}[{rung.name}p") == len(plan.pieces)


def test_every_sample_is_a_file_in_the_jobs_directory() -> None:
    argv = encoding(planned())
    outputs = [word for word in argv if word.startswith("file:/scratch/sample-")]
    assert outputs == [f"file:/scratch/sample-{label}.mkv" for label in ("a", "b", "c0", "c1")]
    assert all(sample.file.startswith(SAMPLE_FILES.rstrip("*")) for sample in planned().samples)
    assert values(argv, "-crf") == ["19", "25", "19", "19"]


def test_only_the_largest_rung_is_compared() -> None:
    argv, files = comparing(planned())
    assert values(argv, "-i")[4:] == ["file:/scratch/sample-a.mkv", "file:/scratch/sample-b.mkv"]
    assert set(values(argv, "-f")[6:]) == {"null"}
    assert "720" not in values(argv, "-filter_complex")[0]
    assert len(files) == 2 + 2 * 2


# --- what comes of it ------------------------------------------------------------------------------------------------


def test_libvmafs_logs_are_read_in_the_order_of_the_samples() -> None:
    plan = planned()
    _, files = comparing(plan, libvmaf=True)
    told = {
        name: '{"frames": [' + ", ".join([f'{{"metrics": {{"vmaf": {score}}}}}'] * 16) + "]}"
        for name, score in zip(files, (95, 88), strict=True)
    }
    better, worse = read_compared(plan, told, libvmaf=True)
    assert (better.vmaf, worse.vmaf) == (95.0, 88.0)
    assert better.length_s == worse.length_s == 1.6


def test_what_was_not_compared_is_an_error() -> None:
    plan = planned()
    _, files = comparing(plan)
    with pytest.raises(ValueError, match="nothing was compared of a"):
        read_compared(plan, dict.fromkeys(files, ""), libvmaf=False)
    assert REFERENCE not in {sample.label for sample in plan.samples}
