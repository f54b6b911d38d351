"""Twenty files uploaded at once: do all complete, does the daemon keep to its slots, does it answer meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import anyio
from anyio.abc import Process

from bench.daemon import Daemon, environment, open_daemon
from bench.figures import LatencyRun
from bench.memory import conditions, upload
from bench.prober import Sample
from bench.processes import BenchError, cpu_times, descendants, memory_of, nice_of, started

FILES = 20
PROBE_EVERY_MS = 25
_LOOK_EVERY_S = 0.25
_IDLE_S = 5.0
_WITHIN_S = 900.0


async def measure_latency(clips: list[Path], work: Path) -> LatencyRun:
    """One run with a new daemon at its defaults. ``work`` is an empty folder."""
    load = os.getloadavg()[0]
    watch = _Slots()
    probes = _Probes()
    with anyio.fail_after(_WITHIN_S):
        async with open_daemon(work, {}) as daemon:
            times = cpu_times(daemon.pid, daemon.backend_pid)
            async with _prober(f"{daemon.api}/healthz", work / "prober.log", probes):
                await anyio.sleep(_IDLE_S)
                begun = monotonic()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(watch.look, daemon)
                    file_ids, upload_s = await upload(daemon, "abr", clips)
                    await watch.until_ended(len(clips))
                    tasks.cancel_scope.cancel()
                ended = monotonic()
            peak_bytes = memory_of(daemon.pid).peak_bytes
            ffmpeg = await daemon.ffmpeg_version()
            beside = conditions(load, times, cpu_times(daemon.pid, daemon.backend_pid), ended - begun + _IDLE_S)
            completed = [await daemon.status(file_id) for file_id in file_ids]
    under_load = [sample for sample in probes.samples if begun <= sample[0] <= ended]
    return LatencyRun(
        files=len(clips),
        completed=sum(1 for status in completed if status["processing_status"] == "completed"),
        seconds=ended - begun,
        upload_s=upload_s,
        idle_ms=_answered([sample for sample in probes.samples if sample[0] < begun]),
        latencies_ms=_answered(under_load),
        lateness_ms=tuple(late for _, _, late in under_load),
        unanswered=sum(1 for _, latency, _ in under_load if latency is None),
        slots=watch.slots,
        most_in_progress=watch.most,
        slot_samples=watch.samples,
        nices=tuple(sorted(set(watch.nices.values()))),
        encoders_seen=len(watch.nices),
        peak_bytes=peak_bytes,
        conditions=beside,
        ffmpeg=ffmpeg,
    )


class _Slots:
    """Looks at the gauges and at the ffmpegs that run, and knows when every file has ended."""

    def __init__(self) -> None:
        self.slots = self.most = self.samples = 0
        self.nices: dict[int, int] = {}
        self._ended = 0
        self._changed = anyio.Event()

    async def look(self, daemon: Daemon) -> None:
        """Until cancelled."""
        while True:
            metrics = await daemon.metrics()
            self.slots = int(metrics["vproc_job_slots"])
            self.most = max(self.most, int(metrics["vproc_jobs_in_progress"]))
            self.samples += 1
            for pid in descendants(daemon.pid):
                if (nice := nice_of(pid, program="ffmpeg")) is not None:
                    self.nices[pid] = nice
            self._ended = int(sum(value for name, value in metrics.items() if name.startswith("vproc_jobs_total{")))
            self._changed.set()
            await anyio.sleep(_LOOK_EVERY_S)

    async def until_ended(self, files: int) -> None:
        """Return when so many jobs have ended, however."""
        while self._ended < files:
            self._changed = anyio.Event()
            await self._changed.wait()


class _Probes:
    """What the prober told at its end."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []


@asynccontextmanager
async def _prober(url: str, log: Path, probes: _Probes) -> AsyncIterator[None]:
    """Probe in a process of its own until the block ends; then its samples are there."""
    argv = [sys.executable, "-m", "bench.prober", "--url", url, "--every-ms", str(PROBE_EVERY_MS)]
    async with started(argv, env=environment(), log=log, stdin=subprocess.PIPE) as prober:
        yield
        probes.samples = [(sent, latency, late) for sent, latency, late in json.loads(await _ended(prober, log))]


async def _ended(prober: Process, log: Path) -> str:
    if prober.stdin is None or prober.stdout is None:
        raise BenchError("the prober has no pipes")
    await prober.stdin.aclose()
    told = b"".join([chunk async for chunk in prober.stdout])
    if not told:
        raise BenchError(f"the prober failed: {(await anyio.Path(log).read_text())[-300:]}")
    return told.decode()


def _answered(samples: list[Sample]) -> tuple[float, ...]:
    return tuple(latency for _, latency, _ in samples if latency is not None)
