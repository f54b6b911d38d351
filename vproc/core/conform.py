"""Whether a source may become the top rung as it is: a stream copy costs nothing and loses nothing.

What its index says is believed here; that each key frame really is one to begin at is seen when the copy is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from vproc.core.colour import tone_map
from vproc.core.grid import KeyGrid, segment_starts
from vproc.core.ladder import Rung
from vproc.core.media import VideoStream
from vproc.core.movie import SampleTable
from vproc.core.profile import Packaging, Profile, VideoCodec

_PROFILES = frozenset({"Constrained Baseline", "Main", "High"})
"""Of H.264: 8 bits, 4:2:0, frames in one piece. What every player takes."""
_PEAK_SHARE = Fraction(3, 2)
"""How far a segment may be above the cap: as far as the encodes' own buffer of two seconds lets a segment of four."""
_MOST_STARTS = 8000
"""Their times are one argument of ffmpeg's, of which the kernel takes 128 KiB."""
_FREQUENT_GOPS = 2
_GOP_SLACK_S = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class CopyChoice:
    """``grid``: where the copied rung can be cut, for all rungs; None where it is encoded, and then ``reason`` says why in words
    (None where the profile does not copy at all)."""

    grid: KeyGrid | None = None
    reason: str | None = None


def choose_copy(
    video: VideoStream, profile: Profile, top: Rung, fps: Fraction, grid: KeyGrid, table: SampleTable | None
) -> CopyChoice:
    """Whether the video becomes the rung ``top`` by copy. ``table`` is None where its container has no index of samples."""
    if not profile.copy_top_rung or profile.packaging is not Packaging.CMAF or profile.codec is not VideoCodec.H264:
        return CopyChoice()
    if reason := next(_unlike(video, top), None):
        return CopyChoice(reason=reason)
    if table is None:
        return CopyChoice(reason="its container has no index of samples that says where its key frames are")
    if reason := next(_unfit(table, top, fps, grid), None):
        return CopyChoice(reason=reason)
    starts = segment_starts(table.keyframes_s, grid)
    if len(starts) > _MOST_STARTS:
        return CopyChoice(reason=f"it has {len(starts)} segments, and at most {_MOST_STARTS} can be named")
    return CopyChoice(KeyGrid(grid.step_s, grid.first_s, starts))


def _unlike(video: VideoStream, top: Rung) -> Iterator[str]:
    """In what the pictures differ from the rung's."""
    if video.codec != VideoCodec.H264:
        yield f"it is {video.codec} and not h264"
    if (video.width, video.height) != (top.width, top.height):
        yield f"it is {video.width}x{video.height} and the top rung {top.width}x{top.height}"
    if (video.display_width, video.display_height) != (video.width, video.height) or video.rotation or video.mirrored:
        yield "it is shown turned, mirrored or stretched"
    if video.profile not in _PROFILES or video.pix_fmt != "yuv420p" or video.bit_depth != 8:  # noqa: PLR2004 - bits
        yield f"it is {video.profile or 'of an unknown profile'}, {video.pix_fmt}; every player takes High, yuv420p"
    if video.interlaced:
        yield "it is interlaced"
    if tone_map(video) is not None:
        yield "its colours are of high dynamic range or wider than BT.709"


def _unfit(table: SampleTable, top: Rung, fps: Fraction, grid: KeyGrid) -> Iterator[str]:
    """What of its samples fits no segments beside the other rungs'."""
    if table.entry != "avc1":
        yield f"its parameter sets are in the stream ({table.entry})"
    if not table.whole or table.start or table.keyframes[0]:
        yield "its edit list leaves pictures out, or begins late"
    if table.constant_rate is None or abs(table.constant_rate / fps - 1) > Fraction(1, 2000):
        yield "its pictures are not equally far apart"
    if not table.closed_gops:
        yield "its GOPs are open: pictures need those before the key frame"
    if len(table.keyframes) == 1 and table.duration_s > grid.step_s + _GOP_SLACK_S:
        yield "it has no key frame but the first: a player could change to it nowhere"
    longest_s, allowed_s = table.longest_gop_s, _FREQUENT_GOPS * grid.step_s + _GOP_SLACK_S
    if longest_s > allowed_s:
        yield f"its key frames are up to {float(longest_s):.1f} s apart, and at most {float(allowed_s):.1f} s fit"
    average_bps = sum(table.gop_bytes) * 8 / table.duration_s
    if average_bps > top.maxrate_bps:
        yield f"it has {float(average_bps) / 1000:.0f} kb/s, and the top rung's cap is {top.maxrate_bps // 1000}"
    peak_bps = table.peak_bps(grid.step_s)
    if peak_bps > top.maxrate_bps * _PEAK_SHARE:
        yield f"it has up to {peak_bps / 1000:.0f} kb/s in a segment, and the top rung's cap is {top.maxrate_bps // 1000}"


def begins_with_idr(sample: bytes, *, length_bytes: int = 4) -> bool:
    """Whether the first picture of a sample (of an ``avc1`` track) is an IDR, after which nothing needs what was before. What is
    given may be cut off behind its first NAL units (ITU-T H.264, 7.3.1; ISO/IEC 14496-15, 5.3.2)."""
    at = 0
    while at + length_bytes < len(sample):
        kind = sample[at + length_bytes] & 0x1F
        if 1 <= kind <= 5:  # noqa: PLR2004 - slices
            return kind == 5  # noqa: PLR2004 - of an IDR picture
        at += length_bytes + int.from_bytes(sample[at : at + length_bytes], "big")
    return False
