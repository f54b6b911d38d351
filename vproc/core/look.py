"""Second looks by ffprobe, where its first answer leaves something open: whether a track that nothing was seen of is empty, and
what the pictures themselves say. Each costs a process, so that most files get none."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import PurePath

from vproc.core.allowlist import file_url, input_options
from vproc.core.colour import VideoRange, video_range
from vproc.core.container import Container
from vproc.core.entries import Entry, entries, entry, integer
from vproc.core.media import MediaInfo, OtherStream, VideoStream
from vproc.core.probe_video import SIDE_DATA, light_levels, mastering_display
from vproc.errors import ErrorCode, RejectedError

_PICTURES = 8
_FIELD_CODECS = frozenset({"h264", "mpeg4", "mpeg2video", "mpeg1video", "vc1", "dnxhd", "dvvideo", "prores", "ffv1", "rawvideo"})
"""Codecs whose pictures may be made of fields, and say so themselves."""


def packet_argv(ffprobe: str, source: PurePath, container: Container, index: int, *, max_pixels: int) -> tuple[str, ...]:
    """The command line that looks for a stream's first packet, through the whole file if need be; `holds_packets` reads it."""
    return _argv((ffprobe, source, container), index, "packet=stream_index", interval="%+#1", max_pixels=max_pixels)


def holds_packets(stdout: bytes) -> bool:
    """Whether `packet_argv` found one. What cannot be read says nothing, so that the stream stays."""
    try:
        return bool(entries(entry(json.loads(stdout)).get("packets")))
    except (ValueError, RecursionError):
        return True


def without_streams(info: MediaInfo, empty: Collection[int]) -> MediaInfo:
    """The file as if these streams were not declared. Raises `RejectedError` ``corrupt_media`` where no other is left."""
    video = info.video if info.video is not None and info.video.index not in empty else None
    audio = tuple(track for track in info.audio if track.index not in empty)
    if video is None and not audio:
        raise RejectedError(ErrorCode.CORRUPT_MEDIA, "the file declares streams and holds nothing of them")
    gone = [(track.index, "audio", track.codec) for track in info.audio if track.index in empty]
    if info.video is not None and video is None:
        gone.append((info.video.index, "video", info.video.codec))
    others = (*info.others, *(OtherStream(*stream) for stream in gone))
    return replace(info, video=video, audio=audio, others=others, unseen=())


def wants_pictures(video: VideoStream) -> bool:
    """Whether its pictures may tell what the container did not: the brightness of PQ, which HEVC and AV1 keep in the stream, and
    fields."""
    is_unmeasured = video.mastering is None and video.max_cll_nits is None
    return (video_range(video) is VideoRange.PQ and is_unmeasured) or (video.field_order is None and video.codec in _FIELD_CODECS)


def pictures_argv(ffprobe: str, source: PurePath, container: Container, index: int, *, max_pixels: int) -> tuple[str, ...]:
    """The command line that decodes a stream's first pictures, for `with_pictures`."""
    asked = f"frame=interlaced_frame,top_field_first:frame_side_data={SIDE_DATA}"
    return _argv((ffprobe, source, container), index, asked, interval=f"%+#{_PICTURES}", max_pixels=max_pixels)


def with_pictures(video: VideoStream, stdout: bytes) -> VideoStream:
    """The stream with what its pictures say; as it was where they say nothing that can be read."""
    try:
        frames = entries(entry(json.loads(stdout)).get("frames"))
    except (ValueError, RecursionError):
        return video
    side_data = [data for frame in frames for data in entries(frame.get("side_data_list"))]
    max_cll_nits, max_fall_nits = light_levels(side_data)
    return replace(
        video,
        field_order=video.field_order or _field_order(frames),
        mastering=video.mastering or mastering_display(side_data),
        max_cll_nits=video.max_cll_nits or max_cll_nits,
        max_fall_nits=video.max_fall_nits or max_fall_nits,
    )


def _argv(place: tuple[str, PurePath, Container], index: int, asked: str, *, interval: str, max_pixels: int) -> tuple[str, ...]:
    ffprobe, source, container = place
    return (
        ffprobe, "-v", "error",
        *input_options(container, max_pixels=max_pixels),
        "-select_streams", str(index), "-read_intervals", interval,
        "-show_entries", asked, "-print_format", "json=compact=1",
        "-i", file_url(source),
    )  # fmt: skip


def _field_order(frames: list[Entry]) -> str | None:
    """As ffprobe names it of a stream; the first picture of fields decides."""
    for frame in frames:
        if integer(frame.get("interlaced_frame")):
            return "tt" if integer(frame.get("top_field_first")) else "bb"
    return "progressive" if frames else None
