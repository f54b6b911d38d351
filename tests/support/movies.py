"""MP4 files that are not fragmented, built box by box, with whatever tables a test wants."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from tests.support.samples import avc_entry, box, full

MOVIE_SCALE = 600


def runs(values: Iterable[int]) -> list[tuple[int, int]]:
    """Values as (how many, value)."""
    return [(len(list(same)), value) for value, same in groupby(values)]


def tables(
    *,
    deltas: Sequence[int],
    sizes: Sequence[int],
    keys: Sequence[int] | None = None,
    shifts: Sequence[int] | None = None,
    chunks: Sequence[int] = (48,),
    chunk_runs: Sequence[tuple[int, int]] | None = None,
) -> dict[str, bytes]:
    """The boxes of a ``stbl`` by kind. ``keys`` counts from 1 as the box does; without it every sample is a key frame.
    ``chunk_runs``: first chunk and samples a chunk."""
    made = {
        "stsd": full("stsd", struct.pack(">I", 1), avc_entry()),
        "stts": full("stts", struct.pack(">I", len(runs(deltas))), *(struct.pack(">II", *run) for run in runs(deltas))),
        "stsz": full("stsz", struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)),
    }
    rows = chunk_runs or [(1, len(sizes))]
    made["stsc"] = full("stsc", struct.pack(">I", len(rows)), *(struct.pack(">III", *row, 1) for row in rows))
    made["stco"] = full("stco", struct.pack(f">I{len(chunks)}I", len(chunks), *chunks))
    if keys is not None:
        made["stss"] = full("stss", struct.pack(f">I{len(keys)}I", len(keys), *keys))
    if shifts is not None:
        made["ctts"] = full("ctts", struct.pack(">I", len(runs(shifts))), *(struct.pack(">Ii", *run) for run in runs(shifts)))
    return made


def track(
    boxes: Mapping[str, bytes],
    *,
    handler: bytes = b"vide",
    timescale: int = 1000,
    track_id: int = 1,
    edits: Sequence[tuple[int, int]] | None = None,
    rate: int = 0x10000,
    long: bool = False,
) -> bytes:
    """A ``trak``. ``edits``: duration (in `MOVIE_SCALE`) and media time of each. ``long``: times of 64 bits."""
    times = ">QQIQ" if long else ">IIII"
    ids = struct.pack(">QQI", 0, 0, track_id) if long else struct.pack(">III", 0, 0, track_id)
    version = 1 if long else 0
    edit = ">QqI" if long else ">IiI"
    listed = b"" if edits is None else box(
        "edts",
        full("elst", struct.pack(">I", len(edits)), *(struct.pack(edit, *row, rate) for row in edits), version=version),
    )  # fmt: skip
    return box(
        "trak",
        full("tkhd", ids, bytes(68), version=version),
        listed,
        box(
            "mdia",
            full("mdhd", struct.pack(times, 0, 0, timescale, 0), bytes(4), version=version),
            full("hdlr", bytes(4), handler, bytes(13)),
            box("minf", box("stbl", *boxes.values())),
        ),
    )


def moov(*tracks: bytes, extra: bytes = b"", movie_scale: int = MOVIE_SCALE) -> bytes:
    """The payload of an index."""
    return full("mvhd", struct.pack(">IIII", 0, 0, movie_scale, 0), bytes(80)) + b"".join(tracks) + extra
