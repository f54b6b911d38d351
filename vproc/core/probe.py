"""Asking ffprobe what a file holds, and reading its answer, which a hostile file may shape. Nothing here runs ffprobe."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from vproc.core.allowlist import file_url, input_options
from vproc.core.container import Container
from vproc.core.labels import TrackLabel, TrackRole, clean_title
from vproc.core.languages import language_code
from vproc.core.media import AudioStream, MediaInfo, OtherStream, VideoStream
from vproc.errors import ErrorCode, JobError, RejectedError

_STREAM_ENTRIES = (
    "index,codec_name,codec_type,profile,width,height,sample_aspect_ratio,pix_fmt,bits_per_raw_sample,field_order,"
    "color_range,color_space,color_transfer,color_primaries,r_frame_rate,avg_frame_rate,start_time,duration,nb_frames,"
    "sample_rate,channels,bit_rate"
)
_ENTRIES = (
    "format=format_name,start_time,duration,size,bit_rate"
    f":stream={_STREAM_ENTRIES}"
    f":stream_disposition=default,attached_pic,timed_thumbnails,still_image,{','.join(TrackRole)}"
    ":stream_tags=language,title,DURATION"
    ":stream_side_data=rotation"
)
_MAX_S = 10**8
_MAX_INT = 2**53
_MAX_SIDE = 2**16
_MAX_CHANNELS = 64
_MAX_STREAMS = 1000
_WORD = re.compile(r"[A-Za-z0-9_.() :+/-]{1,64}")
_CLOCK = re.compile(r"(\d{1,5}):(\d{2}):(\d{2}(?:\.\d{1,9})?)", re.ASCII)
_DEPTH = re.compile(r"p0?(9|10|12|14|16)(le|be)?$")

Entry = Mapping[str, Any]


def ffprobe_argv(ffprobe: str, source: PurePath, container: Container, *, max_pixels: int) -> tuple[str, ...]:
    """The whole command line. ``source`` is absolute. The answer is JSON on standard output, for `parse_probe`."""
    return (
        ffprobe, "-v", "error",
        *input_options(container, max_pixels=max_pixels),
        "-show_entries", _ENTRIES, "-print_format", "json=compact=1",
        "-i", file_url(source),
    )  # fmt: skip


def parse_probe(stdout: bytes) -> MediaInfo:
    """Read ffprobe's answer. Raises `RejectedError` ``corrupt_media`` where it makes no sense or has no stream to decode."""
    try:
        answer = json.loads(stdout)
    except (ValueError, RecursionError):
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file's description cannot be read") from None
    fmt = _entry(_entry(answer).get("format"))
    listed = _entry(answer).get("streams")
    entries = [_entry(stream) for stream in listed[:_MAX_STREAMS]] if isinstance(listed, list) else []
    start_s = _seconds(fmt.get("start_time")) or 0.0
    duration_s = _duration(fmt.get("duration"))
    videos = [stream for stream in entries if stream.get("codec_type") == "video" and not _is_picture(stream)]
    videos.sort(key=lambda stream: not _flag(stream, "default"))
    video = next(filter(None, (_video(stream, start_s, duration_s) for stream in videos)), None)
    audio = tuple(
        filter(None, (_audio(stream, start_s, duration_s) for stream in entries if stream.get("codec_type") == "audio"))
    )
    if video is None and not audio:
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file has no video and no sound that can be decoded")
    taken = {stream.index for stream in (video, *audio) if stream is not None}
    others = tuple(
        OtherStream(index, _word(stream.get("codec_type")) or "unknown", _codec(stream))
        for stream in entries
        if (index := _int(stream.get("index"))) is not None and index not in taken
    )
    return MediaInfo(
        container=_container(fmt.get("format_name")),
        duration_s=duration_s,
        start_s=start_s,
        size_bytes=_int(fmt.get("size")) or 0,
        bitrate_bps=_int(fmt.get("bit_rate")),
        video=video,
        audio=audio,
        others=others,
    )


def probe_failure(returncode: int, stderr: str) -> JobError:
    """Why ffprobe gave no answer: `RejectedError`, with what it said in its last line. Its crash is the file's fault too."""
    if "whitelist" in stderr or "Could not find codec parameters" in stderr or "Unsupported codec" in stderr:
        code, words = ErrorCode.UNSUPPORTED_MEDIA, "the file holds a format or codec that is not taken"
    elif "picture size" in stderr.lower():
        code, words = ErrorCode.TOO_LARGE, "the file's pictures are larger than is taken"
    elif "moov atom not found" in stderr:
        code, words = ErrorCode.CORRUPT_MEDIA, "the file's index is missing: it was cut short"
    else:
        code, words = ErrorCode.CORRUPT_MEDIA, "the file cannot be opened"
    said = next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")
    # What the uploader need not see: the address of an object in memory, our path, the list of what is allowed.
    said = re.sub(r"^\[[^\]]*\]\s*|file:\S*?:\s*|\s*'[^']{80,}'?", "", said)[:200]
    return RejectedError(code, f"{words} ({said or f'ffprobe ended with {returncode}'})")


def _container(name: object) -> Container:
    """Our name of a demuxer, which ffprobe names by all its names, ours first."""
    try:
        return Container(str(name).split(",", 1)[0])
    except ValueError:
        raise RejectedError(ErrorCode.UNSUPPORTED_MEDIA, "the file's container is not one that is taken") from None


def _video(stream: Entry, start_s: float, duration_s: float | None) -> VideoStream | None:
    index, codec, width, height = _int(stream.get("index")), _codec(stream), _int(stream.get("width")), _int(stream.get("height"))
    if index is None or codec is None or not width or not height or max(width, height) > _MAX_SIDE:
        return None
    sar = _fraction(stream.get("sample_aspect_ratio"), separator=":") or Fraction(1)
    if not Fraction(1, 16) <= sar <= 16:  # noqa: PLR2004 - beyond any camera's: a lie
        sar = Fraction(1)
    rotation = _rotation(stream)
    shown = (max(1, round(width * sar)), height)
    # ffmpeg turns a picture only by whole quarters; any other angle leaves the frame's size.
    display_width, display_height = reversed(shown) if rotation % 180 == 90 else shown  # noqa: PLR2004
    pix_fmt = _word(stream.get("pix_fmt"))
    return VideoStream(
        index=index,
        codec=codec,
        width=width,
        height=height,
        display_width=display_width,
        display_height=display_height,
        profile=_word(stream.get("profile")),
        rotation=rotation,
        sar=sar,
        pix_fmt=pix_fmt,
        bit_depth=_bit_depth(stream, pix_fmt),
        fps=_fraction(stream.get("avg_frame_rate")),
        base_fps=_fraction(stream.get("r_frame_rate")),
        nb_frames=_int(stream.get("nb_frames")),
        field_order=_word(stream.get("field_order")),
        color_range=_tag(stream, "color_range"),
        color_space=_tag(stream, "color_space"),
        color_transfer=_tag(stream, "color_transfer"),
        color_primaries=_tag(stream, "color_primaries"),
        bitrate_bps=_int(stream.get("bit_rate")),
        start_s=_offset(stream, start_s),
        end_s=_end(stream, start_s, duration_s),
    )


def _audio(stream: Entry, start_s: float, duration_s: float | None) -> AudioStream | None:
    index, codec = _int(stream.get("index")), _codec(stream)
    channels, sample_rate = _int(stream.get("channels")), _int(stream.get("sample_rate"))
    if index is None or codec is None or not channels or channels > _MAX_CHANNELS or not sample_rate:
        return None
    return AudioStream(
        index=index,
        codec=codec,
        channels=channels,
        sample_rate=sample_rate,
        label=_label(stream),
        profile=_word(stream.get("profile")),
        bitrate_bps=_int(stream.get("bit_rate")),
        start_s=_offset(stream, start_s),
        end_s=_end(stream, start_s, duration_s),
    )


def _label(stream: Entry) -> TrackLabel:
    tags = _entry(stream.get("tags"))
    return TrackLabel(
        language=language_code(tags.get("language")),
        title=clean_title(tags.get("title")),
        default=_flag(stream, "default"),
        roles=frozenset(role for role in TrackRole if _flag(stream, role.value)),
    )


def _offset(stream: Entry, start_s: float) -> float:
    """When the stream begins, counted from the file's start."""
    own = _seconds(stream.get("start_time"))
    return max(0.0, own - start_s) if own is not None else 0.0


def _end(stream: Entry, start_s: float, duration_s: float | None) -> float | None:
    """When the stream ends, counted from the file's start, and never after the file. Matroska keeps it in a tag."""
    own = _duration(stream.get("duration"))
    if own is not None:
        end = _offset(stream, start_s) + own
    elif clock := _CLOCK.fullmatch(str(_entry(stream.get("tags")).get("DURATION", ""))):
        end = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) - start_s
    else:
        return None
    if end <= 0:
        return None
    return end if duration_s is None else min(end, duration_s)


def _is_picture(stream: Entry) -> bool:
    """Cover art and the like come as video streams."""
    return any(_flag(stream, name) for name in ("attached_pic", "timed_thumbnails", "still_image"))


def _flag(stream: Entry, name: str) -> bool:
    return _entry(stream.get("disposition")).get(name) == 1


def _rotation(stream: Entry) -> int:
    side_data = stream.get("side_data_list")
    for entry in side_data if isinstance(side_data, list) else ():
        angle = _number(_entry(entry).get("rotation"))
        if angle is not None and abs(angle) <= 360:  # noqa: PLR2004 - degrees
            return round(angle)
    return 0


def _bit_depth(stream: Entry, pix_fmt: str | None) -> int:
    told = _int(stream.get("bits_per_raw_sample"))
    if told and 8 <= told <= 16:  # noqa: PLR2004 - what a pixel format may have
        return told
    match = _DEPTH.search(pix_fmt or "")
    return int(match[1]) if match else 8


def _codec(stream: Entry) -> str | None:
    name = _word(stream.get("codec_name"))
    return None if name in {None, "unknown", "none"} else name


def _tag(stream: Entry, name: str) -> str | None:
    value = _word(stream.get(name))
    return None if value in {"unknown", "unspecified", "reserved"} else value


def _entry(value: object) -> Entry:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _int(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= _MAX_INT else None


def _seconds(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and abs(number) <= _MAX_S else None


def _duration(value: object) -> float | None:
    seconds = _seconds(value)
    return seconds if seconds is not None and seconds > 0 else None


def _fraction(value: object, *, separator: str = "/") -> Fraction | None:
    """A positive fraction as ffprobe writes it; None for ``0/0``, ``N/A`` and nonsense."""
    if not isinstance(value, str):
        return None
    match = re.fullmatch(rf"(\d{{1,10}}){separator}(\d{{1,10}})", value, re.ASCII)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return Fraction(int(match[1]), int(match[2]))
