"""Uploads in parts as the API and its store answer them, for a client on loopback: what is broken is a list of the test's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import anyio
from aiohttp import web

CUT = 0
"""Among faults: the connection is cut instead of an answer. What was asked has taken effect."""


@dataclass
class FakeUpload:
    """An upload in parts. ``joined`` is the object once there is one."""

    key: str
    told: dict[str, Any]
    parts: dict[int, bytes] = field(default_factory=dict)
    joined: bytes | None = None
    given_up: bool = False


@dataclass
class FakeParts:
    """``put_faults``, by part: statuses of its next answers. ``api_faults``, by call (``begin``, ``list``, ``sign``, ``join``):
    likewise. The first ``together`` parts are answered once all of these have begun. ``sent`` names each part that arrived
    whole, in order; ``on_put`` hears of it before its answer."""

    uploads: dict[str, FakeUpload] = field(default_factory=dict)
    put_faults: dict[int, list[int]] = field(default_factory=dict)
    api_faults: dict[str, list[int]] = field(default_factory=dict)
    sent: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    on_put: Callable[[int], None] = lambda _: None
    together: int = 0
    most_at_once: int = 0
    _begun: anyio.Event = field(default_factory=anyio.Event)
    _at_once: int = 0

    @property
    def last(self) -> FakeUpload:
        """The upload that was begun last."""
        return list(self.uploads.values())[-1]

    def routes(self) -> list[web.RouteDef]:
        """Where the application answers for it. The store's own start with ``/raw/``."""
        return [
            web.post("/s3/multipart", self._begin),
            web.get("/s3/multipart/{id}", self._list),
            web.get(r"/s3/multipart/{id}/{number:\d+}", self._sign),
            web.post("/s3/multipart/{id}/complete", self._join),
            web.delete("/s3/multipart/{id}", self._give_up),
            web.put(r"/raw/parts/{id}/{number:\d+}", self._put),
        ]

    async def _begin(self, request: web.Request) -> web.Response:
        told = await request.json()
        once = request.headers["Idempotency-Key"]
        if once not in self.keys:
            self.keys.append(once)
            key = f"videos/default/{uuid4()}.mp4"
            self.uploads[f"up/{len(self.uploads) + 1}+="] = FakeUpload(key, told)
        upload_id, upload = list(self.uploads.items())[-1]
        return self._faulty(request, "begin") or web.json_response({"key": upload.key, "uploadId": upload_id, "bucket": "raw"})

    async def _list(self, request: web.Request) -> web.Response:
        upload = self._open(request)
        listed = [{"PartNumber": n, "ETag": f'"{etag(body)}"', "Size": len(body)} for n, body in sorted(upload.parts.items())]
        return self._faulty(request, "list") or web.json_response(listed)

    async def _sign(self, request: web.Request) -> web.Response:
        self._open(request)
        number = request.match_info["number"]
        [upload_id] = [name for name, upload in self.uploads.items() if upload is self._open(request)]
        place = list(self.uploads).index(upload_id)
        url = f"{request.url.origin()}/raw/parts/{place}/{number}?X-Amz-Signature=SECRET%2F{len(self.calls)}"
        return self._faulty(request, "sign") or web.json_response({"url": url, "expires": 900})

    async def _put(self, request: web.Request) -> web.Response:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        if self._at_once >= self.together:
            self._begun.set()
        try:
            await self._begun.wait()
            body = await request.read()
        finally:
            self._at_once -= 1
        number = int(request.match_info["number"])
        assert "Authorization" not in request.headers
        assert "Content-Type" not in request.headers
        upload = list(self.uploads.values())[int(request.match_info["id"])]
        self.sent.append(number)
        self.on_put(number)
        if faults := self.put_faults.get(number):
            status = faults.pop(0)
            if status != CUT:
                return web.Response(status=status, text="<Error><Code>Broken</Code></Error>")
            upload.parts[number] = body
            return _cut(request)
        upload.parts[number] = body
        return web.Response(headers={"ETag": f'"{etag(body)}"'})

    async def _join(self, request: web.Request) -> web.Response:
        upload = self._known(request)
        if upload.joined is None:
            self._open(request)
            named = [(part["PartNumber"], part["ETag"]) for part in (await request.json())["parts"]]
            if any(etag(upload.parts.get(number, b"lost")) != named_etag for number, named_etag in named):
                return problem(422, "parts: one has another ETag than was uploaded last: list the parts.")
            body = b"".join(upload.parts[number] for number, _ in named)
            if len(body) != upload.told["size"]:
                return problem(422, "parts: they are of another length than was announced.")
            upload.joined = body
        return self._faulty(request, "join") or web.json_response({"location": "x", "key": upload.key, "bucket": "raw"})

    async def _give_up(self, request: web.Request) -> web.Response:
        self._open(request).given_up = True
        return self._faulty(request, "give_up") or web.json_response({})

    def _faulty(self, request: web.Request, call: str) -> web.Response | None:
        self.calls.append(call)
        faults = self.api_faults.get(call)
        if not faults:
            return None
        status = faults.pop(0)
        return _cut(request) if status == CUT else problem(status, "as a test wants")

    def _known(self, request: web.Request) -> FakeUpload:
        upload = self.uploads.get(request.match_info["id"])
        if upload is None or upload.given_up or upload.key != request.query["key"]:
            raise web.HTTPNotFound(text='{"detail": "There is no such upload."}', content_type="application/problem+json")
        return upload

    def _open(self, request: web.Request) -> FakeUpload:
        upload = self._known(request)
        if upload.joined is not None:
            raise web.HTTPNotFound(text='{"detail": "There is no such upload."}', content_type="application/problem+json")
        return upload


def id_of(upload: FakeUpload) -> UUID:
    """The id of its file."""
    return UUID(upload.key.rpartition("/")[2].removesuffix(".mp4"))


def etag(body: bytes) -> str:
    """As S3 makes it."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def problem(status: int, detail: str) -> web.Response:
    """An error of the API's."""
    return web.json_response({"detail": detail}, status=status, content_type="application/problem+json")


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
