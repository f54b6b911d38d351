"""The OpenAPI 3.1 document, assembled from the route table and the models. It is made once, at the start."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vproc.api.identity import COOKIE
from vproc.api.problem import PROBLEM_TYPE, problem_model
from vproc.api.route import JSON, Access, Answer, Route
from vproc.core.parts import MOST_PARTS

OPENAPI_VERSION = "3.1.0"
_SCHEMAS = "#/components/schemas/{model}"
_PLACEHOLDER = re.compile(r"{(\w+)}")
_PARAMETERS = {
    "file_id": ("The id that POST /upload gave", {"type": "string", "format": "uuid"}),
    "name": ("The file's name", {"type": "string"}),
    "token": ("What POST /upload/{file_id}/playback gave", {"type": "string"}),
    "uploadId": ("The id that POST /s3/multipart gave", {"type": "string"}),
    "partNumber": ("The part", {"type": "integer", "minimum": 1, "maximum": MOST_PARTS}),
    "path": ("The output, below the file's own prefix", {"type": "string"}),
}
_TAGS = {
    "uploads": "Announce an upload, follow it, fetch what was made of it.",
    "s3": "Uploads of any size, as Uppy's S3 plugin asks for them.",
    "playback": "Play what was made out of a bucket that nobody may read.",
    "identity": "Who asks.",
    "operations": "For operators and their machines.",
    "pages": "For people with a browser, and for programs that read this document.",
}
_HEADERS = {
    "X-Request-ID": {
        "description": (
            "What the log has this request under: the caller's own, where it sent one of up to 64 letters, digits, `.`, `_`, `-`."
        ),
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "What is asked for.", "required": True, "schema": {"type": "string"}},
}
_HEADERS_OF_STATUS: dict[int | None, tuple[str, ...]] = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate",),
    HTTPStatus.TOO_MANY_REQUESTS: ("Retry-After",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After",),
}
_SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, made by `vproc keys create`. Nothing is asked for with `VPROC_AUTH=none`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": (
            "A browser's session, begun by POST /auth/session. What changes something is taken from this site's own pages only."
        ),
    },
}
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.FOUND, HTTPStatus.NOT_MODIFIED})

Schemas = dict[tuple[Any, str], dict[str, Any]]
"""The reference to a model's schema, by model and mode."""


def openapi_document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """The document of these routes."""
    table = tuple(routes)
    references, definitions = _schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, references, links=_links(table))
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "vproc",
            "version": version,
            "summary": "A self-hosted video pipeline: presigned uploads in, HLS, DASH and MP4 out.",
            "description": (
                "Errors are `application/problem+json` (RFC 9457); `detail` says in words what is wrong. "
                "Where there is a GET, there is a HEAD, but for streams of events."
            ),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "headers": _HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _schemas(routes: tuple[Route, ...]) -> tuple[Schemas, dict[str, Any]]:
    """Each model's reference by its mode, and all definitions."""
    wanted: dict[tuple[type[BaseModel], Literal["validation", "serialization"]], None] = {}
    for route in routes:
        wanted[problem_model(route.template), "serialization"] = None
        if route.body is not None:
            wanted[route.body, "validation"] = None
        for answer in route.answers:
            if answer.model is not None:
                wanted[answer.model, "serialization"] = None
    references, document = models_json_schema(list(wanted), ref_template=_SCHEMAS)
    return {(model, mode): schema for (model, mode), schema in references.items()}, document["$defs"]


def _operation(route: Route, references: Schemas, *, links: dict[str, Any]) -> dict[str, Any]:
    responses = {str(answer.status): _response(answer, references) for answer in route.answers}
    for answer in route.answers:
        if answer.status == HTTPStatus.CREATED and answer.model is not None and "file_id" in answer.model.model_fields:
            responses[str(answer.status)]["links"] = links
    for status in route.all_problems:
        responses.setdefault(str(status), _problem(route, status, references))
    responses["default"] = _problem(route, None, references)
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": responses,
        "security": [{"bearer": []}, {"cookie": []}] if route.access is not Access.OPEN else [],
    }
    if route.description:
        operation["description"] = route.description
    if parameters := [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = references[route.body, "validation"]
        operation["requestBody"] = {"required": route.body_required, "content": {JSON: {"schema": schema}}}
    return operation


def _links(routes: tuple[Route, ...]) -> dict[str, Any]:
    """What can be asked of a file, to the answer that gave its id."""
    return {
        route.operation_id: {"operationId": route.operation_id, "parameters": {"file_id": "$response.body#/file_id"}}
        for route in routes
        if "{file_id}" in route.template
    }


def _response(answer: Answer, references: Schemas) -> dict[str, Any]:
    own = {
        header.name: {"description": header.description, "required": header.always, "schema": {"type": "string"}}
        for header in answer.headers
    }
    response: dict[str, Any] = {"description": answer.description, "headers": _common_headers(answer.status) | own}
    if answer.model is not None:
        schema = references[answer.model, "serialization"]
        response["content"] = {kind: {"schema": schema} for kind in answer.media_types}
    elif answer.status not in _WITHOUT_BODY:
        response["content"] = {kind: {"schema": {} if kind == JSON else {"type": "string"}} for kind in answer.media_types}
    return response


def _problem(route: Route, status: int | None, references: Schemas) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase if status is not None else "Any other error",
        "headers": _common_headers(status),
        "content": {PROBLEM_TYPE: {"schema": references[problem_model(route.template), "serialization"]}},
    }


def _common_headers(status: int | None) -> dict[str, Any]:
    names = ["X-Request-ID", *_HEADERS_OF_STATUS.get(status, ())]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = _PLACEHOLDER.findall(route.template)
    return [
        {"name": name, "in": "path", "required": True, "description": _PARAMETERS[name][0], "schema": _PARAMETERS[name][1]}
        for name in names
    ]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": False,
            "description": header.description,
            "schema": {"type": "string"} | ({"minLength": 1, "maxLength": most} if (most := header.most_characters) else {}),
        }
        for header in route.headers
    ]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    document = route.query.model_json_schema(ref_template=_SCHEMAS)
    definitions = document.get("$defs", {})
    parameters = []
    for name, field in document["properties"].items():
        schema = _inlined({key: value for key, value in field.items() if key not in {"title", "description"}}, definitions)
        parameters.append({"name": name, "in": "query", "description": field.get("description", ""), "schema": schema})
    return parameters


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its references replaced by what they name: a query's models are no components."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}
