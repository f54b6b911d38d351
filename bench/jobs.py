"""One job through the daemon: from the event to `completed`, what it took, and when its first segment stood."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio

from bench.backend import PROCESSED
from bench.daemon import Daemon
from bench.memory import upload
from bench.processes import BenchError

_LOOK_EVERY_S = 0.05
_SETTLED_S = 0.3
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class JobRun:
    """``event_at`` and ``completed_at`` are times of the clock of the day. ``cpu_s`` is the daemon's with all its children's,
    ``own_cpu_s`` without them, ``beside_cpu_s`` what S3 and SQS took meanwhile. ``first_s``: from the event until the lowest
    rung's first segment stood, None where there is none. ``stages`` in seconds, as the daemon tells them."""

    file_id: str
    event_at: float
    completed_at: float
    cpu_s: float
    own_cpu_s: float
    beside_cpu_s: float
    first_s: float | None
    stages: dict[str, float]
    bytes_out: int

    @property
    def wall_s(self) -> float:
        """From the event to `completed`."""
        return self.completed_at - self.event_at


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of processor of a process, and of the children that it has reaped."""

    own_s: float
    children_s: float


def cpu_of(pid: int) -> Cpu:
    """So far. Raises `BenchError` where the process is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise BenchError(f"process {pid} has ended") from error
    user, system, children_user, children_system = (int(word) / _TICKS for word in words[11:15])
    return Cpu(user + system, children_user + children_system)


async def run_jobs(daemon: Daemon, profile: str, files: list[Path], *, within_s: float = 1800) -> list[JobRun]:
    """Upload all files at once and wait until all have ended. The processor's time is that of all of them together, in the first.

    Raises `BenchError` where one does not complete.
    """
    log_from = (await anyio.Path(daemon.log).stat()).st_size
    before, beside = cpu_of(daemon.pid), cpu_of(daemon.backend_pid)
    file_ids, _ = await upload(daemon, profile, files)
    with anyio.fail_after(within_s):
        ended = await _until_ended(daemon, set(file_ids), log_from)
    # The message is deleted after the last line.
    await anyio.sleep(_SETTLED_S)
    after, beside_after = cpu_of(daemon.pid), cpu_of(daemon.backend_pid)
    own_s = after.own_s - before.own_s
    runs = []
    for number, file_id in enumerate(file_ids):
        event_at, completed_at, first_s = await _times(daemon, file_id)
        runs.append(
            JobRun(
                file_id=file_id,
                event_at=event_at,
                completed_at=completed_at,
                cpu_s=own_s + after.children_s - before.children_s if number == 0 else 0.0,
                own_cpu_s=own_s if number == 0 else 0.0,
                beside_cpu_s=beside_after.own_s - beside.own_s if number == 0 else 0.0,
                first_s=first_s,
                stages=dict(ended[file_id]["stages"]),
                bytes_out=int(ended[file_id]["bytes_out"]),
            )
        )
    return runs


async def run_job(daemon: Daemon, profile: str, file: Path) -> JobRun:
    """One file. Raises `BenchError` where it does not complete."""
    return (await run_jobs(daemon, profile, [file]))[0]


async def _until_ended(daemon: Daemon, file_ids: set[str], log_from: int) -> dict[str, dict[str, Any]]:
    """The daemon's own line of each job's end. Read from its log, which costs it nothing."""
    ended: dict[str, dict[str, Any]] = {}
    while file_ids - ended.keys():
        await anyio.sleep(_LOOK_EVERY_S)
        async with await anyio.open_file(daemon.log, "rb") as file:
            await file.seek(log_from)
            text = await file.read()
        whole = text[: text.rfind(b"\n") + 1]
        log_from += len(whole)
        for line in whole.splitlines():
            said = json.loads(line) if line.startswith(b"{") and b'"job_ended"' in line else {}
            if said.get("file_id") in file_ids:
                ended[said["file_id"]] = said
                if said["outcome"] != "completed":
                    raise BenchError(f"a job ended as {said['outcome']}: {said['code']}: {said['detail']}")
    return ended


async def _times(daemon: Daemon, file_id: str) -> tuple[float, float, float | None]:
    """When the event was sent, when the file was `completed`, and how long after the event the first segment stood."""
    status = await daemon.status(file_id)
    if status["processing_status"] != "completed":
        raise BenchError(f"the job ended and its file is {status['processing_status']}")
    journal = await daemon.backend.journal()
    event_at = next(entry.at for entry in reversed(journal) if entry.is_event and entry.key == status["s3_key"])
    completed_at = datetime.fromisoformat(str(status["completed_at"])).timestamp()
    wanted = set(lowest_segments(await manifest_of(daemon, file_id)))
    stood = [entry.at for entry in journal if not entry.is_event and entry.bucket == PROCESSED and entry.key in wanted]
    return event_at, completed_at, min(stood) - event_at if stood else None


async def manifest_of(daemon: Daemon, file_id: str) -> dict[str, Any]:
    """The manifest that was published."""
    return dict(json.loads(await object_of(daemon, f"{file_id}/manifest.json")))


async def object_of(daemon: Daemon, key: str) -> bytes:
    """The bytes of a published object."""
    url = f"{daemon.backend.environment['AWS_ENDPOINT_URL_S3']}/{PROCESSED}/{key}"
    async with daemon.session.get(url) as answer:
        answer.raise_for_status()
        return await answer.read()


def lowest_segments(manifest: dict[str, Any]) -> list[str]:
    """The keys of the media segments of the lowest rung; none where the outputs have no segments."""
    outputs = manifest["outputs"]
    rungs = [output for output in outputs if output["kind"] == "hls_media" and output.get("height")]
    if not rungs:
        return []
    lowest = min(rungs, key=lambda output: int(output["height"]))["name"]
    return [str(output["key"]) for output in outputs if output["kind"] == "segment" and output.get("name") == lowest]
