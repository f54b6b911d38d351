"""The filter graph's text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.samples import media, video
from vproc.core.graph import WATCH, sheets_graph, video_graph
from vproc.core.plan import decide
from vproc.core.sprite import plan_sprite
from vproc.profiles import builtin_profile


def graph(profile: str = "h264", *, watch: bool = False, **changes: Any) -> str:
    return video_graph(decide(media(video(**changes)), builtin_profile(profile)), watch=watch)


def test_one_output_needs_no_split() -> None:
    assert graph() == (
        "[0:0]fps=fps=30:start_time=0,scale=1920:1080:flags=lanczos:out_range=tv,setsar=1,format=yuv420p,"
        "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709[v1080]"
    )


def test_every_rung_is_scaled_straight_from_the_one_decode() -> None:
    text = graph("abr", index=2)
    assert text.startswith("[0:2]fps=fps=30:start_time=0,split=5[v1080-in][v720-in][v360-in][poster-in][sprite-in];")
    for rung, size in (("v1080", "1920:1080"), ("v720", "1280:720"), ("v360", "640:360")):
        assert f"[{rung}-in]scale={size}:flags=lanczos" in text
        assert f"[{rung}]" in text


def test_pictures_alone_are_watched_and_their_source_is_not_made_constant() -> None:
    text = graph("thumbnails", watch=True)
    assert text.startswith("[0:0]null,split=3")
    assert text.endswith(f"[{WATCH}-in]fps=fps=30:start_time=0[{WATCH}]")


@pytest.mark.parametrize(("codec", "mode"), [("h264", "interlaced"), ("mpeg2video", "interlaced"), ("prores", "all")])
def test_an_interlaced_source_is_deinterlaced_first(codec: str, mode: str) -> None:
    assert f"[0:0]bwdif=mode=send_frame:deint={mode},fps=" in graph(codec=codec, field_order="tt")
    assert "bwdif" not in graph(codec=codec)


def test_colour_tags_that_the_source_has_are_kept() -> None:
    tagged = {"color_space": "bt709", "color_primaries": "bt709", "color_transfer": "bt709"}
    assert "setparams" not in graph(**tagged)
    assert "setparams=color_trc=bt709[" in graph(**(tagged | {"color_transfer": None}))


def test_an_untagged_source_is_taken_for_what_its_size_suggests() -> None:
    assert "colorspace=bt709" in graph(width=1280, height=720)
    assert "colorspace=smpte170m" in graph(width=720, height=576)


@pytest.mark.parametrize("tags", [{"pix_fmt": "bgr0"}, {"pix_fmt": "gbrp"}, {"color_space": "gbr"}])
def test_rgb_is_converted_to_bt709(tags: dict[str, str]) -> None:
    text = graph("abr", **tags)
    assert text.count("out_range=tv:out_color_matrix=bt709") == 3
    assert text.count("setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709") == 3


def test_pictures_are_bt601_of_full_range_as_jpeg_is() -> None:
    assert graph("abr").count(":in_color_matrix=bt709:out_color_matrix=bt601:out_range=pc") == 2
    assert "in_color_matrix" not in graph("abr", color_space="bt709")


def test_thumbnails_are_one_an_interval_after_a_picture_of_nothing() -> None:
    """The first comes at half an interval: what opens the file must not wait for it."""
    assert (
        "[sprite-in]fps=fps=1/12:start_time=0:eof_action=pass,scale=160:90:flags=lanczos:in_color_matrix=bt709"
        ":out_color_matrix=bt601:out_range=pc,setsar=1,format=yuv420p,tpad=start=1,settb=1/1000,setpts=N[sprite]"
    ) in graph("abr", end_s=1200.0)


def test_sheets_leave_that_picture_out() -> None:
    assert sheets_graph(plan_sprite(1280, 720, 60)) == (
        "trim=start_frame=1,setpts=PTS-STARTPTS,setrange=pc,tile=5x5,format=yuvj420p"
    )


def test_the_poster_is_one_of_three_frames_up_to_its_time() -> None:
    assert "select='gte(t,1.250*selected_n)*lte(selected_n,2)'" in graph("thumbnails", watch=True)


def test_without_a_video_there_is_no_graph() -> None:
    encode = replace(decide(media(video()), builtin_profile("h264")), video=None)
    with pytest.raises(ValueError, match="video"):
        video_graph(encode, watch=False)
