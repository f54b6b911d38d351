"""Measuring outputs: what is compared with what, and what the manifest is told."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.graphs import labels
from tests.support.samples import LIMITS, audio, capabilities, media, video
from vproc.core.measures import EVERY, MEASURED_FILES, can_measure, compared_outputs, measure_argv, read_measures
from vproc.core.plan import decide, outputs_of
from vproc.core.profile import Measure
from vproc.profiles import builtin_profile

FILM = media(video(1920, 1080), audio())
OUT = Path("/scratch/out")


def arranged(measure: Measure, profile: str = "abr") -> tuple[tuple[str, ...], dict[str, str]]:
    encode = decide(FILM, replace(builtin_profile(profile), measure=measure))
    outputs = compared_outputs(encode, outputs_of(encode, FILM, OUT))
    return measure_argv(
        FILM, encode, outputs, measure, ffmpeg="/bin/ffmpeg", source=Path("/scratch/source"), max_pixels=LIMITS.max_pixels
    )


@pytest.mark.parametrize("profile", ["abr", "mp4", "hevc"])
@pytest.mark.parametrize("measure", Measure)
def test_every_label_is_made_once_and_used_once(measure: Measure, profile: str) -> None:
    argv, files = arranged(measure, profile)
    made, used = labels(argv[argv.index("-filter_complex") + 1])
    used += Counter(argv[at + 1].strip("[]") for at, word in enumerate(argv) if word == "-map")
    assert set(made.values()) == {1}
    assert made - used == Counter()
    assert {label.partition(":")[0] for label in used - made} == {str(number) for number in range(len(files) + 1)}


def test_each_rung_is_compared_at_its_own_size() -> None:
    argv, files = arranged(Measure.SSIM)
    inputs = [argv[at + 1] for at, word in enumerate(argv) if word == "-i"]
    assert inputs == ["file:/scratch/source", *(f"file:/scratch/out/{name}.mp4" for name in ("v1080", "v720", "v360"))]
    assert files == {name: f"measured-{name}.txt" for name in ("v1080", "v720", "v360")}
    assert all(name.startswith(MEASURED_FILES.rstrip("*")) for name in files.values())
    graph = argv[argv.index("-filter_complex") + 1]
    for name, size in (("v1080", "1920:1080"), ("v720", "1280:720"), ("v360", "640:360")):
        assert f"[{name}-in]scale={size}:" in graph
        assert f"[{name}x][{name}y]ssim" in graph
    assert graph.count(f"select='not(mod(n,{EVERY}))'") == 6


def test_pictures_and_sound_are_not_compared() -> None:
    encode = decide(FILM, builtin_profile("abr"))
    outputs = outputs_of(encode, FILM, OUT)
    assert {output.rendition for output in outputs} > {"audio", "poster", "sprite"}
    assert [output.rendition for output in compared_outputs(encode, outputs)] == ["v1080", "v720", "v360"]
    copied = decide(FILM, builtin_profile("copy"))
    assert compared_outputs(copied, outputs_of(copied, FILM, OUT)) == ()


def test_the_manifest_is_told_the_means() -> None:
    ssim = "frame:0 pts:0\nlavfi.ssim.All=0.98\nframe:1 pts:1\nlavfi.ssim.All=0.96\n"
    assert read_measures({"v720": ssim}, Measure.SSIM) == {"v720": {"ssim": 0.97}}
    log = json.dumps({"frames": [{"metrics": {"vmaf": score}} for score in (50, 93.111, 92.222)]})
    assert read_measures({"v720": log}, Measure.VMAF) == {"v720": {"vmaf": 92.67}}


@pytest.mark.parametrize("measure", Measure)
def test_what_says_nothing_is_left_out(measure: Measure) -> None:
    assert read_measures({"v720": ""}, measure) == {}


def test_vmaf_takes_an_ffmpeg_that_has_it() -> None:
    assert not can_measure(Measure.VMAF, capabilities(filters=frozenset({"ssim"})))
    assert can_measure(Measure.SSIM, capabilities(filters=frozenset({"ssim"})))
    assert can_measure(Measure.VMAF, capabilities(filters=frozenset({"libvmaf"})))
