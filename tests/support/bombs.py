"""Small files that declare enormous things: pictures, rates, lengths, numbers of streams, metadata, edits."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.support.media import FFMPEG
from tests.support.mutants import seed

MIB = 1024**2
_MDHD = (b"moov", b"trak", b"mdia", b"mdhd")


@cache
def bomb(name: str) -> bytes:
    """One of `BOMBS`."""
    return BOMBS[name]()


def _ffmpeg(suffix: str, *arguments: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vproc-bombs-") as folder:
        out = Path(folder) / f"bomb.{suffix}"
        subprocess.run([FFMPEG, "-v", "error", "-nostdin", "-y", *arguments, str(out)], check=True, capture_output=True)
        return out.read_bytes()


def _huge_picture() -> bytes:
    """16000 x 16000, just what ffmpeg takes: a gigabyte once it is decoded and scaled."""
    picture = ("-f", "lavfi", "-i", "color=s=16000x16000:r=1:d=1", "-frames:v", "1")
    return _ffmpeg("mov", *picture, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")


def _picture_that_grows() -> bytes:
    """Says 96 x 64 in its header, and 16000 x 16000 in its stream."""
    body = bytearray(_huge_picture())
    at = body.index(b"jpeg", body.index(b"stsd"))
    body[at + 28 : at + 32] = struct.pack(">HH", 96, 64)
    return bytes(body)


def _many_streams() -> bytes:
    tones = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "0.1")
    return _ffmpeg("mkv", *tones, *("-map", "0:a") * 300, "-c:a", "pcm_s16le")


def _much_metadata() -> bytes:
    """Fifty megabytes of a comment."""
    text = b"x" * (50 * MIB)
    data = _box(b"\xa9cmt", _box(b"data", struct.pack(">II", 1, 0) + text))
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(10))
    meta = _box(b"udta", _box(b"meta", bytes(4) + handler + _box(b"ilst", data)))
    return _changed(seed("h264.mp4"), (b"moov",), lambda body: body + meta)


def _rate_without_end() -> bytes:
    """A billion frames a second."""
    return _changed(seed("frames.mp4"), _MDHD, lambda body: body[:12] + struct.pack(">I", 10**9) + body[16:])


def _time_that_stands() -> bytes:
    """A timescale of nothing."""
    return _changed(seed("frames.mp4"), _MDHD, lambda body: body[:12] + bytes(4) + body[16:])


def _length_without_end() -> bytes:
    """136 years, in the header, the track and its media."""
    body = _changed(seed("h264.mp4"), (b"moov", b"mvhd"), lambda body: body[:12] + struct.pack(">II", 1, 0xFFFF_FFFE) + body[20:])
    return _changed(body, (b"moov", b"trak", b"tkhd"), lambda body: body[:20] + struct.pack(">I", 0xFFFF_FFFE) + body[24:])


def _frames_that_last() -> bytes:
    """Nine frames, each of a day and a half."""
    table = struct.pack(">III", 0, 1, 9) + struct.pack(">I", 0x7FFF_FFFF)
    return _changed(seed("frames.mp4"), (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"), lambda _: table)


def _edits_again_and_again() -> bytes:
    """An edit list that plays the film forty thousand times."""
    times = 40_000
    edits = struct.pack(">II", 0, times) + struct.pack(">IiI", 600, 0, 1 << 16) * times
    return _changed(seed("frames.mp4"), (b"moov", b"trak", b"edts", b"elst"), lambda _: edits)


def _samples_without_end() -> bytes:
    """A table of four thousand million samples, of one size each, that no file holds."""
    table = struct.pack(">III", 0, 1, 0xFFFF_FFF0)
    return _changed(seed("frames.mp4"), (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"), lambda _: table)


def _boxes_in_boxes() -> bytes:
    """Two thousand deep."""
    body = b""
    for _ in range(2000):
        body = _box(b"udta", body)
    return _changed(seed("h264.mp4"), (b"moov",), lambda moov: moov + body)


BOMBS: dict[str, Callable[[], bytes]] = {
    "huge_picture": _huge_picture,
    "picture_that_grows": _picture_that_grows,
    "many_streams": _many_streams,
    "much_metadata": _much_metadata,
    "rate_without_end": _rate_without_end,
    "time_that_stands": _time_that_stands,
    "length_without_end": _length_without_end,
    "frames_that_last": _frames_that_last,
    "edits_again_and_again": _edits_again_and_again,
    "samples_without_end": _samples_without_end,
    "boxes_in_boxes": _boxes_in_boxes,
}


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def _changed(film: bytes, path: tuple[bytes, ...], change: Callable[[bytes], bytes]) -> bytes:
    """The film with the first box at ``path`` changed. Its index must stand behind its media, so that no offset moves."""
    at, done = 0, False
    parts = []
    while at + 8 <= len(film):
        size = int.from_bytes(film[at : at + 4], "big")
        name, body = film[at + 4 : at + 8], film[at + 8 : at + size]
        if name == path[0] and not done:
            done = True
            body = change(body) if len(path) == 1 else _changed(body, path[1:], change)
        parts.append(_box(name, body))
        at += size
    if not done:
        raise AssertionError(f"no box {path[0]!r}")
    return b"".join(parts)
