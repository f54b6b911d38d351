"""``python -m bench [NAME …]``: measure, write ``RESULTS.md``, exit 1 where what is required does not hold."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import anyio
import click

from bench import announce, av1, idle, quality, scale, submit_resume
from bench.announce import announce_lines, measure_announce
from bench.av1 import av1_lines, av1_rounds, measure_av1
from bench.clips import make_clips, make_large, require_space
from bench.figures import MB, Conditions, LatencyRun, MemoryRun, percentile
from bench.goals import Goal, Round
from bench.idle import IDLE_S, idle_lines, measure_idle
from bench.latency import FILES, PROBE_EVERY_MS, measure_latency
from bench.memory import SPACE_BYTES, measure_memory
from bench.processes import BenchError
from bench.quality import measure_quality, quality_lines, quality_rounds
from bench.results import RESULTS, held, latency_lines, memory_lines, write_section
from bench.rounds import make_bench_clips, measure_rounds
from bench.scale import measure_scale, scale_lines
from bench.submit_resume import measure_resume, resume_lines
from bench.suite import COMPARISONS, arms_of, comparison_lines

Run = TypeVar("Run")


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure. ``settings`` are the daemon's."""

    runs: int | None
    seconds: float
    settings: Mapping[str, str]
    results: Path

    def runs_or(self, usual: int) -> int:
        """How often, where nothing else was asked for."""
        return self.runs or usual


Measure = Callable[[Options, Path], Awaitable[bool]]


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


async def _memory(options: Options, folder: Path) -> bool:
    require_space(folder, SPACE_BYTES)
    click.echo("making a file of two gigabytes ...")
    large = await make_large(folder)

    async def measure(work: Path) -> MemoryRun:
        return await measure_memory(large, work)

    done = await _several(options.runs_or(3), folder, measure, lambda run: f"peak {run.peak_bytes / MB:.0f} MB")
    large.unlink()
    write_section("Memory", memory_lines(done), to=options.results)
    return held(memory=done)


async def _latency(options: Options, folder: Path) -> bool:
    click.echo(f"making {FILES} clips ...")
    clips = await make_clips(folder, FILES)

    async def measure(work: Path) -> LatencyRun:
        return await measure_latency(clips, work)

    def tell(run: LatencyRun) -> str:
        return f"p99 {percentile(run.latencies_ms, 0.99):.1f} ms, {run.completed} of {run.files} completed in {run.seconds:.0f} s"

    done = await _several(options.runs_or(3), folder, measure, tell)
    write_section("Latency", latency_lines(done, every_ms=PROBE_EVERY_MS), to=options.results)
    return held(latency=done)


async def _compare(names: Sequence[str], options: Options, folder: Path) -> bool:
    """All comparisons in the same rounds: what several of them need is measured once."""
    clips = await make_bench_clips(options.seconds)
    measured = await measure_rounds(arms_of(names), clips, folder, runs=options.runs_or(5), settings=options.settings)
    holds = True
    for comparison in map(COMPARISONS.__getitem__, names):
        lines = comparison_lines(comparison, measured, seconds=options.seconds)
        write_section(comparison.title, lines, to=options.results)
        holds = _told(comparison.goals, measured.rounds) and holds
    return holds


async def _idle(options: Options, folder: Path) -> bool:
    click.echo(f"an idle daemon for {IDLE_S:.0f} s ...")
    round_, beside, ffmpeg = await measure_idle(folder, options.settings)
    write_section("Idle", idle_lines([round_], [beside], ffmpeg), to=options.results)
    return _told(idle.GOALS, [round_])


async def _quality(options: Options, folder: Path) -> bool:
    pairs, ffmpeg = await measure_quality(folder, options.settings, seconds=options.seconds)
    seconds = min(options.seconds, quality.LONGEST_S)
    write_section("Quality", quality_lines(pairs, ffmpeg, seconds=seconds), to=options.results)
    return _told(quality.GOALS, quality_rounds(pairs))


async def _av1(options: Options, folder: Path) -> bool:
    curves, ffmpeg = await measure_av1(folder, options.settings, seconds=options.seconds)
    write_section("AV1", av1_lines(curves, ffmpeg, seconds=min(options.seconds, av1.LONGEST_S)), to=options.results)
    return _told(av1.GOALS, av1_rounds(curves))


async def _announce(options: Options, folder: Path) -> bool:
    rounds, beside, ffmpeg = await measure_announce(folder, runs=options.runs_or(5))
    write_section("Announcing uploads", announce_lines(rounds, beside, ffmpeg), to=options.results)
    return _told(announce.GOALS, rounds)


async def _resume(options: Options, folder: Path) -> bool:
    require_space(folder, submit_resume.SPACE_BYTES)
    click.echo("making a file of a gigabyte ...")
    large = await make_large(folder, submit_resume.FILE_BYTES)

    async def measure(work: Path) -> tuple[Round, Conditions]:
        return await measure_resume(large, work)

    def tell(run: tuple[Round, Conditions]) -> str:
        again = run[0]["again"]
        return f"{again['sent'] / MB:,.1f} MB sent again of {again['missing'] / MB:,.1f} MB missing"

    rounds, beside = zip(*await _several(options.runs_or(3), folder, measure, tell), strict=True)
    lines = resume_lines(rounds, beside, size=large.stat().st_size)
    large.unlink()
    write_section("A submit that was killed", lines, to=options.results)
    return _told(submit_resume.GOALS, rounds)


async def _scale(options: Options, folder: Path) -> bool:
    numbers = iter(range(1, options.runs_or(3) + 1))

    async def measure(work: Path) -> tuple[Round, Conditions, str]:
        return await measure_scale(work, number=next(numbers))

    def tell(run: tuple[Round, Conditions, str]) -> str:
        return ", ".join(f"{daemons}: {told['jobs_per_minute']:.1f} jobs a minute" for daemons, told in sorted(run[0].items()))

    rounds, beside, versions = zip(*await _several(options.runs_or(3), folder, measure, tell), strict=True)
    write_section("Scale", scale_lines(rounds, beside, versions[0]), to=options.results)
    return _told(scale.GOALS, rounds)


def _told(goals: Sequence[Goal], rounds: Sequence[Round]) -> bool:
    """Say each verdict; whether all hold."""
    for goal in goals:
        click.echo(goal.line(rounds))
    return all(goal.held(rounds) for goal in goals)


_MEASUREMENTS: Mapping[str, Measure] = {
    "idle": _idle,
    "quality": _quality,
    "av1": _av1,
    "memory": _memory,
    "latency": _latency,
    "announce": _announce,
    "resume": _resume,
    "scale": _scale,
}


async def _measure(names: Sequence[str], options: Options) -> bool:
    holds = True
    compared = [name for name in names if name in COMPARISONS]
    steps = [_MEASUREMENTS[name] for name in names if name in _MEASUREMENTS]
    if compared:
        steps.insert(0, lambda options, folder: _compare(compared, options, folder))
    for step in steps:
        folder = Path(mkdtemp(prefix="vproc-bench-"))
        try:
            holds = await step(options, folder) and holds
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"written: {options.results}")
    return holds


_NAMES = [*COMPARISONS, *_MEASUREMENTS]


@click.command()
@click.argument("what", type=click.Choice([*_NAMES, "all"]), nargs=-1)
@click.option("--runs", type=click.IntRange(1, 20), help="How often: 5 rounds of the comparisons, 3 runs of memory and latency.")
@click.option("--seconds", type=click.FloatRange(2, 600), default=30.0, show_default=True, help="Length of the clips compared.")
@click.option("--ffmpeg", help="The daemon's VPROC_FFMPEG; by default it chooses.")
@click.option("--ffprobe", help="The daemon's VPROC_FFPROBE.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where the results go.")
def main(what: tuple[str, ...], runs: int | None, seconds: float, ffmpeg: str | None, ffprobe: str | None, results: Path) -> None:
    """Measure the daemon: all there is, or what is named. TMPDIR says where; `memory` needs 12 GB there."""
    names = list(dict.fromkeys(_NAMES if not what or "all" in what else what))
    settings = {name: value for name, value in (("VPROC_FFMPEG", ffmpeg), ("VPROC_FFPROBE", ffprobe)) if value}
    try:
        holds = anyio.run(_measure, names, Options(runs, seconds, settings, results))
    except (BenchError, TimeoutError) as error:
        raise click.ClickException(str(error) or "it took too long") from error
    raise click.exceptions.Exit(0 if holds else 1)


if __name__ == "__main__":
    main()
