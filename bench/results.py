"""``RESULTS.md``: what was measured, on what, and under which conditions; a section for each measurement, replaced as a whole."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.figures import MB, Conditions, LatencyRun, MemoryRun, percentile, spread
from vproc import __version__
from vproc.workers.capacity import SPARE_PLACES

RESULTS = Path(__file__).parent / "RESULTS.md"
MOST_RESIDENT_BYTES = 150 * MB
SLOWEST_P99_MS = 50.0
FFMPEG_NICE = 10
_HEAD = """# Results of the bench

Written by `make bench`; what is measured and why it comes out so: [performance](../docs/why/performance.md). Medians of several
runs, each with a new daemon, the least and the greatest in brackets. The machine may be shared: each run tells its load average
before it, and the share of the machine's processors that other processes (the kernel's own threads among them) took meanwhile.
MB are 1,000,000 bytes.
"""


def write_section(title: str, lines: Sequence[str], *, to: Path = RESULTS) -> None:
    """Put a section in its place; the others stay as they are."""
    text = to.read_text() if to.exists() else _HEAD
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    kept = [section.strip() for section in sections if not section.startswith(f"## {title}\n")]
    added = "\n".join([f"## {title}", "", *lines])
    to.write_text("\n\n".join([_HEAD.strip() if head else "", *sorted([*kept, added])]) + "\n")


def machine(ffmpeg: str) -> list[str]:
    """What it ran on, of today; ``ffmpeg`` is the version that the daemon took."""
    return [
        (
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {len(os.sched_getaffinity(0))} cores of {_cpu_model()}, "
            f"Linux {platform.release()}; Python {platform.python_version()}, ffmpeg {ffmpeg}, "
            f"vproc {__version__}{_commit()}."
        ),
        "",
    ]


def held(*, memory: Sequence[MemoryRun] = (), latency: Sequence[LatencyRun] = ()) -> bool:
    """Whether what is required holds: for figures the median of the runs, for the rest every run."""
    return all(
        [
            not memory or median(run.peak_bytes for run in memory) < MOST_RESIDENT_BYTES,
            not latency or median(percentile(run.latencies_ms, 0.99) for run in latency) <= SLOWEST_P99_MS,
            *(run.completed == run.files and run.unanswered == 0 for run in latency),
            *(run.most_in_progress <= run.slots + SPARE_PLACES and run.nices == (FFMPEG_NICE,) for run in latency),
        ]
    )


def memory_lines(runs: Sequence[MemoryRun]) -> list[str]:
    """The section of `memory`."""
    phases = [phase for phase in runs[0].resident_bytes if all(phase in run.resident_bytes for run in runs)]
    peaks = [run.peak_bytes / MB for run in runs]
    return [
        *machine(runs[0].ffmpeg),
        (
            f"`vproc serve`, profile `copy`: {runs[0].input_bytes / MB:,.0f} MB downloaded, {runs[0].output_bytes / MB:,.0f} MB "
            "published. Resident memory of the daemon's own process, without ffmpeg's, every 50 ms; the peak is `VmHWM`."
        ),
        "",
        f"**Peak {spread(peaks, 'MB')}; required: under {MOST_RESIDENT_BYTES // MB} MB: {_verdict(held(memory=runs))}.**",
        "",
        "| phase | resident, greatest of the phase | seconds |",
        "|---|---|---|",
        *(
            f"| {phase} | {spread([run.resident_bytes[phase] / MB for run in runs], 'MB')} "
            f"| {spread([run.seconds[phase] for run in runs], 's') if all(phase in run.seconds for run in runs) else ''} |"
            for phase in phases
        ),
        "",
        *_table_of_runs([f"{run.peak_bytes / MB:.0f} MB" for run in runs], [run.conditions for run in runs], "peak"),
    ]


def latency_lines(runs: Sequence[LatencyRun], *, every_ms: float) -> list[str]:
    """The section of `latency`."""

    def of(share: float, *, idle: bool = False) -> str:
        return spread([percentile(run.idle_ms if idle else run.latencies_ms, share) for run in runs], "ms", digits=1)

    late = spread([percentile(run.lateness_ms, 0.99) for run in runs], "ms", digits=1)
    return [
        *machine(runs[0].ffmpeg),
        (
            f"`vproc serve` with its defaults, profile `abr`, {runs[0].files} clips of 720p uploaded at once. `/healthz` asked "
            f"every {every_ms:g} ms by a process of its own, each request at its time."
        ),
        "",
        (
            f"**`/healthz` p99 {of(0.99)} while the files were processed; required: {SLOWEST_P99_MS:g} ms, all files completed, "
            f"no job beyond the slots, ffmpeg at nice {FFMPEG_NICE}: {_verdict(held(latency=runs))}.**"
        ),
        "",
        "| | p50 | p99 | greatest | probes a run |",
        "|---|---|---|---|---|",
        (
            f"| idle, before | {of(0.5, idle=True)} | {of(0.99, idle=True)} | {of(1, idle=True)} "
            f"| {spread([len(run.idle_ms) for run in runs], '')} |"
        ),
        f"| under load | {of(0.5)} | {of(0.99)} | {of(1)} | {spread([len(run.latencies_ms) for run in runs], '')} |",
        "",
        (
            f"The prober, which does nothing but wait, was itself late by {late} in one of a hundred cases: that much "
            f"is the machine's. Probes without an answer: {sum(run.unanswered for run in runs)}."
        ),
        "",
        "| run | completed | most jobs at once, of slots (samples) | ffmpeg's nice (processes seen) | all ended in | peak |",
        "|---|---|---|---|---|---|",
        *(
            f"| {number} | {run.completed} of {run.files} | {run.most_in_progress} of {run.slots} ({run.slot_samples}) "
            f"| {', '.join(map(str, run.nices))} ({run.encoders_seen}) | {run.seconds:.0f} s | {run.peak_bytes / MB:.0f} MB |"
            for number, run in enumerate(runs, 1)
        ),
        "",
        *_table_of_runs(
            [f"{percentile(run.latencies_ms, 0.99):.1f} ms" for run in runs], [run.conditions for run in runs], "p99"
        ),
    ]


def _table_of_runs(figures: Sequence[str], conditions: Sequence[Conditions], name: str) -> list[str]:
    return [
        f"| run | {name} | load average before | taken by others | stolen by the host |",
        "|---|---|---|---|---|",
        *(
            f"| {number} | {figure} | {beside.load:.1f} | {beside.others:.0%} | {beside.stolen:.1%} |"
            for number, (figure, beside) in enumerate(zip(figures, conditions, strict=True), 1)
        ),
    ]


def _verdict(holds: bool) -> str:
    return "held" if holds else "NOT held"


def _cpu_model() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _commit() -> str:
    """The commit and whether something was changed beside it, but for the results themselves; nothing where this is no
    repository."""
    told = _git("describe", "--always")
    if told is None:
        return ""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)bench/RESULTS.md")
    return f" at {told}{'-dirty' if changed else ''}"


def _git(*words: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, *words], cwd=RESULTS.parent, check=False, capture_output=True, text=True)  # noqa: S603 - all ours
    return done.stdout.strip() if done.returncode == 0 else None
