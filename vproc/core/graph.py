"""The filter graphs: one decode, split into rungs, poster and thumbnails; thumbnails tiled on sheets. Text only; what is made
was decided in `core.plan`."""

from __future__ import annotations

from vproc.core.ladder import Rung
from vproc.core.media import VideoStream
from vproc.core.plan import Encode
from vproc.core.sprite import SpritePlan

WATCH = "watch"
"""Label of a branch that goes nowhere: it tells how far the decoder has come where only pictures are made."""

_HD_SHORT_SIDE_PX = 720
_POSTER_FRAMES = 2


def video_graph(encode: Encode, *, watch: bool) -> str:
    """The value of ``-filter_complex``. Its outputs are labelled with the rungs' names, ``poster``, ``sprite``, `WATCH`."""
    video = encode.video
    if video is None:
        raise ValueError("a graph takes a video stream")
    branches = [(rung.name, _rung_chain(rung, video)) for rung in encode.encoded]
    if encode.poster_px is not None:
        branches.append(("poster", _poster_chain(encode, video)))
    if encode.sprite is not None:
        branches.append(("sprite", _thumbs_chain(encode.sprite, video)))
    if watch:
        branches.append((WATCH, f"fps=fps={encode.fps}:start_time=0"))
    head = ",".join(_head(encode, video)) or "null"
    if len(branches) == 1:
        label, chain = branches[0]
        return f"[0:{video.index}]{head},{chain}[{label}]"
    inner = "".join(f"[{label}-in]" for label, _ in branches)
    chains = ";".join(f"[{label}-in]{chain}[{label}]" for label, chain in branches)
    return f"[0:{video.index}]{head},split={len(branches)}{inner};{chains}"


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


def _rung_chain(rung: Rung, video: VideoStream) -> str:
    scale = f"scale={rung.width}:{rung.height}:flags=lanczos:out_range=tv"
    if _is_rgb(video):
        scale += ":out_color_matrix=bt709"
    filters = [scale, "setsar=1", "format=yuv420p"]
    if tags := _tags(video):
        filters.append(f"setparams={tags}")
    return ",".join(filters)


def _poster_chain(encode: Encode, video: VideoStream) -> str:
    """The first frame, one halfway, and one at the wanted time, each over the last: the one that there is stands."""
    width, height = encode.poster_px or (0, 0)
    step = f"{encode.poster_at_s / _POSTER_FRAMES:.3f}"
    select = f"select='gte(t,{step}*selected_n)*lte(selected_n,{_POSTER_FRAMES})'"
    return f"{select},{_picture_scale(width, height, video)},{_RENUMBER}"


def _thumbs_chain(sprite: SpritePlan, video: VideoStream) -> str:
    # Each thumbnail is the frame in the middle of its interval; `pass` rounds the end up, so the shortest film has one.
    sample = f"fps=fps=1/{sprite.interval_s}:start_time=0:eof_action=pass"
    scale = _picture_scale(sprite.width, sprite.height, video)
    # The middle of the first interval may be minutes away, and ffmpeg 5 tells no progress before every file is open: a picture
    # of nothing goes before.
    return f"{sample},{scale},format=yuv420p,tpad=start=1,{_RENUMBER}"


_RENUMBER = "settb=1/1000,setpts=N"
"""A picture each millisecond, so that the pictures' times stay below those by which progress is told."""


def _picture_scale(width: int, height: int, video: VideoStream) -> str:
    # JPEG is BT.601 of full range by its own standard (JFIF); a viewer reads no tag.
    matrix = "" if _is_rgb(video) or video.color_space else f":in_color_matrix={_assumed_matrix(video)}"
    return f"scale={width}:{height}:flags=lanczos{matrix}:out_color_matrix=bt601:out_range=pc,setsar=1"


def _tags(video: VideoStream) -> str:
    """Colour tags that the source lacks. Without them a player guesses by size, and a 360p rung would differ from a 1080p one."""
    if _is_rgb(video):
        return "colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    assumed = _assumed_matrix(video)
    missing = {
        "colorspace": video.color_space, "color_primaries": video.color_primaries, "color_trc": video.color_transfer,
    }  # fmt: skip
    return ":".join(f"{name}={assumed}" for name, told in missing.items() if told is None)


def _assumed_matrix(video: VideoStream) -> str:
    return "bt709" if video.short_side_px >= _HD_SHORT_SIDE_PX else "smpte170m"


def _is_rgb(video: VideoStream) -> bool:
    return video.color_space == "gbr" or (video.pix_fmt or "").startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "pal8"))
