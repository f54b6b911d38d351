"""A true API for tests: the application behind its own server on loopback, over memory fakes and a catalog on SQLite."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import anyio
from aiohttp import web
from prometheus_client import CollectorRegistry

from tests.support.catalog import Given
from tests.support.memory import ManualClock, MemoryPresigner, MemoryQueue, MemoryStore
from tests.support.memory_letters import MemoryLetters
from tests.support.memory_multipart import MemoryMultipart
from vproc.api.access import OpenIdentity
from vproc.api.desk import OperationsDesk
from vproc.api.parts import Limits, Versions
from vproc.api.readiness import ReadinessChecks
from vproc.core.files import File
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.errors import UnauthenticatedError
from vproc.http import make_app, serve_app
from vproc.ports import AccountParts, Caller
from vproc.profiles import builtin_profile
from vproc.queue_gauges import QueueGauges
from vproc.telemetry import Metrics
from vproc.tracing import Tracer
from vproc.vitals import Vitals

PROFILES = {name: builtin_profile(name) for name in ("abr", "mp4", "copy")}
UPLOAD = {"file_name": "holiday.mp4"}


class TokenIdentity:
    """Callers by their token: ``Bearer NAME`` and ``Bearer NAME~ANYTHING`` are NAME, who sees all where it is ``admin``."""

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        """The name in the token."""
        if authorization is None or not authorization.startswith("Bearer "):
            raise UnauthenticatedError("Send Authorization: Bearer with a key or a token.")
        name = authorization.removeprefix("Bearer ").partition("~")[0]
        return Caller(name, admin=name == "admin")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """What a problem says."""
        return str(self.json["detail"])


@dataclass(slots=True, kw_only=True)
class RunningApi:
    """The parts that a test may prepare or look at, and ways to ask."""

    catalog: SqlCatalog
    given: Given
    app: web.Application
    session: aiohttp.ClientSession
    port: int
    raw: MemoryStore
    processed: MemoryStore
    queue: MemoryQueue
    presigner: MemoryPresigner
    multipart: MemoryMultipart
    metrics: Metrics
    draining: anyio.Event
    letters: MemoryLetters
    clock: ManualClock
    url: str = field(default="")

    async def ask(self, method: str, path: str, **options: Any) -> Answered:
        """One request, read whole."""
        async with self.session.request(method, f"{self.url}{path}", **options) as response:
            return Answered(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answered:
        """GET."""
        return await self.ask("GET", path, **options)

    async def upload(self, **fields: Any) -> Answered:
        """POST /upload with these fields beside a good name; a field that is ``...`` is left out."""
        body = {name: value for name, value in {**UPLOAD, **fields}.items() if value is not ...}
        return await self.ask("POST", "/upload", json=body)

    async def status(self, file_id: UUID | str) -> Any:
        """The file's status."""
        return (await self.get(f"/upload/{file_id}/status")).json

    def put_raw(self, file: File) -> None:
        """Do what the client does with its address."""
        self.raw.upload(file.key, b"media")

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it has none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def until(self, name: str, **labels: str) -> None:
        """Return once a metric has a value; each look is a round through the server. Bound it with `anyio.fail_after`."""
        while not self.sample(name, **labels):
            await self.get("/healthz")


@asynccontextmanager
async def running_api(
    folder: Path,
    *,
    identity: Any = None,
    limits: Limits | None = None,
    shutdown_timeout_s: float = 2.0,
    accounts: Callable[[SqlCatalog], AccountParts] | None = None,
    vitals: Vitals | None = None,
    database_url: str | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[RunningApi]:
    """An API on a port of its own, with its catalog in that folder, or at that address. ``accounts`` makes its accounts over that
    catalog."""
    raw, processed, queue, presigner = MemoryStore("raw"), MemoryStore("processed"), MemoryQueue(), MemoryPresigner()
    multipart = MemoryMultipart(raw)
    metrics, draining, letters, clock = Metrics(CollectorRegistry()), anyio.Event(), MemoryLetters(), ManualClock()
    async with open_catalog(database_url or f"sqlite+aiosqlite:///{folder}/catalog.db") as catalog:
        checks = {"queue": queue.check, "raw_bucket": raw.check, "database": catalog.check}
        readiness = ReadinessChecks(checks, draining=draining)
        gauges = QueueGauges(queue=queue, reader=catalog, metrics=metrics, clock=clock)
        app = make_app(
            catalog=catalog,
            raw=raw,
            processed=processed,
            presigner=presigner,
            multipart_uploads=multipart,
            queue=queue,
            identity=identity or OpenIdentity(),
            vitals=vitals,
            tracer=tracer,
            keys=catalog,
            metrics=metrics,
            limits=limits or Limits(profiles=PROFILES),
            versions=Versions(vproc="1.2.3", ffmpeg="5.1.9"),
            readiness=readiness,
            draining=draining,
            desk=OperationsDesk(reader=catalog, letters=letters, gauges=gauges, metrics=metrics, clock=clock),
            accounts=accounts(catalog) if accounts is not None else None,
        )
        serving = serve_app(app, host="127.0.0.1", port=0, shutdown_timeout_s=shutdown_timeout_s)
        async with serving as port, aiohttp.ClientSession() as session:
            yield RunningApi(
                catalog=catalog,
                given=Given(catalog),
                app=app,
                session=session,
                port=port,
                raw=raw,
                processed=processed,
                queue=queue,
                presigner=presigner,
                multipart=multipart,
                metrics=metrics,
                draining=draining,
                letters=letters,
                clock=clock,
                url=f"http://127.0.0.1:{port}",
            )
