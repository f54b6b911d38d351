"""Is an output what was planned?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import audio, media, video
from vproc.core.media import MediaInfo
from vproc.core.plan import OutputKind, Plan, PlannedOutput
from vproc.core.verify import (
    Verdict,
    check_decode,
    check_duration,
    check_end,
    check_extent,
    check_output,
    check_picture,
    jpeg_size,
)
from vproc.errors import RejectedError, TransientError

MP4 = PlannedOutput(OutputKind.VIDEO, "v720", (Path("/o/v720.mp4"),), "h264", 1280, 720, "aac", 10.0)
GOOD = media(video(1280, 720), audio())
WHOLE, DAMAGED = Verdict(), Verdict(damaged=True)


def test_what_was_planned_passes() -> None:
    assert check_output(MP4, GOOD) == WHOLE
    track = PlannedOutput(OutputKind.CMAF_VIDEO, "v720", (Path("/o/v720.mp4"),), "h264", 1280, 720, duration_s=10.0)
    assert check_output(track, media(video(1280, 720))) == WHOLE
    tone = PlannedOutput(OutputKind.CMAF_AUDIO, "audio", (Path("/o/audio.mp4"),), "aac", duration_s=10.0)
    assert check_output(tone, media(None, audio())) == WHOLE


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (media(None, audio()), "holds no video"),
        (media(video(1280, 720, codec="hevc"), audio()), "holds hevc video and not h264"),
        (media(video(1280, 718), audio()), "is 1280x718 and not 1280x720"),
        (media(video(1280, 720)), "holds no sound"),
        (media(video(1280, 720), audio(codec="mp3")), "holds mp3 sound and not aac"),
        (replace(GOOD, duration_s=None), "has no duration"),
    ],
)
def test_anything_else_is_an_invalid_output(info: MediaInfo, words: str) -> None:
    with pytest.raises(TransientError, match=f"the output v720 {words}") as caught:
        check_output(MP4, info)
    assert caught.value.code == "output_invalid"


def test_a_copy_may_be_a_pixel_off_in_its_displayed_size() -> None:
    assert check_output(MP4, media(video(1280, 720, display_width=1281), audio())) == WHOLE


@pytest.mark.parametrize(
    ("found_s", "declared_s", "verdict"),
    [(10.0, 10.0, WHOLE), (9.5, 10.0, WHOLE), (9.4, 10.0, DAMAGED), (9.0, 10.0, DAMAGED), (11.0, 10.0, WHOLE),
     (3565, 3600, WHOLE), (3563, 3600, DAMAGED), (0.04, 0.5, WHOLE), (1.0, None, WHOLE)],
)  # fmt: skip
def test_a_little_short_is_whole_and_ninety_per_cent_is_damaged(
    found_s: float, declared_s: float | None, verdict: Verdict
) -> None:
    assert check_duration(found_s, declared_s) == verdict


def test_less_than_ninety_per_cent_is_corrupt_media_with_both_numbers() -> None:
    with pytest.raises(RejectedError, match=r"only 8\.9 s of the 10\.0 s") as caught:
        check_output(MP4, replace(GOOD, duration_s=8.9))
    assert caught.value.code == "corrupt_media"


@given(st.floats(0, 30_000), st.floats(0.01, 30_000))
def test_longer_is_never_judged_worse(found_s: float, declared_s: float) -> None:
    def rank(seconds: float) -> int:
        try:
            return 1 if check_duration(seconds, declared_s).damaged else 2
        except RejectedError:
            return 0

    assert rank(found_s) <= rank(found_s * 1.01 + 0.01)
    assert rank(declared_s) == 2


PLAN = Plan((), (MP4,), "h264", 1, 10.0, 60.0)
CUT = "[matroska @ 0x1] File ended prematurely at pos. 9"


@pytest.mark.parametrize(
    ("lengths", "verdict"), [((10.0,), WHOLE), ((3.0, 9.6), WHOLE), ((9.2, 2.0), DAMAGED), ((None, 9.9), WHOLE)]
)
def test_the_longest_output_tells_how_far_all_came(lengths: tuple[float | None, ...], verdict: Verdict) -> None:
    """Of a stream that is shorter than the file nothing is said here: the other tells it."""
    probed = [replace(GOOD, duration_s=length) for length in lengths]
    assert check_extent(PLAN, probed, out_time_s=0.0, stderr="") == verdict
    assert check_extent(replace(PLAN, duration_s=None), probed, out_time_s=0.0, stderr="") == WHOLE


def test_where_no_output_comes_near_the_end_the_file_is_corrupt() -> None:
    with pytest.raises(RejectedError, match=r"only 5\.0 s of the 10\.0 s"):
        check_extent(PLAN, [replace(GOOD, duration_s=5.0)], out_time_s=10.0, stderr="")


def test_pictures_are_judged_by_how_far_the_decoder_came() -> None:
    assert check_extent(PLAN, [], out_time_s=9.9, stderr="") == WHOLE
    with pytest.raises(RejectedError, match=r"only 5\.0 s"):
        check_extent(PLAN, [], out_time_s=5.0, stderr="")


def test_key_frames_far_apart_are_no_damage_unless_ffmpeg_speaks_of_some() -> None:
    """A screen recording of ten minutes may have its only key frame at its start."""
    sparse = replace(PLAN, keyframes_only=True)
    assert check_extent(sparse, [], out_time_s=0.1, stderr="") == WHOLE
    assert check_extent(sparse, [], out_time_s=9.2, stderr=CUT) == DAMAGED
    with pytest.raises(RejectedError, match=r"only 5\.0 s"):
        check_extent(sparse, [], out_time_s=5.0, stderr=CUT)


def test_one_damaged_output_damages_the_file() -> None:
    assert WHOLE | DAMAGED == DAMAGED
    assert WHOLE | WHOLE == WHOLE


def test_reaching_the_limit_is_no_success() -> None:
    assert check_end("", out_time_s=59.9, limit_s=60) == WHOLE
    with pytest.raises(RejectedError, match="beyond 60 s") as caught:
        check_end("", out_time_s=60.0, limit_s=60)
    assert caught.value.code == "limit_exceeded"


def test_a_file_that_ended_prematurely_is_damaged() -> None:
    assert check_end("[matroska @ 0x1] File ended prematurely at pos. 9", out_time_s=1, limit_s=60) == DAMAGED


def test_what_we_encoded_must_decode_in_silence() -> None:
    assert check_decode(0, " \n", copied=False) == WHOLE
    for returncode, stderr in ((1, ""), (0, "[h264 @ 0x1] error while decoding MB"), (-11, "")):
        with pytest.raises(TransientError, match="does not decode"):
            check_decode(returncode, stderr, copied=False)


def test_what_was_copied_may_be_damaged_as_its_source_is() -> None:
    assert check_decode(1, "Invalid data", copied=True) == DAMAGED
    assert check_decode(1, "", copied=True) == WHOLE


def jpeg(width: int, height: int, *, before: bytes = b"") -> bytes:
    frame = b"\xff\xc0\x00\x11\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes(10)
    return b"\xff\xd8" + before + frame + b"\xff\xd9"


POSTER = PlannedOutput(OutputKind.POSTER, "poster", (Path("/o/poster.jpg"),), "mjpeg", 1280, 720)


def test_a_pictures_size_is_read_from_its_frame_header() -> None:
    app = b"\xff\xe0\x00\x10" + bytes(14) + b"\xff\x01" + b"\xff\xdb\x00\x05\xff\xc0\x00"
    assert jpeg_size(jpeg(1280, 720, before=app)) == (1280, 720)
    check_picture(POSTER, jpeg(1280, 720, before=app))


@pytest.mark.parametrize(
    ("head", "words"), [(b"", "is no JPEG"), (jpeg(640, 360), "is 640x360 and not 1280x720"), (b"\xff\xd8\xff\xd9", "no JPEG")]
)
def test_a_picture_that_is_none_is_an_invalid_output(head: bytes, words: str) -> None:
    with pytest.raises(TransientError, match=words):
        check_picture(POSTER, head)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_size_or_none(head: bytes) -> None:
    for data in (head, b"\xff\xd8" + head):
        size = jpeg_size(data)
        assert size is None or len(size) == 2
