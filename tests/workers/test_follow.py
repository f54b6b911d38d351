"""Tracks that are followed while they grow: every segment is told once it stands, and in the end all bytes are told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import FTYP, avc_entry, box, fragment, moov
from vproc.core.grid import KeyGrid
from vproc.core.manifest import OutputKind
from vproc.core.plan import OutputKind as Planned
from vproc.core.plan import PlannedOutput
from vproc.errors import TransientError
from vproc.ports import FileSlice
from vproc.tasks import task_group
from vproc.workers.follow import Follower, Track
from vproc.workers.package import Item

GRID = KeyGrid(4, 2)
HEADER = FTYP + moov(avc_entry())


def film(*durations: int) -> list[bytes]:
    """Fragments of these lengths in milliseconds, one after the other."""
    parts, at = [], 0
    for number, duration in enumerate(durations):
        parts.append(fragment(at, [(duration, 100 + number)]))
        at += duration
    return parts


def planned(path: Path, rendition: str = "v720") -> PlannedOutput:
    return PlannedOutput(Planned.CMAF_VIDEO, rendition, (path,), "h264", 1280, 720)


def body(item: Item) -> bytes:
    assert isinstance(item.body, FileSlice)
    return item.body.path.read_bytes()[item.body.offset : item.body.offset + item.body.size_bytes]


def test_a_segment_is_told_as_soon_as_its_last_fragment_stands(tmp_path: Path) -> None:
    path = tmp_path / "v720.mp4"
    track, parts = Track(planned(path), GRID), film(2000, 2000, 4000, 1000)
    assert track.look() == []  # ffmpeg has not opened it yet
    told = []
    with path.open("ab") as file:
        for piece in (HEADER[:20], HEADER[20:], parts[0][:50], parts[0][50:], parts[1], parts[2], parts[3]):
            file.write(piece)
            file.flush()
            told.append([item.path for item in track.look()])
    assert told == [
        [], ["v720/init.mp4"], [], ["v720/seg-00001.m4s"], ["v720/seg-00002.m4s"], ["v720/seg-00003.m4s"], [],
    ]  # fmt: skip
    assert [item.path for item in track.finish()] == ["v720/seg-00004.m4s"]
    assert b"".join(map(body, track.cut.items)) == path.read_bytes()
    assert [item.kind for item in track.cut.items] == [OutputKind.INIT, *[OutputKind.SEGMENT] * 4]
    track.close()


def test_a_rest_that_is_too_short_is_told_with_the_segment_before_it(tmp_path: Path) -> None:
    """That segment was told already: it is told once more, longer, under its own name."""
    path = tmp_path / "v720.mp4"
    track = Track(planned(path), GRID)
    path.write_bytes(HEADER + b"".join(film(2000, 2000, 4000, 100)))
    assert [item.path for item in track.look()][-1] == "v720/seg-00003.m4s"
    (again,) = track.finish()
    assert (again.path, body(again)) == ("v720/seg-00003.m4s", b"".join(film(2000, 2000, 4000, 100)[2:]))
    assert track.cut.items[-1] == again
    assert [segment.duration for segment in track.cut.index.segments] == [2000, 2000, 4100]
    track.close()


def test_a_copied_rung_joins_its_gops_where_the_others_begin_segments(tmp_path: Path) -> None:
    path = tmp_path / "v1080.mp4"
    track = Track(planned(path), KeyGrid(4, 2, starts=tuple(map(Fraction, (0, 2, 6)))))
    path.write_bytes(HEADER + b"".join(film(1000, 1000, 3000, 1000, 2000)))
    assert [item.path for item in track.look()] == ["v720/init.mp4", "v720/seg-00001.m4s", "v720/seg-00002.m4s"]
    track.finish()
    assert [segment.duration for segment in track.cut.index.segments] == [2000, 4000, 2000]
    track.close()


def test_a_track_that_was_not_written_or_is_cut_is_an_invalid_output(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="v720 was not written"):
        Track(planned(tmp_path / "none.mp4"), GRID).finish()
    path = tmp_path / "cut.mp4"
    path.write_bytes(HEADER + film(2000)[0][:-1])
    track = Track(planned(path), GRID)
    assert [item.path for item in track.look()] == ["v720/init.mp4"]
    with pytest.raises(TransientError):
        track.finish()
    track.close()


async def test_all_tracks_are_followed_until_the_end_and_nothing_is_told_twice(tmp_path: Path) -> None:
    paths = [tmp_path / "v720.mp4", tmp_path / "v360.mp4"]
    outputs = [planned(path, path.stem) for path in paths]
    poster = PlannedOutput(Planned.POSTER, "poster", (tmp_path / "poster.jpg",), "mjpeg", 10, 10)
    told: list[str] = []
    first = anyio.Event()

    def on_item(item: Item) -> None:
        told.append(item.path)
        if len(told) == 2:
            first.set()

    with Follower([*outputs, poster], GRID, on_item=on_item) as follower:
        async with task_group() as tasks:
            tasks.start_soon(follower.run)
            for path in paths:
                path.write_bytes(HEADER)
            with anyio.fail_after(5):
                await first.wait()
            for path in paths:
                path.write_bytes(HEADER + b"".join(film(2000, 2000)))
            tasks.cancel_scope.cancel()
        cut = await follower.finish()
    assert sorted(told) == sorted(f"{name}/{part}" for name in cut for part in ("init.mp4", "seg-00001.m4s", "seg-00002.m4s"))
    assert set(cut) == {"v720", "v360"}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 6000), min_size=1, max_size=12),
    st.lists(st.integers(0, 5000), max_size=10),
    st.sampled_from([GRID, KeyGrid(4, 4), KeyGrid(6, 1)]),
)
def test_whatever_is_seen_of_it_the_end_is_the_same(durations: list[int], sizes: list[int], grid: KeyGrid) -> None:
    """Looked at never or at any moment: the last that is told under each name are all the bytes of the file."""
    whole = HEADER + b"".join(film(*durations)) + box("mfra", bytes(16))
    told: dict[str, bytes] = {}
    with TemporaryDirectory() as directory:
        path = Path(directory) / "v720.mp4"
        track = Track(planned(path), grid)
        for size in sorted(sizes):
            path.write_bytes(whole[:size])
            told |= {item.path: body(item) for item in track.look()}
        path.write_bytes(whole)
        told |= {item.path: body(item) for item in track.finish()}
        track.close()
        assert told == {item.path: body(item) for item in track.cut.items}
        assert b"".join(told[name] for name in sorted(told)) == whole[:-24]
