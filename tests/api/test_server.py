"""The server's start and stop: its port, what it says when it cannot listen, requests in flight at the end."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web

from tests.support.api import running_api
from vproc.errors import ConfigError
from vproc.http import serve_app


async def test_port_0_is_a_free_port_and_is_told(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        assert api.port > 1023
        assert (await api.get("/healthz")).status == 200
    with pytest.raises(OSError, match="connect"):
        await anyio.connect_tcp("127.0.0.1", api.port)


async def test_a_port_in_use_is_a_wrong_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            await _serve("127.0.0.1", port)
    assert str(caught.value).startswith(f"VPROC_PORT: port {port} of 127.0.0.1 is in use")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(ConfigError, match=f"^VPROC_HOST: {host}"):
        await _serve(host, 0)


async def _serve(host: str, port: int) -> None:
    async with serve_app(web.Application(), host=host, port=port):
        pytest.fail("it listens")


async def test_a_request_in_flight_is_answered_before_the_server_ends(tmp_path: Path) -> None:
    statuses: list[int] = []
    async with aiohttp.ClientSession() as session, anyio.create_task_group() as tasks:
        async with running_api(tmp_path) as api:
            file = await api.given.failed()
            api.put_raw(file)
            pause = api.raw.pause_next("head")

            async def ask() -> None:
                async with session.get(f"{api.url}/upload/{file.file_id}/download/original") as response:
                    statuses.append(response.status)

            async def let_go_once_it_stops() -> None:
                await api.draining.wait()
                pause.release()

            tasks.start_soon(ask)
            tasks.start_soon(let_go_once_it_stops)
            await pause.reached.wait()
        assert statuses in ([], [200])
    assert statuses == [200]


async def test_a_request_that_does_not_end_is_cancelled_in_the_end(tmp_path: Path) -> None:
    failed = anyio.Event()
    async with aiohttp.ClientSession() as session, anyio.create_task_group() as tasks:
        async with running_api(tmp_path, shutdown_timeout_s=0.2) as api:
            file = await api.given.failed()
            pause = api.raw.pause_next("head")

            async def ask() -> None:
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"{api.url}/upload/{file.file_id}/download/original")
                failed.set()

            tasks.start_soon(ask)
            await pause.reached.wait()
        with anyio.fail_after(20):
            await failed.wait()
    assert api.sample("vproc_http_requests_total", route="/upload/{file_id}/download/original", method="GET", status="499") == 1


async def test_two_requests_on_one_connection(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api, await anyio.connect_tcp("127.0.0.1", api.port) as connection:
        for _ in range(2):
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b'{"status":"ok"}' in await _whole(connection)


async def _whole(connection: anyio.abc.SocketStream) -> bytes:
    received = b""
    with anyio.fail_after(20):
        while not received.endswith(b"}"):
            received += await connection.receive()
    return received
