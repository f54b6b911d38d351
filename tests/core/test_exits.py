"""What ffmpeg's end means."""

from __future__ import annotations

import pytest

from vproc.core.exits import encoder_failure, input_damaged, last_words
from vproc.errors import EncoderError, RejectedError, TransientError, UnavailableError

DECODE = "[h264 @ 0x55] error while decoding MB 4 2\nfile:/scratch/j/in: Invalid data found when processing input"


@pytest.mark.parametrize(
    ("returncode", "stderr", "branch", "code"),
    [
        (1, DECODE, RejectedError, "corrupt_media"),
        (1, "[mov @ 0x5] moov atom not found", RejectedError, "corrupt_media"),
        (69, "", RejectedError, "corrupt_media"),
        (1, "[x @ 0x5] Codec (magicyuv) not on whitelist", RejectedError, "unsupported_media"),
        (1, "Decoder (codec none) not found for input stream #0:1", RejectedError, "unsupported_media"),
        (1, "av_interleaved_write_frame(): No space left on device", UnavailableError, "out_of_disk"),
        (1, "Invalid data found when processing input\nNo space left on device", UnavailableError, "out_of_disk"),
        (-25, "", RejectedError, "limit_exceeded"),
        (153, "", RejectedError, "limit_exceeded"),
        (-24, "", RejectedError, "limit_exceeded"),
        (-9, "", EncoderError, "out_of_memory"),
        (137, "", EncoderError, "out_of_memory"),
        (1, "Error while filtering: Cannot allocate memory", EncoderError, "out_of_memory"),
        (244, "Nothing was written into output file", EncoderError, "out_of_memory"),
        (-11, "", EncoderError, "encoder_failed"),
        (139, "", EncoderError, "encoder_failed"),
        (-6, "free(): invalid pointer", EncoderError, "encoder_failed"),
        (-31, "", EncoderError, "encoder_failed"),
        (255, "Exiting normally, received signal 15.", TransientError, "encoder_failed"),
        (-15, "", TransientError, "encoder_failed"),
        (1, "Conversion failed!", TransientError, "encoder_failed"),
        (234, "", TransientError, "encoder_failed"),
    ],
)
def test_an_exit_code_and_last_words_are_an_error(returncode: int, stderr: str, branch: type[Exception], code: str) -> None:
    error = encoder_failure(returncode=returncode, stderr=stderr, stopped=None)
    assert type(error) is branch
    assert error.code == code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("stopped", "branch", "code"),
    [
        ("wall", RejectedError, "timeout"),
        ("stall", TransientError, "stalled"),
        ("directory", RejectedError, "limit_exceeded"),
        ("stdout", RejectedError, "limit_exceeded"),
    ],
)
@pytest.mark.parametrize("returncode", [0, 255, -9, -15])
def test_our_own_stop_counts_before_the_exit_code(stopped: str, branch: type[Exception], code: str, returncode: int) -> None:
    error = encoder_failure(returncode=returncode, stderr=DECODE, stopped=stopped)
    assert type(error) is branch
    assert error.code == code  # type: ignore[attr-defined]


def test_an_end_with_zero_is_no_error_whatever_was_said() -> None:
    assert encoder_failure(returncode=0, stderr=DECODE, stopped=None) is None


def test_an_end_with_zero_may_have_been_damaged() -> None:
    assert input_damaged("[matroska,webm @ 0x5] File ended prematurely at pos. 4000 (0xfa0)")
    assert input_damaged(DECODE)
    assert not input_damaged("[swscaler @ 0x5] deprecated pixel format used")


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        ("", "it said nothing"),
        ("\n \n", "it said nothing"),
        ("first\n[h264 @ 0x55d0] last  \n\n", "last"),
        ("file:/scratch/job-1/in: Invalid data found", "the file: Invalid data found"),
        ("x" * 5000, "x" * 200),
    ],
)
def test_the_last_words_are_short_and_name_nothing_of_ours(stderr: str, words: str) -> None:
    assert last_words(stderr) == words
