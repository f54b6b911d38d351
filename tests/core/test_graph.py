"""The filter graph's text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.samples import media, video
from vproc.core.graph import WATCH, sheets_graph, video_graph
from vproc.core.plan import decide
from vproc.core.profile import HdrMode, Profile, VideoCodec
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


PQ = {"color_transfer": "smpte2084", "color_primaries": "bt2020", "color_space": "bt2020nc", "pix_fmt": "yuv420p10le"}
CUBE = Path("/scratch/out/tone-map.cube")
KEPT = replace(builtin_profile("abr"), codec=VideoCodec.HEVC, hdr=HdrMode.KEEP)


def mapped(profile: Profile, cube: Path = CUBE, **changes: Any) -> str:
    encode = decide(media(video(**(PQ | changes))), profile)
    return video_graph(encode, watch=not encode.rungs, cube=cube)


def test_hdr_is_mapped_once_at_the_largest_rungs_size_for_rungs_and_pictures_alike() -> None:
    text = mapped(builtin_profile("abr"), width=3840, height=2160)
    assert text.startswith(
        "[0:0]fps=fps=30:start_time=0,scale=1920:1080:flags=lanczos:in_color_matrix=bt2020,format=gbrp16,"
        "lut3d=file=/scratch/out/tone-map.cube:interp=tetrahedral,scale=flags=bilinear:out_color_matrix=bt709:out_range=tv,"
        "format=yuv420p,setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709,"
    )
    assert text.count("lut3d") == 1
    assert text.index("sidedata=mode=delete:type=11") < text.index("split=5")
    assert "[v360-in]scale=640:360:flags=lanczos:out_range=tv,setsar=1,format=yuv420p[v360]" in text


def test_pictures_alone_are_mapped_each_at_its_own_size() -> None:
    text = mapped(builtin_profile("thumbnails"))
    assert text.count("lut3d") == 2
    assert "lte(selected_n,2)',scale=1280:720:flags=lanczos:in_color_matrix=bt2020,format=gbrp16,lut3d" in text
    assert "eof_action=pass,scale=160:90:flags=lanczos:in_color_matrix=bt2020,format=gbrp16,lut3d" in text
    assert text.count("scale=in_color_matrix=bt709:out_color_matrix=bt601:out_range=pc") == 2


def test_kept_hdr_has_ten_bits_and_its_tags_and_pictures_of_sdr() -> None:
    text = mapped(KEPT)
    tags = "setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
    for rung, size in (("v1080", "1920:1080"), ("v720", "1280:720"), ("v360", "640:360")):
        assert (
            f"[{rung}-in]scale={size}:flags=lanczos:out_range=tv:in_color_matrix=bt2020:out_color_matrix=bt2020,setsar=1,"
            f"format=yuv420p10,{tags}[{rung}]"
        ) in text
    assert text.count("lut3d") == 2


def test_a_source_of_standard_range_is_eight_bits_in_a_profile_that_keeps_hdr() -> None:
    encode = decide(media(video()), KEPT)
    assert encode.tone_map is None
    assert "yuv420p10" not in video_graph(encode, watch=False)


def test_a_codec_without_hdr_has_it_mapped_all_the_same() -> None:
    assert mapped(replace(KEPT, codec=VideoCodec.H264)).count("lut3d") == 1


def test_hdr_of_rgb_has_no_matrix_to_name() -> None:
    assert "in_color_matrix" not in mapped(builtin_profile("h264"), pix_fmt="gbrp12le", color_space="gbr").partition("lut3d")[0]


@pytest.mark.parametrize(
    ("path", "escaped"),
    [
        ("/a b%c/t.cube", "/a b%c/t.cube"),
        ("/it's", r"/it\\\'s"),
        ("/a:b", r"/a\\:b"),
        ("/a,b;[c]", r"/a\,b\;\[c\]"),
        (r"/a\b", r"/a\\\\b"),
    ],
)
def test_a_path_of_odd_characters_is_escaped_for_the_option_and_for_the_graph(path: str, escaped: str) -> None:
    assert f"lut3d=file={escaped}:interp" in mapped(builtin_profile("h264"), cube=Path(path))


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
