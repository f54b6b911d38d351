"""What the handlers work with: the ports and a few values, put in the application once. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

import anyio
from aiohttp import web

from vproc.api.models import Readiness
from vproc.ports import Caller, Catalog, Identity, ObjectStore, Presigner, Queue
from vproc.settings import GIB
from vproc.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that the API answers by. ``profiles`` are the names it takes, ``default_profile`` the one for uploads
    that name none; ``public_url`` is a CDN in front of the processed bucket."""

    profiles: tuple[str, ...]
    default_profile: str = "abr"
    max_upload_bytes: int = 50 * GIB
    public_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What runs here. ``ffmpeg`` is None in a process that runs none."""

    vproc: str
    ffmpeg: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that a handler may use. ``draining`` is set when the process begins to stop: it ends the event streams."""

    catalog: Catalog
    raw: ObjectStore
    processed: ObjectStore
    presigner: Presigner
    queue: Queue
    identity: Identity
    metrics: Metrics
    limits: Limits
    versions: Versions
    readiness: Callable[[], Awaitable[Readiness]]
    draining: anyio.Event
    new_id: Callable[[], UUID]


PARTS = web.AppKey("parts", Parts)
CALLER = web.RequestKey("caller", Caller)
REQUEST_ID = web.RequestKey("request_id", str)
STREAM = web.RequestKey("stream", web.StreamResponse)
"""A response whose head was sent already: nothing else can be answered."""
ANSWERED_AT = web.RequestKey("answered_at", float)
"""The `perf_counter` time at which a stream's head was sent: the time to answer ends there."""


def parts_of(request: web.Request) -> Parts:
    """The application's parts."""
    return request.app[PARTS]
