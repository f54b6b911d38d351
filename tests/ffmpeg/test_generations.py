"""What the daemon makes of each real ffmpeg: what it finds out about it, chooses, and refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.children import confined
from tests.support.media import clip, probe
from tests.support.tools import GENERATIONS, LONE, PACKAGED, SYSTEM, in_use
from vproc.core.allowlist import AUDIO_DECODERS, VIDEO_DECODERS
from vproc.core.capabilities import NEWEST, lacks, unfit
from vproc.core.comparison import VMAF_FILTER
from vproc.core.hardware import choose_encoder, trial_argv
from vproc.core.needs import choose_build, needs_of
from vproc.profiles import builtin_profile
from vproc.workers.ffmpeg import PairSource, find_pairs, with_trials


def test_the_generations_are_three() -> None:
    """Else a third of what is tested here is tested for nothing."""
    system, packaged, lone = (tools.capabilities.generation for tools in GENERATIONS)
    assert 4 <= system < packaged < lone < NEWEST
    assert packaged >= 8


async def test_asked_in_the_jail_it_tells_what_it_can_do(tmp_path: Path) -> None:
    """As at the daemon's start, confined like a job."""
    tools = in_use()
    (pair,) = await find_pairs(tools.ffmpeg, tools.ffprobe, confined(), cwd=tmp_path)
    assert (pair.ffmpeg, pair.ffprobe, pair.source) == (tools.ffmpeg, tools.ffprobe, PairSource.SETTING)
    assert pair.capabilities == tools.capabilities
    assert unfit(pair.capabilities) == ()
    assert pair.capabilities.takes_ten_bits("libx264")


def test_of_the_two_on_this_machine_the_newer_comes_first() -> None:
    assert PACKAGED.capabilities.release > SYSTEM.capabilities.release


async def test_left_to_itself_the_daemon_takes_the_newer_pair_and_keeps_the_others(tmp_path: Path) -> None:
    pairs = await find_pairs(None, None, confined(), cwd=tmp_path)
    assert [pair.ffmpeg for pair in pairs] == [PACKAGED.ffmpeg, SYSTEM.ffmpeg, LONE.ffmpeg]
    assert [pair.capabilities.has_filter(VMAF_FILTER) for pair in pairs] == [False, False, True]


def test_every_listed_decoder_is_known_to_this_build_or_named_as_lacking() -> None:
    """The allow-list holds ffmpeg's own names: one that is misspelt would refuse sources for nothing."""
    known = in_use().capabilities.decoders
    lacking = {*VIDEO_DECODERS, *AUDIO_DECODERS} - known
    assert lacking <= {"libaom-av1", "libdav1d", "libvorbis", "png"}
    assert not lacking or in_use() == PACKAGED


@pytest.mark.parametrize("profile", ["abr", "thumbnails", "copy"])
def test_a_source_in_av1_goes_to_a_build_that_decodes_it(profile: str) -> None:
    """The package's cannot, and copies it all the same."""
    builds = [PACKAGED.capabilities, SYSTEM.capabilities]
    place = choose_build(needs_of(probe(clip("av1.mp4")), builtin_profile(profile)), builds)
    assert builds[place].decodes("av1") or profile == "copy"
    assert place == (0 if profile == "copy" else 1)


def test_a_codec_that_it_says_it_decodes_it_decodes() -> None:
    """AV1, of which a build may list a decoder that only drives a graphics card."""
    argv = [in_use().ffmpeg, "-v", "error", "-xerror", "-i", str(clip("av1.mp4")), "-frames:v", "1", "-f", "null", "-"]
    decoded = subprocess.run(argv, check=False, capture_output=True).returncode == 0
    assert decoded is in_use().capabilities.decodes("av1")


def test_an_encoder_of_ten_bits_keeps_them(tmp_path: Path) -> None:
    """And one that takes eight only makes eight of them, without a word of failure."""
    argv = [in_use().ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=1"]
    options = ["-c:v", "libx265", "-x265-params", "log-level=error", "-pix_fmt", "yuv420p10le"]
    subprocess.run([*argv, *options, str(tmp_path / "ten.mp4")], check=True, capture_output=True)
    video = probe(tmp_path / "ten.mp4").video
    assert video is not None
    assert (video.bit_depth == 10) is in_use().capabilities.takes_ten_bits("libx265")


def test_what_it_lacks_is_told_with_what_follows() -> None:
    told = {lack.name: lack.consequence for lack in lacks(in_use().capabilities)}
    assert ("zscale" in told) is (not in_use().capabilities.has_filter("zscale"))
    assert all(told.values())


# --- hardware --------------------------------------------------------------------------------------------------------


def test_a_trial_is_a_command_line_that_this_build_takes() -> None:
    """With the software encoder in the hardware's place it ends well: what a trial says is about the encoder alone."""
    argv = trial_argv(in_use().ffmpeg, "libx264")
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


async def test_hardware_that_is_not_there_is_found_out_and_software_is_used(tmp_path: Path) -> None:
    """No test machine has a card that encodes; each encoder that the build lists says why it does not work."""
    pair = await with_trials(in_use().pair, ["h264", "hevc"], confined(), cwd=tmp_path)
    trials = pair.capabilities.trials
    listed = {name for name in pair.capabilities.encoders if name.startswith(("h264_", "hevc_"))}
    assert {trial.encoder for trial in trials} <= listed
    assert all(trial.works or trial.reason for trial in trials)
    worked = any(trial.works for trial in trials if trial.encoder.startswith("h264_"))
    assert (choose_encoder("h264", trials) == "libx264") is not worked
