"""The HTTP application: one route table, the middlewares (request id, log and metrics; errors; identity), the server.

What a route does stands in `vproc.api`. Nothing here opens a client: every part is handed in.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from types import MappingProxyType
from uuid import UUID, uuid4

import anyio
import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from vproc.api import accounts, downloads, events, hosted, multipart, operations, ops, pages, playback, sessions, signing, uploads
from vproc.api.audit import peer_of, write_audit
from vproc.api.body import MOST_BODY_BYTES, refuse_encoded
from vproc.api.cors import answer_preflight, tell_who_may_read
from vproc.api.desk import OperationsDesk
from vproc.api.models import Readiness
from vproc.api.openapi import openapi_document
from vproc.api.pages import PAGES, load_pages
from vproc.api.parts import ANSWERED_AT, CALLER, PARTS, REQUEST_ID, STREAM, Limits, Parts, Versions, parts_of
from vproc.api.problem import problem_response
from vproc.api.rates import RateLimit, counted_as
from vproc.api.route import Access, Handler, Route
from vproc.api.sessions import refuse_foreign_page
from vproc.errors import ConfigError, ForbiddenError, UnauthenticatedError
from vproc.ports import AccountParts, Catalog, Identity, KeyStore, MultipartUploads, ObjectStore, Presigner, Queue
from vproc.telemetry import Metrics
from vproc.vitals import Vitals

ROUTES = (
    *uploads.ROUTES, *multipart.ROUTES, *signing.ROUTES, *downloads.ROUTES, *playback.ROUTES, *events.ROUTES, *sessions.ROUTES,
    *accounts.ROUTES, *hosted.ROUTES, *operations.ROUTES, *ops.ROUTES, *pages.ROUTES,
)  # fmt: skip
"""Every route there is."""

ANSWER_WITHIN_S = 30.0
SHUTDOWN_TIMEOUT_S = 2.0
_KEEPALIVE_S = 75.0  # longer than a load balancer's idle time (AWS: 60 s), so that it is the one to close
_CLIENT_CLOSED = 499
UNMATCHED = "unmatched"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_DOORS = "/auth/"
"""Open routes by which somebody becomes known: guesses are counted by the address that they come from."""

FOR_ADMINS = "This is for admins: a key with the scope admin, or a token that makes one."

_OWNERS = web.AppKey("owners", RateLimit)
_UNKNOWN = web.AppKey("unknown", RateLimit)
_ROUTE_OF = web.AppKey("route_of", Mapping[web.AbstractRoute, Route])

log = structlog.stdlib.get_logger(__name__)


def make_app(
    *,
    catalog: Catalog,
    raw: ObjectStore,
    processed: ObjectStore,
    presigner: Presigner,
    multipart_uploads: MultipartUploads,
    queue: Queue,
    identity: Identity,
    keys: KeyStore,
    metrics: Metrics,
    limits: Limits,
    versions: Versions,
    readiness: Callable[[], Awaitable[Readiness]],
    draining: anyio.Event,
    desk: OperationsDesk,
    new_id: Callable[[], UUID] = uuid4,
    accounts: AccountParts | None = None,
    vitals: Vitals | None = None,
) -> web.Application:
    """The application. ``draining`` is the caller's to set when the process begins to stop; closing the server sets it too.

    ``accounts`` None: there are none here, and their routes say so.
    """
    app = web.Application(middlewares=[_observed, _errors_answered, _identified], client_max_size=MOST_BODY_BYTES)
    app[PARTS] = Parts(
        catalog=catalog,
        raw=raw,
        processed=processed,
        presigner=presigner,
        multipart=multipart_uploads,
        queue=queue,
        identity=identity,
        keys=keys,
        metrics=metrics,
        limits=limits,
        versions=versions,
        readiness=readiness,
        draining=draining,
        desk=desk,
        new_id=new_id,
        accounts=accounts,
        vitals=vitals or Vitals(),
    )
    app[_OWNERS] = RateLimit("requests_per_minute", limits.requests_per_minute)
    app[_UNKNOWN] = RateLimit("unknown_per_minute", limits.unknown_per_minute)
    app[PAGES] = load_pages(
        openapi_document(ROUTES, version=versions.vproc), limits, hosted=accounts is not None and accounts.hosted is not None
    )
    route_of: dict[web.AbstractRoute, Route] = {}
    for route in ROUTES:
        resource = app.router.add_resource(route.path)
        route_of[resource.add_route(route.method, route.handler)] = route
        if route.method == hdrs.METH_GET and not route.streams and route.audit is None:
            route_of[resource.add_route(hdrs.METH_HEAD, route.handler)] = route
    app[_ROUTE_OF] = MappingProxyType(route_of)
    app.on_response_prepare.append(_common_headers)
    app.on_shutdown.append(_end_streams)
    return app


@asynccontextmanager
async def serve_app(
    app: web.Application, *, host: str, port: int, shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S
) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port, which the system chose if ``port`` was 0. Raises `ConfigError`.

    At the end the listener closes first, event streams end, and requests in flight have ``shutdown_timeout_s``.
    """
    runner = web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=True,
        access_log=None,
        logger=_server_log(),
        keepalive_timeout=_KEEPALIVE_S,
        shutdown_timeout=shutdown_timeout_s,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise _cannot_listen(error, host, port) from error
        bound = int(runner.addresses[0][1])
        log.info("api_listening", host=host, port=bound)
        yield bound
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _server_log() -> logging.Logger:
    """The server's own log, without requests that are no HTTP: aiohttp tells each at length, with what was in it."""
    server_log = logging.Logger("vproc.http.server")  # noqa: LOG001 - a shared one would gather a filter for each server
    server_log.parent = logging.getLogger()
    server_log.addFilter(_readable)
    return server_log


def _readable(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    log.debug("request_unreadable", reason=type(error).__name__)
    return False


def _cannot_listen(error: OSError, host: str, port: int) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"VPROC_PORT: port {port} of {host} is in use by another program; takes a free port, or 0 for any")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return ConfigError(f"VPROC_PORT: port {port} may not be opened by this user; takes one from 1024 up")
    return ConfigError(f"VPROC_HOST: {host} is no address of this machine ({error.strerror or error})")


@web.middleware
async def _observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, and tell log and metrics how it was answered: the route's template, never the address."""
    given = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
    begun = perf_counter()
    status = _CLIENT_CLOSED
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]):
        try:
            response = await handler(request)
            status = response.status
        finally:
            _tell(request, status, begun)
            if (route := _route_of(request)) is not None and route.audit is not None:
                write_audit(request, route.audit, status)
    return response


def _tell(request: web.Request, status: int, begun: float) -> None:
    now = perf_counter()
    route = _route_of(request)
    template = route.template if route else UNMATCHED
    method = request.method if request.method in _METHODS else "other"
    metrics = parts_of(request).metrics
    metrics.http_requests.labels(template, method, str(status)).inc()
    metrics.http_duration.labels(template).observe(request.get(ANSWERED_AT, now) - begun)
    tell = log.debug if route is not None and route.quiet else log.info
    tell("request_answered", method=method, route=template, status=status, duration_s=round(now - begun, 6))


@web.middleware
async def _errors_answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem, and bound the time that an answer may take."""
    route = _route_of(request)
    if (preflight := answer_preflight(request)) is not None:
        return preflight
    try:
        refuse_encoded(request)
        with anyio.fail_after(None if route is not None and route.streams else ANSWER_WITHIN_S):
            return await handler(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is answered; a cancellation is none of these
        problem = problem_response(request, error)
        # A stream's head is out: all that is left is to end it, which its reader knows from an end that was meant.
        answer: web.StreamResponse = request.get(STREAM, problem)
        return answer


@web.middleware
async def _identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who asks, on every route that is not open."""
    route = _route_of(request)
    if route is not None and route.access is not Access.OPEN:
        identity = parts_of(request).identity
        try:
            caller = await identity.identify(request.headers.get(hdrs.AUTHORIZATION), request.cookies)
        except UnauthenticatedError:
            request.app[_UNKNOWN].take(counted_as(peer_of(request)))
            raise
        request[CALLER] = caller
        if caller.by_cookie:
            refuse_foreign_page(request, changes=route.audit is not None)
        if not caller.admin:
            request.app[_OWNERS].take(caller.owner)
        if route.access is Access.ADMIN and not caller.admin:
            raise ForbiddenError(FOR_ADMINS)
        # Every line that this request logs says who made it.
        with structlog.contextvars.bound_contextvars(owner=caller.owner, **({"key_id": caller.key_id} if caller.key_id else {})):
            return await handler(request)
    if route is not None and route.path.startswith(_DOORS):
        request.app[_UNKNOWN].take(counted_as(peer_of(request)))
    return await handler(request)


def _route_of(request: web.Request) -> Route | None:
    return request.app[_ROUTE_OF].get(request.match_info.route)


async def _common_headers(request: web.Request, response: web.StreamResponse) -> None:
    if (request_id := request.get(REQUEST_ID)) is not None:
        response.headers["X-Request-ID"] = request_id
    response.headers[hdrs.SERVER] = "vproc"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    tell_who_may_read(request, response)


async def _end_streams(app: web.Application) -> None:
    app[PARTS].draining.set()
