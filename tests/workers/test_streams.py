from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vproc.workers.streams import LINE_LIMIT_BYTES, LineSplitter, Tail


@given(st.text(alphabet="a\n\r=é"), st.lists(st.integers(0, 60), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_were_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    heard: list[str] = []
    splitter = LineSplitter(heard.append)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(bounds):
        splitter.feed(data[begin:end])
    splitter.flush()
    *whole, rest = text.split("\n")
    assert heard == [line.removesuffix("\r") for line in [*whole, *([rest] if rest else [])]]


def test_an_overlong_line_is_cut_and_the_next_is_whole() -> None:
    heard: list[str] = []
    splitter = LineSplitter(heard.append)
    for _ in range(5):
        splitter.feed(b"x" * 20_000)
    splitter.feed(b"\nnext\n")
    assert [len(heard[0]), heard[1]] == [LINE_LIMIT_BYTES, "next"]


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_the_tail_is_bounded_and_shows_no_control_character(pieces: list[bytes]) -> None:
    tail = Tail(200)
    for piece in pieces:
        tail.feed(piece)
    text = tail.text()
    assert len(text) <= 200
    assert all(c.isprintable() or c in "\n\t" for c in text)


def test_escapes_in_a_message_are_visible() -> None:
    tail = Tail(100)
    tail.feed("a\x1b[2J\r\u202eb\n".encode())
    assert tail.text() == "a\\x1b[2J\\r\\u202eb\n"
