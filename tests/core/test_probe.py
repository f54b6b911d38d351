"""Asking ffprobe, and reading whatever it answers."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.container import Container
from vproc.core.labels import TrackRole
from vproc.core.media import DolbyVision, MediaInfo
from vproc.core.probe import ffprobe_argv, parse_probe, probe_failure
from vproc.errors import RejectedError

FORMAT = {
    "format_name": "mov,mp4,m4a,3gp,3g2,mj2",
    "start_time": "0.000000",
    "duration": "6.000000",
    "size": "9000",
    "bit_rate": "12000",
}
VIDEO = {
    "index": 0, "codec_name": "h264", "codec_type": "video", "profile": "High", "width": 1280, "height": 720,
    "sample_aspect_ratio": "1:1", "pix_fmt": "yuv420p", "bits_per_raw_sample": "8", "field_order": "progressive",
    "color_space": "bt709", "color_range": "tv", "r_frame_rate": "30000/1001", "avg_frame_rate": "30000/1001",
    "start_time": "0.000000", "duration": "6.006000", "nb_frames": "180", "bit_rate": "11000", "disposition": {"default": 1},
}  # fmt: skip
AUDIO = {
    "index": 1, "codec_name": "aac", "codec_type": "audio", "profile": "LC", "sample_rate": "48000", "channels": 6,
    "start_time": "0.500000", "duration": "4.000000", "disposition": {"default": 0}, "tags": {"language": "eng"},
}  # fmt: skip


def answer(*streams: dict[str, Any], **fmt: Any) -> bytes:
    return json.dumps({"streams": list(streams), "format": FORMAT | fmt}).encode()


def parse(*streams: dict[str, Any], **fmt: Any) -> MediaInfo:
    return parse_probe(answer(*streams, **fmt))


def video_of(**changes: Any) -> Any:
    return parse(VIDEO | changes).video


def test_the_command_line_confines_ffprobe_and_names_each_entry() -> None:
    argv = ffprobe_argv("/usr/bin/ffprobe", PurePosixPath("/scratch/in"), Container.MATROSKA, max_pixels=1000)
    assert argv[:3] == ("/usr/bin/ffprobe", "-v", "error")
    assert argv[-2:] == ("-i", "file:/scratch/in")
    assert argv.index("-format_whitelist") < argv.index("-i")
    entries = argv[argv.index("-show_entries") + 1]
    assert "stream_tags=language,title" in entries
    assert "format_tags" not in entries
    assert "packet" not in entries


def test_the_first_packets_are_asked_for_where_the_whole_file_is_there() -> None:
    argv = ffprobe_argv("ffprobe", PurePosixPath("/in"), Container.MOV, max_pixels=1000, packets=True)
    assert argv[argv.index("-show_entries") + 1].endswith(":packet=stream_index")
    assert argv[argv.index("-read_intervals") + 1].startswith("%+#")


def test_an_ordinary_answer_is_read_whole() -> None:
    info = parse(VIDEO, AUDIO)
    assert (info.container, info.duration_s, info.size_bytes, info.bitrate_bps) == (Container.MOV, 6.0, 9000, 12000)
    picture, track = info.video, info.main_audio
    assert picture is not None
    assert track is not None
    assert (picture.codec, picture.profile, picture.width, picture.height, picture.nb_frames) == ("h264", "High", 1280, 720, 180)
    assert (picture.fps, picture.base_fps) == (Fraction(30000, 1001),) * 2
    assert (picture.color_space, picture.color_transfer) == ("bt709", None)
    assert (track.codec, track.channels, track.sample_rate, track.language, track.default) == ("aac", 6, 48000, "eng", False)


def test_a_stream_ends_after_its_offset_and_never_after_the_file() -> None:
    info = parse(VIDEO, AUDIO)
    assert info.video is not None
    assert info.video.end_s == 6.0
    assert (info.audio[0].start_s, info.audio[0].end_s) == (0.5, 4.5)


def test_matroska_tells_a_streams_end_in_a_tag() -> None:
    tagged = {key: value for key, value in VIDEO.items() if key != "duration"} | {"tags": {"DURATION": "00:00:05.034000000"}}
    info = parse(tagged, format_name="matroska,webm")
    assert info.video is not None
    assert (info.container, info.video.end_s) == (Container.MATROSKA, 5.034)
    untagged = parse(tagged | {"tags": {"DURATION": "soon"}})
    assert untagged.video is not None
    assert untagged.video.end_s is None


def test_a_transport_streams_clock_does_not_start_at_zero() -> None:
    info = parse(VIDEO | {"start_time": "1.433"}, start_time="1.400", format_name="mpegts")
    assert info.video is not None
    assert info.video.start_s == pytest.approx(0.033)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (1280, 720)),
        ({"sample_aspect_ratio": "64:45", "width": 720, "height": 576}, (1024, 576)),
        ({"sample_aspect_ratio": "0:1"}, (1280, 720)),
        ({"sample_aspect_ratio": "1:1000"}, (1280, 720)),
        ({"side_data_list": [{"rotation": -90}]}, (720, 1280)),
        ({"side_data_list": [{}, {"rotation": "270.0"}]}, (720, 1280)),
        ({"side_data_list": [{"rotation": 180}]}, (1280, 720)),
        ({"side_data_list": [{"rotation": 45}]}, (1280, 720)),
        ({"side_data_list": [{"rotation": "NaN"}]}, (1280, 720)),
        ({"side_data_list": [{"rotation": -90}], "sample_aspect_ratio": "2:1"}, (720, 2560)),
    ],
)
def test_the_displayed_size_has_square_pixels_and_is_upright(changes: dict[str, Any], size: tuple[int, int]) -> None:
    picture = video_of(**changes)
    assert (picture.display_width, picture.display_height) == size


@pytest.mark.parametrize(
    ("changes", "depth"),
    [({}, 8), ({"bits_per_raw_sample": "10"}, 10), ({"bits_per_raw_sample": None, "pix_fmt": "yuv422p12le"}, 12),
     ({"bits_per_raw_sample": "0", "pix_fmt": "p010le"}, 10), ({"bits_per_raw_sample": "99", "pix_fmt": "yuv420p10le"}, 10)],
)  # fmt: skip
def test_the_bit_depth_is_told_or_read_off_the_pixel_format(changes: dict[str, Any], depth: int) -> None:
    assert video_of(**changes).bit_depth == depth


def test_cover_art_is_not_the_video() -> None:
    cover = VIDEO | {"codec_name": "mjpeg", "disposition": {"default": 1, "attached_pic": 1}}
    info = parse(cover, VIDEO | {"index": 2}, AUDIO)
    assert info.video is not None
    assert info.video.index == 2
    assert [(other.index, other.kind, other.codec) for other in info.others] == [(0, "video", "mjpeg")]


MATRIX = "\n00000000: {:12} {:12} {:12}\n00000001: {:12} {:12} {:12}\n00000002: {:12} {:12} {:12}\n"


def chosen(*streams: dict[str, Any]) -> int:
    video = parse(*(VIDEO | stream | {"index": number} for number, stream in enumerate(streams))).video
    assert video is not None
    return video.index


@pytest.mark.parametrize(
    ("streams", "index"),
    [
        ([{"disposition": {"default": 0}}, {}], 1),
        ([{"width": 640, "height": 360}, {"disposition": {"default": 0}}], 1),
        ([{}, {"codec_name": "mjpeg", "width": 4000, "height": 3000}], 0),
        ([{"codec_name": "png", "disposition": {"default": 1}}, {"disposition": {"default": 0}}], 1),
        ([{"disposition": {"timed_thumbnails": 1}, "width": 4000}, {}], 1),
        ([{"disposition": {"dependent": 1}, "width": 4000}, {}], 1),
        ([{"codec_name": "mjpeg"}], 0),
        ([{"nb_frames": "1", "width": 4000}, {}], 1),
        ([{"nb_frames": "1"}], 0),
        ([{"codec_name": "unknown", "width": 4000}, {}], 1),
        ([{"side_data_list": [{"dv_profile": 7, "bl_present_flag": 0}]}, {}], 1),
        ([{"side_data_list": [{"dv_profile": 7, "bl_present_flag": 1}]}, {"disposition": {"default": 0}}], 0),
    ],
)
def test_the_video_is_the_largest_that_is_a_film(streams: list[dict[str, Any]], index: int) -> None:
    assert chosen(*streams) == index


def test_a_broadcast_multiplex_gives_the_largest_programme_with_its_own_sound() -> None:
    small, large = VIDEO | {"width": 720, "height": 576}, VIDEO | {"index": 2}
    sounds = [AUDIO, AUDIO | {"index": 3}, AUDIO | {"index": 4}]
    programs = [
        {"program_id": 1, "streams": [{"index": 0}, {"index": 1}, {"index": 4}]},
        {"program_id": 2, "streams": [{"index": 2}, {"index": 3}, {"index": 4}]},
    ]
    found = {"streams": [small, sounds[0], large, *sounds[1:]], "programs": programs, "format": FORMAT}
    info = parse_probe(json.dumps(found).encode())
    assert info.video is not None
    assert info.video.index == 2
    assert [track.index for track in info.audio] == [3, 4]
    assert [other.index for other in info.others] == [0, 1]


@pytest.mark.parametrize(
    ("numbers", "mirrored"),
    [
        ((65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), False),
        ((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30), False),
        ((-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), True),
        ((0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30), True),
        ((0, 0, 0, 0, 0, 0, 0, 0, 0), False),
    ],
)
def test_a_reflection_is_seen_by_the_matrix(numbers: tuple[int, ...], mirrored: bool) -> None:
    assert video_of(side_data_list=[{"displaymatrix": MATRIX.format(*numbers), "rotation": 0}]).mirrored is mirrored


@pytest.mark.parametrize("matrix", [None, 7, "", "1: 2 3", "x" * 10_000, ": 1 2\n: 3\n: 4"])
def test_a_matrix_that_makes_no_sense_mirrors_nothing(matrix: object) -> None:
    assert not video_of(side_data_list=[{"displaymatrix": matrix}]).mirrored


def test_dolby_vision_and_the_light_of_hdr_are_read() -> None:
    side_data = [
        {"dv_profile": 8, "dv_bl_signal_compatibility_id": 4, "bl_present_flag": 1},
        {"max_content": 1200, "max_average": 300},
    ]
    film = video_of(side_data_list=side_data)
    assert film.dolby_vision == DolbyVision(8, 4, has_base=True)
    assert (film.max_cll_nits, film.max_fall_nits) == (1200, 300)


def test_streams_of_which_no_packet_was_seen_are_told() -> None:
    streams = {"streams": [VIDEO, AUDIO], "format": FORMAT}
    unseen = [
        parse_probe(json.dumps(streams | found).encode()).unseen
        for found in (
            {},
            {"packets": [{"stream_index": 0}]},
            {"packets": [{"stream_index": 0}, {"stream_index": 1}]},
            {"packets": []},
        )
    ]
    assert unseen == [(), (1,), (), (0, 1)]


def test_tracks_that_nobody_can_decode_are_left_out() -> None:
    info = parse(VIDEO, AUDIO | {"codec_name": "unknown"}, AUDIO | {"index": 2, "channels": 0}, AUDIO | {"index": 3})
    assert [track.index for track in info.audio] == [3]
    assert [other.index for other in info.others] == [1, 2]


def test_a_track_of_sound_tells_its_title_and_what_it_is_for() -> None:
    told = {"tags": {"title": "Director\u202e's\ncut"}, "disposition": {"default": 1, "comment": 1, "dub": 0, "clean_effects": 1}}
    label = parse(AUDIO | told).audio[0].label
    assert (label.title, label.default, label.roles) == ("Director's cut", True, {TrackRole.COMMENT})


@pytest.mark.parametrize(("told", "read"), [("ENG", "eng"), ("und", None), ("en-US", "en"), ("; rm", None), (7, None)])
def test_a_language_is_two_or_three_letters_or_nothing(told: object, read: str | None) -> None:
    assert parse(AUDIO | {"tags": {"language": told}}).audio[0].language == read


@pytest.mark.parametrize("duration", ["N/A", "NaN", "inf", "-1", "0", "1e300", None, [], True])
def test_a_duration_that_is_none_is_none(duration: object) -> None:
    assert parse(VIDEO | {"duration": duration}, duration=duration).duration_s is None


@pytest.mark.parametrize(
    "stdout",
    [b"", b"not json", b"[]", b"null", b'{"streams": 7}', b"[" * 100_000, b"\xff\xfe", answer(),
     answer(AUDIO | {"codec_name": "none"}), answer(VIDEO | {"width": 0}), answer(VIDEO | {"width": 70000}),
     answer(VIDEO | {"index": "x"})],
)  # fmt: skip
def test_an_answer_without_a_stream_to_decode_is_corrupt_media(stdout: bytes) -> None:
    with pytest.raises(RejectedError) as caught:
        parse_probe(stdout)
    assert caught.value.code == "corrupt_media"


def test_a_container_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(RejectedError, match="container"):
        parse(VIDEO, format_name="hls")


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0/0", "1:0", "30/1", "N/A", "9" * 30]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_KEYS = sorted({*VIDEO, *AUDIO, "side_data_list", "tags", "disposition"})
_STREAM = st.builds(
    lambda base, odd: base | odd, st.sampled_from([VIDEO, AUDIO, {}]), st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=4)
)
_ANSWER = st.fixed_dictionaries(
    {},
    optional={
        "streams": st.lists(_STREAM, max_size=3) | _JSON,
        "format": st.dictionaries(st.sampled_from(sorted(FORMAT)), _JSON) | _JSON,
        "packets": st.lists(st.fixed_dictionaries({"stream_index": _JSON}), max_size=2) | _JSON,
        "programs": st.lists(st.fixed_dictionaries({"streams": _JSON}), max_size=2) | _JSON,
    },
)


@given(_JSON | _ANSWER)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        info = parse_probe(json.dumps(value).encode())
    except RejectedError:
        return
    assert info.video is not None or info.audio
    assert info.duration_s is None or info.duration_s > 0
    if info.video is not None:
        assert info.video.display_width >= 1
        assert info.video.fps is None or info.video.fps > 0


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(stdout: bytes) -> None:
    with pytest.raises(RejectedError):
        parse_probe(stdout)


@pytest.mark.parametrize(
    ("stderr", "code", "words"),
    [
        ("[magicyuv @ 0x5] Codec (magicyuv) not on whitelist 'h264,hevc" + ",x" * 60 + "'", "unsupported_media", "magicyuv"),
        (
            "[mov @ 0x5] moov atom not found\nfile:/scratch/j/in: Invalid data found when processing input",
            "corrupt_media",
            "cut short",
        ),
        ("[h264 @ 0x5] Picture size 20000x20000 is invalid", "too_large", "larger"),
        ("file:/scratch/j/in: End of file", "corrupt_media", "End of file"),
        ("", "corrupt_media", "ended with 1"),
    ],
)
def test_a_failed_probe_says_why_and_nothing_of_ours(stderr: str, code: str, words: str) -> None:
    error = probe_failure(1, stderr)
    assert isinstance(error, RejectedError)
    assert error.code == code
    assert words in error.detail
    assert not any(ours in error.detail for ours in ("/scratch", "0x5", "h264,hevc"))
