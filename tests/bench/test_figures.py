"""How the bench reckons: a wrong median or a wrong verdict would be believed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench.figures import Conditions, LatencyRun, MemoryRun, percentile, spread
from bench.processes import BenchError, cpu_times, memory_of, nice_of
from bench.results import held, latency_lines, memory_lines, write_section

QUIET = Conditions(load=0.5, others=0.02, stolen=0.0)
MEMORY = MemoryRun(2_000_000_000, 2_000_000_000, {"ready": 100_000_000}, 149_000_000, {"ready": 2.0}, 40, QUIET, "8.1")
LATENCY = LatencyRun(
    files=20,
    completed=20,
    seconds=60,
    upload_s=1,
    idle_ms=(1.0,) * 10,
    latencies_ms=(1.0,) * 99 + (500.0,),
    lateness_ms=(0.5,) * 100,
    unanswered=0,
    slots=1,
    most_in_progress=1,
    slot_samples=200,
    nices=(10,),
    encoders_seen=40,
    peak_bytes=140_000_000,
    conditions=QUIET,
    ffmpeg="8.1",
)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.991, 100), (1, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    """Nearest rank: so much of all values is at most that one."""
    assert percentile(list(range(100, 0, -1)), share) == expected
    with pytest.raises(ValueError, match="no values"):
        percentile([], share)


def test_a_spread_tells_median_least_and_greatest() -> None:
    assert spread([3.0, 1.0, 2.0], "ms", digits=1) == "2.0 ms (1.0 to 3.0)"
    assert spread([7, 7], "MB") == "7 MB"
    assert spread([1200, 1300, 1400], "") == "1,300 (1,200 to 1,400)"


@pytest.mark.parametrize(
    "change",
    [
        {"latencies_ms": (1.0,) * 90 + (51.0,) * 10},
        {"completed": 19},
        {"unanswered": 1},
        {"most_in_progress": 4},
        {"nices": (0, 10)},
        {"nices": ()},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_hold_is_said(change: dict[str, object]) -> None:
    """Each of the requirements by itself turns the verdict."""
    worse = replace(LATENCY, **change)  # type: ignore[arg-type]
    assert held(latency=[LATENCY])
    assert not held(latency=[worse])
    assert "NOT held" in "\n".join(latency_lines([worse], every_ms=25))
    assert "NOT held" not in "\n".join(latency_lines([LATENCY], every_ms=25))


def test_memory_is_judged_by_the_median_of_the_peaks() -> None:
    heavy = replace(MEMORY, peak_bytes=150_000_000)
    assert held(memory=[MEMORY, heavy, MEMORY])
    assert not held(memory=[heavy, heavy, MEMORY])
    assert "**Peak 150 MB (149 to 150); required: under 150 MB: NOT held.**" in memory_lines([heavy, heavy, MEMORY])


def test_a_section_replaces_its_older_one_and_no_other(tmp_path: Path) -> None:
    to = tmp_path / "RESULTS.md"
    write_section("Memory", ["old"], to=to)
    write_section("Latency", ["kept"], to=to)
    write_section("Memory", ["new"], to=to)
    text = to.read_text()
    assert text.startswith("# Results of the bench\n")
    assert text[text.index("## ") :] == "## Latency\n\nkept\n\n## Memory\n\nnew\n"


def test_a_process_is_seen_as_linux_sees_it() -> None:
    """Its own memory, its peak above that, its priority by its program's name, its time."""
    script = "import os; os.nice(7); held = bytearray(64 << 20); print(1, flush=True); del held; input()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        program = Path(f"/proc/{child.pid}/comm").read_text().strip()
        assert nice_of(child.pid, program=program) == 7 + os.nice(0)
        assert nice_of(child.pid, program="ffmpeg") is None
        memory = memory_of(child.pid)
        assert memory.peak_bytes > 64 << 20
        assert memory.peak_bytes >= memory.resident_bytes > memory.anonymous_bytes > 0
        times = cpu_times(child.pid)
        assert times.busy_s >= times.ours_s > 0
    finally:
        child.communicate(b"\n")
    with pytest.raises(BenchError, match="has ended"):
        memory_of(child.pid)
