"""The daemon's own memory while it brings in a file of two gigabytes and publishes one of the same size."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import monotonic

import anyio

from bench.clips import LARGE_BYTES
from bench.daemon import Daemon, environment, open_daemon
from bench.figures import Conditions, MemoryRun
from bench.processes import BenchError, CpuTimes, cpu_times, memory_of

SAMPLE_EVERY_S = 0.05
_LOOK_EVERY_S = 0.25
_WITHIN_S = 900.0
SPACE_BYTES = 6 * LARGE_BYTES
"""The file itself, raw, scratch in and out, published, and as much as one of them to spare."""
PHASES = ("ready", "upload", "download", "process", "publish", "after")


async def measure_memory(large: Path, work: Path) -> MemoryRun:
    """One run with a new daemon. ``work`` is an empty folder. Raises `BenchError` where the job does not complete."""
    load = os.getloadavg()[0]
    watch = _Watch((await anyio.Path(large).stat()).st_size)
    with anyio.fail_after(_WITHIN_S):
        async with open_daemon(work, {}) as daemon:
            times = cpu_times(daemon.pid, daemon.backend_pid)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch.sample, daemon)
                await anyio.sleep(2)
                output_bytes = await _one_job(daemon, large, watch)
                watch.enter("after")
                await anyio.sleep(2)
                tasks.cancel_scope.cancel()
            peak_bytes = memory_of(daemon.pid).peak_bytes
            ffmpeg = await daemon.ffmpeg_version()
            beside = conditions(load, times, cpu_times(daemon.pid, daemon.backend_pid), watch.elapsed_s)
    return MemoryRun(
        input_bytes=watch.input_bytes,
        output_bytes=output_bytes,
        resident_bytes=watch.greatest,
        peak_bytes=peak_bytes,
        seconds=watch.seconds,
        samples=watch.samples,
        conditions=beside,
        ffmpeg=ffmpeg,
    )


class _Watch:
    """Samples the daemon's memory, by the phase that it is in."""

    def __init__(self, input_bytes: int) -> None:
        self.input_bytes = input_bytes
        self.phase = PHASES[0]
        self.greatest: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self.samples = 0
        self._begun = self._entered = monotonic()

    @property
    def elapsed_s(self) -> float:
        return monotonic() - self._begun

    def enter(self, phase: str) -> None:
        """From now on the samples are that phase's."""
        if phase != self.phase:
            now = monotonic()
            self.seconds[self.phase] = now - self._entered
            self.phase, self._entered = phase, now

    async def sample(self, daemon: Daemon) -> None:
        """Until cancelled. The first phase begins with the first sample."""
        self._begun = self._entered = monotonic()
        while True:
            resident = memory_of(daemon.pid).resident_bytes
            self.greatest[self.phase] = max(self.greatest.get(self.phase, 0), resident)
            self.samples += 1
            await anyio.sleep(SAMPLE_EVERY_S)


async def _one_job(daemon: Daemon, large: Path, watch: _Watch) -> int:
    """Upload, and follow the bytes that the daemon counts until the file is completed; how many bytes were published."""
    watch.enter("upload")
    file_id = (await upload(daemon, "copy", [large]))[0][0]
    size = watch.input_bytes
    while True:
        metrics = await daemon.metrics()
        came, went = (metrics.get(f'vproc_transferred_bytes_total{{direction="{way}"}}', 0) for way in ("in", "out"))
        watch.enter(_phase(came, went, size))
        status = await daemon.status(file_id)
        if status["processing_status"] == "completed":
            return int(went)
        if status["processing_status"] in {"failed", "cancelled"}:
            raise BenchError(f"the job ended as {status['processing_status']}: {status['error']}")
        await anyio.sleep(_LOOK_EVERY_S)


def _phase(came: float, went: float, size: int) -> str:
    if went:
        return "publish"
    if came >= size:
        return "process"
    return "download" if came else "upload"


async def upload(daemon: Daemon, profile: str, files: list[Path]) -> tuple[list[str], float]:
    """All files at once by a client in a process of its own: their ids, and the seconds it took."""
    argv = [sys.executable, "-m", "bench.uploader", "--api", daemon.api, "--profile", profile, *map(str, files)]
    done = await anyio.run_process(argv, env=environment(), check=False)
    if done.returncode != 0:
        raise BenchError(f"the upload failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    told = json.loads(done.stdout)
    return told["file_ids"], told["seconds"]


def conditions(load: float, before: CpuTimes, after: CpuTimes, seconds: float) -> Conditions:
    """What others did meanwhile."""
    whole = seconds * len(os.sched_getaffinity(0))
    others = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
    return Conditions(load, max(0.0, others) / whole, (after.stolen_s - before.stolen_s) / whole)
