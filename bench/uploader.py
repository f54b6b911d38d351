"""``python -m bench.uploader --api URL --profile P FILE …``: a client in a process of its own. It asks for all addresses and
sends all files at once; one line of JSON says the files' ids in the order given, and how long it took."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import aiohttp
import anyio
import click

_CHUNK_BYTES = 256 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=600)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while chunk := await file.read(_CHUNK_BYTES):
            yield chunk


async def upload(session: aiohttp.ClientSession, api: str, profile: str, path: Path) -> str:
    """One file: its address from the API, its bytes to the store. Its id."""
    size = (await anyio.Path(path).stat()).st_size
    async with session.post(f"{api}/upload", json={"file_name": path.name, "size": size, "profile": profile}) as answer:
        answer.raise_for_status()
        given = await answer.json()
    headers = given["headers"] | {"Content-Length": str(size)}
    async with session.put(given["upload_url"], data=_chunks(path), headers=headers) as answer:
        answer.raise_for_status()
    return str(given["file_id"])


async def _upload_all(api: str, profile: str, paths: tuple[Path, ...]) -> None:
    begun = monotonic()
    ids: dict[Path, str] = {}

    async def one(path: Path) -> None:
        ids[path] = await upload(session, api, profile, path)

    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, anyio.create_task_group() as tasks:
        for path in paths:
            tasks.start_soon(one, path)
    click.echo(json.dumps({"file_ids": [ids[path] for path in paths], "seconds": monotonic() - begun}))


@click.command()
@click.option("--api", required=True)
@click.option("--profile", required=True)
@click.argument("files", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True)
def main(api: str, profile: str, files: tuple[Path, ...]) -> None:
    """Upload all files at once."""
    anyio.run(_upload_all, api, profile, files)


if __name__ == "__main__":
    main()
