"""``python -m bench [memory|latency|all]``: measure, write ``RESULTS.md``, exit 1 where what is required does not hold."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import anyio
import click

from bench.clips import make_clips, make_large, require_space
from bench.figures import MB, LatencyRun, MemoryRun, percentile
from bench.latency import FILES, PROBE_EVERY_MS, measure_latency
from bench.memory import SPACE_BYTES, measure_memory
from bench.processes import BenchError
from bench.results import RESULTS, held, latency_lines, memory_lines, write_section

Run = TypeVar("Run")


async def _several(runs: int, folder: Path, measure: Callable[[Path], Awaitable[Run]], tell: Callable[[Run], str]) -> list[Run]:
    """Each run in a folder of its own, which is removed after it."""
    done: list[Run] = []
    for number in range(1, runs + 1):
        work = folder / f"run-{number}"
        work.mkdir()
        try:
            done.append(await measure(work))
        finally:
            shutil.rmtree(work, ignore_errors=True)
        click.echo(f"run {number} of {runs}: {tell(done[-1])}")
    return done


async def _memory(runs: int, folder: Path) -> bool:
    require_space(folder, SPACE_BYTES)
    click.echo("making a file of two gigabytes ...")
    large = await make_large(folder)

    async def measure(work: Path) -> MemoryRun:
        return await measure_memory(large, work)

    done = await _several(runs, folder, measure, lambda run: f"peak {run.peak_bytes / MB:.0f} MB")
    large.unlink()
    write_section("Memory", memory_lines(done))
    return held(memory=done)


async def _latency(runs: int, folder: Path) -> bool:
    click.echo(f"making {FILES} clips ...")
    clips = await make_clips(folder, FILES)

    async def measure(work: Path) -> LatencyRun:
        return await measure_latency(clips, work)

    def tell(run: LatencyRun) -> str:
        return f"p99 {percentile(run.latencies_ms, 0.99):.1f} ms, {run.completed} of {run.files} completed in {run.seconds:.0f} s"

    done = await _several(runs, folder, measure, tell)
    write_section("Latency", latency_lines(done, every_ms=PROBE_EVERY_MS))
    return held(latency=done)


_MEASUREMENTS = {"memory": _memory, "latency": _latency}


async def _measure(names: list[str], runs: int) -> bool:
    holds = True
    for name in names:
        folder = Path(mkdtemp(prefix="vproc-bench-"))
        try:
            holds = await _MEASUREMENTS[name](runs, folder) and holds
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"written: {RESULTS}")
    return holds


@click.command()
@click.argument("what", type=click.Choice([*_MEASUREMENTS, "all"]), default="all")
@click.option("--runs", type=click.IntRange(1, 20), default=3, show_default=True, help="How often each measurement is made.")
def main(what: str, runs: int) -> None:
    """Measure the daemon. TMPDIR says where; `memory` needs 12 GB there."""
    try:
        holds = anyio.run(_measure, list(_MEASUREMENTS) if what == "all" else [what], runs)
    except (BenchError, TimeoutError) as error:
        raise click.ClickException(str(error) or "it took too long") from error
    raise click.exceptions.Exit(0 if holds else 1)


if __name__ == "__main__":
    main()
