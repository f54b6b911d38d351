"""Whole command lines of each profile over the main kinds of source, as files that a person reads.

After a change that was meant: `UPDATE_GOLDEN=1 pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.support.samples import LIMITS, audio, media, video
from vproc.core.command import decode_check_argv, make_plan
from vproc.core.container import Container
from vproc.core.probe import ffprobe_argv
from vproc.errors import RejectedError
from vproc.profiles import builtin_profile, builtin_profiles

FOLDER = Path(__file__).parent / "argv"
SOURCE, OUT = Path("/scratch/job/source"), Path("/scratch/job/out")

SOURCES = {
    "hd": media(video(color_space="bt709", color_primaries="bt709", color_transfer="bt709", color_range="tv"), audio()),
    # A phone held upright: HEVC, ten bits, a clock for a frame rate, surround sound in a second track.
    "phone": media(
        video(
            3840, 2160, codec="hevc", display_width=2160, display_height=3840, rotation=-90, pix_fmt="yuv420p10le", bit_depth=10,
            fps=Fraction(2987, 100), base_fps=Fraction(90000), end_s=1200.0,
        ),
        audio(1, channels=1, sample_rate=44100),
        audio(2, channels=6, default=False, language="eng"),
        duration_s=1200.0,
    ),
    "silent": media(video(641, 359, end_s=4.0), duration_s=4.0),
    "broadcast": media(
        video(
            720, 576, index=1, codec="mpeg2video", display_width=1024, field_order="tt", fps=Fraction(25), base_fps=Fraction(50)
        ),
        audio(0, codec="mp2", default=False),
        container=Container.MPEGTS,
    ),
    "recording": media(
        video(codec="vp9", end_s=None), audio(codec="opus", end_s=None), container=Container.MATROSKA, duration_s=None
    ),
    "divx": media(video(640, 480, codec="mpeg4"), audio(codec="mp3"), container=Container.AVI),
    "sound": media(None, audio(0, codec="pcm_s24le", sample_rate=96000), container=Container.WAV),
}  # fmt: skip


def render(argv: tuple[str, ...]) -> str:
    """A line for each option and its value, quoted as for a shell."""
    lines: list[list[str]] = [[]]
    for word in argv:
        if word.startswith("-") and not word[1:2].isdigit():
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return "\n".join(" ".join(line) for line in lines) + "\n"


def command(profile: str, source: str) -> str:
    try:
        plan = make_plan(
            SOURCES[source], builtin_profile(profile), ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS, threads=2
        )
    except RejectedError as error:
        return f"{error}\n"
    commands = [render(argv) for argv in (plan.argv, plan.sheets_argv) if argv]
    assert [tuple(shlex.split(text)) for text in commands] == [argv for argv in (plan.argv, plan.sheets_argv) if argv]
    return "\n".join(commands)


def golden() -> dict[str, str]:
    found = {f"{profile}-{source}.txt": command(profile, source) for profile in builtin_profiles() for source in SOURCES}
    probe = ffprobe_argv("ffprobe", SOURCE, Container.MATROSKA, max_pixels=LIMITS.max_pixels)
    ladder = make_plan(SOURCES["hd"], builtin_profile("abr"), ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS)
    return found | {"probe.txt": render(probe), "decode-check.txt": render(decode_check_argv("ffmpeg", ladder.outputs))}


def test_every_command_line_is_the_one_that_was_read_and_agreed() -> None:
    """A changed argument shows as a changed line, and is agreed by committing it."""
    wanted = golden()
    if os.environ.get("UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        for path in FOLDER.glob("*.txt"):
            path.unlink()
        for name, text in wanted.items():
            (FOLDER / name).write_text(text)
    assert {path.name: path.read_text() for path in FOLDER.glob("*.txt")} == wanted


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_source_gives_the_same_command_line(source: str) -> None:
    """Nothing of time or chance is in it: a second attempt encodes the same."""
    for profile in builtin_profiles():
        assert command(profile, source) == command(profile, source)


def test_what_only_describes_a_source_changes_no_command_line() -> None:
    """A file's own bitrate, size, number of frames and codec profile decide nothing."""
    hd = SOURCES["hd"]
    assert hd.video is not None
    described = replace(hd, size_bytes=1, bitrate_bps=None, video=replace(hd.video, nb_frames=7, profile="Main", bitrate_bps=9))
    for profile in builtin_profiles():
        plans = [
            make_plan(info, builtin_profile(profile), ffmpeg="ffmpeg", source=SOURCE, out_dir=OUT, limits=LIMITS).argv
            for info in (hd, described)
        ]
        assert plans[0] == plans[1]
