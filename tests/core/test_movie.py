"""The sample tables of a movie: what they say of key frames, rates, GOPs and edits, and what is refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.movies import moov, tables, track
from tests.support.samples import avc_entry, box, full
from vproc.core.movie import MOST_SAMPLES, SampleTable, read_video

PLAIN = {"deltas": [40] * 10, "sizes": range(100, 110), "keys": [1, 6]}

# Two GOPs of IBBP pictures in the order of decoding, as x264 writes them: shown 0 3 1 2 4 | 5 8 6 7 9, delayed by two.
REORDERED = [2, 4, 1, 1, 2] * 2


def read(
    *, edits: Any = None, timescale: int = 1000, changed: dict[str, bytes] | None = None, **columns: Any
) -> SampleTable | None:
    boxes = {**tables(**{**PLAIN, **columns}), **(changed or {})}
    return read_video(moov(track(boxes, edits=edits, timescale=timescale)), 0)


def table(**columns: Any) -> SampleTable:
    found = read(**columns)
    assert found is not None
    return found


def test_key_frames_have_times_places_and_the_bytes_of_their_gops() -> None:
    found = table()
    assert (found.track_id, found.entry, found.timescale, found.samples) == (1, "avc1", 1000, 10)
    assert (found.keyframes, found.keyframe_offsets) == ((0, 200), (48, 48 + 510))
    assert found.gop_bytes == (510, 535)
    assert (found.constant_rate, found.closed_gops, found.whole) == (25, True, True)
    assert (found.start_s, found.duration_s, found.longest_gop_s) == (0, Fraction(2, 5), Fraction(1, 5))
    assert found.keyframes_s == (0, Fraction(1, 5))


def test_without_a_table_of_key_frames_each_sample_is_one() -> None:
    found = table(keys=None)
    assert found.keyframes == tuple(range(0, 400, 40))
    assert found.gop_bytes == tuple(range(100, 110))
    assert found.closed_gops


def test_pictures_that_are_decoded_early_are_told_by_when_they_are_shown() -> None:
    found = table(shifts=[40 * shift for shift in REORDERED])
    assert (found.start, found.end, found.keyframes) == (80, 480, (80, 280))
    assert (found.constant_rate, found.closed_gops) == (25, True)
    cut = table(shifts=[40 * shift for shift in REORDERED], edits=[(240, 80)])
    assert (cut.start, cut.end, cut.keyframes, cut.whole) == (0, 400, (0, 200), True)


def test_negative_shifts_are_read_whatever_the_version() -> None:
    shifts = [40 * shift - 80 for shift in REORDERED]
    assert table(shifts=shifts).keyframes == (0, 200)
    assert table(shifts=shifts).start == 0


@pytest.mark.parametrize(
    ("shifts", "why"),
    [
        ([0, 0, 0, 0, 0, 80, -40, 0, 0, 0], "a picture after the key frame is shown before it"),
        ([0, 0, 0, 0, 120, 0, 0, 0, 0, 0], "a picture before the key frame is shown after it"),
        ([0, 0, 0, 0, 40, 0, 0, 0, 0, 0], "one is shown at its very time"),
    ],
)
def test_an_open_gop_is_seen_by_its_times(shifts: list[int], why: str) -> None:
    assert not table(shifts=shifts).closed_gops, why


def test_partial_key_frames_of_quicktime_open_their_gops() -> None:
    assert not table(changed={"stps": full("stps", struct.pack(">II", 1, 4))}).closed_gops


@pytest.mark.parametrize(
    ("edits", "start", "whole"),
    [
        ([], 0, True),
        ([(240, 0)], 0, True),
        ([(600, -1), (240, 0)], 1000, True),
        ([(1, -1), (1, -1), (240, 0)], 3, True),
        ([(240, 40)], -40, False),
        ([(200, 0)], 0, False),
        ([(217, 0)], 0, True),
        ([(216, 0)], 0, False),
        ([(0, 0)], 0, False),
        ([(120, 0), (120, 200)], 0, False),
        ([(240, 0), (60, -1)], 0, False),
        ([(240, -1)], 0, False),
    ],
    ids=["none", "all", "a pause", "two pauses", "the first cut", "the end cut", "the last picture begins", "and does not",
         "for no time", "two", "a pause behind", "nothing"],
)  # fmt: skip
def test_the_edit_list_moves_times_and_may_cut(edits: list[tuple[int, int]], start: int, whole: bool) -> None:
    found = table(edits=edits)
    assert (found.start, found.whole) == (start, whole)
    assert found.duration_s == Fraction(2, 5)


def test_another_speed_is_no_copy() -> None:
    made = tables(**PLAIN)  # type: ignore[arg-type]
    found = read_video(moov(track(made, edits=[(240, 0)], rate=0x8000)), 0)
    assert found is not None
    assert not found.whole


@pytest.mark.parametrize(
    ("timescale", "deltas", "rate"),
    [
        (30000, [1001] * 10, Fraction(30000, 1001)),
        (1000, [33, 33, 34] * 4, Fraction(30)),
        (1000, [42, 41, 42] * 9, Fraction(24)),
        (1000, [33] * 10, Fraction(1000, 33)),
        (90000, [3000] * 9 + [1], Fraction(30)),
        (90000, [3000] * 9 + [6000, 3000], None),
        (1000, [33, 50, 33, 17, 33, 50], None),
        (1000, [40, 40, 0, 40], None),
        (1000, [40], None),
        (1000, [33] * 20 + [34] * 20, None),
    ],
)
def test_a_constant_rate_is_told_through_the_rounding_of_its_times(
    timescale: int, deltas: list[int], rate: Fraction | None
) -> None:
    found = table(deltas=deltas, sizes=[10] * len(deltas), keys=[1], timescale=timescale)
    assert found.constant_rate == rate


@given(st.sampled_from([Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(60000, 1001), Fraction(60)]))
def test_a_rate_in_milliseconds_is_the_exact_one(rate: Fraction) -> None:
    times = [round(number * 1000 / rate) for number in range(401)]
    assert table(deltas=[after - at for at, after in pairwise(times)], sizes=[9] * 400, keys=[1]).constant_rate == rate


def test_the_peak_is_that_of_gops_in_a_row() -> None:
    found = table(deltas=[500] * 8, sizes=[100, 0, 300, 0, 100, 0, 900, 0], keys=[1, 3, 5, 7])
    assert found.peak_bps(1) == 7200
    assert found.peak_bps(2) == 4000
    assert found.peak_bps(60) == found.peak_bps(4) == 1400 * 8 / 4
    assert replace(found, keyframes=(0,), gop_bytes=(9,), end=0).peak_bps(1) == 0


@pytest.mark.parametrize(
    "sizes",
    [
        full("stsz", struct.pack(">II", 7, 10)),
        full("stz2", struct.pack(">II", 4, 10), b"\x77" * 5),
        full("stz2", struct.pack(">II", 8, 10), b"\x07" * 10),
        full("stz2", struct.pack(">II", 16, 10), b"\x00\x07" * 10),
    ],
    ids=["all alike", "four bits", "eight bits", "sixteen bits"],
)
def test_sizes_come_in_four_forms(sizes: bytes) -> None:
    made = tables(**PLAIN)  # type: ignore[arg-type]
    del made["stsz"]
    found = read_video(moov(track({**made, "size": sizes})), 0)
    assert found is not None
    assert found.gop_bytes == (35, 35)


def test_an_odd_number_of_half_bytes_ends_within_a_byte() -> None:
    made = tables(deltas=[40] * 3, sizes=[0] * 3)
    made["stsz"] = full("stz2", struct.pack(">II", 4, 3), b"\x12\x30")
    found = read_video(moov(track(made)), 0)
    assert found is not None
    assert found.gop_bytes == (1, 2, 3)


def test_long_offsets_and_long_times_are_read() -> None:
    far = 5 << 32
    made = tables(**PLAIN)  # type: ignore[arg-type]
    made["stco"] = full("co64", struct.pack(">IQ", 1, far))
    found = read_video(moov(track(made, long=True, edits=[(600, -1), (240, 0)], track_id=7)), 0)
    assert found is not None
    assert (found.track_id, found.timescale, found.start) == (7, 1000, 1000)
    assert found.keyframe_offsets[0] == far


def test_the_track_is_the_one_that_ffprobe_counts() -> None:
    sound, picture = track(tables(**PLAIN), handler=b"soun"), track(tables(**PLAIN), track_id=2)  # type: ignore[arg-type]
    assert read_video(moov(sound, picture), 0) is None
    found = read_video(moov(sound, picture), 1)
    assert found is not None
    assert found.track_id == 2
    assert read_video(moov(sound, picture), 2) is None


BAD_ROWS = struct.pack(">III", 2, 10, 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"stsz": full("stsz", struct.pack(">II", 0, 0))},
        {"stsz": full("stsz", struct.pack(">II", 9, 0xFFFFFFFF))},
        {"stsz": full("stsz", struct.pack(">II", 9, MOST_SAMPLES + 1))},
        {"stsz": full("stsz", struct.pack(">II", 0, 10), bytes(39))},
        {"stsz": full("stsz")},
        {"stsz": b""},
        {"stsz": full("stz2", struct.pack(">II", 5, 10), bytes(90))},
        {"stsz": full("stz2", struct.pack(">II", 16, 10), bytes(19))},
        {"stts": full("stts", struct.pack(">III", 1, 9, 40))},
        {"stts": full("stts", struct.pack(">III", 1, 11, 40))},
        {"stts": full("stts", struct.pack(">III", 2, 10, 40))},
        {"stts": full("stts", struct.pack(">I", 0xFFFFFFFF), bytes(80))},
        {"stts": full("stts", struct.pack(">IIi", 1, 10, -40))},
        {"stts": full("stts", struct.pack(">IiIiI", 2, -5, 40, 15, 40))},
        {"stts": full("stts", struct.pack(">I", 0))},
        {"stts": b""},
        {"ctts": full("ctts", struct.pack(">III", 1, 9, 40))},
        {"stss": full("stss", struct.pack(">II", 1, 2))},
        {"stss": full("stss", struct.pack(">III", 2, 1, 11))},
        {"stss": full("stss", struct.pack(">IIII", 3, 1, 6, 6))},
        {"stss": full("stss", struct.pack(">I", 0))},
        {"stss": full("stss", struct.pack(">III", 11, 1, 2))},
        {"stco": full("stco", struct.pack(">I", 0))},
        {"stco": full("stco", struct.pack(">I", 2))},
        {"stco": full("stco", struct.pack(">I", 0xFFFFFFFF))},
        {"stco": b""},
        {"stsc": full("stsc", struct.pack(">I", 1), BAD_ROWS)},
        {"stsc": full("stsc", struct.pack(">IIII", 1, 1, 9, 1))},
        {"stsc": full("stsc", struct.pack(">I", 2), struct.pack(">III", 1, 10, 1), BAD_ROWS)},
        {"stsc": full("stsc", struct.pack(">I", 0))},
        {"stsc": b""},
        {"stsd": full("stsd", struct.pack(">I", 2), avc_entry(), avc_entry())},
        {"stsd": full("stsd", struct.pack(">I", 0))},
        {"stsd": b""},
    ],
)
def test_tables_that_contradict_themselves_are_none(changed: dict[str, bytes]) -> None:
    assert read() is not None
    assert read(changed=changed) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 9,
        moov(),
        moov(box("trak")),
        moov(track(tables(**PLAIN)), extra=box("mvex")),  # type: ignore[arg-type]
        box("cmov", bytes(90)),
        moov(track(tables(**PLAIN), timescale=0)),  # type: ignore[arg-type]
        moov(track(tables(**PLAIN), edits=[(9, 0)]), movie_scale=0),  # type: ignore[arg-type]
        track(tables(**PLAIN), edits=[(9, 0)]),  # type: ignore[arg-type]
        moov(track(tables(**PLAIN)), *[box("free")] * 20_000),  # type: ignore[arg-type]
    ],
    ids=["nothing", "no box", "no track", "no media", "fragmented", "compressed", "no timescale", "no movie timescale", "no mvhd",
         "a flood of boxes"],
)  # fmt: skip
def test_what_is_no_plain_movie_has_no_tables(data: bytes) -> None:
    assert read_video(data, 0) is None


@given(st.data())
def test_offsets_and_bytes_are_those_of_counting_sample_by_sample(data: st.DataObject) -> None:
    per_chunk = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))
    count = sum(per_chunk)
    sizes = data.draw(st.lists(st.integers(0, 5000), min_size=count, max_size=count))
    deltas = data.draw(st.lists(st.integers(1, 50), min_size=count, max_size=count))
    keys = sorted({1, *data.draw(st.sets(st.integers(1, count)))})
    chunks = data.draw(st.lists(st.integers(0, 2**31), min_size=len(per_chunk), max_size=len(per_chunk)))
    rows = [(number + 1, each) for number, each in enumerate(per_chunk) if number == 0 or per_chunk[number - 1] != each]
    found = table(sizes=sizes, deltas=deltas, keys=keys, chunks=chunks, chunk_runs=rows)
    places, sample = [], 0
    for chunk, each in zip(chunks, per_chunk, strict=True):
        at = chunk
        for _ in range(each):
            places.append(at)
            at += sizes[sample]
            sample += 1
    assert found.keyframe_offsets == tuple(places[key - 1] for key in keys)
    assert sum(found.gop_bytes) == sum(sizes)
    assert found.keyframes == tuple(list(accumulate(deltas, initial=0))[key - 1] for key in keys)
    assert found.closed_gops


WHOLE = moov(
    track(tables(**PLAIN, shifts=[40 * shift for shift in REORDERED]), edits=[(60, -1), (240, 80)]),  # type: ignore[arg-type]
    track(tables(deltas=[1024] * 5, sizes=[9] * 5), handler=b"soun"),
)


@given(st.data())
def test_a_damaged_index_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    found = read_video(bytes(damaged), 0)
    if found is not None:
        assert len(found.keyframes) == len(found.keyframe_offsets) == len(found.gop_bytes) > 0
        assert min(found.gop_bytes) >= 0
        assert found.samples <= MOST_SAMPLES
        assert found.peak_bps(2) >= 0


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_are_no_movie(data: bytes, stream: int) -> None:
    assert read_video(data, stream) is None
