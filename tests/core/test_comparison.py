"""Comparing encodes: graphs whose every label is made once and used once, and figures read of what they write."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.graphs import labels
from vproc.core.comparison import (
    COMPARED_FILES,
    EVERY,
    FIGURE_FILTERS,
    MODEL,
    FrameFigures,
    Graph,
    figures_graph,
    read_figures,
    read_vmaf,
    vmaf_graph,
)

NAMES = st.lists(st.text("abcdef123", min_size=1, max_size=3), min_size=1, max_size=4, unique=True)


def written(values: list[float], key: str = "psnr.mse.y") -> str:
    """As the filter ``metadata`` prints, one block a frame."""
    return "".join(f"frame:{at}    pts:{at}\nlavfi.{key}={value:.6f}\n" for at, value in enumerate(values))


def files(frames: int, *, motion: float = 3.0, vif: float = 0.9, whole: float = 1000.0, kept: float = 800.0) -> dict[str, str]:
    """Of one encode ``e`` and its reference ``r``, each compared frame like the others."""
    told = {"compared-r-motion.txt": written([0.0, *[motion] * (frames * EVERY - 1)], "vmafmotion.score")}
    told["compared-e-vif.txt"] = written([vif] * frames, "vif.scale.0")
    told["compared-r-whole.txt"] = written([whole] * frames)
    told["compared-e-kept.txt"] = written([kept] * frames)
    return told


def assert_connected(graph: Graph, inputs: list[str]) -> None:
    made, used = labels(graph.text)
    assert set(made.values()) == {1}
    assert used + Counter(graph.outputs) == made + Counter(inputs)
    assert [graph.text.count(name) for name in graph.files] == [1] * len(graph.files)
    assert len(set(graph.files)) == len(graph.files)


# --- graphs ----------------------------------------------------------------------------------------------------------


@given(NAMES)
def test_every_label_is_made_once_and_used_once(names: list[str]) -> None:
    assert_connected(figures_graph(names, "ref"), [*names, "ref"])
    assert_connected(vmaf_graph(names, "ref"), [*names, "ref"])


def test_the_files_can_be_found_by_their_pattern() -> None:
    """What a broken run leaves is removed by it."""
    graphs = figures_graph(["a", "b"], "ref"), vmaf_graph(["a", "b"], "ref")
    assert all(name.startswith(COMPARED_FILES.rstrip("*")) for graph in graphs for name in graph.files)


def test_the_figures_take_no_filter_that_is_not_asked_for() -> None:
    text = figures_graph(["a"], "ref").text
    assert all(f"{name}" in text for name in FIGURE_FILTERS)
    assert "libvmaf" not in text


def test_the_encode_comes_first_and_the_reference_second() -> None:
    """The other way round the figures are others."""
    assert "[a-f][ref-a]libvmaf=" in vmaf_graph(["a"], "ref").text
    assert "[a-q0][ref-q0]vif," in figures_graph(["a"], "ref").text
    assert "[ref-g-a][a-g]lut2=" in figures_graph(["a"], "ref").text


def test_libvmaf_is_told_its_model_and_how_often_to_look() -> None:
    text = vmaf_graph(["a"], "ref", every=5, threads=3).text
    assert f"model=version={MODEL}:" in text
    assert ":n_threads=3:n_subsample=5[" in text


def test_no_frame_of_the_motion_is_left_out() -> None:
    text = figures_graph(["a"], "ref", every=7).text
    assert "[ref-m]vmafmotion," in text
    assert text.count("select='not(mod(n,7))'") == 2


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_are_read_of_every_compared_frame_but_the_first() -> None:
    found = read_figures(files(5, kept=1000.0 * 0.9**3), "e", "r")
    assert len(found) == 4
    assert found[0].vif == 0.9
    assert found[0].kept == pytest.approx(0.9, abs=1e-4)
    assert found[0].motion == 3.0


def test_a_flat_picture_keeps_all_of_nothing() -> None:
    (frame,) = read_figures(files(2, whole=0.0, kept=0.0), "e", "r")
    assert frame.kept == 1.0


def test_a_cut_is_no_motion() -> None:
    """VMAF takes the lesser of the motion to a frame and from it."""
    told = files(3)
    told["compared-r-motion.txt"] = written([0, 1, 1, 60, 2, 2, 1, 1, 1], "vmafmotion.score")
    assert [frame.motion for frame in read_figures(told, "e", "r")] == [2, 1]


def test_the_last_frame_has_the_motion_to_it() -> None:
    told = files(3)
    told["compared-r-motion.txt"] = written([0, 1, 1, 2, 2, 2, 7], "vmafmotion.score")
    assert [frame.motion for frame in read_figures(told, "e", "r")] == [2, 7]


def test_the_shortest_file_says_how_many_frames_there_are() -> None:
    told = files(6) | {"compared-e-kept.txt": written([5.0] * 3)}
    assert len(read_figures(told, "e", "r")) == 2


@pytest.mark.parametrize("text", ["", "frame:0 pts:0\n", written([1.0])])
def test_nothing_compared_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="nothing was compared of e"):
        read_figures(files(4) | {"compared-e-vif.txt": text}, "e", "r")


@given(st.text(), st.sampled_from(sorted(files(2))))
def test_no_text_gives_more_than_a_value_error(text: str, name: str) -> None:
    try:
        found = read_figures(files(2) | {name: text}, "e", "r")
    except ValueError:
        return
    assert all(isinstance(frame, FrameFigures) for frame in found)


def test_what_is_no_number_counts_as_none() -> None:
    told = files(2) | {"compared-e-vif.txt": "lavfi.vif.scale.0=0.5\nlavfi.vif.scale.0=nan\n"}
    assert read_figures(told, "e", "r")[0].vif == 0.0


# --- libvmaf ---------------------------------------------------------------------------------------------------------


def log(*scores: float) -> str:
    return json.dumps({"frames": [{"frameNum": at * EVERY, "metrics": {"vmaf": score}} for at, score in enumerate(scores)]})


def test_vmaf_is_read_of_every_frame_but_the_first() -> None:
    """It has no motion, and a lower score for it."""
    assert read_vmaf(log(80.0, 91.0, 93.5)) == (91.0, 93.5)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", log(), log(90.0), '{"frames": [{"metrics": {}}]}', '{"frames": 3}'])
def test_a_log_that_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="libvmaf measured nothing"):
        read_vmaf(text)
