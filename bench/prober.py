"""``python -m bench.prober --url URL --every-ms N``: asks again and again, from a loop of its own, until standard input ends.

Each request goes out at its time whether or not the one before was answered: a server that hangs is not asked less often.
One line of JSON tells every sample: when it was sent (seconds of the monotonic clock, which processes share), how long the
answer took (milliseconds, None without one), and how late the prober itself was, which is what the machine did to a process that
does nothing.
"""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from time import monotonic

import aiohttp
import anyio
import anyio.to_thread
import click

_TIMEOUT = aiohttp.ClientTimeout(total=10)
Sample = tuple[float, float | None, float]


async def probe(url: str, every_s: float) -> list[Sample]:
    """Ask until standard input ends."""
    samples: list[Sample] = []

    async def one(session: aiohttp.ClientSession, late_ms: float) -> None:
        sent_at = monotonic()
        latency_ms = None
        try:
            async with session.get(url) as answer:
                await answer.read()
                if answer.status == HTTPStatus.OK:
                    latency_ms = (monotonic() - sent_at) * 1000
        except (aiohttp.ClientError, TimeoutError):
            pass
        samples.append((sent_at, latency_ms, late_ms))

    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_at_end_of_input, tasks.cancel_scope)
        due = monotonic()
        while True:
            due += every_s
            await anyio.sleep(max(0.0, due - monotonic()))
            tasks.start_soon(one, session, max(0.0, monotonic() - due) * 1000)
    return samples


async def _cancel_at_end_of_input(scope: anyio.CancelScope) -> None:
    await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    scope.cancel()


@click.command()
@click.option("--url", required=True)
@click.option("--every-ms", type=float, required=True)
def main(url: str, every_ms: float) -> None:
    """Probe until standard input ends."""
    click.echo(json.dumps(anyio.run(probe, url, every_ms / 1000)))


if __name__ == "__main__":
    main()
