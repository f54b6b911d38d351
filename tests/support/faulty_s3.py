"""An S3 on loopback that misbehaves as a test says: bodies cut, answers lost, errors of every kind, no "100 Continue"."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from aiobotocore.config import AioConfig
from aiohttp import web
from prometheus_client import CollectorRegistry

from tests.support.changes import Changes
from vproc.aws import session
from vproc.aws.s3 import S3Bucket
from vproc.telemetry import Metrics

Fault = Callable[["FaultyS3", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came. ``action``: ``get``, ``put``, ``part``, ``begin``, ``complete``, ``abort`` …"""

    action: str
    key: str
    headers: dict[str, str]


@dataclass
class FaultyS3:
    """One bucket. A fault that is listed for an action takes the place of its next answer."""

    objects: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    parts: dict[int, bytes] = field(default_factory=dict)
    in_flight: int = 0
    most_in_flight: int = 0
    silent_expect: bool = False
    changes: Changes = field(default_factory=Changes)
    url: str = ""

    def etag(self, key: str) -> str:
        """Without quotes."""
        return hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()

    def actions(self, action: str) -> list[Seen]:
        """The requests of one kind, in their order."""
        return [seen for seen in self.seen if seen.action == action]

    async def until_seen(self, action: str, times: int = 1) -> None:
        """Return once so many came."""
        await self.changes.until(lambda: len(self.actions(action)) >= times)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note the request, and answer it by its fault or as S3 does."""
        action = _action(request)
        self.seen.append(Seen(action, request.match_info["key"], {k.lower(): v for k, v in request.headers.items()}))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.changes.tell()
        try:
            faults = self.faults.get(action)
            return await (faults.pop(0)(self, request) if faults else self.proper(request))
        finally:
            self.in_flight -= 1

    async def proper(self, request: web.Request) -> web.StreamResponse:
        """As S3 answers."""
        key, action = request.match_info["key"], _action(request)
        match action:
            case "get" | "head":
                return self.get(request, key)
            case "put":
                if request.headers.get("If-None-Match") == "*" and key in self.objects:
                    return error_response(412, "PreconditionFailed")
                self.objects[key] = await _body(request)
                return web.Response(headers={"ETag": f'"{self.etag(key)}"'})
            case "begin":
                return _xml("<InitiateMultipartUploadResult><UploadId>the-upload</UploadId></InitiateMultipartUploadResult>")
            case "part":
                self.parts[int(request.query["partNumber"])] = body = await _body(request)
                return web.Response(headers={"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})
            case "complete":
                self.objects[key] = b"".join(self.parts[number] for number in sorted(self.parts))
                return _xml('<CompleteMultipartUploadResult><ETag>"e-2"</ETag></CompleteMultipartUploadResult>')
            case "abort":
                self.parts.clear()
                return web.Response(status=204)
        return error_response(501, "NotImplemented")

    def get(self, request: web.Request, key: str) -> web.Response:
        """An object, or the range of it that was asked for."""
        if key not in self.objects:
            return error_response(404, "NoSuchKey")
        wanted = request.headers.get("If-Match")
        if wanted is not None and wanted != f'"{self.etag(key)}"':
            return error_response(412, "PreconditionFailed")
        body, headers = self.objects[key], {"ETag": f'"{self.etag(key)}"'}
        if "Range" not in request.headers:
            return web.Response(body=body, headers=headers)
        first, last = (int(part) for part in request.headers["Range"].removeprefix("bytes=").split("-"))
        if first >= len(body):
            return error_response(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return web.Response(status=206, body=body[first : last + 1], headers=headers)

    async def expect(self, request: web.Request) -> None:
        """Say "100 Continue", or nothing for ever."""
        if self.silent_expect:
            self.seen.append(Seen("expect", request.match_info["key"], {}))
            self.changes.tell()
            await anyio.sleep_forever()
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _action(request: web.Request) -> str:
    query = request.query
    match request.method:
        case "POST":
            return "begin" if "uploads" in query else "complete"
        case "PUT":
            return "part" if "partNumber" in query else "put"
        case "DELETE":
            return "abort" if "uploadId" in query else "delete"
    return request.method.lower()


async def _body(request: web.Request) -> bytes:
    """The body, seen to be what its checksum says."""
    body = await request.read()
    told = request.headers["x-amz-checksum-sha256"]
    assert base64.b64decode(told) == hashlib.sha256(body).digest()
    return body


def _xml(text: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>{text}', content_type="application/xml")


def error_response(status: int, code: str) -> web.Response:
    """An error as S3 says it."""
    response = _xml(f"<Error><Code>{code}</Code><Message>a message</Message></Error>")
    response.set_status(status)
    return response


# --- faults ----------------------------------------------------------------------------------------------------------


def status(number: int, code: str) -> Fault:
    """Answer with an error."""

    async def fault(store: FaultyS3, request: web.Request) -> web.StreamResponse:
        return error_response(number, code)

    return fault


def ok_with_error(code: str) -> Fault:
    """Answer 200 with an error in the body, as CompleteMultipartUpload may."""

    async def fault(store: FaultyS3, request: web.Request) -> web.StreamResponse:
        return _xml(f"<Error><Code>{code}</Code><Message>a message</Message></Error>")

    return fault


async def ok_with_garbage(store: FaultyS3, request: web.Request) -> web.StreamResponse:
    """Answer 200 with what no S3 says."""
    return web.Response(text="<html><p>log in to the hotel's network", content_type="text/html")


def cut_body(at: int, *, arrived: Callable[[], Awaitable[None]] | None = None) -> Fault:
    """Break the connection off after so many bytes of the body, once ``arrived`` returns."""

    async def fault(store: FaultyS3, request: web.Request) -> web.StreamResponse:
        proper = await store.proper(request)
        assert isinstance(proper, web.Response)
        assert isinstance(proper.body, bytes)
        response = web.StreamResponse(status=proper.status, headers=proper.headers)
        response.content_length = len(proper.body)
        await response.prepare(request)
        await response.write(proper.body[:at])
        if arrived is not None:
            await arrived()
        return _hang_up(request, response)

    return fault


def stall_body(at: int) -> Fault:
    """Send so many bytes of the body, and no more for ever."""
    return cut_body(at, arrived=anyio.sleep_forever)


async def answer_lost(store: FaultyS3, request: web.Request) -> web.StreamResponse:
    """Do what is asked, and break the connection off instead of an answer."""
    return _hang_up(request, await store.proper(request))


async def never(store: FaultyS3, request: web.Request) -> web.StreamResponse:
    """No answer at all."""
    await anyio.sleep_forever()
    raise AssertionError


async def whole_body(store: FaultyS3, request: web.Request) -> web.StreamResponse:
    """Leave the range out, as RFC 9110 allows."""
    key = request.match_info["key"]
    return web.Response(body=store.objects[key], headers={"ETag": f'"{store.etag(key)}"'})


async def foreign_page(_store: FaultyS3, _request: web.Request) -> web.StreamResponse:
    """200, by a captive portal or a proxy."""
    return web.Response(text="<!doctype html><p>welcome to this network</p>", content_type="text/html")


def _hang_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response


# --- opening ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_faulty_s3(
    monkeypatch: pytest.MonkeyPatch, *, attempts: int = 1, read_timeout_s: float = 20
) -> AsyncIterator[tuple[FaultyS3, S3Bucket]]:
    """The store and the true adapter over it; the SDK tries each call ``attempts`` times."""
    monkeypatch.setattr(session, "AioConfig", lambda **options: AioConfig(**options | {"read_timeout": read_timeout_s}))
    store = FaultyS3()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/bucket/{key:.*}", store.answer, expect_handler=store.expect)
    app.router.add_route("*", "/{key:bucket}", store.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        store.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_bucket(monkeypatch, store.url, attempts=attempts) as bucket:
            yield store, bucket
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


@asynccontextmanager
async def open_bucket(monkeypatch: pytest.MonkeyPatch, url: str, *, attempts: int = 1) -> AsyncIterator[S3Bucket]:
    """The true adapter over whatever is at ``url``."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(session, "_STANDARD", {"mode": "standard", "total_max_attempts": attempts})
    async with session.open_clients(region="us-east-1", poll_read_timeout_s=5, public_endpoint_url=None) as clients:
        yield S3Bucket(bucket="bucket", control=clients.s3, bulk=clients.s3_bulk, metrics=Metrics(CollectorRegistry()))
