"""Damaged and hostile sources through the real ffmpeg: an exit code of 0 proves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.media import FFMPEG, LIMITS, Encoded, clip, encode, encoded, probe, truncated
from tests.support.tools import in_use
from vproc.core.command import decode_check_argv, make_plan
from vproc.core.exits import encoder_failure, input_damaged
from vproc.core.verify import Verdict, check_decode, check_end, check_extent, check_output
from vproc.errors import RejectedError, TransientError
from vproc.profiles import builtin_profile


def judge(done: Encoded) -> Verdict:
    """As the daemon does: the end, then each output, then all together."""
    failure = encoder_failure(returncode=done.returncode, stderr=done.stderr, stopped=None)
    if failure is not None:
        raise failure
    verdict = check_end(done.stderr, out_time_s=done.progress.out_time_s, limit_s=done.plan.limit_s)
    probed = {output: probe(output.path) for output in done.plan.outputs if output.is_media}
    for output, info in probed.items():
        verdict |= check_output(output, info)
    return verdict | check_extent(done.plan, probed.values(), out_time_s=done.progress.out_time_s, stderr=done.stderr)


@pytest.mark.parametrize("profile", ["abr", "h264", "audio", "thumbnails", "copy"])
def test_half_a_matroska_ends_with_0_and_is_corrupt_media(profile: str, tmp_path: Path) -> None:
    done = encode(truncated("main.mkv", 0.5), profile, tmp_path)
    assert done.returncode == 0
    with pytest.raises(RejectedError, match="can be decoded") as caught:
        judge(done)
    assert caught.value.code == "corrupt_media"


def test_a_matroska_that_lacks_its_last_tenth_is_kept_and_marked(tmp_path: Path) -> None:
    done = encode(truncated("main.mkv", 0.96), "h264", tmp_path)
    assert input_damaged(done.stderr)
    assert judge(done) == Verdict(damaged=True)


@pytest.mark.parametrize(
    "name", ["main.mkv", "longer-sound.mp4", "shorter-sound.mp4", "late-video.mp4", "long.mp4", "sparse.mp4"]
)
@pytest.mark.parametrize("profile", ["copy", "audio", "thumbnails"])
def test_a_whole_file_is_not_damaged(name: str, profile: str) -> None:
    """However much longer one of its streams is, and however far apart its key frames are."""
    if profile != "audio" or probe(clip(name)).audio:
        assert judge(encoded(name, profile)) == Verdict()


def test_noise_in_the_middle_is_decoded_over(tmp_path: Path) -> None:
    source = tmp_path / "noise.mp4"
    data = bytearray(clip("short.mp4").read_bytes())
    data[150_000:150_200] = os.urandom(200)
    source.write_bytes(data)
    done = encode(source, "h264", tmp_path / ".")
    assert done.returncode == 0
    assert check_output(done.plan.outputs[0], done.probe("v360")) == Verdict()


def test_a_file_longer_than_the_limit_is_stopped_there_and_found_out(tmp_path: Path) -> None:
    """Its container may lie about its length: what counts is how far ffmpeg read."""
    done = encode(clip("main.mp4"), "audio", tmp_path, limits=replace(LIMITS, max_duration_s=2.0))
    assert done.returncode == 0
    with pytest.raises(RejectedError, match="beyond 2 s") as caught:
        check_end(done.stderr, out_time_s=done.progress.out_time_s, limit_s=done.plan.limit_s)
    assert caught.value.code == "limit_exceeded"


def test_a_hole_of_a_week_in_the_timestamps_fills_no_disk(tmp_path: Path) -> None:
    """Two seconds of picture, then one frame a week later: the limit ends it, the sheets are counted."""
    source = tmp_path / "gap.mkv"
    shift = "setpts=if(eq(N\\,59)\\,604800/TB\\,PTS)"
    argv = [FFMPEG, "-v", "error", "-f", "lavfi", "-i", f"testsrc=size=64x64:rate=30:duration=2,{shift}"]
    subprocess.run([*argv, "-fps_mode", "passthrough", "-c:v", "mpeg4", source], check=True)
    out = tmp_path / "out"
    out.mkdir()
    done = encode(source, "thumbnails", out, limits=replace(LIMITS, max_duration_s=60))
    assert sum(path.stat().st_size for path in out.iterdir()) < 1_000_000
    assert done.progress.out_time_s <= 60


def test_a_terminated_encode_leaves_a_file_that_opens_and_its_exit_code_says_no(tmp_path: Path) -> None:
    plan = make_plan(
        probe(clip("hd.mp4")),
        builtin_profile("h264"),
        ffmpeg=in_use().ffmpeg,
        source=clip("hd.mp4"),
        out_dir=tmp_path,
        limits=LIMITS,
    )
    with subprocess.Popen(
        plan.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("progress="))
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate()
    error = encoder_failure(returncode=process.returncode, stderr=stderr, stopped=None)
    assert process.returncode == 255
    assert isinstance(error, TransientError)


def test_a_full_disk_is_the_machines_fault(tmp_path: Path) -> None:
    """/dev/full takes nothing, as a full disk does."""
    (tmp_path / "audio.m4a").symlink_to("/dev/full")
    done = encode(clip("sound.wav"), "audio", tmp_path)
    error = encoder_failure(returncode=done.returncode, stderr=done.stderr, stopped=None)
    assert error is not None
    assert error.code == "out_of_disk"


@pytest.mark.parametrize("profile", ["abr", "mp4", "audio", "copy"])
def test_what_was_encoded_decodes(profile: str) -> None:
    done = encoded("main.mp4", profile)
    argv = decode_check_argv(in_use().ffmpeg, done.plan.outputs)
    check = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert check_decode(check.returncode, check.stderr, copied=profile == "copy") == Verdict()


def test_an_output_with_a_hole_in_it_does_not(tmp_path: Path) -> None:
    done = encode(clip("short.mp4"), "abr", tmp_path)
    data = bytearray(done.path("v360").read_bytes())
    data[2000:12000] = bytes(10_000)
    done.path("v360").write_bytes(data)
    check = subprocess.run(decode_check_argv(in_use().ffmpeg, done.plan.outputs), check=False, capture_output=True, text=True)
    with pytest.raises(TransientError, match="does not decode"):
        check_decode(check.returncode, check.stderr, copied=False)
