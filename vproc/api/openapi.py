"""The OpenAPI 3.1 document, assembled from the route table and the models. It is made once, at the start."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vproc.api.models import Problem
from vproc.api.problem import PROBLEM_TYPE
from vproc.api.route import JSON, Access, Answer, Route

OPENAPI_VERSION = "3.1.0"
_SCHEMAS = "#/components/schemas/{model}"
_PLACEHOLDER = re.compile(r"{(\w+)(?::[^}]*)?}")
_PARAMETERS = {
    "file_id": ("The id that POST /upload gave", {"type": "string", "format": "uuid"}),
    "name": ("The file's name", {"type": "string"}),
}
_TAGS = {
    "uploads": "Announce an upload, follow it, fetch what was made of it.",
    "operations": "For operators and their machines.",
    "pages": "For people with a browser, and for programs that read this document.",
}

Schemas = dict[tuple[Any, str], dict[str, Any]]
"""The reference to a model's schema, by model and mode."""


def openapi_document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """The document of these routes."""
    table = tuple(routes)
    references, definitions = _schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        path = _PLACEHOLDER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "vproc",
            "version": version,
            "summary": "A self-hosted video pipeline: presigned uploads in, HLS, DASH and MP4 out.",
            "description": "Errors are `application/problem+json` (RFC 9457); `detail` says in words what is wrong.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Not asked for with `VPROC_AUTH=none`."}
            },
        },
    }


def _schemas(routes: tuple[Route, ...]) -> tuple[Schemas, dict[str, Any]]:
    """Each model's reference by its mode, and all definitions."""
    wanted: dict[tuple[type[BaseModel], Literal["validation", "serialization"]], None] = {(Problem, "serialization"): None}
    for route in routes:
        if route.body is not None:
            wanted[route.body, "validation"] = None
        for answer in route.answers:
            if answer.model is not None:
                wanted[answer.model, "serialization"] = None
    references, document = models_json_schema(list(wanted), ref_template=_SCHEMAS)
    return {(model, mode): schema for (model, mode), schema in references.items()}, document["$defs"]


def _operation(route: Route, references: Schemas) -> dict[str, Any]:
    responses = {str(answer.status): _response(answer, references) for answer in route.answers}
    for status in route.all_problems:
        responses.setdefault(str(status), _problem(HTTPStatus(status).phrase, references))
    responses["default"] = _problem("Any other error", references)
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "tags": [route.tag],
        "summary": route.summary,
        "responses": responses,
        "security": [{"bearer": []}] if route.access is Access.IDENTITY else [],
    }
    if route.description:
        operation["description"] = route.description
    if parameters := [*_path_parameters(route), *_query_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = references[route.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return operation


def _response(answer: Answer, references: Schemas) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.description}
    if answer.model is not None:
        response["content"] = {answer.media_type: {"schema": references[answer.model, "serialization"]}}
    elif answer.status != HTTPStatus.NO_CONTENT:
        response["content"] = {answer.media_type: {"schema": {} if answer.media_type == JSON else {"type": "string"}}}
    return response


def _problem(description: str, references: Schemas) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": references[Problem, "serialization"]}}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = _PLACEHOLDER.findall(route.path)
    return [
        {"name": name, "in": "path", "required": True, "description": _PARAMETERS[name][0], "schema": _PARAMETERS[name][1]}
        for name in names
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
