"""`vproc submit` of a large file as a process of its own: killed while parts are on their way, and started again."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from aiohttp import web
from anyio.abc import Process

from tests.support.caller import fetch
from tests.support.daemon import Daemon, command, dev, environment
from tests.support.fault_proxy import Asked, FaultProxy, answered, drop_request, fault_proxy

pytestmark = pytest.mark.xdist_group("e2e-large-uploads")

MIB = 1024**2
SIZE = 72 * MIB + 1
PARTS = 10
LET_THROUGH = 5


@dataclass
class Gate:
    """Lets so many parts through to the store and holds the others, until it is opened."""

    let_through: int
    begun: list[int] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    opened: bool = False
    all_held: anyio.Event = field(default_factory=anyio.Event)
    released: anyio.Event = field(default_factory=anyio.Event)

    async def part(self, proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        """One UploadPart."""
        number = int(asked.request.query["partNumber"])
        self.begun.append(number)
        if not self.opened and len(self.begun) > self.let_through:
            if len(self.begun) == self.let_through + 4:
                self.all_held.set()
            await self.released.wait()
            return await drop_request()(proxy, asked)
        answer = await proxy.forward(asked)
        assert answer.status == 200
        self.stored.append(number)
        return answered(asked, answer)

    def open(self) -> None:
        """Nothing of what is held arrives; what comes from now on does."""
        self.opened = True
        self.released.set()


@asynccontextmanager
async def behind_a_proxy(folder: Path) -> AsyncIterator[tuple[Daemon, FaultProxy]]:
    """A daemon whose clients reach its store through a proxy."""
    async with fault_proxy("") as proxy:
        with dev(folder, VPROC_S3_PUBLIC_ENDPOINT_URL=proxy.url) as daemon:
            proxy.upstream = daemon.ready["s3"].rstrip("/")
            proxy.secrets = {name: name for name in ("embedded", "test")}
            yield daemon, proxy


async def submitting(daemon: Daemon, folder: Path, film: Path) -> Process:
    """`vproc submit`, started."""
    state = {"XDG_STATE_HOME": str(folder / "state")}
    return await anyio.open_process(command("submit", film, "--api", daemon.api), cwd=folder, env=environment(folder, **state))


async def said(stream: AsyncIterator[bytes] | None) -> str:
    """All that a process says."""
    assert stream is not None
    return b"".join([chunk async for chunk in stream]).decode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
async def test_a_submit_that_was_ended_goes_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Only parts that were on their way are sent twice, and the object is the file."""
    film = tmp_path / "film.mp4"
    film.write_bytes(os.urandom(SIZE))
    gate = Gate(LET_THROUGH)
    with anyio.fail_after(100):
        async with behind_a_proxy(tmp_path) as (daemon, proxy):
            proxy.always["UploadPart"] = gate.part
            async with await submitting(daemon, tmp_path, film) as first:
                await gate.all_held.wait()
                in_flight = set(gate.begun) - set(gate.stored)
                first.send_signal(number)
                words = await said(first.stderr)
                assert await first.wait() == code
            assert ("submit it again" in words) is (number is signal.SIGINT)
            assert "Traceback" not in words
            gate.open()
            async with await submitting(daemon, tmp_path, film) as second:
                words, file_id = await said(second.stderr), (await said(second.stdout)).strip()
                assert await second.wait() == 0, words
            assert "an earlier upload goes on" in words
            assert {part for part, times in Counter(gate.begun).items() if times > 1} == in_flight
            assert sorted(gate.stored) == list(range(1, PARTS + 1))
            assert proxy.refused == []
            assert list((tmp_path / "state/vproc/uploads").iterdir()) == []
            assert await anyio.to_thread.run_sync(original_of, daemon, file_id) == film.read_bytes()


def original_of(daemon: Daemon, file_id: str) -> bytes:
    """What arrived, after the catalog has heard of it and its job has found out that it is no film."""
    told = daemon.caller.end_of(file_id)
    assert told["error"]["code"] in {"unsupported_media", "corrupt_media"}
    assert told["size"] == SIZE
    url = daemon.caller.ask(f"/upload/{file_id}/download/original").json["download_url"]
    return fetch(url).body
