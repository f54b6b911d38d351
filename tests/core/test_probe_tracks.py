"""Captions, chapters and labels out of ffprobe's answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.labels import TrackRole
from vproc.core.media import CaptionStream, Chapter
from vproc.core.probe_tracks import MOST_CHAPTERS, read_captions, read_chapters, read_label


def subtitle(index: object, name: object = "subrip", **more: Any) -> dict[str, Any]:
    return {"index": index, "codec_type": "subtitle", "codec_name": name} | more


def test_a_label_is_read_from_tags_and_dispositions() -> None:
    told = {"tags": {"language": "fre", "title": " Commentaire "}, "disposition": {"default": 1, "comment": 1, "forced": 0}}
    label = read_label(told)
    assert (label.language, label.title, label.default, label.roles) == ("fre", "Commentaire", True, {TrackRole.COMMENT})
    assert read_label({"tags": {"name": "Newer"}}).title == "Newer"
    assert read_label({"tags": {"title": "\x00", "name": "Newer"}}).title == "Newer"


@pytest.mark.parametrize(
    "told", [{}, {"tags": 7, "disposition": "x"}, {"tags": {"language": ["eng"]}, "disposition": {"default": "1"}}]
)
def test_a_label_of_nonsense_says_nothing(told: dict[str, Any]) -> None:
    label = read_label(told)
    assert (label.language, label.title, label.default, label.roles) == (None, None, False, frozenset())


def test_texts_are_captions_and_pictures_are_none() -> None:
    streams = [
        {"index": 0, "codec_type": "video", "codec_name": "h264"},
        subtitle(1, "mov_text", tags={"language": "eng"}),
        subtitle(2, "hdmv_pgs_subtitle"),
        subtitle(3, "dvb_teletext"),
        subtitle("x"),
        subtitle(4, None),
        subtitle(5, "eia_608"),
        {"index": 6, "codec_type": "data", "codec_name": "subrip"},
    ]
    found = read_captions(streams)
    assert [(stream.index, stream.codec, stream.label.tag) for stream in found] == [(1, "mov_text", "en"), (5, "eia_608", None)]


def test_there_is_an_end_to_the_captions_of_a_file() -> None:
    assert len(read_captions([subtitle(number) for number in range(99)])) == 32


def chapter(start: object, end: object = None, title: object = None) -> dict[str, Any]:
    return {"start_time": start, "end_time": end, "tags": {"title": title}}


def test_chapters_count_from_the_films_start() -> None:
    listed = [chapter("5.0", "6.5", "One"), chapter("6.5", "15.0")]
    assert read_chapters(listed, start_s=5.0, duration_s=8.0) == (Chapter(0.0, 1.5, "One"), Chapter(1.5, 8.0))


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (None, []),
        ([], []),
        ("x", []),
        ([7, {}, chapter("N/A", "1")], []),
        ([chapter("4", "6"), chapter("0", "4")], [(0.0, 4.0), (4.0, 6.0)]),
        ([chapter("0"), chapter("4")], [(0.0, 4.0), (4.0, 10.0)]),
        ([chapter("4", "1")], [(4.0, 10.0)]),
        ([chapter("-2", "3")], [(0.0, 3.0)]),
        ([chapter("10", "11"), chapter("11", "12")], []),
        ([chapter("9", "11")], [(9.0, 10.0)]),
    ],
)
def test_chapters_are_in_order_and_within_the_film(listed: object, found: list[tuple[float, float]]) -> None:
    chapters = read_chapters(listed, start_s=0.0, duration_s=10.0)
    assert [(each.start_s, each.end_s) for each in chapters] == found


def test_the_last_chapter_of_a_film_of_unknown_length_may_have_no_end() -> None:
    chapters = read_chapters([chapter("0"), chapter("4")], start_s=0.0, duration_s=None)
    assert [(each.start_s, each.end_s) for each in chapters] == [(0.0, 4.0), (4.0, 4.0)]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3), max_leaves=6
)
CHAPTERS = st.lists(st.builds(chapter, st.floats() | JSON, st.floats() | JSON, JSON), max_size=8)


@given(CHAPTERS, st.floats(-1e6, 1e6), st.none() | st.floats(0.01, 1e6))
def test_whatever_is_answered_chapters_are_chapters(listed: object, start_s: float, duration_s: float | None) -> None:
    chapters = read_chapters(listed, start_s=start_s, duration_s=duration_s)
    assert [each.start_s for each in chapters] == sorted(each.start_s for each in chapters)
    assert all(0 <= each.start_s <= each.end_s for each in chapters)
    assert duration_s is None or all(each.end_s <= duration_s for each in chapters)


@given(st.dictionaries(st.sampled_from(["index", "codec_type", "codec_name", "tags", "disposition"]), JSON | st.just("subtitle")))
def test_whatever_is_answered_captions_are_captions(stream: dict[str, Any]) -> None:
    assert all(isinstance(found, CaptionStream) for found in read_captions([stream]))


def test_there_is_an_end_to_the_chapters_of_a_file() -> None:
    listed = [chapter(str(number), str(number + 1)) for number in range(MOST_CHAPTERS + 9)]
    assert len(read_chapters(listed, start_s=0.0, duration_s=None)) == MOST_CHAPTERS
