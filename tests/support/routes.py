"""What tests of every route share: an address of each, and a body that never comes whole."""

from __future__ import annotations

from uuid import UUID

import anyio

from vproc.api import accounts, hosted
from vproc.api.route import Route

ACCOUNT_ROUTES = {route.template for route in (*accounts.ROUTES, *hosted.ROUTES)}
S3_PATH = {"uploadId": "u", "partNumber": "1"}
NAMES = {"/docs/{name}": "swagger-ui.css"}
"""A file that stands, of the routes that have other ones than the page's."""


def path_of(route: Route, file_id: UUID) -> str:
    """An address of the route; of a page's file where it is about those."""
    name = NAMES.get(route.template, "style.css")
    return route.template.format(file_id=file_id, name=name, token="none", path="master.m3u8", **S3_PATH)


async def half_a_body(port: int, path: str = "/upload") -> bytes:
    """What the server says to the beginning of a body, of which no more comes."""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{"
    async with await anyio.connect_tcp("127.0.0.1", port) as socket:
        await socket.send(head.encode())
        with anyio.fail_after(20):
            return await socket.receive()
