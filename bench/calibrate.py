"""Calibrating the estimate of VMAF in ``vproc/core/quality.py``: measuring it beside what the estimate is made of, and fitting.

``python -m bench.calibrate measure POINTS FILE …`` adds a line of JSON for each encode to POINTS (those that stand there are not
made again); ``python -m bench.calibrate fit POINTS`` prints the table and how far it is off for clips that it was not fitted on.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import click

from bench.processes import BenchError
from bench.vmaf import vmaf_ffmpeg
from vproc.core.comparison import EVERY, FrameFigures, Graph, figures_graph, read_figures, vmaf_graph
from vproc.core.quality import terms

FRAMES = 25
RUNGS_PX = (1080, 720, 360)
_WITHIN_S = 1200
_RANGE = (82.0, 98.5)
_AIM, _WIDTH = 91.0, 17.0
"""A frame weighs the less the farther its VMAF is from where targets are."""
_RIDGE = 5e-3
# What libvmaf says of a picture beside itself, by its motion: less than 100 where little moves.
_SAME = {0.0: 97.4, 0.3: 97.8, 0.8: 98.5, 1.5: 99.5, 3.0: 100.0, 8.0: 100.0}

# What no camera gives; each is a clip of its own.
MADE = {
    "mandelbrot": "mandelbrot=s=1920x1080:r=30:start_scale=0.5",
    "testcard": "testsrc2=s=1920x1080:r=30",
    "life": "life=s=480x270:r=30:ratio=0.15:mold=20:death_color=#306090:life_color=#e0e0a0,scale=1920:1080,noise=alls=8:allf=t",
    "gradients": "gradients=s=1920x1080:r=30:n=6:speed=0.03:seed=3,noise=alls=4:allf=t",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One encode of one piece: its VMAF, and of each compared frame the VMAF and the figures. ``group`` is the clip that it is
    of: pieces of one clip are never fitted and tested on together."""

    group: str
    name: str
    side_px: int
    crf: float
    vmaf: float
    scores: tuple[float, ...]
    figures: tuple[FrameFigures, ...]


def _run(argv: Sequence[str], cwd: Path) -> None:
    done = subprocess.run(  # noqa: S603 - all ours
        ["nice", "-n", "15", *argv],  # noqa: S607 - likewise
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=_WITHIN_S,
    )
    if done.returncode != 0:
        raise BenchError(done.stderr.strip()[-300:])


def _reference(program: str, source: Sequence[str], side_px: int, start_s: float, cwd: Path) -> Path:
    """A piece of a source as a rung would be handed it, without loss."""
    path = cwd / "reference.mkv"
    # Both sides even, the shorter one as told.
    scale = f"scale=w='if(gt(iw,ih),-2,{side_px})':h='if(gt(iw,ih),{side_px},-2)':flags=lanczos"
    filters = f"{scale},crop=floor(iw/2)*2:floor(ih/2)*2,setsar=1,format=yuv420p"
    keep = ("-an", "-frames:v", str(FRAMES), "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")
    start = ("-ss", f"{start_s:g}") if start_s else ()
    _run([program, "-v", "error", "-nostdin", "-y", *start, *source, "-vf", filters, *keep, str(path)], cwd)
    return path


def _graph(encoded: str, reference: str) -> Graph:
    """The encode and its reference, each twice: for libvmaf and for the figures."""
    truth = vmaf_graph(["va"], "vb", every=1)
    figures = figures_graph(["fa"], "fb")
    split = f"[{encoded}]split=2[va][fa];[{reference}]split=2[vb][fb]"
    return Graph(f"{split};{truth.text};{figures.text}", (*truth.outputs, *figures.outputs), (*truth.files, *figures.files))


def measure(
    program: str, reference: Path, encoder: Sequence[str], cwd: Path
) -> tuple[float, tuple[float, ...], tuple[FrameFigures, ...]]:
    """Encode a piece and compare. VMAF over all frames, its value at each compared frame, and the figures of those."""
    encoded = cwd / "encoded.mkv"
    _run([program, "-v", "error", "-nostdin", "-y", "-i", str(reference), *encoder, str(encoded)], cwd)
    graph = _graph("0:v:0", "1:v:0")
    outputs = [word for output in graph.outputs for word in ("-map", f"[{output}]", "-f", "null", "-")]
    inputs = ("-i", str(encoded), "-i", str(reference))
    _run([program, "-v", "error", "-nostdin", "-nostats", *inputs, "-filter_complex", graph.text, *outputs], cwd)
    texts = {name: (cwd / name).read_text() for name in graph.files}
    frames = [frame["metrics"]["vmaf"] for frame in json.loads(texts[graph.files[0]])["frames"]]
    figures = read_figures(texts, "fa", "fb")
    scores = tuple(frames[EVERY::EVERY][: len(figures)])
    return sum(frames[1:]) / len(frames[1:]), scores, figures


def read_points(path: Path) -> list[Point]:
    """What `measure` wrote."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        told = json.loads(line)
        figures = tuple(FrameFigures(*values) for values in told["figures"])
        found.append(Point(**told | {"scores": tuple(told["scores"]), "figures": figures}))
    return found


def _write(point: Point, path: Path) -> None:
    told = {name: getattr(point, name) for name in ("group", "name", "side_px", "crf", "vmaf", "scores")}
    told["figures"] = [(frame.vif, frame.kept, frame.motion) for frame in point.figures]
    with path.open("a") as file:
        file.write(json.dumps(told) + "\n")


# --- fitting ---------------------------------------------------------------------------------------------------------


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss's elimination with pivoting; the matrix is square and regular."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            rows[row] = [one - factor * other for one, other in zip(rows[row], rows[column], strict=True)]
    found = [0.0] * size
    for row in reversed(range(size)):
        rest = sum(rows[row][column] * found[column] for column in range(row + 1, size))
        found[row] = (rows[row][size] - rest) / rows[row][row]
    return found


def fit(points: Sequence[Point]) -> list[float]:
    """The coefficients of `vproc.core.quality.terms`, by ridge regression over frames in which each clip weighs the same."""
    same = tuple(FrameFigures(1.0, 1.0, motion) for motion in _SAME)
    points = [*points, *(Point("same", "same", side_px, 0.0, 100.0, tuple(_SAME.values()), same) for side_px in RUNGS_PX)]
    frames = {group: sum(len(point.scores) for point in points if point.group == group) for group in {p.group for p in points}}
    size = len(terms(points[0].figures[0], RUNGS_PX[0]))
    matrix = [[0.0] * size for _ in range(size)]
    right = [0.0] * size
    for point in points:
        for score, figures in zip(point.scores, point.figures, strict=True):
            weight = math.exp(-(((score - _AIM) / _WIDTH) ** 2)) / frames[point.group]
            row = terms(figures, point.side_px)
            for one in range(size):
                right[one] += weight * row[one] * score
                for other in range(size):
                    matrix[one][other] += weight * row[one] * row[other]
    for one in range(1, size):
        matrix[one][one] += _RIDGE * len(frames)
    return solve(matrix, right)


def estimate(table: Sequence[float], point: Point) -> float:
    """The VMAF of an encode by a table."""
    return sum(sum(a * b for a, b in zip(table, terms(frame, point.side_px), strict=True)) for frame in point.figures) / len(
        point.figures
    )


def errors(points: Sequence[Point]) -> Iterator[tuple[Point, float]]:
    """Each encode, and how far off its estimate is by a table that was fitted on the other clips alone."""
    for group in sorted({point.group for point in points}):
        table = fit([point for point in points if point.group != group])
        for point in points:
            if point.group == group:
                yield point, estimate(table, point) - sum(point.scores) / len(point.scores)


@click.group()
def main() -> None:
    """Calibrate the estimate of VMAF."""


@main.command("measure")
@click.option("--crf", "crfs", multiple=True, type=float, default=(19, 22, 27, 31), show_default=True)
@click.option("--preset", default="veryfast", show_default=True)
@click.option("--encoder", default="libx264", show_default=True)
@click.option("--own-size", is_flag=True, help="Each file is a rung already.")
@click.option("--every-s", default=6.0, show_default=True, help="From one piece of a file to the next.")
@click.argument("points", type=click.Path(path_type=Path))
@click.argument("files", type=click.Path(path_type=Path, exists=True), nargs=-1)
def measure_command(
    *, crfs: tuple[float, ...], preset: str, encoder: str, own_size: bool, every_s: float, points: Path, files: tuple[Path, ...]
) -> None:
    """Encode pieces of the FILES and of made clips, and add what is measured to POINTS. Pieces of files whose names begin with
    the same letters belong to one clip."""
    program = vmaf_ffmpeg()
    done = {(point.name, point.side_px, point.crf) for point in read_points(points)}
    work = Path(mkdtemp(prefix="vproc-calibrate-"))
    options = ("-c:v", encoder, "-preset", preset, "-g", "250")
    try:
        for crf in crfs:
            for group, name, source, side_px, start_s in _pieces(files, own_size, every_s):
                if (name, side_px, crf) in done:
                    continue
                try:
                    reference = _reference(program, source, side_px, start_s, work)
                    vmaf, scores, figures = measure(program, reference, (*options, "-crf", f"{crf:g}"), work)
                except (BenchError, ValueError) as error:
                    click.echo(f"{name}: {error}", err=True)
                    continue
                _write(Point(group, name, side_px, crf, vmaf, scores, figures), points)
    finally:
        shutil.rmtree(work)


def _pieces(files: Sequence[Path], own_size: bool, every_s: float) -> Iterator[tuple[str, str, list[str], int, float]]:
    for file in files:
        width, height, duration_s = _shape(file)
        group = (re.match(r"[A-Za-z_]+", file.stem) or [file.stem])[0].rstrip("_")
        if own_size:
            yield group, file.stem, ["-i", str(file.absolute())], min(width, height), 0.0
            continue
        for side_px in RUNGS_PX:
            if side_px <= min(width, height):
                for number in range(max(1, int(duration_s / every_s))):
                    yield group, f"{file.stem}@{number}", ["-i", str(file.absolute())], side_px, number * every_s
    if not own_size:
        for name, source in MADE.items():
            yield name, name, ["-f", "lavfi", "-i", source], RUNGS_PX[0], 0.0


def _shape(file: Path) -> tuple[int, int, float]:
    entries = ("-select_streams", "v:0", "-show_entries", "stream=width,height:format=duration", "-of", "json")
    argv = ["ffprobe", "-v", "error", *entries, str(file)]
    told = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)  # noqa: S603 - all ours
    stream = told["streams"][0]
    return int(stream["width"]), int(stream["height"]), float(told["format"].get("duration", 1))


@main.command("fit")
@click.argument("points", type=click.Path(path_type=Path, exists=True))
def fit_command(points: Path) -> None:
    """Print the table, and how far it is off for clips that it was not fitted on."""
    found = [point for point in read_points(points) if _RANGE[0] <= point.vmaf <= _RANGE[1]]
    by_group: dict[str, list[float]] = {}
    for point, error in errors(found):
        by_group.setdefault(point.group, []).append(error)
    for group, values in sorted(by_group.items()):
        bias, spread = sum(values) / len(values), math.sqrt(sum(value**2 for value in values) / len(values))
        click.echo(f"{group:12} {len(values):3} encodes, off by {bias:+.2f} on average, RMS {spread:.2f}")
    everything = sorted(abs(value) for values in by_group.values() for value in values)
    rms = math.sqrt(sum(value**2 for value in everything) / len(everything))
    within = sum(value <= 1 for value in everything) / len(everything)
    median = everything[len(everything) // 2]
    click.echo(f"{len(everything)} encodes of {len(by_group)} clips: RMS {rms:.2f}, median {median:.2f}, within 1: {within:.0%}")
    click.echo("_TABLE = (" + ", ".join(f"{value:.4g}" for value in fit(found)) + ")")


if __name__ == "__main__":
    main()
