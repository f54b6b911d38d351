"""How near each output is to its source, for the manifest: SSIM, which every ffmpeg measures, or VMAF, which takes libvmaf.

An output is compared at its own size with what its encoder was given. Command lines and what they write; text only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vproc.core.allowlist import file_url, input_options
from vproc.core.capabilities import Capabilities
from vproc.core.comparison import numbers, read_vmaf, vmaf_graph
from vproc.core.graph import video_graph
from vproc.core.media import MediaInfo
from vproc.core.plan import Encode, PlannedOutput
from vproc.core.profile import Measure

EVERY = 5
"""Frames from one that is compared to the next; all are decoded."""

MEASURED_FILES = "measured-*"
_FILTERS = {Measure.SSIM: "ssim", Measure.VMAF: "libvmaf"}


def can_measure(measure: Measure, build: Capabilities) -> bool:
    """Whether an ffmpeg has the filter for it."""
    return build.has_filter(_FILTERS[measure])


def compared_outputs(encode: Encode, outputs: Sequence[PlannedOutput]) -> tuple[PlannedOutput, ...]:
    """Those that are pictures in motion, encoded by us."""
    names = {rung.name for rung in encode.encoded}
    return tuple(output for output in outputs if output.rendition in names)


def measure_argv(
    info: MediaInfo,
    encode: Encode,
    outputs: Sequence[PlannedOutput],
    measure: Measure,
    *,
    ffmpeg: str,
    source: Path,
    max_pixels: int,
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The command that compares, and by rendition the file that it writes where it runs. ``outputs`` are of `compared_outputs`,
    and at least one."""
    argv = [ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", "-nostats"]
    argv += [*input_options(info.container, max_pixels=max_pixels), "-i", file_url(source)]
    for output in outputs:
        argv += ["-protocol_whitelist", "file", "-i", file_url(output.path)]
    names = [output.rendition for output in outputs]
    rungs = tuple(rung for rung in encode.encoded if rung.name in names)
    chains = [video_graph(replace(encode, rungs=rungs, poster_px=None, sprite=None), watch=False)]
    labels: list[str] = []
    files: dict[str, str] = {}
    for number, name in enumerate(names):
        file = files[name] = f"measured-{name}.{'json' if measure is Measure.VMAF else 'txt'}"
        if measure is Measure.VMAF:
            graph = vmaf_graph([f"{name}x"], name, every=EVERY, files=[file])
            chains.append(f"[{number + 1}:v:0]null[{name}x];{graph.text}")
            labels += graph.outputs
        else:
            thin = f"select='not(mod(n,{EVERY}))',settb=1/1000,setpts=N*1000"
            chains.append(f"[{number + 1}:v:0]{thin}[{name}x];[{name}]{thin}[{name}y]")
            chains.append(f"[{name}x][{name}y]ssim,metadata=print:key=lavfi.ssim.All:file={file}[{name}z]")
            labels.append(f"{name}z")
    argv += ["-filter_complex", ";".join(chains)]
    for label in labels:
        argv += ["-map", f"[{label}]", "-f", "null", "-"]
    return tuple(argv), files


def read_measures(texts: Mapping[str, str], measure: Measure) -> dict[str, dict[str, float]]:
    """By rendition ``{"ssim": 0.98}`` (of all three planes, 1 is the same) or ``{"vmaf": 93.1}`` (0 to 100): means over the
    frames. ``texts`` is what each rendition's file holds; one that says nothing is left out."""
    found = {}
    for name, text in texts.items():
        try:
            values = list(read_vmaf(text)) if measure is Measure.VMAF else numbers(text)
        except ValueError:
            continue
        if values:
            found[name] = {measure.value: round(sum(values) / len(values), 2 if measure is Measure.VMAF else 4)}
    return found
