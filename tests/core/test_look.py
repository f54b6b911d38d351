"""Second looks: what they ask and what is made of the answers."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import audio, media, video
from vproc.core.container import Container
from vproc.core.look import (
    holds_packets,
    packet_argv,
    pictures_argv,
    wants_pictures,
    with_pictures,
    without_streams,
)
from vproc.core.media import MasteringDisplay
from vproc.errors import RejectedError

SOURCE = PurePosixPath("/scratch/in")
MASTERING = {
    "red_x": "34000/50000", "red_y": "16000/50000", "green_x": "13250/50000", "green_y": "34500/50000", "blue_x": "7500/50000",
    "blue_y": "3000/50000", "white_point_x": "15635/50000", "white_point_y": "16450/50000", "min_luminance": "0/10000",
    "max_luminance": "10000000/10000",
}  # fmt: skip


def frames(*found: dict[str, Any]) -> bytes:
    return json.dumps({"frames": list(found)}).encode()


@pytest.mark.parametrize("argv", [packet_argv, pictures_argv])
def test_a_look_is_as_confined_as_the_probe_and_at_one_stream(argv: Any) -> None:
    line = argv("ffprobe", SOURCE, Container.MATROSKA, 3, max_pixels=1000)
    assert line[line.index("-select_streams") + 1] == "3"
    for option in ("-f", "-format_whitelist", "-protocol_whitelist", "-codec_whitelist", "-max_pixels"):
        assert line.index(option) < line.index("-i")
    assert line[-1] == "file:/scratch/in"


@pytest.mark.parametrize(
    ("stdout", "holds"),
    [(b'{"packets": [{"stream_index": 1}]}', True), (b'{"packets": []}', False), (b"{}", False), (b"", True), (b"\xff", True)],
)
def test_a_stream_is_empty_only_where_ffprobe_says_so(stdout: bytes, holds: bool) -> None:
    assert holds_packets(stdout) is holds


def test_an_empty_track_is_left_out_and_listed_apart() -> None:
    left = without_streams(media(video(), audio(), audio(2, language="eng"), unseen=(1,)), [1])
    assert left.video is not None
    assert [track.index for track in left.audio] == [2]
    assert [(other.index, other.kind, other.codec) for other in left.others] == [(1, "audio", "aac")]
    assert left.unseen == ()


def test_an_empty_video_leaves_sound_alone() -> None:
    left = without_streams(media(video(), audio()), [0])
    assert left.video is None
    assert left.codec == "aac"


def test_a_file_of_empty_streams_is_corrupt() -> None:
    with pytest.raises(RejectedError, match="holds nothing of them") as caught:
        without_streams(media(video(), audio()), [0, 1])
    assert caught.value.code == "corrupt_media"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, False),
        ({"color_transfer": "smpte2084"}, True),
        ({"color_transfer": "smpte2084", "max_cll_nits": 1000}, False),
        ({"color_transfer": "arib-std-b67"}, False),
        ({"field_order": None}, True),
        ({"field_order": None, "codec": "mpeg4"}, True),
        ({"field_order": None, "codec": "vp9"}, False),
        ({"field_order": "tt"}, False),
    ],
)
def test_pictures_are_looked_at_only_for_what_they_may_tell(changes: dict[str, Any], wanted: bool) -> None:
    assert wants_pictures(video(**changes)) is wanted


def test_the_brightness_is_found_in_the_pictures_side_data() -> None:
    film = video(color_transfer="smpte2084", field_order=None)
    said = frames({"side_data_list": [{}, MASTERING, {"max_content": 1000, "max_average": 0}], "interlaced_frame": 0})
    seen = with_pictures(film, said)
    assert seen.mastering == MasteringDisplay((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.329), 1000.0, 0.0)
    assert (seen.max_cll_nits, seen.max_fall_nits, seen.field_order) == (1000, None, "progressive")


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ([{"interlaced_frame": 0}, {"interlaced_frame": 1, "top_field_first": 1}], "tt"),
        ([{"interlaced_frame": 1, "top_field_first": 0}], "bb"),
        ([{"interlaced_frame": 0}] * 8, "progressive"),
        ([], None),
    ],
)
def test_the_first_picture_of_fields_tells_their_order(found: list[dict[str, Any]], order: str | None) -> None:
    assert with_pictures(video(field_order=None), frames(*found)).field_order == order


def test_the_containers_word_stands() -> None:
    film = video(field_order="bb", max_cll_nits=500)
    seen = with_pictures(film, frames({"interlaced_frame": 0, "side_data_list": [{"max_content": 1000}]}))
    assert (seen.field_order, seen.max_cll_nits) == ("bb", 500)


@pytest.mark.parametrize("change", [{"red_x": "2/1"}, {"blue_y": "N/A"}, {"max_luminance": "0/1"}, {"min_luminance": "2000/1"}])
def test_a_display_that_makes_no_sense_is_none(change: dict[str, str]) -> None:
    seen = with_pictures(video(), frames({"side_data_list": [MASTERING | change]}))
    assert seen.mastering is None


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b'{"frames": 3}', b'{"frames": [7, {"side_data_list": [1, {}]}]}']))
def test_an_answer_that_cannot_be_read_changes_nothing(stdout: bytes) -> None:
    seen = with_pictures(video(), stdout)
    assert (seen.mastering, seen.max_cll_nits) == (None, None)
    assert seen.field_order == "progressive"
