"""The options of each video encoder, in its own vocabulary, each with its reason. Pure: lists of text.

Which encoder makes a codec is `core.hardware`; presets were chosen by measurement (`docs/decisions/0013-presets.md`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

from vproc.core.grid import KeyGrid
from vproc.core.hardware import Api
from vproc.core.ladder import Rung
from vproc.core.profile import Profile, Quality, VideoCodec

_X26X = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")

PRESETS: Final = {
    VideoCodec.H264: _X26X,
    VideoCodec.HEVC: _X26X,
    VideoCodec.AV1: tuple(str(number) for number in range(14)),
    VideoCodec.VP9: tuple(str(number) for number in range(9)),
}
"""What a profile's ``preset`` may be: the software encoder's own words, of SVT-AV1 its ``preset``, of libvpx its ``cpu-used``."""

_CHOSEN = {
    "libx264": {Quality.FAST: "veryfast", Quality.BALANCED: "medium", Quality.BEST: "slow"},
    "libx265": {Quality.FAST: "veryfast", Quality.BALANCED: "medium", Quality.BEST: "slow"},
    "libsvtav1": {Quality.FAST: "9", Quality.BALANCED: "7", Quality.BEST: "5"},
    "libvpx-vp9": {Quality.FAST: "6", Quality.BALANCED: "4", Quality.BEST: "2"},
    Api.NVENC: {Quality.FAST: "p2", Quality.BALANCED: "p5", Quality.BEST: "p7"},
    Api.QSV: {Quality.FAST: "veryfast", Quality.BALANCED: "medium", Quality.BEST: "veryslow"},
}

_FORCED_KEYS_SINCE = 8
"""The ffmpeg from which libsvtav1 takes forced key frames: 8.1 was seen to, 5.1 was seen to pass over them."""

_REALTIME_FROM = 6
"""libvpx's speeds beyond 5 are speeds of its real-time mode; in the other they are 5."""

_MOST_PARALLEL = 6
"""SVT-AV1's highest level of parallelism since 3.0; before, ``lp`` counted processors."""

_NVENC_WORST = 51

_HARDWARE_SHARE = Fraction(7, 10)
"""Of the cap: the average that encoders without a measure of quality are given."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One encode: what every encoder is told, whatever its words. ``gop``: most frames from one key frame to the next."""

    encoder: str
    rung: Rung
    preset: str | None
    gop: int
    threads: int | None
    described: tuple[str, ...]

    @property
    def average_bps(self) -> int:
        """For encoders that know rates only."""
        return self.rung.bitrate_bps or int(self.rung.maxrate_bps * _HARDWARE_SHARE)


def video_options(
    rung: Rung,
    profile: Profile,
    *,
    encoder: str,
    fps: Fraction,
    grid: KeyGrid,
    threads: int | None = None,
    described: Sequence[str] = (),
) -> list[str]:
    """From ``-c:v`` to ``-force_key_frames``. ``encoder`` is ffmpeg's name, of `core.hardware`; ``grid`` is `kept_grid`'s.

    ``described``: ``key=value`` parameters of libx265 or libsvtav1 that tell players of a high dynamic range; other encoders
    take none. Closed GOPs, a key frame wherever the grid has a segment and none more often than needed. `KeyError` for an
    encoder that is none of ours.
    """
    wanted = _Wanted(encoder, rung, preset_of(encoder, profile), ceil(fps * grid.longest_s), threads, tuple(described))
    api = _api(encoder)
    options = (_HARDWARE[api] if api else _SOFTWARE[encoder])(wanted)
    if encoder == "libx265" or encoder.startswith("hevc_"):
        # hvc1 keeps parameter sets out of the stream: Apple's players take no other tag.
        options += ["-tag:v", "hvc1"]
    return ["-c:v", encoder, *options, "-force_key_frames", grid.force_key_frames]


def preset_of(encoder: str, profile: Profile) -> str | None:
    """The encoder's own word for how much time it takes. The profile's ``preset`` is meant for the software encoder. None for a
    hardware encoder that has no such word."""
    api = _api(encoder)
    if profile.preset is not None and api is None:
        return profile.preset
    chosen = _CHOSEN.get(api or encoder, {})
    # With `auto` the trials choose the rate, and cost time themselves.
    return chosen.get(Quality.FAST if profile.quality is Quality.AUTO else profile.quality)


def kept_grid(encoder: str, grid: KeyGrid, *, generation: int) -> KeyGrid:
    """The grid that an encoder keeps, of the one that is wanted. ``generation``: ffmpeg's major version.

    An SVT-AV1 that knows no forced key frames sets them at a fixed distance, so its first segments are as long as the others.
    """
    if encoder == "libsvtav1" and generation < _FORCED_KEYS_SINCE:
        return grid.without_short_first()
    return grid


def _api(encoder: str) -> Api | None:
    return next((api for api in Api if encoder.endswith(f"_{api}")), None)


def _rate(wanted: _Wanted) -> list[str]:
    """Capped constant quality, or a fixed average under a cap, as x264 and x265 take it."""
    rung = wanted.rung
    aim = ["-crf", f"{round(rung.crf, 2):g}"] if rung.bitrate_bps is None else ["-b:v", str(rung.bitrate_bps)]
    return [*aim, "-maxrate", str(rung.maxrate_bps), "-bufsize", str(rung.bufsize_bits)]


def _preset(wanted: _Wanted) -> list[str]:
    return ["-preset", wanted.preset] if wanted.preset is not None else []


def _threads(wanted: _Wanted) -> list[str]:
    return ["-threads", str(wanted.threads)] if wanted.threads is not None else []


def _x264(wanted: _Wanted) -> list[str]:
    # The level is left to x264, which takes the lowest that size, rate and buffer allow. Its GOPs are closed by default. Without
    # -sc_threshold 0 a change of scene would move the key frames of each rung by itself.
    options = ["-profile:v", "high", "-sc_threshold", "0", *_preset(wanted), *_rate(wanted), "-g", str(wanted.gop)]
    return [*options, *_threads(wanted)]


def _x265(wanted: _Wanted) -> list[str]:
    # x265 opens its GOPs and writes to standard error unless told; its pool has no ffmpeg option.
    settings = [f"keyint={wanted.gop}", "scenecut=0", "open-gop=0", "log-level=error", *wanted.described]
    if wanted.threads is not None:
        settings.append(f"pools={wanted.threads}")
    # A forced key frame is else a plain intra picture, at which no player can begin.
    options = ["-x265-params", ":".join(settings), "-forced-idr", "1"]
    return [*options, *_preset(wanted), *_rate(wanted), *_threads(wanted)]


def _svt_av1(wanted: _Wanted) -> list[str]:
    # irefresh-type 2: key frames, where 1 would be forward key frames in open GOPs.
    settings = ["scd=0", "irefresh-type=2", *wanted.described]
    if wanted.threads is not None:
        settings.append(f"lp={min(wanted.threads, _MOST_PARALLEL)}")
    rung = wanted.rung
    rate = ["-crf", f"{round(rung.crf)}", "-maxrate", str(rung.maxrate_bps), "-bufsize", str(rung.bufsize_bits)]
    if rung.bitrate_bps is not None:
        # It takes a cap with constant quality only.
        rate = ["-b:v", str(rung.bitrate_bps)]
    return [*_preset(wanted), *rate, "-g", str(wanted.gop), "-svtav1-params", ":".join(settings)]


def _vpx(wanted: _Wanted) -> list[str]:
    speed, rung = int(wanted.preset or 0), wanted.rung
    options = ["-deadline", "realtime" if speed >= _REALTIME_FROM else "good", "-cpu-used", str(speed)]
    # Constant quality is "constrained" by the average that -b:v says, and -maxrate is of another mode.
    rate = ["-crf", f"{round(rung.crf)}", "-b:v", str(rung.maxrate_bps)] if rung.bitrate_bps is None else _fixed(rung)
    options += [*rate, "-bufsize", str(rung.bufsize_bits)]
    # Threads work on rows and tiles, not on frames; a tile is 256 pixels wide at least, and libvpx lowers the number by itself.
    options += ["-row-mt", "1", "-tile-columns", "2"]
    # Hidden pictures of the future to predict from: a tenth of the bytes.
    options += ["-auto-alt-ref", "1", "-lag-in-frames", "25"]
    return [*options, "-g", str(wanted.gop), *_threads(wanted)]


def _fixed(rung: Rung) -> list[str]:
    return ["-b:v", str(rung.bitrate_bps), "-maxrate", str(rung.maxrate_bps)]


def _nvenc(wanted: _Wanted) -> list[str]:
    rung = wanted.rung
    options = [*_hardware_profile(wanted), *_preset(wanted), "-tune", "hq", "-rc", "vbr"]
    if rung.bitrate_bps is None:
        # Constant quality, with no average to keep to. Its scale ends at 51 for every codec.
        options += ["-cq", f"{round(min(rung.crf, _NVENC_WORST), 2):g}", "-b:v", "0", "-maxrate", str(rung.maxrate_bps)]
    else:
        options += _fixed(rung)
    # Without -forced-idr a forced key frame is a plain intra picture; -no-scenecut leaves the key frames to the grid.
    return [*options, "-bufsize", str(rung.bufsize_bits), "-g", str(wanted.gop), "-forced-idr", "1", "-no-scenecut", "1"]


def _qsv(wanted: _Wanted) -> list[str]:
    # A variable rate: its modes of constant quality depend on the driver (Intel's own guide advises against them).
    options = [*_hardware_profile(wanted), *_preset(wanted), *_by_average(wanted)]
    return [*options, "-g", str(wanted.gop), "-forced_idr", "1"]


def _vaapi(wanted: _Wanted) -> list[str]:
    # As above: which modes there are, the driver decides; every one has a variable rate.
    return [*_hardware_profile(wanted), "-rc_mode", "VBR", *_by_average(wanted), "-g", str(wanted.gop)]


def _videotoolbox(wanted: _Wanted) -> list[str]:
    # Constant quality there is on Apple's own processors only.
    return [*_hardware_profile(wanted), *_by_average(wanted), "-g", str(wanted.gop)]


def _by_average(wanted: _Wanted) -> list[str]:
    rung = wanted.rung
    return ["-b:v", str(wanted.average_bps), "-maxrate", str(rung.maxrate_bps), "-bufsize", str(rung.bufsize_bits)]


def _hardware_profile(wanted: _Wanted) -> list[str]:
    # Of AV1 there is one profile for 4:2:0, and not every encoder has the option.
    named = {"h264": "high", "hevc": "main"}.get(wanted.encoder.partition("_")[0])
    return ["-profile:v", named] if named else []


_SOFTWARE: dict[str, Callable[[_Wanted], list[str]]] = {
    "libx264": _x264,
    "libx265": _x265,
    "libsvtav1": _svt_av1,
    "libvpx-vp9": _vpx,
}
_HARDWARE: dict[Api, Callable[[_Wanted], list[str]]] = {
    Api.NVENC: _nvenc,
    Api.QSV: _qsv,
    Api.VAAPI: _vaapi,
    Api.VIDEOTOOLBOX: _videotoolbox,
}
