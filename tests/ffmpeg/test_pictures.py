"""Posters and sprites by the real ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.media import FFMPEG, Encoded, encoded
from vproc.core.plan import OutputKind
from vproc.core.sprite import sprite_vtt
from vproc.core.verify import check_duration, check_picture, jpeg_size

HEAD_BYTES = 65536


def pixels(path: Path, *, size: str, crop: str = "null") -> bytes:
    """Grey levels of a picture, or of a part of it, scaled down."""
    argv = [FFMPEG, "-v", "error", "-i", path, "-vf", f"{crop},scale={size},format=gray", "-f", "rawvideo", "-"]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def pictures(done: Encoded) -> dict[OutputKind, list[Path]]:
    return {output.kind: list(output.paths) for output in done.plan.outputs if not output.is_media}


@pytest.mark.parametrize("profile", ["abr", "thumbnails"])
@pytest.mark.parametrize(
    "name", ["main.mp4", "one.mp4", "one.mkv", "slow.mp4", "rotated.mp4", "tiny.mp4", "interlaced.ts", "late-video.mp4"]
)
def test_every_film_has_a_poster_and_a_sheet_of_the_planned_size(name: str, profile: str) -> None:
    done = encoded(name, profile)
    assert (done.returncode, done.stderr) == (0, "")
    for output in done.plan.outputs:
        if not output.is_media:
            for path in output.paths:
                check_picture(output, path.read_bytes()[:HEAD_BYTES])
                assert jpeg_size(path.read_bytes()[:HEAD_BYTES]) == (output.width, output.height)


def test_nothing_is_written_beside() -> None:
    done = encoded("main.mp4", "thumbnails")
    assert {path.name for path in done.path("poster").parent.iterdir()} == {"poster.jpg", "sprite-001.jpg"}


def test_the_poster_is_the_frame_at_a_quarter() -> None:
    """Between 1.0 and 1.2 s the film is white: a quarter of three seconds is before it."""
    done = encoded("flash.mp4", "thumbnails")
    assert max(pixels(done.path("poster"), size="4:4")) < 32


def test_each_second_has_a_thumbnail_of_its_own() -> None:
    """Six seconds give six pictures that differ, and the places after them stay empty."""
    done = encoded("main.mp4", "thumbnails")
    sprite = done.plan.sprite
    assert sprite is not None
    assert sprite.count == 6
    sheet = done.path("sprite")
    drawn = [pixels(sheet, size="8:8", crop=f"crop=160:90:{160 * (n % 5)}:{90 * (n // 5)}") for n in range(sprite.count)]
    assert len(set(drawn)) == sprite.count
    assert all(max(thumb) > 40 for thumb in drawn)
    empty = pixels(sheet, size="8:8", crop="crop=160:90:160:180")
    assert max(empty) < 40


def test_a_late_first_frame_still_fills_the_first_thumbnail() -> None:
    done = encoded("late-video.mp4", "thumbnails")
    assert max(pixels(done.path("sprite"), size="8:8", crop="crop=160:90:0:0")) > 40


def test_a_long_film_fills_every_cue_from_its_intra_frames_alone() -> None:
    done = encoded("long.mp4", "thumbnails")
    assert "-skip_frame" in done.plan.argv
    assert (done.returncode, done.stderr) == (0, "")
    sprite = done.plan.sprite
    assert sprite is not None
    sheets = pictures(done)[OutputKind.SPRITE]
    assert len(sheets) == sprite.sheets
    assert all(sheet.exists() for sheet in sheets)
    last = sprite.count - 1
    place = last % sprite.per_sheet
    crop = f"crop=64:64:{64 * (place % 5)}:{64 * (place // 5)}"
    assert max(pixels(sheets[last // sprite.per_sheet], size="8:8", crop=crop)) > 40
    assert sprite_vtt(sprite, str).count("#xywh=") == sprite.count


def test_a_film_of_unknown_length_has_its_first_sheet() -> None:
    done = encoded("live.webm", "thumbnails")
    first, *rest = pictures(done)[OutputKind.SPRITE]
    assert first.exists()
    assert not any(sheet.exists() for sheet in rest)


@pytest.mark.parametrize("name", ["main.mp4", "slow.mp4", "one.mkv", "long.mp4"])
def test_progress_tells_how_far_the_decoder_came(name: str) -> None:
    """It is what a truncated source is found out by, where only pictures are made."""
    done = encoded(name, "thumbnails")
    assert done.plan.duration_s is not None
    assert not check_duration(done.progress.out_time_s, done.plan.duration_s).damaged


def test_a_thumbnail_is_the_frame_in_the_middle_of_its_second() -> None:
    """The film is white from 1.0 to 1.2 s: gone by the middle of the second second, so every thumbnail is black."""
    done = encoded("flash.mp4", "thumbnails")
    sprite = done.plan.sprite
    assert sprite is not None
    for number in range(sprite.count):
        assert max(pixels(done.path("sprite"), size="8:8", crop=f"crop=160:90:{160 * number}:0")) < 32
