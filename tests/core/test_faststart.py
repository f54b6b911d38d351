"""The order in which a movie is fed to a reader that cannot seek."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.movies import moov, tables, track
from tests.support.samples import FTYP, box, fragment, full
from vproc.core.boxes import Box, child, children
from vproc.core.faststart import HEADER_BYTES, Extent, Feed, Layout, plan_feed, read_layout
from vproc.core.movie import chunk_offsets

LEAD = len(FTYP)


def index(chunks: Sequence[int], *, edits: Sequence[tuple[int, int]] = ((240, 0),), wide: bool = False) -> bytes:
    """The payload of an index of one track with these chunks, of a sample each."""
    made = tables(deltas=[40] * len(chunks), sizes=[1] * len(chunks), chunks=chunks, chunk_runs=[(1, 1)])
    if wide:
        made["stco"] = full("co64", struct.pack(f">I{len(chunks)}Q", len(chunks), *chunks))
    return moov(track(made, edits=edits), extra=box("udta", b"kept"))


def layout(data: bytes) -> Layout:
    found = read_layout([(0, data)], len(data))
    assert found is not None
    assert found.wanted is None
    return found


def feed(data: bytes) -> Feed | None:
    found = layout(data)
    assert found.moov is not None
    return plan_feed(found, data[found.moov.offset + found.moov.header : found.moov.end], len(data))


def fed(data: bytes) -> bytes:
    """What the reader gets."""
    plan = feed(data)
    assert plan is not None
    parts = [piece if isinstance(piece, bytes) else data[piece.offset : piece.offset + piece.size] for piece in plan.pieces]
    assert plan.size == sum(map(len, parts))
    return b"".join(parts)


def offsets(data: bytes) -> tuple[int, ...]:
    stbl = child(child(data, "moov"), "trak", "mdia", "minf", "stbl")
    return tuple(chunk_offsets(dict(children(stbl))))


def kinds(data: bytes) -> list[str]:
    return [kind for kind, _ in children(data)]


BACK = FTYP + box("free") + box("mdat", b"0123456789") + box("moov", index([LEAD + 16, LEAD + 20])) + box("free", b"end")
FRONT = FTYP + box("moov", index([5000])) + box("mdat", b"0123456789")


def test_an_index_behind_the_data_is_put_before_it() -> None:
    made = fed(BACK)
    assert kinds(made) == ["ftyp", "moov", "free", "mdat", "free"]
    assert [made[at : at + 1] for at in offsets(made)] == [b"0", b"4"]
    assert child(made, "moov", "udta") == b"kept"
    assert len(made) == len(BACK)


def test_a_file_whose_index_stands_first_is_fed_as_it_is() -> None:
    assert feed(FRONT) == Feed((Extent(0, len(FRONT)),))
    fragmented = FTYP + box("moov", moov(extra=box("mvex"))) + fragment(0, [(40, 10)])
    assert feed(fragmented) == Feed((Extent(0, len(fragmented)),))


def test_data_on_both_sides_of_the_index_moves_by_different_ways() -> None:
    def build(chunks: Sequence[int]) -> bytes:
        return FTYP + box("mdat", b"ab") + box("moov", index(chunks)) + box("mdat", b"yz")

    data = build([LEAD + 8, len(build([0, 0])) - 1])
    made = fed(data)
    assert kinds(made) == ["ftyp", "moov", "mdat", "mdat"]
    assert [made[at : at + 1] for at in offsets(made)] == [b"a", b"z"]


def test_a_quicktime_file_without_a_type_begins_with_its_index() -> None:
    data = box("wide") + box("mdat", b"0123") + box("moov", index([16, 18]))
    made = fed(data)
    assert kinds(made) == ["moov", "wide", "mdat"]
    assert [made[at : at + 1] for at in offsets(made)] == [b"0", b"2"]


def test_long_offsets_stay_long() -> None:
    data = FTYP + box("mdat", b"0123") + box("moov", index([LEAD + 8, LEAD + 11], wide=True))
    made = fed(data)
    assert [made[at : at + 1] for at in offsets(made)] == [b"0", b"3"]
    assert "co64" in kinds(child(made, "moov", "trak", "mdia", "minf", "stbl"))


def big(size: int, chunks: Sequence[int]) -> tuple[Layout, bytes]:
    """The layout of a file of so many bytes that is nearly all data, its index at the end."""
    made = index(chunks)
    at = size - len(made) - 8
    boxes = (Box("ftyp", 0, LEAD, 8), Box("mdat", LEAD, at - LEAD, 16), Box("moov", at, len(made) + 8, 8))
    return Layout(boxes, None), made


def test_offsets_that_would_overflow_become_long() -> None:
    size, last = 1 << 32, (1 << 32) - 2000
    found, made = big(size, [LEAD + 16, last])
    plan = plan_feed(found, made, size)
    assert plan is not None
    lead, moved, data = plan.pieces
    assert isinstance(moved, bytes)
    assert offsets(moved) == (LEAD + 16 + len(moved), last + len(moved))
    assert len(moved) == len(made) + 8 + 2 * 4
    assert (lead, data) == (Extent(0, LEAD), Extent(LEAD, size - len(made) - 8 - LEAD))


def test_a_file_of_less_keeps_short_offsets() -> None:
    size = (1 << 32) - 10_000
    found, made = big(size, [LEAD + 16, size - 5000])
    plan = plan_feed(found, made, size)
    assert plan is not None
    assert plan.size == size


def test_a_track_without_chunks_is_no_hindrance() -> None:
    empty = tables(deltas=[], sizes=[], chunks=[])
    data = FTYP + box("mdat", b"01") + box("moov", moov(track(empty), track(tables(deltas=[9], sizes=[1], chunks=[LEAD + 8]))))
    assert kinds(fed(data)) == ["ftyp", "moov", "mdat"]


@pytest.mark.parametrize(
    "data",
    [
        FTYP + box("mdat", b"01") + box("moov", moov(extra=box("mvex"))),
        FTYP + box("mdat", b"01") + box("moov", box("cmov", b"zipped")),
        FTYP + box("mdat", b"01") + box("moov", index([LEAD + 8])) + box("moov", index([LEAD + 8])),
        FTYP + fragment(0, [(40, 10)]) + box("moov", index([LEAD + 8])),
        FTYP + box("mdat", b"01") + box("moov", index([LEAD - 1])),
        FTYP + box("mdat", b"01") + box("moov", index([LEAD + 20])),
        FTYP + box("mdat", b"01") + box("moov", index([9000])),
        FTYP + box("mdat", b"0123") + box("moov", index([LEAD + 9, LEAD + 8])),
        FTYP + box("moov", index([9000, 8000])) + box("mdat", b"0123"),
        FTYP + box("mdat", b"0123") + box("moov", index([LEAD + 8], edits=[(9, 0), (9, 400)])),
        FTYP + box("moov", index([9000], edits=[(9, 0), (9, 400)])) + box("mdat", b"0123"),
        FTYP + box("mdat", b"0123") + box("moov", moov(track({"saio": full("saio", bytes(8))}))),
        FTYP + box("mdat", b"0123") + box("moov", moov(track({"stco": full("stco", struct.pack(">I", 9))}))),
        FTYP + box("mdat", b"0123") + box("moov", b"\x00\x00\x00\x02nonsense"),
    ],
    ids=["fragmented behind", "compressed", "two", "fragments before", "into the type", "into the index", "beyond the end",
         "backwards", "backwards in front", "edited", "edited in front", "encrypted", "cut short", "no box"],
)  # fmt: skip
def test_what_needs_a_seek_is_not_fed(data: bytes) -> None:
    assert feed(data) is None


def test_a_file_without_an_index_is_not_fed() -> None:
    assert plan_feed(layout(FTYP + box("mdat", b"01")), b"", LEAD + 10) is None


def test_no_more_is_asked_for_than_the_headers_that_count() -> None:
    """A front index is known from the head; for one at the end, one header is asked for."""
    head = FTYP + struct.pack(">I4s", len(index([5000])) + 8, b"moov")
    found = read_layout([(0, head + bytes(8))], len(FRONT))
    assert found is not None
    assert (found.wanted, found.index_first) == (None, True)
    back = read_layout([(0, BACK[: LEAD + 40])], len(BACK))
    assert back is not None
    assert (back.index_first, back.moov) == (False, None)
    assert back.wanted == LEAD + 8 + 18
    tail = read_layout([(0, BACK[: LEAD + 40]), (back.wanted, BACK[back.wanted :])], len(BACK))
    assert tail == layout(BACK)


@given(st.data())
def test_asking_for_one_header_after_the_other_comes_to_the_whole_layout(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from([BACK, FRONT]))
    known: list[tuple[int, bytes]] = [(0, file[: data.draw(st.integers(0, len(file)))])]
    for _ in range(len(layout(file).boxes) + 1):
        found = read_layout(known, len(file))
        assert found is not None
        if found.wanted is None:
            break
        more = data.draw(st.integers(HEADER_BYTES, 200))
        known.append((found.wanted, file[found.wanted : found.wanted + more]))
    assert found == layout(file)


@pytest.mark.parametrize("data", [b"\x1a\x45\xdf\xa3" + bytes(60), FTYP + b"\x00\x00\x00\x05mdat" + bytes(9), FTYP + b"abc"])
def test_what_is_no_movie_has_no_layout(data: bytes) -> None:
    assert read_layout([(0, data)], len(data)) is None


@given(st.lists(st.sampled_from(["free", "mdat", "wide", "uuid"]), min_size=1, max_size=5), st.data())
def test_every_chunk_keeps_its_bytes_wherever_the_index_stood(around: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(around)))
    bodies = [bytes([number]) * data.draw(st.integers(1, 9)) for number in range(len(around))]
    chunks = data.draw(st.integers(1, 6))

    def build(places: Sequence[int]) -> bytes:
        boxes = [box(kind, body) for kind, body in zip(around, bodies, strict=True)]
        return b"".join((FTYP, *boxes[:at], box("moov", index(places)), *boxes[at:]))

    size = len(build([0] * chunks))
    hole = range(LEAD + sum(len(body) + 8 for body in bodies[:at]), size - sum(len(body) + 8 for body in bodies[at:]))
    places = sorted(data.draw(st.sampled_from([n for n in range(LEAD, size) if n not in hole])) for _ in range(chunks))
    file = build(places)
    made = fed(file)
    for old, new in zip(places, offsets(made), strict=True):
        assert made[new] == file[old]


@given(st.data())
def test_a_damaged_file_is_fed_or_not_and_never_beyond_its_end(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from([BACK, FRONT])))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    found = read_layout([(0, bytes(file))], len(file))
    if found is None or found.moov is None:
        return
    plan = plan_feed(found, bytes(file[found.moov.offset + found.moov.header : found.moov.end]), len(file))
    for piece in plan.pieces if plan else ():
        assert isinstance(piece, bytes) or 0 <= piece.offset < piece.offset + piece.size <= len(file)
