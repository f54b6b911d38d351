"""What stands at the end, in catalog, buckets and queues: read from outside, and counted where it is not as it must be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cloud import PROCESSED, RAW
from bench.fleet import Fleet
from vproc.tasks import task_group

_AT_ONCE = 8
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Standing:
    """Numbers, which are 0 where all is well but for ``completed``, ``attempts`` and ``interrupted``.

    ``missing``: keys that were put and have no file. ``wrong_manifests``: absent, or of another run than the catalog's.
    ``written_twice``: manifests that were written or removed more than once. ``completed_twice``: files with other than one
    ``completed`` attempt. ``damaged``: objects that a manifest names and that are absent or of another size or other bytes.
    ``unnamed``: objects that no manifest names, such as a lost run's. ``interrupted``: attempts that a kill ended.
    """

    completed: int
    missing: int
    not_completed: int
    raw_left: int
    raw_states: int
    wrong_manifests: int
    written_twice: int
    completed_twice: int
    damaged: int
    unnamed: int
    waiting: int
    dead: int
    attempts: int
    interrupted: int
    open_attempts: int
    examples: tuple[str, ...] = ()


async def read_standing(fleet: Fleet, keys: Sequence[str]) -> Standing:
    """Read all of it. ``keys`` are the raw objects that were put."""
    files = await fleet.database.rows("SELECT file_id, key, status, run_id, raw_state FROM files")
    attempts = await fleet.database.rows("SELECT file_id, outcome, ended_at FROM transactions")
    standing = await fleet.cloud.listed(PROCESSED)
    raw = await fleet.cloud.listed(RAW)
    ever = await fleet.cloud.ever(f"/{_MANIFEST}")
    manifests = await _manifests(fleet, [str(file["file_id"]) for file in files], standing)
    wrong = [str(file["file_id"]) for file in files if _run_of(manifests, str(file["file_id"])) != file["run_id"]]
    damaged, named = await _compared(fleet, manifests, standing)
    unnamed = sorted(standing.keys() - named)
    completions = [str(attempt["file_id"]) for attempt in attempts if attempt["outcome"] == "completed"]
    once = {str(file["file_id"]) for file in files}
    waiting = await fleet.cloud.queued()
    twice = sorted(key for key, count in ever.items() if count != 1)
    return Standing(
        completed=sum(file["status"] == "completed" for file in files),
        missing=len(set(keys) - {file["key"] for file in files}),
        not_completed=sum(file["status"] != "completed" for file in files),
        raw_left=len(raw),
        raw_states=sum(file["raw_state"] != "deleted" for file in files),
        wrong_manifests=len(wrong),
        written_twice=len(twice),
        completed_twice=len(completions) - len(set(completions)) + len(once - set(completions)),
        damaged=len(damaged),
        unnamed=len(unnamed),
        waiting=sum(waiting),
        dead=await fleet.cloud.dead(),
        attempts=len(attempts),
        interrupted=sum(attempt["outcome"] != "completed" for attempt in attempts),
        open_attempts=sum(attempt["ended_at"] is None for attempt in attempts),
        examples=(*wrong[:3], *twice[:3], *damaged[:3], *unnamed[:3], *list(raw)[:3]),
    )


async def _manifests(fleet: Fleet, file_ids: Sequence[str], standing: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Of each file that has one."""
    found: dict[str, dict[str, Any]] = {}
    left = iter([file_id for file_id in file_ids if f"{file_id}/{_MANIFEST}" in standing])

    async def some() -> None:
        for file_id in left:
            found[file_id] = json.loads(await fleet.cloud.get(f"{file_id}/{_MANIFEST}"))

    async with task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(some)
    return found


def _run_of(manifests: Mapping[str, dict[str, Any]], file_id: str) -> str | None:
    return str(manifests[file_id]["run_id"]) if file_id in manifests else None


async def _compared(
    fleet: Fleet, manifests: Mapping[str, dict[str, Any]], standing: Mapping[str, int]
) -> tuple[list[str], set[str]]:
    """The objects that are not as their manifest says, and all that manifests name."""
    outputs = [output for told in manifests.values() for output in (*told["outputs"], *told["entry_points"])]
    damaged: list[str] = []
    left = iter(outputs)

    async def some() -> None:
        for output in left:
            key = output["key"]
            body = await fleet.cloud.get(key) if standing.get(key) == output["bytes"] else b""
            if hashlib.sha256(body).hexdigest() != output["sha256"]:
                damaged.append(key)

    async with task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(some)
    return damaged, {output["key"] for output in outputs} | {f"{file_id}/{_MANIFEST}" for file_id in manifests}
