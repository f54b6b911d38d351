"""``python -m bench.announcer --api URL --seconds S --connections N``, or ``--per-second N``: announces uploads.

With ``--connections`` each of N clients sends its next request when it has its answer: how much a server can do. With
``--per-second`` requests go out at their times whether or not the ones before were answered, and latency counts from the time at
which a request was to be sent, so that a server that hangs is not asked less often, nor forgiven what queues behind it.
One line of JSON tells what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic

import aiohttp
import anyio
import click

BODY = {"file_name": "holiday.mp4", "content_type": "video/mp4", "size": 123_456_789}
_TIMEOUT = aiohttp.ClientTimeout(total=30)


class Announcer:
    """Sends, and keeps what came back: milliseconds of each answer, how late each was sent, how many were none."""

    def __init__(self, session: aiohttp.ClientSession, api: str) -> None:
        self.latencies_ms: list[float] = []
        self.lateness_ms: list[float] = []
        self.failed = 0
        self._session = session
        self._url = f"{api}/upload"

    async def one(self, due: float) -> None:
        """Announce one upload that was to be announced at ``due``."""
        self.lateness_ms.append((monotonic() - due) * 1000)
        try:
            async with self._session.post(self._url, json=BODY) as answer:
                told = await answer.json()
                good = answer.status == HTTPStatus.CREATED and "upload_url" in told
        except (aiohttp.ClientError, TimeoutError):
            good = False
        if good:
            self.latencies_ms.append((monotonic() - due) * 1000)
        else:
            self.failed += 1

    async def closed(self, connections: int, seconds: float) -> None:
        """Each connection at once again."""
        end = monotonic() + seconds

        async def client() -> None:
            while (now := monotonic()) < end:
                await self.one(now)

        async with anyio.create_task_group() as tasks:
            for _ in range(connections):
                tasks.start_soon(client)

    async def open(self, per_second: float, seconds: float) -> None:
        """Each at its time."""
        begun = monotonic()
        async with anyio.create_task_group() as tasks:
            for due in due_times(begun, per_second, seconds):
                await anyio.sleep(max(0.0, due - monotonic()))
                tasks.start_soon(self.one, due)


def due_times(begun: float, per_second: float, seconds: float) -> Sequence[float]:
    """When each request is to be sent: evenly."""
    return [begun + number / per_second for number in range(round(per_second * seconds))]


async def announce(api: str, *, seconds: float, connections: int | None, per_second: float | None) -> dict[str, object]:
    """What a run came to; ``seconds`` until the last answer."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector) as session:
        announcer = Announcer(session, api)
        begun = monotonic()
        if per_second is not None:
            await announcer.open(per_second, seconds)
        else:
            await announcer.closed(connections or 1, seconds)
        took_s = monotonic() - begun
    return {
        "seconds": took_s,
        "latencies_ms": announcer.latencies_ms,
        "lateness_ms": announcer.lateness_ms,
        "failed": announcer.failed,
    }


@click.command()
@click.option("--api", required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--connections", type=int)
@click.option("--per-second", type=float)
def main(api: str, seconds: float, connections: int | None, per_second: float | None) -> None:
    """Announce uploads."""

    async def run() -> dict[str, object]:
        return await announce(api, seconds=seconds, connections=connections, per_second=per_second)

    click.echo(json.dumps(anyio.run(run)))


if __name__ == "__main__":
    main()
