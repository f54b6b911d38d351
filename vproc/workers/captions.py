"""Takes the captions out of a source by ffmpeg, and leaves clean WebVTT files. What is run and what is kept: `core.captions`,
`core.vtt`.

Captions are an extra: where they cannot be read the film is published without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
import structlog

from vproc.core.captions import MOST_CAPTIONS, WINDOW_BYTES, WINDOWS, CaptionTrack, captions_argv, line21_argv, line21_stream
from vproc.core.media import CaptionStream, MediaInfo
from vproc.core.vtt import clean_cues, parse_vtt, write_vtt
from vproc.ports import ProcessLimits, Runner
from vproc.settings import GIB

_LARGEST_FILE_BYTES = 32 * 1024 * 1024
_CORES = 16
"""Processor time is bounded by wall time on so many cores."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """Raw WebVTT of one stream, to be cleaned."""

    stream: CaptionStream
    path: Path
    shift_s: float = 0.0


async def extract_captions(
    info: MediaInfo, *, runner: Runner, ffmpeg: str, source: Path, out_dir: Path, max_pixels: int, wall_s: float
) -> tuple[CaptionTrack, ...]:
    """The captions of a whole source, in its order, each as a file in ``out_dir``, which must be below the job's directory.

    Text tracks cost reading the file once; captions in the pictures, where there are some, a decode of the video. At most
    ``wall_s`` is given to either. Tracks without a text are left out. Raises `UnavailableError` where nothing can be run.
    """
    found: list[_Found] = []
    streams = [stream for stream in info.captions if stream.index is not None][:MOST_CAPTIONS]
    cwd = out_dir.parent
    if streams:
        paths = [out_dir / f"captions-{number}.raw.vtt" for number in range(1, 1 + len(streams))]
        argv = captions_argv(ffmpeg, source, info, streams, paths, max_pixels=max_pixels)
        if await _run(argv, runner=runner, cwd=cwd, wall_s=wall_s, what="text"):
            found += map(_Found, streams, paths)
    hidden = line21_stream(info, await anyio.to_thread.run_sync(_windows, source))
    if hidden is not None and info.video is not None:
        path = out_dir / "captions-0.raw.vtt"
        if await _run(line21_argv(ffmpeg, source, info, path), runner=runner, cwd=cwd, wall_s=wall_s, what="cea-608"):
            found.append(_Found(hidden, path, info.video.start_s))
    return await anyio.to_thread.run_sync(_cleaned, found, info.duration_s, out_dir)


async def _run(argv: Sequence[str], *, runner: Runner, cwd: Path, wall_s: float, what: str) -> bool:
    limits = ProcessLimits(
        wall_s=wall_s,
        cpu_s=int(wall_s) * _CORES,
        memory_bytes=4 * GIB,
        output_bytes=_LARGEST_FILE_BYTES,
        directory_bytes=1 << 62,
    )
    result = await runner.run(argv, cwd=cwd, limits=limits)
    if result.stopped is None and result.returncode == 0:
        return True
    stopped = result.stopped.value if result.stopped else None
    log.warning("captions_left_out", kind=what, returncode=result.returncode, stopped=stopped, stderr=result.stderr[-1000:])
    return False


def _windows(source: Path) -> list[bytes]:
    """Parts of the file, spread over all of it."""
    size = source.stat().st_size
    with source.open("rb") as file:
        parts = []
        for number in range(WINDOWS):
            file.seek(max(0, size - WINDOW_BYTES) * number // (WINDOWS - 1))
            parts.append(file.read(WINDOW_BYTES))
            if size <= WINDOW_BYTES:
                break
        return parts


def _cleaned(found: Sequence[_Found], duration_s: float | None, out_dir: Path) -> tuple[CaptionTrack, ...]:
    tracks: list[CaptionTrack] = []
    for each in found:
        if not each.path.exists():
            continue
        with each.path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES).decode(errors="replace")
        each.path.unlink()
        cues = clean_cues(parse_vtt(text), duration_s=duration_s, shift_s=each.shift_s)
        if cues:
            name = "captions" if not tracks else f"captions-{len(tracks) + 1}"
            path = out_dir / f"{name}.vtt"
            path.write_text(write_vtt(cues), encoding="utf-8")
            tracks.append(CaptionTrack(name, each.stream, path))
    return tuple(tracks)
