"""Pages of other origins (``VPROC_CORS_ORIGINS``): what a browser asks before it asks, and what its scripts may read.

Origins are named one by one and echoed: cookies go with such requests, for which browsers take no ``*``.
"""

from __future__ import annotations

from aiohttp import hdrs, web

from vproc.api.parts import PARTS

_METHODS = "GET, POST, DELETE, OPTIONS"
_HEADERS = (
    "authorization, content-type, accept, origin, idempotency-key, x-request-id, last-event-id, "
    "uppy-auth-token, uppy-credentials-params, uppy-versions"
)
_EXPOSED = "Idempotent-Replayed, Link, Location, Retry-After, X-Request-ID"
_KEPT_S = 600


def answer_preflight(request: web.Request) -> web.Response | None:
    """The answer to a browser that asks for a page whether that may ask; None for any other request, and any other page."""
    if request.method != hdrs.METH_OPTIONS or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers or not _is_named(request):
        return None
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(_KEPT_S),
        },
    )


def tell_who_may_read(request: web.Request, response: web.StreamResponse) -> None:
    """Let the scripts of a page that is named read the answer."""
    if not request.app[PARTS].limits.cors_origins:
        return
    vary = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{vary}, {hdrs.ORIGIN}" if vary else hdrs.ORIGIN
    if _is_named(request) and hdrs.ACCESS_CONTROL_ALLOW_ORIGIN not in response.headers:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED


def _is_named(request: web.Request) -> bool:
    return request.headers.get(hdrs.ORIGIN) in request.app[PARTS].limits.cors_origins
