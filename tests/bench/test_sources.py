"""The bench's clips: how footage is cut to a length, and what ffmpeg is told. No footage is fetched here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.footage import SCENES, Scene
from bench.sources import RECIPES, clip_argv, sound_argv, timeline

FOUND = {scene.name: Path(f"/footage/{scene.name}.mp4") for scene in SCENES}


def scene(name: str, frames: int) -> Scene:
    return Scene(name, "package", f"{name}.mp4", frames)


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=6), frames=st.integers(1, 2000))
def test_a_timeline_has_the_frames_asked_for_and_no_cut_goes_beyond_its_scene(lengths: list[int], frames: int) -> None:
    scenes = [scene(str(number), length) for number, length in enumerate(lengths)]
    cuts = timeline(scenes, frames)
    assert sum(cut.frames for cut in cuts) == frames
    assert all(cut.frames >= 1 and cut.first + cut.frames <= cut.scene.frames for cut in cuts)


def test_short_scenes_are_used_whole_and_the_others_share_evenly() -> None:
    cuts = timeline([scene("short", 40), scene("long", 800), scene("longer", 900)], 240)
    assert [(cut.scene.name, cut.frames) for cut in cuts] == [("short", 40), ("long", 100), ("longer", 100)]


def test_what_is_too_short_begins_again() -> None:
    cuts = timeline([scene("a", 10), scene("b", 10)], 25)
    assert [(cut.scene.name, cut.frames) for cut in cuts] == [("a", 10), ("b", 10), ("a", 3), ("b", 2)]
    with pytest.raises(ValueError, match="a scene and a frame"):
        timeline([], 25)


@pytest.mark.parametrize("name", RECIPES)
def test_a_clip_is_full_hd_with_sound_and_its_index_in_front(name: str) -> None:
    argv = clip_argv(RECIPES[name], FOUND, Path("/sound.wav"), 12)
    graph = argv[argv.index("-filter_complex") + 1]
    inputs = [argv[place + 1] for place, word in enumerate(argv) if word == "-i"]
    assert inputs == [*(str(path) for scene, path in FOUND.items() if scene in RECIPES[name].scenes), "/sound.wav"]
    assert graph.count("scale=1920:1080") == len(inputs) - 1
    assert argv[argv.index("-frames:v") + 1] == "360"
    assert argv[argv.index("-movflags") + 1] == "+faststart"
    assert f"{len(inputs) - 1}:a:0" in argv


def test_a_recipe_whose_scenes_are_not_to_be_had_is_made_of_the_others() -> None:
    argv = clip_argv(RECIPES["hard"], {"street": FOUND["street"]}, Path("/sound.wav"), 4)
    assert argv[:2] == ["-i", str(FOUND["street"])]
    assert sound_argv({"street": FOUND["street"]})[:2] == ["-f", "lavfi"]


def test_only_the_conforming_clip_keeps_its_key_frames_on_a_grid() -> None:
    closed = {name for name, recipe in RECIPES.items() if "+cgop" in recipe.encoding}
    assert closed == {"conforming"}
    assert RECIPES["mix"].scenes == RECIPES["conforming"].scenes
