"""The filter graphs: one decode, split into rungs, poster and thumbnails; thumbnails tiled on sheets. Text only; what is made
was decided in `core.plan`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from vproc.core.colour import SDR_TAGS, as_sdr, hdr_tags, is_rgb, matrix, missing_tags
from vproc.core.hardware import upload_filter
from vproc.core.ladder import Rung
from vproc.core.media import VideoStream
from vproc.core.plan import Encode
from vproc.core.sprite import SpritePlan

WATCH = "watch"
"""Label of a branch that goes nowhere: it tells how far the decoder has come where only pictures are made."""

_POSTER_FRAMES = 2
# Mastering display, content light, HDR10+, both of Dolby Vision, ambient light: by number, since ffmpeg 5 lacks some names.
_HDR_SIDE_DATA = (11, 14, 17, 23, 24, 26)


def video_graph(encode: Encode, *, watch: bool, cube: Path | None = None) -> str:
    """The value of ``-filter_complex``. Its outputs are labelled with the rungs' names, ``poster``, ``sprite``, `WATCH`.

    ``cube``: where the table of the encode's tone map lies.
    """
    video = encode.video
    if video is None:
        raise ValueError("a graph takes a video stream")
    source, head, pictures = f"[0:{video.index}]", _head(encode, video), []
    if encode.encoded and cube is not None and not encode.keeps_hdr:
        # Once for all, no larger than the largest rung needs it.
        top = encode.encoded[0]
        head += _to_sdr(video, cube, top.width, top.height)
        video = as_sdr(video)
    elif cube is not None:
        pictures = [cube]
    upload = upload_filter(encode.encoder or "")
    branches = [
        (rung.name, ",".join(filter(None, (_rung_chain(rung, video, is_hdr=encode.keeps_hdr), upload))))
        for rung in encode.encoded
    ]
    if encode.poster_px is not None:
        branches.append(("poster", _poster_chain(encode, video, *pictures)))
    if encode.sprite is not None:
        branches.append(("sprite", _thumbs_chain(encode.sprite, video, *pictures)))
    if watch:
        branches.append((WATCH, f"fps=fps={encode.fps}:start_time=0"))
    before = ",".join(head) or "null"
    if len(branches) == 1:
        label, chain = branches[0]
        return f"{source}{before},{chain}[{label}]"
    inner = "".join(f"[{label}-in]" for label, _ in branches)
    chains = ";".join(f"[{label}-in]{chain}[{label}]" for label, chain in branches)
    return f"{source}{before},split={len(branches)}{inner};{chains}"


def sheets_graph(sprite: SpritePlan) -> str:
    """The value of ``-vf`` that tiles the thumbnails of `video_graph` on sheets; the first only opened their file."""
    # The file does not keep the range, and what mjpeg takes is yuvj420p.
    return f"trim=start_frame=1,setpts=PTS-STARTPTS,setrange=pc,tile={sprite.columns}x{sprite.rows},format=yuvj420p"


def _head(encode: Encode, video: VideoStream) -> list[str]:
    filters = []
    if video.interlaced:
        # Where the codec flags each frame, only those so flagged; elsewhere the container's word holds for all.
        flagged = video.codec in {"h264", "hevc", "mpeg2video", "vc1"}
        filters.append(f"bwdif=mode=send_frame:deint={'interlaced' if flagged else 'all'}")
    if encode.encoded:
        # A constant rate from time zero: a late first frame is shown from the start, so that the tracks begin together.
        filters.append(f"fps=fps={encode.fps}:start_time=0")
    return filters


def _to_sdr(video: VideoStream, cube: Path, width: int, height: int) -> list[str]:
    """To BT.709 SDR of this size, by way of RGB of 16 bits, in which ffmpeg has the table in vector code."""
    space = "" if is_rgb(video) else f":in_color_matrix={matrix(video)}"
    return [
        f"scale={width}:{height}:flags=lanczos{space}", "format=gbrp16",
        f"lut3d=file={_escaped(cube)}:interp=tetrahedral",
        "scale=flags=bilinear:out_color_matrix=bt709:out_range=tv", "format=yuv420p",
        f"setparams=range=tv:{_joined(SDR_TAGS)}",
        *(f"sidedata=mode=delete:type={kind}" for kind in _HDR_SIDE_DATA),
    ]  # fmt: skip


def _rung_chain(rung: Rung, video: VideoStream, *, is_hdr: bool) -> str:
    scale = f"scale={rung.width}:{rung.height}:flags=lanczos:out_range=tv"
    if is_hdr:
        space = "" if is_rgb(video) else f":in_color_matrix={matrix(video)}"
        return f"{scale}{space}:out_color_matrix=bt2020,setsar=1,format=yuv420p10,setparams=range=tv:{_joined(hdr_tags(video))}"
    if is_rgb(video):
        scale += ":out_color_matrix=bt709"
    filters = [scale, "setsar=1", "format=yuv420p"]
    if tags := missing_tags(video):
        filters.append(f"setparams={_joined(tags)}")
    return ",".join(filters)


def _poster_chain(encode: Encode, video: VideoStream, cube: Path | None = None) -> str:
    """The first frame, one halfway, and one at the wanted time, each over the last: the one that there is stands."""
    width, height = encode.poster_px or (0, 0)
    step = f"{encode.poster_at_s / _POSTER_FRAMES:.3f}"
    select = f"select='gte(t,{step}*selected_n)*lte(selected_n,{_POSTER_FRAMES})'"
    return f"{select},{_picture(width, height, video, cube)},{_RENUMBER}"


def _thumbs_chain(sprite: SpritePlan, video: VideoStream, cube: Path | None = None) -> str:
    # Each thumbnail is the frame in the middle of its interval; `pass` rounds the end up, so the shortest film has one.
    sample = f"fps=fps=1/{sprite.interval_s}:start_time=0:eof_action=pass"
    scale = _picture(sprite.width, sprite.height, video, cube)
    # The middle of the first interval may be minutes away, and ffmpeg 5 tells no progress before every file is open: a picture
    # of nothing goes before.
    return f"{sample},{scale},format=yuv420p,tpad=start=1,{_RENUMBER}"


_RENUMBER = "settb=1/1000,setpts=N"
"""A picture each millisecond, so that the pictures' times stay below those by which progress is told."""


def _picture(width: int, height: int, video: VideoStream, cube: Path | None) -> str:
    # JPEG is BT.601 of full range by its own standard (JFIF); a viewer reads no tag.
    if cube is not None:
        sdr = ",".join(_to_sdr(video, cube, width, height))
        return f"{sdr},scale=in_color_matrix=bt709:out_color_matrix=bt601:out_range=pc,setsar=1"
    space = "" if is_rgb(video) or video.color_space else f":in_color_matrix={matrix(video)}"
    return f"scale={width}:{height}:flags=lanczos{space}:out_color_matrix=bt601:out_range=pc,setsar=1"


def _joined(tags: Mapping[str, str]) -> str:
    return ":".join(f"{name}={value}" for name, value in tags.items())


def _escaped(path: Path) -> str:
    """A path as the value of a filter's option: escaped once for the option, and once more for the graph."""
    option = re.sub(r"([\\':])", r"\\\1", str(path))
    return re.sub(r"([\\'\[\],;])", r"\\\1", option)
