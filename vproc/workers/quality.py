"""Sample encodes at work: ``quality = "auto"``. What is run, and what follows from it, is decided in `core.samples` and
`core.rates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import structlog
from anyio import to_thread

from vproc.core.comparison import COMPARED_FILES, FIGURE_FILTERS, VMAF_FILTER
from vproc.core.exits import last_words
from vproc.core.measures import MEASURED_FILES, can_measure, compared_outputs, measure_argv, read_measures
from vproc.core.media import MediaInfo
from vproc.core.plan import Encode, PlannedOutput
from vproc.core.profile import Profile, Quality
from vproc.core.rates import Trial, ladder_rates, with_rates
from vproc.core.samples import SAMPLE_FILES, SamplePlan, compare_argv, encode_argv, plan_samples, read_compared
from vproc.ports import ProcessLimits, Runner
from vproc.settings import GIB
from vproc.workers.ffmpeg import ToolPair
from vproc.workers.media import MediaTools

_WALL_S = 900.0
_CPU_S = 7200
_MEASURE_WALL_S = 21600.0
_MEASURE_CPU_S = 64 * 21600
_MEMORY_BYTES = 8 * GIB
_FILE_BYTES = GIB

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _SamplesFailedError(Exception):
    """Sample encodes gave no answer: the job goes on with the profile's own rates."""


async def choose_rates(
    info: MediaInfo, profile: Profile, *, runner: Runner, tools: MediaTools, source: Path, cwd: Path
) -> Profile:
    """The profile with rates that fit this source, aimed at its ``target_vmaf``, and without rungs that add nothing. The same
    profile where its quality is not `Quality.AUTO`.

    ``source`` is the whole file, ``cwd`` the job's directory: what is written there is removed. Samples that fail leave the
    profile as it is: whether the source is at fault, the encode will show. Raises only what the runner raises.
    """
    if profile.quality is not Quality.AUTO:
        return profile
    plan = plan_samples(info, profile)
    if plan is None:
        return profile
    begun = perf_counter()
    try:
        trials, cpu_s, measured = await _try(plan, runner, tools, source, cwd)
    except (_SamplesFailedError, ValueError, OSError) as error:
        log.warning("samples_failed", reason=str(error))
        return profile
    finally:
        await to_thread.run_sync(_remove, cwd)
    rates = ladder_rates(trials, plan.encode.rungs, target_vmaf=profile.target_vmaf, codec=plan.codec)
    log.info(
        "rates_chosen",
        target_vmaf=profile.target_vmaf,
        measured=measured,
        trials={f"{trial.crf:g}": round(trial.vmaf, 2) for trial in trials if trial.vmaf is not None},
        rungs={one.rung.name: {"crf": one.crf, "maxrate_bps": one.maxrate_bps} for one in rates},
        dropped=[rung.name for rung in plan.encode.rungs if rung not in {one.rung for one in rates}],
        cpu_s=round(cpu_s, 2),
        wall_s=round(perf_counter() - begun, 2),
    )
    return with_rates(profile, rates, short_side_px=plan.short_side_px)


async def measure_outputs(
    info: MediaInfo,
    encode: Encode,
    outputs: Sequence[PlannedOutput],
    *,
    runner: Runner,
    tools: MediaTools,
    source: Path,
    cwd: Path,
) -> Mapping[str, Mapping[str, float]]:
    """What the profile's ``measure`` tells of each encoded rung, by rendition: ``{"v720": {"ssim": 0.98}}``. Nothing where the
    profile asks for nothing, or no ffmpeg at hand can tell, which is said in the log; raises only what the runner raises.

    ``outputs`` stand whole. It costs a decoding of the source and of each output.
    """
    measure, compared = encode.profile.measure, compared_outputs(encode, outputs)
    if measure is None or not compared:
        return {}
    judge = next((pair for pair in tools.pairs if can_measure(measure, pair.capabilities)), None)
    if judge is None:
        log.warning("measure_failed", measure=measure.value, reason="no ffmpeg here has the filter for it")
        return {}
    argv, files = measure_argv(info, encode, compared, measure, ffmpeg=judge.ffmpeg, source=source, max_pixels=tools.max_pixels)
    limits = ProcessLimits(_MEASURE_WALL_S, _MEASURE_CPU_S, _MEMORY_BYTES, _FILE_BYTES, 1 << 62)
    try:
        await _run(runner, argv, cwd, limits)
        read = await to_thread.run_sync(_read, cwd, list(files.values()))
    except (_SamplesFailedError, OSError) as error:
        log.warning("measure_failed", measure=measure.value, reason=str(error))
        return {}
    finally:
        await to_thread.run_sync(_remove, cwd)
    return read_measures({name: read[file] for name, file in files.items()}, measure)


async def _try(plan: SamplePlan, runner: Runner, tools: MediaTools, source: Path, cwd: Path) -> tuple[list[Trial], float, bool]:
    """Every trial, the processor time, and whether VMAF was measured and not estimated."""
    judge = _judge(tools.pairs, plan)
    if judge is None:
        raise _SamplesFailedError("no ffmpeg here can compare pictures")
    max_pixels = tools.max_pixels
    limits = ProcessLimits(_WALL_S, _CPU_S, _MEMORY_BYTES, _FILE_BYTES, plan.info.size_bytes + 8 * _FILE_BYTES)
    argv = encode_argv(plan, ffmpeg=tools.ffmpeg, source=source, cwd=cwd, max_pixels=max_pixels)
    encode_s = await _run(runner, argv, cwd, limits)
    libvmaf = judge.capabilities.has_filter(VMAF_FILTER)
    argv, files = compare_argv(plan, ffmpeg=judge.ffmpeg, source=source, cwd=cwd, max_pixels=max_pixels, libvmaf=libvmaf)
    compare_s = await _run(runner, argv, cwd, limits)
    texts = await to_thread.run_sync(_read, cwd, files)
    compared = read_compared(plan, texts, libvmaf=libvmaf)
    sizes = await to_thread.run_sync(_sizes, plan, cwd)
    length_s = compared[0].length_s
    trials = [Trial(sample.rung, sample.rung.crf, size * 8 / length_s) for sample, size in zip(plan.samples, sizes, strict=True)]
    for number, one in enumerate(compared):
        trials[number] = replace(trials[number], vmaf=one.vmaf)
    return trials, encode_s + compare_s, libvmaf


async def _run(runner: Runner, argv: Sequence[str], cwd: Path, limits: ProcessLimits) -> float:
    """The processor time that it took."""
    result = await runner.run(argv, cwd=cwd, limits=limits)
    if result.stopped is not None or result.returncode != 0:
        raise _SamplesFailedError(str(result.stopped or last_words(result.stderr)))
    return result.cpu_s


def _judge(pairs: Sequence[ToolPair], plan: SamplePlan) -> ToolPair | None:
    """The ffmpeg that compares: one with libvmaf where there is one at hand, else the first that tells what VMAF is estimated
    from."""
    codecs = {plan.codec.value, plan.info.video.codec if plan.info.video else plan.codec.value}
    able = [pair for pair in pairs if codecs <= pair.capabilities.codecs]
    measuring = (pair for pair in able if pair.capabilities.has_filter(VMAF_FILTER))
    estimating = (pair for pair in able if pair.capabilities.filters >= FIGURE_FILTERS)
    return next(measuring, None) or next(estimating, None)


def _sizes(plan: SamplePlan, cwd: Path) -> list[int]:
    return [(cwd / sample.file).stat().st_size for sample in plan.samples]


def _read(cwd: Path, files: Sequence[str]) -> dict[str, str]:
    return {name: (cwd / name).read_text() for name in files}


def _remove(cwd: Path) -> None:
    for pattern in (SAMPLE_FILES, COMPARED_FILES, MEASURED_FILES):
        for path in cwd.glob(pattern):
            path.unlink(missing_ok=True)
