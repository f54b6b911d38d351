"""Is an output what was planned? Values only: the caller probes the files and reads the pictures.

Of damaged input an output of 90 % and more of the declared duration is kept and marked; less is `corrupt_media`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vproc.core.exits import input_damaged, last_words
from vproc.core.media import MediaInfo
from vproc.core.plan import OutputKind, Plan, PlannedOutput
from vproc.errors import ErrorCode, RejectedError, TransientError

_ENOUGH = 0.9
_SLACK_S = 0.5
_SLACK_SHARE = 0.01
_SIZE_SLACK_PX = 1

_SOF_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
_STANDALONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an output that may be published. ``damaged``: the source could not be decoded to its end."""

    damaged: bool = False

    def __or__(self, other: Verdict) -> Verdict:
        """Damaged if either is."""
        return Verdict(self.damaged or other.damaged)


def check_output(planned: PlannedOutput, info: MediaInfo) -> Verdict:
    """Judge a probed media output.

    Raises `TransientError` ``output_invalid`` where a stream is missing, of another codec or size; `RejectedError`
    ``corrupt_media`` where it lasts less than 90 % of what the source declared.
    """
    video, audio = info.video, info.main_audio
    has_picture = planned.kind in {OutputKind.CMAF_VIDEO, OutputKind.VIDEO}
    if has_picture:
        if video is None:
            raise _invalid(planned, "holds no video")
        if video.codec != planned.codec:
            raise _invalid(planned, f"holds {video.codec} video and not {planned.codec}")
        wanted, found = (planned.width or 0, planned.height or 0), (video.display_width, video.display_height)
        if any(abs(one - other) > _SIZE_SLACK_PX for one, other in zip(wanted, found, strict=True)):
            raise _invalid(planned, f"is {found[0]}x{found[1]} and not {wanted[0]}x{wanted[1]}")
    sound = planned.audio_codec if has_picture else planned.codec
    if sound is not None:
        if audio is None:
            raise _invalid(planned, "holds no sound")
        if audio.codec != sound:
            raise _invalid(planned, f"holds {audio.codec} sound and not {sound}")
    if info.duration_s is None:
        raise _invalid(planned, "has no duration")
    return check_duration(info.duration_s, planned.duration_s)


def check_duration(found_s: float, declared_s: float | None) -> Verdict:
    """Judge how much of the source was decoded. ``declared_s`` None: nothing was promised."""
    if declared_s is None or found_s >= declared_s - max(_SLACK_S, declared_s * _SLACK_SHARE):
        return Verdict()
    if found_s >= declared_s * _ENOUGH:
        return Verdict(damaged=True)
    raise RejectedError(
        ErrorCode.CORRUPT_MEDIA, f"only {found_s:.1f} s of the {declared_s:.1f} s that the file declares can be decoded"
    )


def check_extent(plan: Plan, probed: Iterable[MediaInfo], *, out_time_s: float, stderr: str) -> Verdict:
    """Judge how far all outputs together came: FLV and some Matroska declare the length of the file and of no stream.

    ``probed``: the media outputs. Where only pictures are made, ``out_time_s`` tells it. Raises as `check_duration`.
    """
    lengths = [info.duration_s for info in probed if info.duration_s is not None]
    if not lengths and plan.keyframes_only and not input_damaged(stderr):
        return Verdict()  # what lies behind the last key frame was not decoded: minutes of a screen recording
    return check_duration(max(lengths, default=out_time_s), plan.duration_s)


def check_end(stderr: str, *, out_time_s: float, limit_s: float) -> Verdict:
    """Judge an encode that ended with 0 by what it said and by how far it came.

    Raises `RejectedError` ``limit_exceeded`` where it read up to the limit: ffmpeg stops there silently.
    """
    if out_time_s >= limit_s:
        raise RejectedError(ErrorCode.LIMIT_EXCEEDED, f"the file goes on beyond {limit_s:.0f} s, the longest that is taken")
    return Verdict(damaged=input_damaged(stderr))


def check_decode(returncode: int, stderr: str, *, copied: bool) -> Verdict:
    """Judge the run of `core.command.decode_check_argv`. What was copied as it was may be damaged as its source is; what we
    encoded may not: `TransientError` ``output_invalid``."""
    said = bool(stderr.strip())
    if copied:
        return Verdict(damaged=said)  # some decoders refuse to skip to key frames, and say nothing
    if returncode == 0 and not said:
        return Verdict()
    raise TransientError(ErrorCode.OUTPUT_INVALID, f"an output does not decode ({last_words(stderr)})")


def check_picture(planned: PlannedOutput, head: bytes) -> None:
    """Judge a poster or a sheet by the first bytes of its file (64 KiB are plenty). Raises `TransientError`."""
    size = jpeg_size(head)
    if size is None:
        raise _invalid(planned, "is no JPEG")
    if size != (planned.width, planned.height):
        raise _invalid(planned, f"is {size[0]}x{size[1]} and not {planned.width}x{planned.height}")


def jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Width and height out of a JPEG's frame header (ITU-T T.81, B.2.2); None where it has none."""
    if not head.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:  # noqa: PLR2004 - every marker begins so
        marker = head[at + 1]
        if marker in _SOF_MARKERS:
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        at += 2 if marker in _STANDALONE_MARKERS else 2 + max(2, int.from_bytes(head[at + 2 : at + 4], "big"))
    return None


def _invalid(planned: PlannedOutput, what: str) -> TransientError:
    return TransientError(ErrorCode.OUTPUT_INVALID, f"the output {planned.rendition} {what}")
