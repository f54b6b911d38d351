"""Indexing a fragmented MP4 from its boxes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import FTYP, aac_entry, avc_entry, box, fragment, full, moov
from vproc.core.boxes import Read
from vproc.core.fmp4 import Segment, TrackIndex, TrackWalk, index_track
from vproc.errors import TransientError

HEADER = FTYP + moov(avc_entry())
FIRST, SECOND = fragment(0, [(40, 10)] * 100), fragment(4000, [(40, 20)] * 50)
WHOLE = HEADER + FIRST + SECOND


def index(data: bytes) -> TrackIndex:
    return index_track(lambda offset, size: data[offset : offset + size], len(data))


def test_the_header_and_each_fragment_are_found() -> None:
    found = index(WHOLE)
    assert (found.kind, found.codecs, found.timescale, found.width, found.height) == ("video", "avc1.64001f", 1000, 1280, 720)
    assert found.init_bytes == len(HEADER)
    first, second = found.segments
    assert (first.offset, first.size, first.start, first.duration, first.samples) == (len(HEADER), len(FIRST), 0, 4000, 100)
    assert (second.offset, second.size, second.start, second.duration) == (len(HEADER) + len(FIRST), len(SECOND), 4000, 2000)
    assert (found.duration_s, found.frame_rate, found.independent, found.is_video) == (6.0, 25, True, True)


def test_the_header_and_the_segments_are_the_whole_file() -> None:
    found = index(WHOLE)
    parts = [WHOLE[: found.init_bytes], *(WHOLE[part.offset : part.offset + part.size] for part in found.segments)]
    assert b"".join(parts) == WHOLE


def test_a_segments_lead_ends_with_its_first_sample() -> None:
    styp = box("styp", b"msdh", bytes(4))
    pictures = [(40, 900), (40, 7), (40, 11)]
    found = index(HEADER + FIRST + styp + fragment(4000, pictures)).segments
    assert [part.size - part.lead_bytes for part in found] == [99 * 10, 7 + 11]
    defaults = moof(full("tfhd", struct.pack(">I", 1)), full("trun", struct.pack(">I", 3))) + box("mdat", bytes(30))
    assert [part.size - part.lead_bytes for part in index(HEADER + defaults).segments] == [20]


def test_sound_has_its_rate_its_channels_and_its_priming() -> None:
    found = index(FTYP + moov(aac_entry(), handler=b"soun", timescale=48000, edits=[1024]) + fragment(0, [(1024, 5)] * 10))
    assert (found.kind, found.codecs, found.sample_rate, found.channels) == ("audio", "mp4a.40.2", 48000, 2)
    assert (found.edit_start, found.duration_s) == (1024, 10240 / 48000)
    assert found.shown_s == pytest.approx(9216 / 48000)


def test_an_empty_edit_is_a_pause_and_no_start() -> None:
    assert index(FTYP + moov(avc_entry(), edits=[-1, 512]) + FIRST).edit_start == 512
    assert index(FTYP + moov(avc_entry(), edits=[-1]) + FIRST).edit_start == 0


def test_what_stands_before_a_fragment_is_part_of_its_segment() -> None:
    styp = box("styp", b"msdh", bytes(4))
    found = index(HEADER + box("sidx", bytes(32)) + FIRST + styp + box("emsg", bytes(20)) + SECOND + box("mfra", bytes(40)))
    assert found.segments[0].size == len(FIRST)
    assert found.segments[1].size == len(styp) + 28 + len(SECOND)
    assert (
        found.segments[1].offset + found.segments[1].size + 48
        == len(HEADER) + 40 + len(FIRST) + len(styp) + 28 + len(SECOND) + 48
    )


def test_a_fragment_without_a_key_frame_is_not_independent() -> None:
    found = index(HEADER + FIRST + fragment(4000, [(500, 1)], sync=False))
    assert [segment.starts_with_sync for segment in found.segments] == [True, False]
    assert not found.independent


def test_long_times_and_long_boxes_are_read() -> None:
    late = 2**40
    data = fragment(late, [(40, 10)], long=True)
    moof_size = int.from_bytes(data[:4], "big")
    long_mdat = struct.pack(">I4sQ", 1, b"mdat", 26) + bytes(10)
    assert index(HEADER + data[:moof_size] + long_mdat).segments[0].start == late
    to_the_end = struct.pack(">I4s", 0, b"mdat") + bytes(10)
    assert index(HEADER + data[:moof_size] + to_the_end).segments[0].size == moof_size + 18


def moof(tfhd: bytes, trun: bytes, *, tfdt: bytes | None = None) -> bytes:
    return box("moof", box("traf", tfhd, full("tfdt", bytes(4)) if tfdt is None else tfdt, trun))


def test_samples_without_fields_take_the_fragments_defaults_then_the_tracks() -> None:
    bare = full("trun", struct.pack(">I", 3))
    track_defaults = moof(full("tfhd", struct.pack(">I", 1)), bare) + box("mdat", bytes(30))
    found = index(HEADER + track_defaults).segments[0]
    assert (found.duration, found.samples, found.starts_with_sync) == (300, 3, False)
    own = full("tfhd", struct.pack(">IQIIII", 1, 0, 1, 7, 2, 0), flags=0x1 | 0x2 | 0x8 | 0x10 | 0x20)
    found = index(HEADER + moof(own, bare) + box("mdat", bytes(6))).segments[0]
    assert (found.duration, found.starts_with_sync) == (21, True)


def test_several_runs_are_one_segment_and_flags_may_be_the_samples_own() -> None:
    tfhd = full("tfhd", struct.pack(">I", 1))
    rows = struct.pack(">IIII", 0x02000000, 0, 0x01010000, 5)
    run = full("trun", struct.pack(">I", 2), rows, flags=0x400 | 0x800)
    data = box("moof", box("traf", tfhd, full("tfdt", bytes(4)), run, full("trun", struct.pack(">I", 1)))) + box(
        "mdat", bytes(30)
    )
    found = index(HEADER + data).segments[0]
    assert (found.samples, found.duration, found.starts_with_sync) == (3, 300, True)


TFHD, TRUN = full("tfhd", struct.pack(">I", 1)), full("trun", struct.pack(">I", 1))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no segment"),
        (HEADER, "no segment"),
        (WHOLE[:-1], "claims"),
        (WHOLE + b"\x00\x00", "no box"),
        (HEADER + WHOLE, "'moov' at|'ftyp' at"),
        (HEADER + moov(avc_entry()) + FIRST, "'moov' at"),
        (HEADER + box("mdat", bytes(9)), "without a moof"),
        (FTYP + FIRST, "'moof' at"),
        (HEADER + FIRST[: int.from_bytes(FIRST[:4], "big")], "no data"),
        (HEADER + box("xxxx") + FIRST, "'xxxx' at"),
        (HEADER + fragment(0, [(40, 10)], data=9), "longer than its data"),
        (HEADER + FIRST + fragment(3999, [(40, 10)]), "before the last one ends"),
        (HEADER + fragment(0, [(40, 10)], track_id=2), "another track"),
        (HEADER + fragment(0, []), "without samples"),
        (HEADER + fragment(0, [(0, 10)]), "without duration"),
        (FTYP + moov(avc_entry(), tracks=2) + FIRST, "2 tracks"),
        (FTYP + moov(avc_entry(), timescale=0) + FIRST, "timescale"),
        (FTYP + moov(avc_entry(), handler=b"text") + FIRST, "kind b'text'"),
        (FTYP + moov(b"") + FIRST, "no codec string"),
        (FTYP + box("moov") + FIRST, "0 tracks"),
        (HEADER + moof(TFHD, full("trun", struct.pack(">I", 9), bytes(8), flags=0x100)) + box("mdat"), "cut short"),
        (HEADER + moof(TFHD, TRUN, tfdt=b"") + box("mdat", bytes(10)), "no tfdt"),
        (HEADER + moof(TFHD, TRUN, tfdt=full("tfdt")) + box("mdat", bytes(10)), "cut short"),
        (HEADER + box("moof", box("free")) + box("mdat"), "0 track fragments"),
        (struct.pack(">I4sI", 1, b"moov", 0), "cut short"),
        (struct.pack(">I4s", 7, b"moov"), "claims 7 bytes"),
    ],
)  # fmt: skip
def test_anything_else_is_an_invalid_output(data: bytes, words: str) -> None:
    with pytest.raises(TransientError, match=words) as caught:
        index(data)
    assert caught.value.code == "output_invalid"


def test_a_file_that_shrinks_while_it_is_read_is_malformed() -> None:
    with pytest.raises(TransientError):
        index_track(lambda offset, size: WHOLE[: len(HEADER) - 4][offset : offset + size], len(WHOLE))


@given(st.binary(max_size=400))
def test_any_bytes_end_in_an_error(data: bytes) -> None:
    with pytest.raises(TransientError):
        index(data)


@given(st.data())
def test_a_damaged_file_is_indexed_or_refused_and_never_beyond_its_end(data: st.DataObject) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(HEADER) + 200))] = data.draw(st.integers(0, 255))
    try:
        found = index(bytes(damaged))
    except TransientError:
        return
    assert found.segments
    assert all(0 < part.offset < part.offset + part.size <= len(damaged) for part in found.segments)


@given(st.lists(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 40)), min_size=1, max_size=5), min_size=1, max_size=5))
def test_durations_add_up_whatever_the_samples(fragments: list[list[tuple[int, int]]]) -> None:
    data, at = HEADER, 0
    for samples in fragments:
        data += fragment(at, samples)
        at += sum(duration for duration, _ in samples)
    found = index(data)
    assert found.duration_s == pytest.approx(at / 1000)
    assert found.init_bytes + sum(part.size for part in found.segments) == len(data)
    assert [part.samples for part in found.segments] == [len(samples) for samples in fragments]


def read(data: bytes) -> Read:
    return lambda offset, size: data[offset : offset + size]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_a_file_that_grows_ends_as_one_that_was_whole(sizes: list[int]) -> None:
    """Whatever is seen of it in between, a fragment is told once it is there to its last byte, and never changes."""
    walk = TrackWalk(read(WHOLE))
    told: list[Segment] = []
    for size in sorted(sizes):
        walk.advance(size)
        assert walk.fragments[: len(told)] == told
        assert all(part.offset + part.size <= size for part in walk.fragments)
        assert (walk.header is not None) == (size >= len(HEADER))
        told = list(walk.fragments)
    assert walk.finish(len(WHOLE)) == index(WHOLE)


def test_a_box_to_the_end_of_the_file_and_a_cut_long_header_wait_for_the_end() -> None:
    to_the_end = HEADER + FIRST[: int.from_bytes(FIRST[:4], "big")] + struct.pack(">I4s", 0, b"mdat") + bytes(1000)
    walk = TrackWalk(read(to_the_end))
    walk.advance(len(to_the_end))
    assert not walk.fragments
    assert len(walk.finish(len(to_the_end)).segments) == 1
    walk = TrackWalk(read(HEADER + struct.pack(">I4sI", 1, b"mdat", 0)))
    walk.advance(len(HEADER) + 12)
    with pytest.raises(TransientError, match="cut short"):
        walk.finish(len(HEADER) + 12)
