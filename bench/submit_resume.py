"""``vproc submit`` of a gigabyte, killed when half of it has come in, and run again: what is sent a second time.

Bytes are counted by the store, in another process, as they come in. No worker runs: the object stays for its digest to be taken.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import anyio
import anyio.to_thread
from anyio.abc import Process

from bench.backend import PARTS, RAW
from bench.daemon import Daemon, environment, open_daemon
from bench.figures import MB, Conditions, spread
from bench.goals import Figure, Goal, Round, goal_lines, rounds_table
from bench.memory import conditions
from bench.processes import BenchError, cpu_times, memory_of, started
from bench.results import machine

FILE_BYTES = 1_000_000_000
SPACE_BYTES = 3 * FILE_BYTES
_LOOK_EVERY_S = 0.02
_WITHIN_S = 600.0
_MOST_CLIENT_MB = 100

GOALS = (
    Goal("Bytes that the second run sends, over those that were missing", Figure("again", "sent"), (Figure("again", "missing"),)),
    Goal("Peak memory of the client", Figure("again", "peak_mb"), bound=_MOST_CLIENT_MB, unit="MB", digits=0),
)


@dataclass(frozen=True, slots=True)
class PartsIn:
    """What the store tells: bytes of parts that came in, ended or not; parts that were ended; how many are coming in; what of
    uploads that are not joined stands."""

    received_bytes: int
    parts: int
    arriving: int
    standing_bytes: int
    standing: int


async def measure_resume(large: Path, work: Path) -> tuple[Round, Conditions]:
    """One run with a new daemon and store. ``work`` is an empty folder. Raises `BenchError` where the object is not the file."""
    size = (await anyio.Path(large).stat()).st_size
    load, begun_at = os.getloadavg()[0], monotonic()
    with anyio.fail_after(_WITHIN_S):
        async with open_daemon(work, {"VPROC_ROLES": "api"}) as daemon:
            times = cpu_times(daemon.pid, daemon.backend_pid)
            first_s, first_peak, arriving = await _killed_at_half(daemon, large, size, work)
            half = await _settled(daemon)
            if not 0 < half.standing_bytes < size:
                raise BenchError(f"{half.standing_bytes} of {size} bytes stood after the kill: nothing to go on with")
            second_s, second_peak = await _to_the_end(daemon, large, work)
            end = await _parts(daemon)
            await _require_same(daemon, large)
            beside = conditions(load, times, cpu_times(daemon.pid, daemon.backend_pid), monotonic() - begun_at)
    killed = {
        "sent": half.received_bytes,
        "parts": half.standing,
        "standing": half.standing_bytes,
        "arriving": arriving,
        "seconds": first_s,
        "peak_mb": first_peak / MB,
    }
    again = {
        "sent": end.received_bytes - half.received_bytes,
        "parts": end.parts - half.parts,
        "missing": size - half.standing_bytes,
        "seconds": second_s,
        "peak_mb": second_peak / MB,
    }
    return {"killed": killed, "again": again}, beside


async def _killed_at_half(daemon: Daemon, large: Path, size: int, work: Path) -> tuple[float, int, int]:
    """Seconds and peak memory of the first run, and how many parts were under way when it was killed."""
    begun_at = monotonic()
    async with _submit(daemon, large, work, "first.log") as client:
        while (now := await _parts(daemon)).received_bytes < size // 2:  # noqa: ASYNC110 - another process knows
            await anyio.sleep(_LOOK_EVERY_S)
        peak = memory_of(client.pid).peak_bytes
        client.kill()
        await client.wait()
    return monotonic() - begun_at, peak, now.arriving


async def _to_the_end(daemon: Daemon, large: Path, work: Path) -> tuple[float, int]:
    """Seconds and peak memory of the second run. Raises `BenchError` where it fails."""
    begun_at, peak = monotonic(), 0
    async with _submit(daemon, large, work, "second.log") as client:
        while client.returncode is None:
            try:
                peak = max(peak, memory_of(client.pid).peak_bytes)
            except BenchError:  # it has ended
                await client.wait()
            with anyio.move_on_after(_LOOK_EVERY_S):
                await client.wait()
        seconds = monotonic() - begun_at
    if client.returncode != 0:
        raise BenchError(f"the second run failed: {(work / 'second.log').read_text()[-300:]}")
    return seconds, peak


@asynccontextmanager
async def _submit(daemon: Daemon, large: Path, work: Path, log: str) -> AsyncIterator[Process]:
    """The very command, in a process of its own; both runs keep their state in the same place."""
    argv = [sys.executable, "-m", "vproc", "submit", str(large), "--profile", "copy", "--api", daemon.api]
    async with started(argv, env=environment(XDG_STATE_HOME=str(work / "state")), log=work / log) as process:
        yield process


async def _parts(daemon: Daemon) -> PartsIn:
    return PartsIn(**await daemon.backend.tell(PARTS))


async def _settled(daemon: Daemon) -> PartsIn:
    """What stands once the store has noticed that its client is gone."""
    while (now := await _parts(daemon)).arriving:  # noqa: ASYNC110 - another process knows
        await anyio.sleep(_LOOK_EVERY_S)
    return now


async def _require_same(daemon: Daemon, large: Path) -> None:
    """Raise `BenchError` where the one object of the raw bucket is not the file, byte by byte."""
    keys = [entry.key for entry in await daemon.backend.journal() if entry.bucket == RAW]
    if len(keys) != 1:
        raise BenchError(f"the raw bucket has {len(keys)} objects")
    url = f"{daemon.backend.environment['AWS_ENDPOINT_URL_S3']}/{RAW}/{quote(keys[0])}"
    digest = hashlib.sha256()
    async with daemon.session.get(url) as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_chunked(1 << 20):
            digest.update(chunk)
    if digest.digest() != await anyio.to_thread.run_sync(_digest, large):
        raise BenchError("the object is not the file that was submitted")


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def resume_lines(rounds: Sequence[Round], beside: Sequence[Conditions], *, size: int) -> list[str]:
    """The section of `resume`."""

    def of(arm: str, name: str, unit: str, *, by: float = 1, digits: int = 0) -> str:
        return spread([measured[arm][name] / by for measured in rounds], unit, digits=digits)

    lost = [measured["killed"]["sent"] - measured["killed"]["standing"] for measured in rounds]
    return [
        *machine("not used"),
        (
            f"`vproc submit` of {size / MB:,.0f} MB to `vproc serve` and a store on disk, SIGKILL once the store has had half "
            "of the bytes, then the same command again. The store counts the bytes of parts as they come in, also of those that "
            "were never ended; afterwards the object's SHA-256 is the file's."
        ),
        "",
        *goal_lines(GOALS, rounds),
        "| | bytes of parts received | parts ended | seconds | peak memory of the client |",
        "|---|---|---|---|---|",
        *(
            f"| {text} | {of(arm, 'sent', 'MB', by=MB, digits=1)} | {of(arm, 'parts', '')} | {of(arm, 'seconds', 's', digits=1)} "
            f"| {of(arm, 'peak_mb', 'MB')} |"
            for arm, text in (("killed", "first run, killed"), ("again", "second run"))
        ),
        "",
        (
            f"Stood after the kill: {of('killed', 'standing', 'MB', by=MB, digits=1)}; under way at the kill and lost with it: "
            f"{of('killed', 'arriving', 'parts')}, {spread([amount / MB for amount in lost], 'MB', digits=1)}."
        ),
        "",
        *rounds_table(beside),
    ]
