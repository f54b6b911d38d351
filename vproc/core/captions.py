"""Captions: which subtitles become WebVTT, and the command lines by which a second, small ffmpeg takes them out of the source.

Subtitles made of pictures (DVD, DVB, Blu-ray) stay behind: reading their letters is another program's work.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vproc.core.allowlist import AUDIO_DECODERS, SUBTITLE_DECODERS, VIDEO_DECODERS, demuxers, file_url, input_options
from vproc.core.labels import TrackLabel, TrackRole
from vproc.core.media import CaptionStream, MediaInfo
from vproc.core.profile import Packaging, Profile

TEXT_CODECS = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "eia_608"})
"""Those that ffmpeg makes text of, by ffprobe's names."""

MOST_CAPTIONS = 32
"""A disc has as many."""

WINDOWS = 16
WINDOW_BYTES = 512 * 1024
"""As much of a source is looked through for captions in its pictures."""

_LINE_21 = CaptionStream(None, "eia_608", TrackLabel(roles=frozenset({TrackRole.HEARING_IMPAIRED})))
_LINE_21_CODECS = frozenset({"h264", "hevc", "mpeg2video"})
# ATSC A/53, part 4: the identifier, the type 3 (`cc_data`), flags with the number of triplets, a reserved byte, the triplets.
_CC_DATA = re.compile(rb"GA94\x03([\x40-\x5f\xc0-\xdf]).", re.DOTALL)
_COUNT = 0x1F
_FIELD_MARKER, _VALID, _LINE_21_TYPES = 0xF8, 0x04, (0, 1)
_PARITY_OFF = 0x7F


@dataclass(frozen=True, slots=True)
class CaptionTrack:
    """Captions that were taken out: a clean WebVTT file. ``name`` is the rendition's: ``captions``, ``captions-2``."""

    name: str
    stream: CaptionStream
    path: Path


def wants_captions(profile: Profile) -> bool:
    """Whether a profile has a place for them."""
    return profile.captions and profile.packaging in {Packaging.CMAF, Packaging.PROGRESSIVE}


def captions_argv(
    ffmpeg: str, source: Path, info: MediaInfo, streams: Sequence[CaptionStream], paths: Sequence[Path], *, max_pixels: int
) -> tuple[str, ...]:
    """The command that writes each stream as WebVTT into its file. All packets are read, nothing but text is decoded."""
    argv = [ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", *input_options(info.container, max_pixels=max_pixels)]
    argv += ["-i", file_url(source)]
    for stream, path in zip(streams, paths, strict=True):
        argv += ["-map", f"0:{stream.index}", "-map_metadata", "-1", "-c:s", "webvtt", "-f", "webvtt", file_url(path)]
    # In a transport stream time begins with the first packet of the streams that are used: the same as in the encode.
    for used in (info.video, *info.audio):
        argv += ["-map", f"0:{used.index}"] if used is not None else []
    return (*argv, "-c", "copy", "-f", "null", "-")


def line21_argv(ffmpeg: str, source: Path, info: MediaInfo, path: Path) -> tuple[str, ...]:
    """The command that writes the captions in the pictures (CEA-608) as WebVTT: it decodes the whole video. Times count from the
    first picture."""
    if info.video is None:
        raise ValueError("captions in pictures take a video stream")
    allowed = {
        "protocol_whitelist": "file",
        "format_whitelist": demuxers(info.container),
        "codec_whitelist": ",".join((*VIDEO_DECODERS, *AUDIO_DECODERS, *SUBTITLE_DECODERS)),
    }
    options = {
        "filename": file_url(source),
        "format_name": info.container.value,
        "format_opts": ":".join(f"{name}={value}" for name, value in allowed.items()),
        "s": str(info.video.index),
    }
    movie = ":".join(f"{name}={_filter_value(value)}" for name, value in options.items())
    return (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", "-f", "lavfi", "-i", f"movie={movie}[out0+subcc]",
        "-map", "0:s:0", "-map_metadata", "-1", "-c:s", "webvtt", "-f", "webvtt", file_url(path),
    )  # fmt: skip


def line21_stream(info: MediaInfo, windows: Sequence[bytes]) -> CaptionStream | None:
    """The captions in the pictures, where parts of the source (``windows``) hold some. ffprobe tells of them only after decoding
    pictures, and since version 7 not even then."""
    has_own = any(stream.codec == _LINE_21.codec for stream in info.captions)
    if info.video is None or info.video.codec not in _LINE_21_CODECS or has_own:
        return None
    return _LINE_21 if any(map(_says_something, windows)) else None


def _says_something(data: bytes) -> bool:
    """Whether any CEA-608 pair is more than padding: many broadcasts carry the empty shell."""
    for found in _CC_DATA.finditer(data):
        count = found[1][0] & _COUNT
        triplets = data[found.end() : found.end() + 3 * count]
        for marker, first, second in zip(triplets[::3], triplets[1::3], triplets[2::3], strict=False):
            is_line_21 = marker & _FIELD_MARKER == _FIELD_MARKER and marker & 0x03 in _LINE_21_TYPES
            if is_line_21 and marker & _VALID and (first | second) & _PARITY_OFF:
                return True
    return False


def _filter_value(text: str) -> str:
    """As the value of a filter's option: escaped once for the option, and once more for the graph."""
    option = re.sub(r"([\\':])", r"\\\1", text)
    return re.sub(r"([\\'\[\],;])", r"\\\1", option)
