"""The video renditions that a job published, as files that can be measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from bench.daemon import Daemon
from bench.jobs import manifest_of, object_of
from bench.processes import BenchError


@dataclass(frozen=True, slots=True)
class Published:
    """One video rendition: the height of its pictures, the keys of its header and its segments in their order, their bytes."""

    name: str
    height: int
    keys: tuple[str, ...]
    size_bytes: int


def published(manifest: Mapping[str, Any]) -> list[Published]:
    """The video renditions of a manifest, largest first. Raises `BenchError` where there is none."""
    outputs = manifest["outputs"]
    found = []
    for rung in outputs:
        if rung["kind"] != "hls_media" or not rung.get("height"):
            continue
        own = [output for output in outputs if output.get("name") == rung["name"]]
        headers = [output for output in own if output["kind"] == "init"]
        segments = sorted((output for output in own if output["kind"] == "segment"), key=lambda output: str(output["key"]))
        parts = [*headers, *segments]
        keys = tuple(str(part["key"]) for part in parts)
        found.append(Published(rung["name"], int(rung["height"]), keys, sum(int(part["bytes"]) for part in parts)))
    if not found:
        raise BenchError("the job published no video renditions")
    return sorted(found, key=lambda rendition: -rendition.height)


async def fetch_renditions(daemon: Daemon, file_id: str, folder: Path) -> list[tuple[Published, Path]]:
    """Each rendition as one fragmented file below the folder."""
    fetched = []
    for rendition in published(await manifest_of(daemon, file_id)):
        path = folder / f"{file_id}-{rendition.name}.mp4"
        async with await anyio.open_file(path, "wb") as file:
            for key in rendition.keys:
                await file.write(await object_of(daemon, key))
        fetched.append((rendition, path))
    return fetched
