"""What a job takes of a machine while it encodes: cores, memory, and how much work it is. Estimates, to choose what runs beside
what; no limit hangs on them. Pure.

Work is told in seconds of one core of the machine on which presets were compared (docs/decisions/0013-presets.md): right to a
factor of two, which is enough to tell small from large.
"""

from __future__ import annotations

from dataclasses import dataclass

from vproc.core.encoders import preset_of
from vproc.core.hardware import drives_hardware
from vproc.core.media import MediaInfo
from vproc.core.memory import MIB, Pictures
from vproc.core.plan import Encode, declared_s
from vproc.core.profile import Quality

_PX_PER_S = 85e6
"""Of x264 at ``veryfast`` on one core, its share of decoding and scaling included."""
_DECODED_PX = 0.15
"""What a pixel that is decoded and scaled costs, of one that is encoded."""
_SOUND_PER_S = 100
_COPIED_BYTES_PER_S = 100e6
_LEAST_WORK_S = 1.0
"""Starting a child nine times, and the daemon's own work."""
_UNKNOWN_BPS = 2e6
"""A source that does not say how long it lasts is taken for one of so many bits a second, which makes it long."""
_TRIALS = 2.0
"""Sample encodes cost as much again."""
_ROWS_A_CORE = 270
"""An encoder works on some rows of several pictures at a time: the more rows, the more cores."""
_DECODED_ROWS_A_CORE = 540
_HARDWARE_WEIGHT, _HARDWARE_CORES = 0.3, 1.5
_PLAIN_BYTES = 128 * MIB
"""Of a child that decodes no picture."""
_X264 = {
    "ultrafast": 0.5, "superfast": 0.8, "veryfast": 1.0, "faster": 1.7, "fast": 2.0, "medium": 2.4, "slow": 3.2, "slower": 6.0,
    "veryslow": 10.0,
}  # fmt: skip
_X265 = {preset: 2.2 * weight for preset, weight in _X264.items()}
_SVT_AV1 = {str(preset): 2.4 * 1.45 ** (7 - preset) for preset in range(14)}
_VP9 = {str(speed): 4.0 * 1.6 ** (4 - min(5, speed)) for speed in range(9)}
_WEIGHTS = {"libx264": _X264, "libx265": _X265, "libsvtav1": _SVT_AV1, "libvpx-vp9": _VP9}
"""Processor time of an encoder and its preset, of that of x264 at ``veryfast``."""


@dataclass(frozen=True, slots=True)
class Cost:
    """``cores`` are those that it can keep busy, ``memory_bytes`` what it holds at its peak, ``work_s`` seconds of one core. All
    are more than 0."""

    cores: float
    memory_bytes: int
    work_s: float


def cost_of(encode: Encode, info: MediaInfo, pictures: Pictures | None, *, threads: int | None, processors: int) -> Cost:
    """Of one encode with what belongs to it. ``pictures`` are the plan's. ``threads``: of the decoder and each encoder; None lets
    them choose by ``processors``."""
    memory = _PLAIN_BYTES if pictures is None else pictures.expected_bytes(threads=threads, cores=processors)
    return Cost(cores=_cores(encode), memory_bytes=max(_PLAIN_BYTES, memory), work_s=_work_s(encode, info))


def _cores(encode: Encode) -> float:
    """One reads, decodes and writes; encoders of small pictures keep to the pace of the largest."""
    if encode.encoder is not None and encode.encoded:
        if drives_hardware([encode.encoder]):
            return _HARDWARE_CORES
        largest = max(encode.encoded, key=lambda rung: rung.width * rung.height)
        pixels = sum(rung.width * rung.height for rung in encode.encoded)
        return 1 + min(largest.width, largest.height) / _ROWS_A_CORE * pixels / (largest.width * largest.height)
    if encode.video is not None and encode.poster_px is not None:
        return 1 + encode.video.short_side_px / _DECODED_ROWS_A_CORE
    return 1.0


def _work_s(encode: Encode, info: MediaInfo) -> float:
    media_s = declared_s(encode, info) or info.duration_s or info.size_bytes * 8 / _UNKNOWN_BPS
    if encode.remux is not None:
        return _LEAST_WORK_S + info.size_bytes / _COPIED_BYTES_PER_S
    work_s = media_s / _SOUND_PER_S * len(encode.audio)
    if encode.video is not None and (encode.encoded or encode.poster_px):
        rate = float(encode.fps) * media_s / _PX_PER_S
        work_s += encode.video.width * encode.video.height * rate * _DECODED_PX
        encoded_s = sum(rung.width * rung.height for rung in encode.encoded) * rate * _weight(encode)
        work_s += encoded_s * (_TRIALS if encode.profile.quality is Quality.AUTO else 1)
    return _LEAST_WORK_S + work_s


def _weight(encode: Encode) -> float:
    encoder = encode.encoder or ""
    if drives_hardware([encoder]):
        return _HARDWARE_WEIGHT
    weights = _WEIGHTS.get(encoder, _X264)
    return weights.get(preset_of(encoder, encode.profile) or "", 1.0)
