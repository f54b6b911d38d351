"""WebVTT: what ffmpeg writes is read, and what is published is clean."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.media import Chapter
from vproc.core.vtt import MOST_CUES, Cue, chapters_vtt, clean_cues, clean_text, clock, parse_vtt, write_vtt


def test_what_ffmpeg_writes_is_read() -> None:
    text = "WEBVTT\n\n00:00.500 --> 00:01.500\n<i>Hello</i>\n\n01:00:02.000 --> 01:00:02.900\nSecond --> line\ntwo lines\n"
    assert parse_vtt(text) == (Cue(500, 1500, "<i>Hello</i>"), Cue(3_602_000, 3_602_900, "Second --> line\ntwo lines\n"))


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("", []),
        ("WEBVTT", []),
        ("WEBVTT - with words\nand: more\n\nNOTE nothing\n\n", []),
        ("WEBVTT\r\n\r\nid 7\r\n00:01.000 --> 00:02.000 line:0 align:start\r\nhere\r\n", [(1000, 2000, "here\n")]),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nfirst\n\n\nafter an empty line\n", [(1000, 2000, "first\nafter an empty line\n")]),
        ("WEBVTT\n\n00:01,000 --> 00:02,000\ncommas", [(1000, 2000, "commas")]),
        ("WEBVTT\n\n00:61.000 --> 00:02.000\nno time", []),
        ("WEBVTT\n\n00:01.000 -> 00:02.000\nno arrow", []),
        ("WEBVTT\n\n00:01.000 --> 00:02.000", [(1000, 2000, "")]),
    ],
)
def test_all_else_is_passed_over(text: str, cues: list[tuple[int, int, str]]) -> None:
    assert list(parse_vtt(text)) == [Cue(*cue) for cue in cues]


def test_there_is_an_end_to_the_cues_of_a_file() -> None:
    assert len(parse_vtt("WEBVTT\n\n" + "00:01.000 --> 00:02.000\nx\n\n" * (MOST_CUES + 5))) == MOST_CUES


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("<i>one</i> <B>two</B> <u>three</u>", "<i>one</i> <b>two</b> <u>three</u>"),
        ('<v Bob>Hi</v> <c.yellow>there</c> <font color="red">you</font><00:01.000>!', "Hi there you!"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("<i onclick=x>a</i>", "<i>a</i>"),
        ("<iframe>", "&lt;iframe&gt;"),
        ("1 < 2 > 0 & more", "1 &lt; 2 &gt; 0 &amp; more"),
        ("I <3 you", "I &lt;3 you"),
        ("a <> b", "a &lt;&gt; b"),
        ("&amp; &lt;b&gt; &quot;", '&amp; &lt;b&gt; "'),
        ("00:01.000 --> 00:02.000", "00:01.000 --&gt; 00:02.000"),
        ("one\n\n\n  two  words \t here\n", "one\ntwo words here"),
        ("x&#10;&#13;&#10;00:00.000 --> 00:09.000", "x\n00:00.000 --&gt; 00:09.000"),
        ("a\x00b\x1bc\u2028d", "abc d"),
        ("m 0 0 l 10 0 10 10 0 10", ""),
        ("m 0 0 b 1 2 3 4 5 6 l -1.5 0\nreal words", "real words"),
        ("more 0 0 l 1 1", "more 0 0 l 1 1"),
        ("<i></i>", ""),
        ("<b> </b>&nbsp;", ""),
        ("", ""),
        ("\u05e9\u05dc\u05d5\u05dd\u200f", "\u05e9\u05dc\u05d5\u05dd\u200f"),
    ],
)
def test_a_text_keeps_its_words_and_loses_its_powers(text: str, clean: str) -> None:
    assert clean_text(text) == clean


ANYTHING = st.text(st.sampled_from("<>/&;.-i b\n\t\r:0123#xvc\x00\u2028amplt\"'{}"), max_size=200) | st.text(max_size=200)


@given(ANYTHING)
def test_no_text_holds_more_than_three_tags_and_never_an_arrow(text: str) -> None:
    clean = clean_text(text)
    assert re.fullmatch(r"(?:[^<>&]|&(?:amp|lt|gt);|</?[ibu]>)*", clean)
    assert "\n\n" not in clean
    assert clean == clean.strip()
    assert clean_text(clean) == clean


CUES = st.lists(st.builds(Cue, st.integers(0, 90_000), st.integers(0, 90_000), ANYTHING), max_size=12)


@given(CUES, st.none() | st.floats(0.1, 80.0), st.floats(-20.0, 20.0))
def test_cues_are_in_order_within_the_film_and_read_back_as_they_were_written(
    cues: list[Cue], duration_s: float | None, shift_s: float
) -> None:
    clean = clean_cues(cues, duration_s=duration_s, shift_s=shift_s)
    assert list(clean) == sorted(clean, key=lambda cue: (cue.start_ms, cue.end_ms, cue.text))
    assert len(set(clean)) == len(clean)
    assert all(0 <= cue.start_ms < cue.end_ms and cue.text for cue in clean)
    assert duration_s is None or all(cue.end_ms <= duration_s * 1000 for cue in clean)
    read = parse_vtt(write_vtt(clean))
    assert [Cue(cue.start_ms, cue.end_ms, cue.text.rstrip("\n")) for cue in read] == list(clean)


def test_cues_are_moved_cut_and_dropped_by_the_films_length() -> None:
    cues = [Cue(0, 500, "before"), Cue(500, 2500, "a"), Cue(500, 2500, "a"), Cue(9000, 99_000, "b"), Cue(11_000, 12_000, "c")]
    assert clean_cues(cues, duration_s=9.5, shift_s=-0.7) == (Cue(0, 1800, "a"), Cue(8300, 9500, "b"))


def test_a_file_begins_as_players_want_it() -> None:
    assert write_vtt([Cue(0, 1500, "a\nb"), Cue(3_600_000, 3_600_001, "c")]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na\nb\n\n01:00:00.000 --> 01:00:00.001\nc\n"
    )
    assert write_vtt([]) == "WEBVTT\n"


def test_a_clock_has_hours_beyond_a_day() -> None:
    assert clock(0) == "00:00:00.000"
    assert clock(100 * 3_600_000 + 61_007) == "100:01:01.007"


def test_chapters_are_cues_with_their_titles_as_text() -> None:
    chapters = [Chapter(0.0, 1.5, " <b>One</b>\n & --> two"), Chapter(1.5, 1.5, "nothing"), Chapter(1.5, 7200.25)]
    assert chapters_vtt(chapters) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n&lt;b&gt;One&lt;/b&gt; &amp; --&gt; two\n\n"
        "00:00:01.500 --> 02:00:00.250\nChapter 3\n"
    )
