"""Sample encodes: short pieces of a source, encoded as the job will be and compared with what they were made of. What is run;
what follows from it is decided in `core.rates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vproc.core.allowlist import file_url, input_options
from vproc.core.comparison import EVERY, figures_graph, read_figures, read_vmaf, vmaf_graph
from vproc.core.encoders import video_options
from vproc.core.graph import video_graph
from vproc.core.hardware import SOFTWARE_ENCODERS
from vproc.core.ladder import Rung
from vproc.core.media import MediaInfo
from vproc.core.plan import Encode, decide
from vproc.core.profile import Packaging, Profile, VideoCodec
from vproc.core.quality import estimate_vmaf

WHOLE_S = 3.0
"""A source as short as this is taken whole."""
_SHARE = 0.045
"""Of the source. A piece is decoded twice, encoded at two qualities and compared: over three times what the job takes for it."""
_LEAST_S, _MOST_S = 1.6, 8.0
_PIECE_S = 0.4
_MOST_PIECES = 8
_UNKNOWN_S = 4.0  # of a source that does not tell its length: from its start

_BASE_VMAF = 93.0
_CRF_PER_VMAF = 0.45
_CRFS = {VideoCodec.H264: (19.0, 25.0), VideoCodec.HEVC: (21.0, 27.0), VideoCodec.AV1: (26.0, 36.0), VideoCodec.VP9: (24.0, 34.0)}
"""Two qualities between which most sources reach `_BASE_VMAF`."""

_UNCAPPED_BPS = 80_000_000
"""More than any piece takes, and no more than every encoder believes."""

SAMPLE_FILES = "sample-*"
"""The files of `Sample`, as a pattern."""
REFERENCE = "ref"
COMPARED = 2
"""So many of the samples are compared with the source: those of the largest rung."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the source."""

    start_s: float
    length_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One encode of all pieces together. ``label`` also names its file."""

    label: str
    rung: Rung

    @property
    def file(self) -> str:
        """The name of the file, where ffmpeg runs."""
        return f"sample-{self.label}.mkv"


@dataclass(frozen=True, slots=True)
class Compared:
    """What became of a sample: its VMAF, and how long it is."""

    vmaf: float
    length_s: float


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """``encode`` is the job's own. ``samples``: the largest rung at two qualities, the better first; then the others at the
    better one."""

    info: MediaInfo
    encode: Encode
    codec: VideoCodec
    pieces: tuple[Piece, ...]
    samples: tuple[Sample, ...]

    @property
    def short_side_px(self) -> int:
        """The source's."""
        return self.info.video.short_side_px if self.info.video else 0

    @property
    def largest(self) -> Rung:
        """The rung that the target is stated of."""
        return self.samples[0].rung


def choose_pieces(duration_s: float | None) -> tuple[Piece, ...]:
    """What of a source is encoded: all of a very short one, else pieces spread evenly over it, that together cost a seventh of
    the job or last 1.6 s, whichever is more."""
    if duration_s is None:
        return (Piece(0.0, _UNKNOWN_S),)
    if duration_s <= WHOLE_S:
        return (Piece(0.0, WHOLE_S),)  # and not a frame less where it declares less than it holds
    total_s = min(_MOST_S, max(_LEAST_S, duration_s * _SHARE))
    number = min(_MOST_PIECES, round(total_s / _PIECE_S))
    length_s = total_s / number
    return tuple(Piece(round((place + 0.5) * duration_s / number - length_s / 2, 3), length_s) for place in range(number))


def plan_samples(info: MediaInfo, profile: Profile) -> SamplePlan | None:
    """What is to be tried. None where the profile encodes no picture. Raises as `core.plan.decide`."""
    if profile.packaging not in {Packaging.CMAF, Packaging.PROGRESSIVE}:
        return None
    encode = decide(info, profile)
    if encode.video is None or encode.video_codec is None:
        return None
    shift = (_BASE_VMAF - profile.target_vmaf) * _CRF_PER_VMAF
    better, worse = (max(1.0, crf + shift) for crf in _CRFS[encode.video_codec])
    largest, *others = encode.rungs
    samples = [Sample("a", _at(largest, better)), Sample("b", _at(largest, worse))]
    samples += [Sample(f"c{number}", _at(rung, better)) for number, rung in enumerate(others)]
    duration_s = encode.video.end_s or info.duration_s if info.declares_duration else None
    return SamplePlan(info, encode, encode.video_codec, choose_pieces(duration_s), tuple(samples))


def _at(rung: Rung, crf: float) -> Rung:
    # Without its cap: what a piece needs shows only so, and a buffer of seconds would be filled by none.
    return replace(rung, crf=round(crf, 1), maxrate_bps=_UNCAPPED_BPS, bufsize_bits=_UNCAPPED_BPS)


def encode_argv(plan: SamplePlan, *, ffmpeg: str, source: Path, cwd: Path, max_pixels: int) -> tuple[str, ...]:
    """The command that writes the samples' files into ``cwd``."""
    rungs = list(dict.fromkeys(sample.rung.name for sample in plan.samples))
    argv = [*_head(ffmpeg), *_inputs(plan, source, max_pixels)]
    chains = [_pieces_graph(plan, rungs)]
    for name in rungs:
        labels = [sample.label for sample in plan.samples if sample.rung.name == name]
        chains.append(f"[{name}]split={len(labels)}" + "".join(f"[{label}]" for label in labels))
    argv += ["-filter_complex", ";".join(chains)]
    profile, encoder = plan.encode.profile, SOFTWARE_ENCODERS[plan.codec]
    fps, grid = plan.encode.fps, plan.encode.grid
    for sample in plan.samples:
        argv += ["-map", f"[{sample.label}]", *video_options(sample.rung, profile, encoder=encoder, fps=fps, grid=grid)]
        argv += ["-f", "matroska", file_url(cwd / sample.file)]
    return tuple(argv)


def compare_argv(
    plan: SamplePlan, *, ffmpeg: str, source: Path, cwd: Path, max_pixels: int, libvmaf: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The command that compares the largest rung's samples with the pieces, and the names of the files that it writes into
    ``cwd``, for `read_compared`. ``libvmaf``: that ffmpeg has it."""
    compared = plan.samples[:COMPARED]
    argv = [*_head(ffmpeg), *_inputs(plan, source, max_pixels)]
    for sample in compared:
        argv += ["-protocol_whitelist", "file", "-f", "matroska", "-i", file_url(cwd / sample.file)]
    labels = [sample.label for sample in compared]
    chains = [_pieces_graph(plan, [plan.largest.name]), f"[{plan.largest.name}]null[{REFERENCE}]"]
    chains += [f"[{len(plan.pieces) + number}:v:0]null[{label}]" for number, label in enumerate(labels)]
    graph = vmaf_graph(labels, REFERENCE) if libvmaf else figures_graph(labels, REFERENCE)
    argv += ["-filter_complex", ";".join([*chains, graph.text])]
    for output in graph.outputs:
        argv += ["-map", f"[{output}]", "-f", "null", "-"]
    return tuple(argv), graph.files


def read_compared(plan: SamplePlan, texts: Mapping[str, str], *, libvmaf: bool) -> tuple[Compared, ...]:
    """Of each compared sample, out of the files of `compare_argv`. Raises `ValueError` where one says nothing."""
    labels = [sample.label for sample in plan.samples[:COMPARED]]
    if libvmaf:
        scores = [read_vmaf(texts[name]) for name in vmaf_graph(labels, REFERENCE).files]
        return tuple(Compared(sum(frames) / len(frames), _seconds(plan, len(frames))) for frames in scores)
    figures = [read_figures(texts, label, REFERENCE) for label in labels]
    side_px = min(plan.largest.width, plan.largest.height)
    return tuple(Compared(estimate_vmaf(frames, side_px), _seconds(plan, len(frames))) for frames in figures)


def _seconds(plan: SamplePlan, frames: int) -> float:
    """How long the pieces together turned out to be; the first compared frame is never told of."""
    return float((frames + 1) * EVERY / plan.encode.fps)


def _head(ffmpeg: str) -> tuple[str, ...]:
    return (ffmpeg, "-nostdin", "-hide_banner", "-v", "error", "-y", "-nostats")


def _inputs(plan: SamplePlan, source: Path, max_pixels: int) -> list[str]:
    argv: list[str] = []
    for piece in plan.pieces:
        argv += [*input_options(plan.info.container, max_pixels=max_pixels)]
        if piece.start_s > 0:
            # From the key frame before it: to decode up to the very frame may cost more than all the rest.
            argv += ["-noaccurate_seek", "-ss", f"{piece.start_s:.3f}"]
        argv += ["-t", f"{piece.length_s:.3f}", "-i", file_url(source)]
    return argv


def _pieces_graph(plan: SamplePlan, rungs: Sequence[str]) -> str:
    """Every piece through the job's own filters, and what becomes of each rung joined again under the rung's name."""
    chains = []
    wanted = [rung for rung in plan.encode.rungs if rung.name in rungs]
    for number in range(len(plan.pieces)):
        renamed = tuple(replace(rung, name=f"{rung.name}p{number}") for rung in wanted)
        part = replace(plan.encode, rungs=renamed, poster_px=None, sprite=None)
        chains.append(_of_input(video_graph(part, watch=False), number, plan))
    for rung in wanted:
        parts = "".join(f"[{rung.name}p{number}]" for number in range(len(plan.pieces)))
        chains.append(f"{parts}concat=n={len(plan.pieces)}:v=1:a=0[{rung.name}]")
    return ";".join(chains)


def _of_input(graph: str, number: int, plan: SamplePlan) -> str:
    """The job's graph over another input, whose times begin where its piece does."""
    index = plan.encode.video.index if plan.encode.video else 0
    first = f"[0:{index}]"
    if not graph.startswith(first):
        raise ValueError(f"a graph begins with its input, not with {graph[:20]}")
    return f"[{number}:{index}]setpts=PTS-STARTPTS,{graph.removeprefix(first)}"
