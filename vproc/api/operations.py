"""What operators and their machines ask: liveness, readiness, metrics, version. All open, none of it tells of files."""

from __future__ import annotations

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from vproc.api.models import Health, Readiness, Version
from vproc.api.parts import parts_of
from vproc.api.problem import RETRY_AFTER_S
from vproc.api.reply import reply
from vproc.api.route import OPENMETRICS, PLAIN_TEXT, Access, Answer, Route

_HEALTH = Health()
_WEDGED = Health(status="wedged")


async def healthz(request: web.Request) -> web.Response:
    """The process lives and goes on: nothing outside of it is asked."""
    if parts_of(request).vitals.overdue():
        return reply(_WEDGED, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})
    return reply(_HEALTH)


async def readyz(request: web.Request) -> web.Response:
    """The process can do its work."""
    readiness = await parts_of(request).readiness()
    if readiness.status == "ready":
        return reply(readiness)
    return reply(readiness, status=503, headers={"Retry-After": str(RETRY_AFTER_S)})


async def version(request: web.Request) -> web.Response:
    """What runs here."""
    versions = parts_of(request).versions
    return reply(Version(version=versions.vproc, ffmpeg=versions.ffmpeg))


async def metrics(request: web.Request) -> web.StreamResponse:
    """Every metric of this process."""
    return await make_aiohttp_handler(parts_of(request).metrics.registry)(request)


ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        handler=healthz,
        access=Access.OPEN,
        summary="The process lives and goes on",
        answers=(Answer(200, "It does", Health), Answer(503, "A part of it stands still", Health)),
        tag="operations",
        quiet=True,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        access=Access.OPEN,
        summary="The process reaches its queue, buckets and database",
        answers=(Answer(200, "It does", Readiness), Answer(503, "It does not, or it is stopping", Readiness)),
        tag="operations",
        quiet=True,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics,
        access=Access.OPEN,
        summary="Metrics for Prometheus",
        answers=(Answer(200, "Prometheus' text format", media_types=(PLAIN_TEXT, OPENMETRICS)),),
        tag="operations",
        quiet=True,
    ),
    Route(
        method="GET",
        path="/version",
        handler=version,
        access=Access.IDENTITY,
        summary="What runs here",
        answers=(Answer(200, "Versions", Version),),
        tag="operations",
    ),
)
