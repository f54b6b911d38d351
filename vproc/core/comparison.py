"""Filter graphs that compare an encode with what it was made of, frame by frame, and reading what they say.

Where ffmpeg has libvmaf it measures VMAF. Every ffmpeg since 5.1 has what `core.quality` estimates it from: ``vif``, on a picture
of a quarter of the size; how much of the reference's gradients is left, at half the size; ``vmafmotion``. Text only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MODEL = "vmaf_v0.6.1"
"""Netflix's model for 1080p on a television; libvmaf has it built in."""

EVERY = 3
"""Frames from one that is compared to the next: odd, so that neither only reference pictures are met nor none."""

FIGURE_FILTERS = frozenset({"convolution", "format", "hstack", "lut", "lut2", "metadata", "psnr", "scale", "vif", "vmafmotion"})
"""What `figures_graph` takes of an ffmpeg."""
VMAF_FILTER = "libvmaf"
COMPARED_FILES = "compared-*"
"""The files that the graphs write, as a pattern."""

_GRADIENTS = ("-1 0 1 -2 0 2 -1 0 1", "-1 -2 -1 0 0 0 1 2 1")  # Sobel's, across and down
# What the gradient became where it did not grow, else as it was; to the power of 1.5, whose mean square is the mean cube,
# by which VMAF's detail loss (ADM) pools. A quarter of a gradient's full range, about 128, fits in eight bits.
_KEPT = "255*pow(abs(x-128)*clip(if(eq(x,128),1,(y-128)/(x-128)),0,1)/128,1.5)"
_WHOLE = "255*pow(abs(val-128)/128,1.5)"
_FLOOR = 0.02  # below the rounding of eight bits: a flat picture keeps all of nothing

_FIGURE = re.compile(r"^lavfi\.([a-z0-9_.]+)=(-?[0-9.]+(?:e[-+]?[0-9]+)?|-?inf|-?nan)$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """How one frame of an encode compares with its reference.

    ``vif``: visual information fidelity at a quarter of the size. ``kept``: the share of the reference's gradients that is
    left at half the size. Of both 1 is all. ``motion``: of the reference, in grey levels.
    """

    vif: float
    kept: float
    motion: float


@dataclass(frozen=True, slots=True)
class Graph:
    """``text`` continues a ``-filter_complex``. Each of ``outputs`` takes a null output; ``files`` are written where ffmpeg
    runs."""

    text: str
    outputs: tuple[str, ...]
    files: tuple[str, ...]


def figures_graph(encodes: Sequence[str], reference: str, *, every: int = EVERY) -> Graph:
    """Compare the encodes with one reference. All are labels of pictures of one size and one rate, frame for frame.

    `read_figures` takes the files. Their names and the labels are made of the encodes' labels: letters and digits.
    """
    ref = reference
    # Motion is from each frame to the next, so that none is left out.
    chains = [
        f"[{ref}]settb=1/1000,setpts=N*1000,split=2[{ref}-m][{ref}-f]",
        f"[{ref}-m]vmafmotion,metadata=print:file={_file(ref, 'motion')}[{ref}-m-out]",
        *_scaled(f"{ref}-f", ref, len(encodes), every),
    ]
    copies = "".join(f"[{ref}-g-{name}]" for name in encodes)
    chains.append(f"[{ref}-half]{_gradients(ref)},split={len(encodes) + 1}{copies}[{ref}-g]")
    chains += _energy(f"[{ref}-g]lut=c0='{_WHOLE}'", ref, "whole")
    outputs = [f"{ref}-m-out", f"{ref}-e-out"]
    for place, name in enumerate(encodes):
        chains += [f"[{name}]settb=1/1000,setpts=N*1000[{name}-f]", *_scaled(f"{name}-f", name, 1, every)]
        chains.append(f"[{name}-half]{_gradients(name)}[{name}-g]")
        chains += _energy(f"[{ref}-g-{name}][{name}-g]lut2=c0='{_KEPT}'", name, "kept")
        pair = f"[{name}-q0][{ref}-q{place}]"
        chains.append(f"{pair}vif,metadata=print:key=lavfi.vif.scale.0:file={_file(name, 'vif')}[{name}-v-out]")
        outputs += [f"{name}-e-out", f"{name}-v-out"]
    files = [_file(ref, "motion"), _file(ref, "whole"), *(_file(name, what) for name in encodes for what in ("kept", "vif"))]
    return Graph(";".join(chains), tuple(outputs), tuple(files))


def _scaled(source: str, name: str, quarters: int, every: int) -> list[str]:
    """From a picture to its grey one of half the size, and to as many of a quarter."""
    halve = "scale=max(16\\,iw/2):max(16\\,ih/2):flags=area"
    copies = "".join(f"[{name}-q{number}]" for number in range(quarters))
    return [
        f"[{source}]select='not(mod(n,{every}))',setpts=N*1000,format=gray,{halve},split=2[{name}-half][{name}-d]",
        f"[{name}-d]{halve},split={quarters}{copies}",
    ]


def _gradients(name: str) -> str:
    """Across and down, side by side; the text begins behind an input and ends before an output."""
    across, down = (f"convolution=0m='{matrix}':0rdiv=0.25:0bias=128" for matrix in _GRADIENTS)
    return f"split=2[{name}-x][{name}-y];[{name}-x]{across}[{name}-gx];[{name}-y]{down}[{name}-gy];[{name}-gx][{name}-gy]hstack"


def _energy(chain: str, name: str, what: str) -> list[str]:
    """The mean square of a picture's values: its difference from black."""
    return [
        f"{chain},split=2[{name}-e][{name}-b]",
        f"[{name}-b]lut=c0=0[{name}-z]",
        f"[{name}-e][{name}-z]psnr,metadata=print:key=lavfi.psnr.mse.y:file={_file(name, what)}[{name}-e-out]",
    ]


def _file(name: str, what: str) -> str:
    return f"compared-{name}-{what}.txt"


def read_figures(files: Mapping[str, str], encode: str, reference: str, *, every: int = EVERY) -> tuple[FrameFigures, ...]:
    """What `figures_graph` wrote of one encode, but for the first frame, which has no motion. Raises `ValueError` where that
    is nothing."""
    motion, whole = numbers(files[_file(reference, "motion")]), numbers(files[_file(reference, "whole")])
    vif, kept = numbers(files[_file(encode, "vif")]), numbers(files[_file(encode, "kept")])
    found = []
    for number in range(1, min(len(vif), len(kept), len(whole), -(-len(motion) // every))):
        # As VMAF has it: the lesser of the motion to this frame and from it, so that a cut is none.
        moved = min(motion[number * every : number * every + 2])
        share = ((kept[number] + _FLOOR) / (whole[number] + _FLOOR)) ** (1 / 3)
        found.append(FrameFigures(vif[number], share, moved))
    if not found:
        raise ValueError(f"nothing was compared of {encode}")
    return tuple(found)


def numbers(text: str) -> list[float]:
    """The values that the filter ``metadata`` printed, frame by frame; what is no number counts as 0."""
    values = [float(value) for _, value in _FIGURE.findall(text)]
    return [value if math.isfinite(value) else 0.0 for value in values]


def vmaf_graph(
    encodes: Sequence[str], reference: str, *, every: int = EVERY, threads: int = 2, files: Sequence[str] = ()
) -> Graph:
    """The same with libvmaf. `read_vmaf` takes each file; they are in the order of the encodes, and may be named."""
    files = files or [_file(name, "vmaf") for name in encodes]
    copies = "".join(f"[{reference}-{name}]" for name in encodes)
    chains = [f"[{reference}]settb=1/1000,setpts=N*1000,format=yuv420p,split={len(encodes)}{copies}"]
    for name, file in zip(encodes, files, strict=True):
        chains.append(f"[{name}]settb=1/1000,setpts=N*1000,format=yuv420p[{name}-f]")
        measure = f"libvmaf=model=version={MODEL}:log_fmt=json:log_path={file}"
        chains.append(f"[{name}-f][{reference}-{name}]{measure}:n_threads={threads}:n_subsample={every}[{name}-out]")
    outputs = tuple(f"{name}-out" for name in encodes)
    return Graph(";".join(chains), outputs, tuple(files))


def read_vmaf(text: str) -> tuple[float, ...]:
    """VMAF of each frame of libvmaf's log but the first, which has no motion. Raises `ValueError` where there is none."""
    try:
        scores = tuple(float(frame["metrics"]["vmaf"]) for frame in json.loads(text)["frames"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("libvmaf measured nothing") from error
    if len(scores) <= 1:
        raise ValueError("libvmaf measured nothing")
    return scores[1:]
