"""ffmpeg's progress lines."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.core.progress import ProgressParser

BLOCK = """frame=30
fps=12.5
stream_0_0_q=28.0
bitrate=N/A
total_size=N/A
out_time_us=1500000
out_time_ms=1500000
out_time=00:00:01.500000
dup_frames=0
drop_frames=0
speed=2.25x
progress=continue
"""


def test_a_block_is_news_once() -> None:
    parser = ProgressParser(6.0)
    assert [parser.feed(line) for line in BLOCK.splitlines()].count(True) == 1
    assert (parser.out_time_s, parser.fraction, parser.speed, parser.ended) == (1.5, 0.25, 2.25, False)
    assert not any(parser.feed(line) for line in BLOCK.splitlines())


def test_it_never_goes_backwards() -> None:
    parser = ProgressParser(6.0)
    assert parser.feed("out_time_us=3000000")
    assert not parser.feed("out_time_us=2000000")
    assert parser.fraction == 0.5


def test_frames_of_the_first_video_count_where_its_rate_is_known() -> None:
    parser = ProgressParser(10.0, fps=Fraction(30000, 1001))
    assert parser.feed("frame=  150")
    assert parser.out_time_s == pytest.approx(5.005)
    assert not parser.feed("out_time_us=1000")
    assert not ProgressParser(10.0).feed("frame=150")


def test_the_end_is_news_and_whole() -> None:
    parser = ProgressParser(None)
    assert parser.feed("out_time_us=5000000")
    assert parser.fraction == 0.0
    assert parser.feed("progress=end")
    assert (parser.fraction, parser.ended) == (1.0, True)
    assert not parser.feed("progress=end")


def test_a_source_longer_than_declared_stays_at_one() -> None:
    parser = ProgressParser(2.0)
    parser.feed("out_time_us=9000000")
    assert parser.fraction == 1.0


@pytest.mark.parametrize(
    "line", ["", "=", "out_time_us=N/A", "out_time_us=-9223372036854775808", "out_time_us=1e9", "out_time_us=", "frame=x",
             "speed=N/A", "speed=nanx", "out_time_us=" + "9" * 400, "out_time_us=\u0663", "progress", "\x00\xff"]
)  # fmt: skip
def test_garbage_is_no_news(line: str) -> None:
    parser = ProgressParser(6.0, fps=Fraction(30))
    assert not parser.feed(line)
    assert (parser.out_time_s, parser.speed, parser.ended) == (0.0, None, False)


@given(
    st.lists(
        st.text(max_size=30) | st.builds("out_time_us={}".format, st.integers()) | st.builds("frame={}".format, st.integers())
    )
)
def test_any_lines_leave_a_fraction_that_only_grows(lines: list[str]) -> None:
    parser, last = ProgressParser(6.0, fps=Fraction(25)), 0.0
    for line in lines:
        news = parser.feed(line)
        assert last <= parser.fraction <= 1.0
        assert news or parser.fraction == last
        last = parser.fraction
