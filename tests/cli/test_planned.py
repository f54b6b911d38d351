"""``vproc profiles --plan``: what would be made of a real file."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.media import clip
from tests.support.subtitles import subtitled
from vproc.cli import cli


def asked(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["profiles", "--plan", *map(str, arguments)], catch_exceptions=False)


def told(*arguments: str | Path) -> dict[str, Any]:
    result = asked(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_person_reads_the_rungs_and_a_command_that_a_shell_takes() -> None:
    result = asked(clip("main.mp4"))
    assert result.exit_code == 0
    said = result.stdout
    assert said.startswith("abr: libx264 at 30.000 pictures a second; the top rung is encoded, since ")
    assert "  v720   1280x720   crf 23, at most 2800 kb/s" in said
    assert "  audio    aac" in said
    command = said.split("\n\n")[1]
    words = shlex.split(command.replace("\\\n", " "))
    assert Path(words[0]).name.startswith("ffmpeg")
    assert words[words.index("-i") + 1] == f"file:{clip('main.mp4').resolve()}"


def test_a_conforming_source_is_said_to_be_copied() -> None:
    document = told(clip("conforming-cuts.mp4"))
    assert [(rung["name"], rung["copied"]) for rung in document["rungs"]] == [("v720", True), ("v360", False)]
    assert document["copy_refused"] is None


def test_captions_have_a_command_of_their_own() -> None:
    commands = told(subtitled("texts.mkv"))["commands"]
    assert "webvtt" in commands[-1]
    assert [output["kind"] for output in told(clip("sound.wav"), "--profile", "audio")["outputs"]] == ["audio"]


def test_the_command_shown_is_one_that_runs(tmp_path: Path) -> None:
    command = told(clip("short.mp4"), "--profile", "h264")["commands"][0]
    run = [word.replace("/job/out", str(tmp_path)) for word in command]
    assert subprocess.run(run, check=False, capture_output=True).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["v360.mp4"]


def test_own_profiles_are_planned_with(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[profiles.mine]\npackaging = "progressive"\ncodec = "hevc"\nquality = "auto"\n')
    result = asked(clip("short.mp4"), "--check", mine, "--profile", "mine")
    assert "sample encodes" in result.stdout
    assert "libx265" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.mp4"], 2, "does not exist"),
        ([Path(__file__)], 1, "looks like"),
        ([clip("short.mp4"), "--profile", "none"], 1, "there is no profile"),
    ],
    ids=["missing", "no-media", "no-profile"],
)
def test_what_cannot_be_planned_is_said_in_a_line(arguments: list[str | Path], code: int, words: str) -> None:
    result = asked(*arguments)
    assert result.exit_code == code
    assert words in result.stderr


def test_a_profile_without_a_video_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli, ["profiles", "--profile", "abr"])
    assert result.exit_code == 2
    assert "--plan" in result.stderr
