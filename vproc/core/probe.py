"""Asking ffprobe what a file holds, and reading its answer, which a hostile file may shape. Nothing here runs ffprobe."""

from __future__ import annotations

import json
import re
from pathlib import PurePath

from vproc.core.allowlist import file_url, input_options
from vproc.core.container import Container
from vproc.core.entries import Entry, codec, duration, entries, entry, integer, seconds, word
from vproc.core.media import AudioStream, MediaInfo, OtherStream
from vproc.core.probe_tracks import CHAPTERS, LABEL_DISPOSITIONS, LABEL_TAGS, read_captions, read_chapters, read_label
from vproc.core.probe_video import DISPOSITIONS, SIDE_DATA, find_video, read_video
from vproc.errors import ErrorCode, JobError, RejectedError

_STREAM_ENTRIES = (
    "index,codec_name,codec_type,profile,width,height,sample_aspect_ratio,pix_fmt,bits_per_raw_sample,field_order,"
    "color_range,color_space,color_transfer,color_primaries,r_frame_rate,avg_frame_rate,start_time,duration,nb_frames,"
    "sample_rate,channels,bit_rate"
)
_ENTRIES = (
    "format=format_name,start_time,duration,size,bit_rate"
    f":stream={_STREAM_ENTRIES}"
    f":stream_disposition={DISPOSITIONS},{LABEL_DISPOSITIONS}"
    f":stream_tags={LABEL_TAGS},DURATION"
    f":stream_side_data={SIDE_DATA}"
    f":program=program_id:program_stream=index:{CHAPTERS}"
)
_FIRST_PACKETS = 100
"""Of all streams together: one that has none among them may be declared and empty."""
_MAX_CHANNELS = 64
_MAX_STREAMS = 1000
_CLOCK = re.compile(r"(\d{1,5}):(\d{2}):(\d{2}(?:\.\d{1,9})?)", re.ASCII)


def ffprobe_argv(
    ffprobe: str, source: PurePath, container: Container, *, max_pixels: int, packets: bool = False
) -> tuple[str, ...]:
    """The whole command line. ``source`` is absolute. The answer is JSON on standard output, for `parse_probe`.

    ``packets``: also which streams the first packets are of, which reads a little further into the file.
    """
    first = ("-show_entries", f"{_ENTRIES}:packet=stream_index", "-read_intervals", f"%+#{_FIRST_PACKETS}")
    return (
        ffprobe, "-v", "error",
        *input_options(container, max_pixels=max_pixels),
        *(first if packets else ("-show_entries", _ENTRIES)), "-print_format", "json=compact=1",
        "-i", file_url(source),
    )  # fmt: skip


def parse_probe(stdout: bytes) -> MediaInfo:
    """Read ffprobe's answer. Raises `RejectedError` ``corrupt_media`` where it makes no sense or has no stream to decode."""
    try:
        answer = json.loads(stdout)
    except (ValueError, RecursionError):
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file's description cannot be read") from None
    fmt = entry(entry(answer).get("format"))
    streams = entries(entry(answer).get("streams"))[:_MAX_STREAMS]
    start_s = seconds(fmt.get("start_time")) or 0.0
    duration_s = duration(fmt.get("duration"))
    found = find_video(streams)
    video = None
    if found is not None:
        video = read_video(found, start_s=_offset(found, start_s), end_s=_end(found, start_s, duration_s))
    foreign = _foreign_streams(entry(answer), video.index) if video is not None else frozenset()
    audio = tuple(
        track
        for stream in streams
        if stream.get("codec_type") == "audio" and (track := _audio(stream, start_s, duration_s)) is not None
        if track.index not in foreign
    )
    if video is None and not audio:
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file has no video and no sound that can be decoded")
    captions = read_captions(streams)
    taken = {stream.index for stream in (video, *audio) if stream is not None}
    packets = entry(answer).get("packets")
    seen = {integer(packet.get("stream_index")) for packet in entries(packets)} if isinstance(packets, list) else taken
    read = {*taken, *(stream.index for stream in captions)}
    return MediaInfo(
        container=_container(fmt.get("format_name")),
        duration_s=duration_s,
        start_s=start_s,
        size_bytes=integer(fmt.get("size")) or 0,
        bitrate_bps=integer(fmt.get("bit_rate")),
        video=video,
        audio=audio,
        others=tuple(
            OtherStream(index, word(stream.get("codec_type")) or "unknown", codec(stream))
            for stream in streams
            if (index := integer(stream.get("index"))) is not None and index not in read
        ),
        unseen=tuple(sorted(taken - seen)),
        captions=captions,
        chapters=read_chapters(entry(answer).get("chapters"), start_s=start_s, duration_s=duration_s),
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


def _audio(stream: Entry, start_s: float, duration_s: float | None) -> AudioStream | None:
    index, name = integer(stream.get("index")), codec(stream)
    channels, sample_rate = integer(stream.get("channels")), integer(stream.get("sample_rate"))
    if index is None or name is None or not channels or channels > _MAX_CHANNELS or not sample_rate:
        return None
    return AudioStream(
        index=index,
        codec=name,
        channels=channels,
        sample_rate=sample_rate,
        label=read_label(stream),
        profile=word(stream.get("profile")),
        bitrate_bps=integer(stream.get("bit_rate")),
        start_s=_offset(stream, start_s),
        end_s=_end(stream, start_s, duration_s),
    )


def _offset(stream: Entry, start_s: float) -> float:
    """When the stream begins, counted from the file's start."""
    own = seconds(stream.get("start_time"))
    return max(0.0, own - start_s) if own is not None else 0.0


def _end(stream: Entry, start_s: float, duration_s: float | None) -> float | None:
    """When the stream ends, counted from the file's start, and never after the file. Matroska keeps it in a tag."""
    own = duration(stream.get("duration"))
    if own is not None:
        end = _offset(stream, start_s) + own
    elif clock := _CLOCK.fullmatch(str(entry(stream.get("tags")).get("DURATION", ""))):
        end = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) - start_s
    else:
        return None
    if end <= 0:
        return None
    return end if duration_s is None else min(end, duration_s)


def _foreign_streams(answer: Entry, video: int) -> frozenset[int]:
    """Streams of a broadcast multiplex that belong to other programmes than the video does."""
    own: set[int | None] = set()
    others: set[int | None] = set()
    for programme in entries(answer.get("programs")):
        indexes = {integer(stream.get("index")) for stream in entries(programme.get("streams"))}
        (own if video in indexes else others).update(indexes)
    return frozenset(index for index in others - own if index is not None) if own else frozenset()
