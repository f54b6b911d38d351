"""The API and its object store on loopback, as a script says: what the client and the commands are tested against.

It runs in a thread with a loop of its own, so that a command which makes its own loop can call it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.support.fake_parts import FakeParts

CUT = 0
"""Among ``put_answers`` and ``get_faults``: the connection is cut instead of an answer."""


def status_body(file_id: UUID | str, status: str, progress: float = 0.0, **more: Any) -> dict[str, Any]:
    """A file as the API shows it."""
    body = {"file_id": str(file_id), "file_name": "clip.mp4", "processing_status": status, "progress": progress}
    return {**body, "stage": None, "error": None, "attempts": 0, "processing_time": None, **more}


@dataclass
class Put:
    """An upload that arrived."""

    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeApi:
    """What it answers, and what it was asked.

    ``put_answers``: status and text of the next uploads, then 200. ``streams``: what each events request sends before it
    ends; 404 when none is left; ``streams_of`` those of one file. ``statuses``: what each status request answers; the last one
    goes on. ``problems_of``: what is answered about a file. ``get_faults``: the statuses of the next downloads of a key, then
    the object.
    """

    url: str = ""
    file_id: UUID = field(default_factory=uuid4)
    signed_headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "video/mp4", "If-None-Match": "*"})
    put_answers: list[tuple[int, str]] = field(default_factory=list)
    streams: list[list[dict[str, Any]]] = field(default_factory=list)
    streams_of: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    problems_of: dict[str, tuple[int, str]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    get_faults: dict[str, list[int]] = field(default_factory=dict)
    problem: tuple[int, str] | None = None
    problems: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers, before all others."""
    raw_answer: str | None = None
    page: str | None = None
    parts: FakeParts = field(default_factory=FakeParts)

    lost_announcements: int = 0
    """How many announcements are taken whose answer never comes."""
    conflicts: int = 0
    """How many announcements after these meet one that is still being answered."""

    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    announced: list[dict[str, Any]] = field(default_factory=list)
    idempotency_keys: list[str | None] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    gets: list[tuple[str, str | None]] = field(default_factory=list)

    def add_object(self, key: str, body: bytes, kind: str = "video", *, listed: bool = True, **more: Any) -> dict[str, Any]:
        """An object of the processed bucket; its entry as a manifest has it."""
        self.objects[key] = body
        entry = {"kind": kind, "key": key, "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(), **more}
        entry.setdefault("content_type", "video/mp4")
        if listed:
            self.outputs.append(entry)
        return entry

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=1 << 30, middlewares=[self._scripted])
        app.add_routes(
            [
                *self.parts.routes(),
                web.post("/upload", self._announce),
                web.put("/raw/{key:.+}", self._take),
                web.get("/upload/{id}/status", self._status),
                web.get("/upload/{id}/events", self._events),
                web.get("/upload/{id}/download/processed", self._outputs),
                web.post("/upload/{id}/cancel", self._status),
                web.post("/upload/{id}/retry", self._status),
                web.delete("/upload/{id}", self._deleted),
                web.get("/uploads", self._list),
                web.get("/processed/{key:.+}", self._give),
                web.get("/healthz", self._health),
                web.get("/", self._page),
            ]
        )
        return app

    @web.middleware
    async def _scripted(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path.startswith(("/raw/", "/processed/")):
            return await handler(request)
        self.asked.append((request.method, request.path_qs, request.headers.get("Authorization")))
        if self.raw_answer is not None:
            return web.Response(text=self.raw_answer, content_type="text/html")
        if self.problems:
            status, headers = self.problems.pop(0)
            if status == CUT:
                _cut(request)
            body = json.dumps({"title": "x", "status": status, "detail": "Not now."})
            return web.Response(status=status or 500, text=body, headers=headers, content_type="application/problem+json")
        problem = self.problems_of.get(request.match_info.get("id", ""), self.problem)
        if problem is not None:
            status, detail = problem
            body = json.dumps({"title": "x", "status": status, "detail": detail})
            return web.Response(status=status, text=body, content_type="application/problem+json")
        return await handler(request)

    async def _announce(self, request: web.Request) -> web.Response:
        self.announced.append(await request.json())
        self.idempotency_keys.append(request.headers.get("Idempotency-Key"))
        if self.lost_announcements:
            self.lost_announcements -= 1
            _cut(request)
        elif self.conflicts:
            self.conflicts -= 1
            return web.json_response({"detail": "Being answered."}, status=409, content_type="application/problem+json")
        answer = {
            "file_id": str(self.file_id),
            "s3_key": f"videos/default/{self.file_id}.mp4",
            "upload_url": f"{self.url}/raw/videos/default/{self.file_id}.mp4?X-Amz-Signature=SECRET%2F1&x=a%20b",
            "method": "PUT",
            "headers": self.signed_headers,
            "expires_at": "2030-01-01T00:00:00Z",
        }
        return web.json_response(answer, status=201)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.puts.append(Put(query={"raw": request.rel_url.raw_query_string}, headers=dict(request.headers), body=body))
        status, text = self.put_answers.pop(0) if self.put_answers else (200, "")
        if status == CUT:
            _cut(request)
        return web.Response(status=status or 200, text=text, content_type="application/xml")

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        bodies = self.streams_of.pop(request.match_info["id"], None)
        if bodies is None and self.streams:
            bodies = self.streams.pop(0)
        if bodies is None:
            return web.Response(status=404)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": ping\r\n\r\n")
        for body in bodies:
            await response.write(b"event: status\r\ndata: " + json.dumps(body).encode() + b"\r\n\r\n")
        return response

    async def _outputs(self, request: web.Request) -> web.Response:
        outputs = [{**entry, "url": f"{self.url}/processed/{entry['key']}?signature=SECRET"} for entry in self.outputs]
        return web.json_response({"download_url": "", "outputs": outputs})

    async def _deleted(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _list(self, request: web.Request) -> web.Response:
        begin = int(request.query.get("cursor", 0))
        end = begin + int(request.query["limit"])
        cursor = str(end) if end < len(self.uploads) else None
        return web.json_response({"uploads": self.uploads[begin:end], "cursor": cursor})

    async def _give(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        self.gets.append((key, request.headers.get("Range")))
        if faults := self.get_faults.get(key):
            status = faults.pop(0)
            if status == CUT:
                _cut(request)
            return web.Response(status=status, text="<Error><Code>AccessDenied</Code><Message>over</Message></Error>")
        body = self.objects.get(key)
        if body is None:
            return web.Response(status=404)
        if asked := request.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            return web.Response(status=206, body=body[int(first) : int(last) + 1 if last else None])
        return web.Response(body=body)

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="{}")

    async def _page(self, request: web.Request) -> web.Response:
        if self.page is None:
            return web.Response(status=404)
        return web.Response(text=self.page, content_type="text/html")


def _cut(request: web.Request) -> None:
    """End the connection where it stands."""
    if request.transport is not None:
        request.transport.abort()


@contextmanager
def running_api() -> Iterator[FakeApi]:
    """A `FakeApi` that listens."""
    api = FakeApi()
    with start_blocking_portal() as portal, _listening(portal, api):
        yield api


@contextmanager
def _listening(portal: BlockingPortal, api: FakeApi) -> Iterator[None]:
    async def start() -> web.AppRunner:
        runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        api.url = f"http://{host}:{port}"
        return runner

    runner = portal.call(start)
    try:
        yield
    finally:
        portal.call(runner.cleanup)
