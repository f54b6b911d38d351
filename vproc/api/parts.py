"""What the handlers work with: the ports and a few values, put in the application once. Nothing is decided here."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import anyio
from aiohttp import web

from vproc.api.desk import OperationsDesk
from vproc.api.models import Readiness
from vproc.core.profile import Profile
from vproc.core.quotas import Quotas
from vproc.ports import AccountParts, Caller, Catalog, Identity, KeyStore, MultipartUploads, ObjectStore, Presigner, Queue
from vproc.settings import GIB, AuthMode
from vproc.telemetry import Metrics
from vproc.tracing import NoTracer, Tracer
from vproc.vitals import Vitals


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that the API answers by. ``profiles`` are those it takes, by name, ``default_profile`` the one for uploads
    that name none; ``auth`` is how callers prove who they are, as the page is told; ``public_url`` is a CDN in front of the
    processed bucket; ``cors_origins`` are those whose pages may ask. ``requests_per_minute`` is an owner's,
    ``unknown_per_minute`` an address's of which nobody knows who asks; ``webhook_hosts`` may be told of a file on private
    addresses too."""

    profiles: Mapping[str, Profile]
    default_profile: str = "abr"
    auth: AuthMode = AuthMode.NONE
    max_upload_bytes: int = 50 * GIB
    public_url: str | None = None
    upload_expires_s: int = 900
    cors_origins: frozenset[str] = frozenset()
    quotas: Quotas = field(default_factory=Quotas)
    requests_per_minute: int | None = None
    unknown_per_minute: int | None = None
    webhook_hosts: frozenset[str] = frozenset()


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
    multipart: MultipartUploads
    queue: Queue
    identity: Identity
    keys: KeyStore
    metrics: Metrics
    limits: Limits
    versions: Versions
    readiness: Callable[[], Awaitable[Readiness]]
    draining: anyio.Event
    desk: OperationsDesk
    new_id: Callable[[], UUID]
    accounts: AccountParts | None = None
    vitals: Vitals = field(default_factory=Vitals)
    tracer: Tracer = field(default_factory=NoTracer)
    answering: set[tuple[str, str]] = field(default_factory=set)
    known_secrets: dict[str, bytes] = field(default_factory=dict)

    async def secret(self, name: str, size_bytes: int) -> bytes:
        """A secret that every process over this catalog shares; the first that asks for it makes it."""
        if name not in self.known_secrets:
            self.known_secrets[name] = await self.keys.secret(name, secrets.token_bytes(size_bytes))
        return self.known_secrets[name]


PARTS = web.AppKey("parts", Parts)
CALLER = web.RequestKey("caller", Caller)
AUDITED_FILE = web.RequestKey("audited_file", UUID)
"""The file that a request made, for the audit; one that the path names is known."""
REQUEST_ID = web.RequestKey("request_id", str)
STREAM = web.RequestKey("stream", web.StreamResponse)
"""A response whose head was sent already: nothing else can be answered."""
ANSWERED_AT = web.RequestKey("answered_at", float)
"""The `perf_counter` time at which a stream's head was sent: the time to answer ends there."""


def parts_of(request: web.Request) -> Parts:
    """The application's parts."""
    return request.app[PARTS]
