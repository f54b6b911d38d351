"""A receiver of webhooks on loopback, a resolver that says what a test wants, a record of every address that is connected to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from aiohttp import web
from aiohttp.abc import ResolveResult


@dataclass(slots=True)
class Receiver:
    """What came, and how it is answered: ``answers`` one after the other, then 204."""

    port: int = 0
    answers: list[Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    written_bytes: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    def then(self, status: int, **headers: str) -> Receiver:
        """Answer the next request so."""

        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

        self.answers.append(answer)
        return self

    async def hang(self, _: web.Request) -> web.StreamResponse:
        """Never answer."""
        await anyio.sleep_forever()
        raise AssertionError

    async def flood(self, request: web.Request) -> web.StreamResponse:
        """A body of a gigabyte, as far as it is taken."""
        response = web.StreamResponse(headers={"Content-Length": str(1 << 30)})
        await response.prepare(request)
        for _ in range(1 << 14):
            await response.write(bytes(1 << 16))
            self.written_bytes += 1 << 16
        return response

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one."""
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        if self.answers:
            return await self.answers.pop(0)(request)
        return web.Response(status=204)


@asynccontextmanager
async def receiving(tls: Any = None) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


class StubResolver:
    """A name server under a stranger's control: answers one after the other, the last for ever."""

    def __init__(self, *answers: str | list[str]) -> None:
        self._answers = [[answer] if isinstance(answer, str) else answer for answer in answers]
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        """As aiohttp's own resolvers answer."""
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]


@contextmanager
def connects_recorded(*, to_port: int | None = None) -> Iterator[list[str]]:
    """Every address that this event loop connects a socket to. With ``to_port`` the socket goes to loopback instead."""
    loop = asyncio.get_running_loop()
    original = loop.sock_connect
    recorded: list[str] = []

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        recorded.append(str(address[0]))
        await original(sock, ("127.0.0.1", to_port) if to_port is not None else address)

    loop.sock_connect = sock_connect  # type: ignore[method-assign, assignment]
    try:
        yield recorded
    finally:
        loop.sock_connect = original  # type: ignore[method-assign]
