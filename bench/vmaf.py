"""VMAF of an encode against what it was made of, by an ffmpeg that has libvmaf (the package imageio-ffmpeg carries one).

``python -m bench.vmaf REFERENCE FILE …`` prints a line of JSON for each file.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp

import anyio
import anyio.to_thread
import click

from bench.processes import BenchError

MODEL = "vmaf_v0.6.1"
"""Netflix's model for 1080p on a television; ffmpeg's libvmaf has it built in."""
_WITHIN_S = 1800.0


@dataclass(frozen=True, slots=True)
class Vmaf:
    """``mean`` is the arithmetic mean over the frames, which is what targets are stated in."""

    mean: float
    harmonic: float
    least: float
    frames: int


def vmaf_ffmpeg() -> str:
    """An ffmpeg with libvmaf: imageio-ffmpeg's (``IMAGEIO_FFMPEG_EXE`` names another), else the system's. Raises `BenchError`."""
    candidates = [os.environ.get("IMAGEIO_FFMPEG_EXE"), _packaged(), shutil.which("ffmpeg")]
    for program in filter(None, candidates):
        argv = [program, "-hide_banner", "-v", "error", "-h", "filter=libvmaf"]
        told = subprocess.run(argv, check=False, capture_output=True, text=True)  # noqa: S603 - all ours
        if told.stdout.startswith("Filter libvmaf"):
            return program
    raise BenchError("no ffmpeg with libvmaf here; the package imageio-ffmpeg carries one")


def _packaged() -> str | None:
    try:
        module = importlib.import_module("imageio_ffmpeg")
        return str(module.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def vmaf_argv(
    program: str, reference: Path, encoded: Path, *, size_px: tuple[int, int], fps: str | None, threads: int, every: int
) -> tuple[str, ...]:
    """The command that writes ``vmaf.json`` into the folder it runs in.

    Both are brought to ``size_px``, the encode by bicubic as a player would; to ``fps`` by the rule that the rungs are made by,
    so that frames meet their own; and begin at zero.
    """
    width, height = size_px
    rate = f"fps=fps={fps}:start_time=0," if fps else ""
    same = f"{rate}scale={width}:{height}:flags=bicubic,setsar=1,format=yuv420p,settb=1/90000,setpts=PTS-STARTPTS"
    measure = f"libvmaf=model=version={MODEL}:log_fmt=json:log_path=vmaf.json:n_threads={threads}:n_subsample={every}"
    graph = f"[0:v:0]{same}[encoded];[1:v:0]{same}[reference];[encoded][reference]{measure}"
    inputs = ("-i", str(encoded.absolute()), "-i", str(reference.absolute()))
    return (program, "-nostdin", "-hide_banner", "-v", "error", *inputs, "-lavfi", graph, "-f", "null", "-")


def parse_vmaf(text: str) -> Vmaf:
    """What libvmaf's log says. Raises `BenchError` where it says nothing."""
    try:
        told = json.loads(text)
        pooled = told["pooled_metrics"]["vmaf"]
        return Vmaf(pooled["mean"], pooled["harmonic_mean"], pooled["min"], len(told["frames"]))
    except (ValueError, KeyError) as error:
        raise BenchError("libvmaf measured nothing") from error


async def measure_vmaf(
    reference: Path,
    encoded: Path,
    *,
    size_px: tuple[int, int] = (1920, 1080),
    fps: str | None = None,
    every: int = 1,
    program: str | None = None,
) -> Vmaf:
    """One comparison. ``every``: only each such frame, which costs as much less and moves the mean by some tenths.

    A fragmented track may be given as its header and its segments in one file. Raises `BenchError`.
    """
    argv = vmaf_argv(
        program or vmaf_ffmpeg(),
        reference,
        encoded,
        size_px=size_px,
        fps=fps,
        threads=len(os.sched_getaffinity(0)),
        every=every,
    )
    work = Path(mkdtemp(prefix="vproc-vmaf-"))
    try:
        with anyio.fail_after(_WITHIN_S):
            done = await anyio.run_process(argv, cwd=work, check=False)
        if done.returncode != 0:
            raise BenchError(f"VMAF could not be measured: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return parse_vmaf(await anyio.Path(work / "vmaf.json").read_text())
    finally:
        await anyio.to_thread.run_sync(shutil.rmtree, work)


async def _compare(reference: Path, encoded: Sequence[Path], every: int) -> None:
    for path in encoded:
        click.echo(json.dumps({"file": path.name, **asdict(await measure_vmaf(reference, path, every=every))}))


@click.command()
@click.option("--every", type=click.IntRange(1, 100), default=1, show_default=True, help="Only each such frame.")
@click.argument("reference", type=click.Path(path_type=Path, exists=True))
@click.argument("encoded", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
def main(reference: Path, encoded: tuple[Path, ...], every: int) -> None:
    """The VMAF of each file against the reference, at 1080p."""
    try:
        anyio.run(_compare, reference, encoded, every)
    except BenchError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
