"""Errors as answers (RFC 9457): which status an error has, and what may be said of it to whoever asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from vproc.api.models import Problem
from vproc.api.parts import REQUEST_ID
from vproc.api.s3_models import S3Problem, in_uppys_words
from vproc.errors import RequestError, ServiceUnavailableError, TooManyRequestsError, UnauthenticatedError, UnavailableError

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
MAX_BODY_BYTES = 64 * 1024
_UPPYS = "/s3/"

log = structlog.stdlib.get_logger(__name__)


class UnsupportedMediaTypeError(RequestError):
    """A body in a form that no route takes."""

    status = 415
    title = "Unsupported Media Type"


class RequestTimeoutError(RequestError):
    """A body that did not arrive in time."""

    status = 408
    title = "Request Timeout"


def problem_response(request: web.Request, error: Exception) -> web.Response:
    """The answer to an error. What nobody expected is logged here, and only here, and shown as nothing but a 500."""
    if isinstance(error, RequestError):
        return _answer(request, error.status, error.title, error.detail, headers=_headers_of(error), extra=error.extra)
    if isinstance(error, UnavailableError):
        log.warning("dependency_unavailable", code=error.code, detail=error.detail)
        away = ServiceUnavailableError("Something that this needs does not answer at the moment. Try again shortly.")
        return problem_response(request, away)
    if isinstance(error, TimeoutError):
        log.warning("request_timed_out")
        return problem_response(request, ServiceUnavailableError("There was no answer in time. Try again shortly."))
    if isinstance(error, web.HTTPException):
        return _answer(request, error.status, error.reason, _words_of(error, request), headers=_kept_headers(error))
    log.error("request_failed", exc_info=error)
    detail = "Something went wrong here. The log has it under this request's id."
    return _answer(request, 500, HTTPStatus(500).phrase, detail)


def problem_model(path: str) -> type[Problem]:
    """What an error of that path looks like: under ``/s3/`` Uppy reads it, which looks for members of other names."""
    return S3Problem if path.startswith(_UPPYS) else Problem


def _answer(
    request: web.Request,
    status: int,
    title: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
) -> web.Response:
    body = Problem(title=title, status=status, detail=detail, instance=request[REQUEST_ID]).model_dump()
    if problem_model(request.path) is S3Problem:
        body = in_uppys_words(body)
    text = json.dumps({**(extra or {}), **body}, ensure_ascii=False)
    return web.Response(status=status, text=text, headers=headers, content_type=PROBLEM_TYPE)


def _headers_of(error: RequestError) -> dict[str, str]:
    if isinstance(error, UnauthenticatedError):
        return {hdrs.WWW_AUTHENTICATE: "Bearer"}
    if isinstance(error, TooManyRequestsError | ServiceUnavailableError):
        return {hdrs.RETRY_AFTER: str(error.retry_after_s)}
    return {}


def _kept_headers(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in (hdrs.ALLOW, hdrs.RETRY_AFTER) if name in error.headers}


def _words_of(error: web.HTTPException, request: web.Request) -> str:
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"This address takes {', '.join(sorted(error.allowed_methods))}, not {request.method}."
    if isinstance(error, web.HTTPNotFound):
        return "There is nothing at this address. GET /openapi.json lists what there is."
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return f"A body takes {MAX_BODY_BYTES // 1024} KiB at most."
    return f"{error.reason}."
