"""Hardware encoders: which there are, how one is tried, and which is used in the end. Pure: a trial is run by `workers.ffmpeg`.

That a build lists an encoder says nothing of the machine: only a test encode does, in the same confinement as a job's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

SOFTWARE_ENCODERS: Final = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}
"""The encoder of each codec that runs on any processor."""

RENDER_NODE: Final = "/dev/dri/renderD128"

_TRIAL_FRAMES = 12
_REASON_CHARACTERS = 200
_SPEAKER = re.compile(r"^\[[^\]]*\] *")


class Api(StrEnum):
    """A way to a hardware encoder: the end of its encoders' names, best first."""

    NVENC = "nvenc"
    QSV = "qsv"
    VAAPI = "vaapi"
    VIDEOTOOLBOX = "videotoolbox"


_CODECS = {
    Api.NVENC: ("h264", "hevc", "av1"),
    Api.QSV: ("h264", "hevc", "av1"),
    Api.VAAPI: ("h264", "hevc", "av1"),
    Api.VIDEOTOOLBOX: ("h264", "hevc"),
}


@dataclass(frozen=True, slots=True)
class HardwareTrial:
    """The test encode of one hardware encoder on this machine. ``reason`` is ffmpeg's word where it did not work."""

    encoder: str
    works: bool
    reason: str = ""


def hardware_encoders(codec: str) -> tuple[str, ...]:
    """The hardware encoders of a codec, best first; none for a codec that no hardware encodes."""
    return tuple(f"{codec}_{api}" for api in Api if codec in _CODECS[api])


def encoders_to_try(codecs: Iterable[str], encoders: Collection[str]) -> tuple[str, ...]:
    """Which encoders are worth a trial: those of ``codecs`` that the build lists, best first."""
    return tuple(name for codec in sorted(codecs) for name in hardware_encoders(codec) if name in encoders)


def device_options(encoder: str) -> tuple[str, ...]:
    """Options before the inputs that open the device of an encoder; none where it opens its own."""
    return ("-vaapi_device", RENDER_NODE) if encoder.endswith(f"_{Api.VAAPI}") else ()


def upload_filter(encoder: str) -> str | None:
    """The end of a filter chain that puts pictures where an encoder takes them: in the card's memory, or in its format."""
    if encoder.endswith(f"_{Api.VAAPI}"):
        return "format=nv12,hwupload"
    return "format=nv12" if encoder.endswith(f"_{Api.QSV}") else None


def drives_hardware(argv: Iterable[str]) -> bool:
    """Whether a command line names a hardware encoder."""
    known = {name for codec in SOFTWARE_ENCODERS for name in hardware_encoders(codec)}
    return not known.isdisjoint(argv)


def trial_argv(ffmpeg: str, encoder: str) -> tuple[str, ...]:
    """A test encode of a few frames to nowhere; good when it ends with 0. A key frame is forced and the rate capped, as in a
    job's."""
    upload = upload_filter(encoder)
    return (
        ffmpeg, "-nostdin", "-hide_banner", "-v", "error", *device_options(encoder),
        # Above every card's least size.
        "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
        "-vf", f"format=yuv420p,{upload}" if upload else "format=yuv420p",
        "-frames:v", str(_TRIAL_FRAMES), "-c:v", encoder, "-b:v", "800000", "-maxrate", "1000000", "-bufsize", "2000000",
        "-force_key_frames", "expr:gte(t,n_forced*0.2)", "-f", "null", "-",
    )  # fmt: skip


def judge_trial(encoder: str, *, returncode: int, stderr: str) -> HardwareTrial:
    """What the end of a test encode says."""
    if returncode == 0:
        return HardwareTrial(encoder, works=True)
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    # The first line is the cause; what follows is that nothing came of it. Who says it has an address in memory.
    reason = _SPEAKER.sub("", lines[0]) if lines else f"ffmpeg ended with {returncode}"
    return HardwareTrial(encoder, works=False, reason=reason[:_REASON_CHARACTERS])


def choose_encoder(codec: str, trials: Sequence[HardwareTrial]) -> str:
    """The encoder for a codec: the best hardware encoder whose trial worked, else the software one. `KeyError` for a codec
    that is not encoded at all."""
    working = {trial.encoder for trial in trials if trial.works}
    return next((name for name in hardware_encoders(codec) if name in working), SOFTWARE_ENCODERS[codec])
