"""Colours are true: what a source's patches show, its outputs show, by their own tags and within a few of 255 steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colours import BARS, Coding, Colour, shown, steps, write_film
from tests.support.media import clip, encode, encoded, probe

FEW = 4.0
"""Steps: two conversions to eight bits, the encoder's and the JPEG's own rounding."""
FFV1 = "-c:v ffv1"

SD = Coding(matrix="smpte170m", primaries="smpte170m", transfer="smpte170m")
PAL = Coding(matrix="bt470bg", primaries="bt470bg", transfer="smpte170m")
CODINGS = {
    "hd": Coding(),
    "sd": SD,
    "pal": PAL,
    "full-range": Coding(full_range=True),
    "full-range-sd": Coding(matrix="smpte170m", primaries="smpte170m", transfer="smpte170m", full_range=True),
    "10-bit": Coding(pix_fmt="yuv420p10le"),
    "10-bit-422": Coding(pix_fmt="yuv422p10le"),
    "12-bit": Coding(pix_fmt="yuv420p12le", options=FFV1),
    "422": Coding(pix_fmt="yuv422p"),
    "444": Coding(pix_fmt="yuv444p"),
    "prores": Coding(pix_fmt="yuv422p10le", options="-c:v prores_ks -profile:v 3 -qscale:v 2"),
    "mpeg2": Coding(pix_fmt="yuv420p", matrix="smpte170m", primaries="smpte170m", transfer="smpte170m",
                    options="-c:v mpeg2video -q:v 1"),
    "vp9": Coding(options="-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 4 -b:v 0"),
    "hevc": Coding(pix_fmt="yuv420p10le", options="-c:v libx265 -preset ultrafast -x265-params log-level=error:crf=4"),
    "av1": Coding(options="-c:v libsvtav1 -preset 12 -crf 4"),
    "rgb": Coding(pix_fmt="gbrp", options=FFV1),
    "10-bit-rgb": Coding(pix_fmt="gbrp10le", options=FFV1),
    "untagged-sd": Coding(matrix=None, primaries=None, transfer=None, assumed="smpte170m"),
}  # fmt: skip


def film(tmp_path: Path, name: str, colours: tuple[Colour, ...] = BARS, *, scale: int = 1) -> Path:
    return write_film(tmp_path / "film.mkv", colours, CODINGS[name], scale=scale)


@pytest.mark.parametrize("name", CODINGS)
def test_a_rung_and_the_poster_show_the_sources_colours(name: str, tmp_path: Path) -> None:
    done = encode(film(tmp_path, name), "abr", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for path, matrix in ((done.path("v64"), None), (done.path("poster"), "bt601")):
        found = shown(path, len(BARS), matrix=matrix)
        assert max(map(steps, found, BARS)) <= FEW


@pytest.mark.parametrize("name", CODINGS)
def test_an_outputs_tags_are_the_sources_or_what_it_was_taken_for(name: str, tmp_path: Path) -> None:
    coding = CODINGS[name]
    video = encode(film(tmp_path, name, BARS[:2]), "h264", tmp_path).probe("v64").video
    assert video is not None
    wanted = "bt709" if coding.pix_fmt.startswith("gbr") else coding.matrix or coding.assumed
    assert (video.color_space, video.color_range, video.pix_fmt) == (wanted, "tv", "yuv420p")
    assert video.color_primaries == (coding.primaries or wanted)
    assert video.color_transfer == (coding.transfer or wanted)


@pytest.mark.parametrize(("name", "expected"), [("hd.mp4", "bt709"), ("rest.mp4", "bt709"), ("anamorphic.mp4", "smpte170m")])
def test_all_rungs_of_an_untagged_source_say_the_same(name: str, expected: str) -> None:
    """A player that guesses by size would show a 360p rung in other colours than the 1080p one."""
    done = encoded(name, "mp4")
    rungs = [done.probe(output.rendition).video for output in done.plan.outputs]
    tags = {(rung.color_space, rung.color_primaries, rung.color_transfer, rung.color_range) for rung in rungs if rung is not None}
    assert tags == {(expected, expected, expected, "tv")}
    assert len(rungs) > 1 or name == "anamorphic.mp4"


def test_hevc_and_the_ladder_keep_colours_in_every_rung(tmp_path: Path) -> None:
    """Four patches of 384 pixels: two rungs, each scaled on its own."""
    source = film(tmp_path, "10-bit-422", BARS[-4:], scale=6)
    for profile in ("mp4", "hevc"):
        out = tmp_path / profile
        out.mkdir()
        done = encode(source, profile, out)
        for output in done.plan.outputs:
            assert max(map(steps, shown(output.path, 4), BARS[-4:])) <= FEW


def test_thumbnails_show_the_sources_colours(tmp_path: Path) -> None:
    done = encode(film(tmp_path, "sd", BARS[:3]), "thumbnails", tmp_path)
    sprite = done.plan.sprite
    assert sprite is not None
    found = shown(done.path("sprite"), 3, matrix="bt601", part=(sprite.width, sprite.height))
    assert max(map(steps, found, BARS[:3])) <= FEW


WIDE = Coding(matrix="bt2020nc", primaries="bt2020", transfer="bt2020-10", pix_fmt="yuv420p10le")


def test_wide_colours_of_standard_range_come_out_as_bt709(tmp_path: Path) -> None:
    """Through BT.2087's matrix, in linear light; many players pay no heed to primaries."""
    to_2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
    wanted = ((0.5, 0.5, 0.5), (0.8, 0.6, 0.5), (0.3, 0.5, 0.35), (0.6, 0.3, 0.3), (0.3, 0.35, 0.7), (1.0, 1.0, 1.0))
    wide = []
    for colour in wanted:
        light = [value**2.4 for value in colour]
        red, green, blue = (sum(a * b for a, b in zip(row, light, strict=True)) ** (1 / 2.4) for row in to_2020)
        wide.append((min(1.0, red), min(1.0, green), min(1.0, blue)))
    source = write_film(tmp_path / "wide.mkv", wide, WIDE)
    done = encode(source, "abr", tmp_path)
    for path, matrix in ((done.path("v64"), None), (done.path("poster"), "bt601")):
        assert max(map(steps, shown(path, len(wanted), matrix=matrix), wanted)) <= FEW
    video = done.probe("v64").video
    assert video is not None
    assert (video.color_space, video.color_primaries, video.color_transfer) == ("bt709",) * 3


def test_the_range_of_jpeg_pictures_in_a_film_is_kept_in_mind() -> None:
    video = encoded("jpeg-range.mov", "h264").probe("v360").video
    assert video is not None
    assert video.color_range == "tv"
    source = probe(clip("jpeg-range.mov")).video
    assert source is not None
    assert source.color_range == "pc"
