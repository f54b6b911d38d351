"""What a soak measured, whether what must hold of it holds, and how it reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.figures import MB, Conditions
from bench.results import machine
from bench.standing import Standing

WARM_S = 60.0
"""A process grows while it first does what it does; what it takes from then on must stay the same."""
MOST_GROWTH = 1.10
_TENTHS = 10
_FEWEST_SAMPLES = 60
_HOUR_S = 3600.0
_LEAST_KILLS = 0.5


@dataclass(frozen=True, slots=True)
class Resident:
    """One process's memory: seconds since it was ready, and bytes resident."""

    daemon: str
    life: int
    samples: Sequence[tuple[float, int]]

    @property
    def warm(self) -> list[tuple[float, int]]:
        """From when it had done everything once."""
        return [(age_s, size) for age_s, size in self.samples if age_s >= WARM_S]

    @property
    def tells(self) -> bool:
        """Whether it lived long enough for its first and its last tenth to mean something."""
        return len(self.warm) >= _FEWEST_SAMPLES

    @property
    def tenths(self) -> tuple[float, float]:
        """The median of the first and of the last tenth of its warm life."""
        sizes = [size for _, size in self.warm]
        tenth = max(1, len(sizes) // _TENTHS)
        return median(sizes[:tenth]), median(sizes[-tenth:])

    @property
    def bytes_per_hour(self) -> float:
        """The slope over its warm life, by least squares."""
        return slope(self.warm) * _HOUR_S


@dataclass(frozen=True, slots=True)
class SoakRun:
    """One run. ``starts``: processes of all daemons; ``calls`` and ``statements``: of all daemons to S3 and SQS, and to the
    database; ``database_cpu_s`` and ``cloud_cpu_s``: seconds of processor of the servers; ``tracebacks``: logs that hold one."""

    jobs: int
    seconds: float
    kills: int
    kill_every_s: float
    daemons: int
    concurrency: int
    seed: int
    starts: int
    standing: Standing
    most_connections: int
    connections_bound: int
    resident: Sequence[Resident]
    calls: Mapping[str, int]
    statements: Mapping[str, int]
    database_cpu_s: float
    cloud_cpu_s: float
    tracebacks: int
    left_in_scratch: Sequence[str]
    conditions: Conditions
    ffmpeg: str
    clocks_apart: bool = False
    beside: str | None = None

    @property
    def ended_by_themselves(self) -> int:
        """Starts that no kill explains."""
        return self.starts - self.daemons - self.kills


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that must hold, and what was found."""

    text: str
    found: str
    holds: bool


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By least squares. Raises `ValueError` for points that have none."""
    if len({x for x, _ in points}) < 2:  # noqa: PLR2004 - a line takes two
        raise ValueError("a slope takes two points")
    middle_x, middle_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    rise = sum((x - middle_x) * (y - middle_y) for x, y in points)
    return float(rise / sum((x - middle_x) ** 2 for x, _ in points))


def verdicts(run: SoakRun) -> list[Verdict]:
    """All of them."""
    stands = run.standing
    lost = stands.missing + stands.not_completed + stands.wrong_manifests + stands.damaged + stands.waiting + stands.dead
    twice = stands.completed_twice + stands.written_twice + stands.unnamed + stands.raw_left + stands.raw_states
    return [
        Verdict(
            "none lost: each file completed, its manifest stands with all that it names, queue and dead letters are empty",
            f"{stands.completed} of {run.jobs} completed, {stands.missing} without a file, "
            f"{stands.wrong_manifests} wrong manifests, {stands.damaged} wrong objects, {stands.waiting} messages, "
            f"{stands.dead} dead letters",
            lost == 0 and stands.completed == run.jobs,
        ),
        Verdict(
            "none twice: one completed attempt and one manifest for each file, nothing of another run, no original",
            f"{stands.completed_twice} completed otherwise than once, {stands.written_twice} manifests written otherwise "
            f"than once, {stands.unnamed} objects that no manifest names, {stands.raw_left} originals left",
            twice == 0,
        ),
        Verdict(
            "daemons were killed, and jobs with them",
            f"{run.kills} kills in {run.seconds:.0f} s, {run.starts} starts, "
            f"{stands.interrupted} of {stands.attempts} attempts cut off",
            run.kills >= int(_LEAST_KILLS * run.seconds / run.kill_every_s) and stands.interrupted > 0,
        ),
        _memory(run),
        Verdict(
            "connections to the database bounded by the pools",
            f"{run.most_connections} at most, of {run.connections_bound} that {run.daemons} daemons may have",
            0 < run.most_connections <= run.connections_bound,
        ),
        Verdict(
            "nothing crashed or was left open",
            f"{run.ended_by_themselves} daemons that ended by themselves, {run.tracebacks} logs with a traceback, "
            f"{stands.open_attempts} attempts open, {len(run.left_in_scratch)} working directories left",
            (run.ended_by_themselves, run.tracebacks, stands.open_attempts, len(run.left_in_scratch)) == (0, 0, 0, 0),
        ),
    ]


def _memory(run: SoakRun) -> Verdict:
    lives = [life for life in run.resident if life.tells]
    grown = [life for life in lives if life.tenths[1] > life.tenths[0] * MOST_GROWTH]
    longest = max(lives, key=lambda life: len(life.samples), default=None)
    found = "no process lived long enough to tell"
    if longest is not None:
        first, last = longest.tenths
        found = (
            f"{len(grown)} of {len(lives)} processes grew; the longest-lived ({longest.samples[-1][0]:.0f} s): "
            f"{first / MB:.1f} MB, then {last / MB:.1f} MB; slopes {_slopes(lives)} MB an hour"
        )
    text = f"memory flat: the last tenth of a life at most {MOST_GROWTH:.2f} times the first, its first {WARM_S:g} s left out"
    return Verdict(text, found, bool(lives) and not grown)


def _slopes(lives: Sequence[Resident]) -> str:
    values = [life.bytes_per_hour / MB for life in lives]
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


_BESIDE = "The first of them is vproc at {}. "
_CLOCKS = "The clock of one is a minute fast, that of another a minute slow. "


def soak_lines(run: SoakRun) -> list[str]:
    """The section of the results."""
    return [
        *machine(run.ffmpeg),
        (
            f"{run.jobs:,} clips of one second, profile `copy`, {run.daemons} daemons with {run.concurrency} jobs at a time over "
            f"one PostgreSQL; every {run.kill_every_s:g} s SIGKILL to one of them by chance (seed {run.seed}), which is started "
            f"again. {_CLOCKS if run.clocks_apart else ''}{_BESIDE.format(run.beside) if run.beside else ''}They took "
            f"{run.seconds:,.0f} s: {run.jobs / run.seconds:.1f} jobs a second with everything on this machine."
        ),
        "",
        *(line for verdict in verdicts(run) for line in (f"**{_sentence(verdict)}**", "")),
        "| for each job | |",
        "|---|---|",
        f"| requests to S3 | {_per_job(run.calls, 's3 ', run.jobs)} |",
        f"| requests to SQS | {_per_job(run.calls, 'sqs ', run.jobs)} |",
        f"| statements to the catalog | {_per_job(run.statements, '', run.jobs)} |",
        f"| processor time of the database | {run.database_cpu_s / run.jobs * 1000:.1f} ms |",
        f"| processor time of S3 and SQS here | {run.cloud_cpu_s / run.jobs * 1000:.1f} ms |",
        "",
        (
            f"Load average before {run.conditions.load:.1f}; taken by others {run.conditions.others:.0%}; "
            f"stolen by the host {run.conditions.stolen:.1%}."
        ),
    ]


def _sentence(verdict: Verdict) -> str:
    return f"{verdict.text[0].upper()}{verdict.text[1:]}: {'held' if verdict.holds else 'NOT held'}: {verdict.found}."


def _per_job(counts: Mapping[str, int], prefix: str, jobs: int) -> str:
    """All of one kind, and each operation."""
    own = {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
    each = ", ".join(f"{name} {count / jobs:.2f}" for name, count in sorted(own.items()) if count / jobs >= 0.005)  # noqa: PLR2004 - shown as 0.00
    return f"**{sum(own.values()) / jobs:.1f}**: {each}"
