"""A proxy before the embedded AWS that does to chosen requests what networks and services do to them.

It knows S3's and SQS's operations by name, counts them, and forwards what nobody asked it to break. Presigned requests are
refused as S3 would refuse them, which the AWS behind does not: `tests.support.sigv4`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.sigv4 import RefusedError, Request, is_presigned, verify

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "expect", "keep-alive"}
_S3 = {
    ("GET", "uploads", False): "ListMultipartUploads",
    ("GET", "list-type", False): "ListObjectsV2",
    ("HEAD", "", False): "HeadBucket",
    ("PUT", "", False): "CreateBucket",
    ("POST", "delete", False): "DeleteObjects",
    ("GET", "", True): "GetObject",
    ("HEAD", "", True): "HeadObject",
    ("PUT", "", True): "PutObject",
    ("PUT", "uploadId", True): "UploadPart",
    ("POST", "uploads", True): "CreateMultipartUpload",
    ("POST", "uploadId", True): "CompleteMultipartUpload",
    ("DELETE", "uploadId", True): "AbortMultipartUpload",
    ("DELETE", "", True): "DeleteObject",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came from behind."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    operation: str
    request: web.Request
    body: bytes


Verb = Callable[["FaultProxy", Asked], Awaitable[web.StreamResponse]]


def operation_of(request: web.Request) -> str:
    """``SQS``'s action by its header, S3's by method, query and path."""
    if target := request.headers.get("X-Amz-Target"):
        return target.rpartition(".")[2]
    key = request.path.removeprefix("/").partition("/")[2] != ""
    named = next((name for name in ("uploads", "uploadId", "list-type", "delete") if name in request.query), "")
    return _S3.get((request.method, named, key), f"{request.method} {request.path}")


@dataclass
class FaultProxy:
    """``url`` stands for the AWS behind it. ``calls`` counts what came, broken or not.

    ``always`` answers an operation instead of the AWS behind; ``weather`` gives each request a fault or none; ``down`` befalls
    all. ``secrets``: by access key; ``clock`` tells whether a presigned address still lives.
    """

    upstream: str
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=lambda: {"test": "test"})
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    refused: list[str] = field(default_factory=list)
    down: Verb | None = None
    weather: Callable[[str], Verb | None] = field(default=lambda _: None)
    always: dict[str, Verb] = field(default_factory=dict)
    _faults: dict[str, list[Verb]] = field(default_factory=dict)
    _nth: tuple[int, Verb] | None = None
    _session: aiohttp.ClientSession | None = None

    def on(self, operation: str, *verbs: Verb) -> None:
        """Do these to the next requests of that operation, one to a request."""
        self._faults.setdefault(operation, []).extend(verbs)

    def at(self, number: int, verb: Verb) -> None:
        """Do this to the request of that number from now on, from 1, whatever it is."""
        self.names.clear()
        self._nth = (number, verb)

    def heal(self) -> None:
        """Break nothing more."""
        self._faults.clear()
        self._nth = self.down = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        name = operation_of(request)
        self.calls[name] += 1
        self.names.append(name)
        asked = Asked(name, request, await request.read())
        if self.down is not None:
            return await self.down(self, asked)
        # A browser's question whether a page may ask is not signed.
        if request.method != "OPTIONS" and is_presigned(request.raw_path):
            try:
                verify(Request(request.method, request.raw_path, request.headers), secrets=self.secrets, now=self.clock())
            except RefusedError as error:
                self.refused.append(str(error))
                return await status(HTTPStatus.FORBIDDEN, error.code)(self, asked)
        if self._nth is not None and len(self.names) == self._nth[0]:
            return await self._nth[1](self, asked)
        if faults := self._faults.get(name):
            return await faults.pop(0)(self, asked)
        if verb := self.weather(name) or self.always.get(name):
            return await verb(self, asked)
        return answered(asked, await self.forward(asked))

    async def forward(self, asked: Asked) -> Answer:
        """What the AWS behind answers."""
        assert self._session is not None
        request = asked.request
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        url = aiohttp.client.URL(f"{self.upstream}{request.raw_path}", encoded=True)
        body = BytesIO(asked.body) if asked.body else None  # aiohttp warns of a body in one piece
        async with self._session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as got:
            return Answer(got.status, dict(got.headers), await got.read())

    async def sqs(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """An action of the SQS behind, asked by the proxy itself."""
        assert self._session is not None
        headers = {
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=a, Signature=b",
        }
        async with self._session.post(f"{self.upstream}/", data=json.dumps(body), headers=headers) as got:
            told: dict[str, Any] = json.loads(await got.read() or b"{}")
            return told

    def queue_url(self, arn: str) -> str:
        """The address of a queue of the AWS behind."""
        *_, account, name = arn.split(":")
        return f"{self.upstream}/{account}/{name}"


def answered(asked: Asked, answer: Answer) -> web.Response:
    """An answer, passed on."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
    if asked.request.method == "HEAD":
        headers["Content-Length"] = answer.headers.get("Content-Length", "0")
        return web.Response(status=answer.status, headers=headers)
    return web.Response(status=answer.status, headers=headers, body=answer.body)


# --- verbs ------------------------------------------------------------------------------------------------------------


def drop_request() -> Verb:
    """The connection is reset before anything took effect."""

    async def verb(_proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        return _reset(asked.request)

    return verb


def drop_answer() -> Verb:
    """It took effect, and nobody hears of it."""

    async def verb(proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        await proxy.forward(asked)
        return _reset(asked.request)

    return verb


def status(number: int, code: str) -> Verb:
    """An error, in the words of the service that was asked."""

    async def verb(_proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        if "X-Amz-Target" in asked.request.headers:
            return web.json_response({"__type": code, "message": "as a test wants"}, status=number)
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as a test wants</Message></Error>"
        return web.Response(status=number, body=body if asked.request.method != "HEAD" else None, content_type="application/xml")

    return verb


def garbage() -> Verb:
    """200, and a body that is none."""

    async def verb(_proxy: FaultProxy, _asked: Asked) -> web.StreamResponse:
        return web.Response(body=b"<html>welcome to this network", content_type="text/html")

    return verb


def pretend() -> Verb:
    """Answered as if it were done, and nothing is: as SQS may do with the handle of an earlier receive."""

    async def verb(_proxy: FaultProxy, _asked: Asked) -> web.StreamResponse:
        return web.json_response({})

    return verb


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    """A proxy on loopback, for as long as the block lasts."""
    proxy = FaultProxy(upstream.rstrip("/"))
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        proxy._session = session
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            proxy.url = f"http://{host}:{port}"
            yield proxy
        finally:
            await runner.cleanup()
