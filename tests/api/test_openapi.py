"""The OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from vproc.api.models import FileStatus, Problem, UploadAddress, UploadRequest
from vproc.api.openapi import openapi_document
from vproc.api.route import Access
from vproc.core.files import Status
from vproc.errors import ErrorCode
from vproc.http import ROUTES


@pytest.fixture
def document() -> dict[str, Any]:
    return openapi_document(ROUTES, version="1.2.3")


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"


def test_every_route_is_in_it_once_and_nothing_else(document: dict[str, Any]) -> None:
    described = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert sorted(described) == sorted((route.method, route.template) for route in ROUTES)
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(ids) == len(set(ids))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/upload", "postUpload"),
        ("GET", "/upload/{file_id}/download/original", "getUploadDownloadOriginal"),
        ("DELETE", "/upload/{file_id}", "deleteUploadByFileId"),
        ("GET", "/play/{token}/{path:.+}", "getPlayByPath"),
        ("GET", "/openapi.json", "getOpenapiJson"),
        ("GET", "/", "getIndex"),
    ],
)
def test_an_operation_is_named_by_what_its_callers_see(method: str, path: str, name: str) -> None:
    [route] = [route for route in ROUTES if (route.method, route.path) == (method, path)]
    assert route.operation_id == name


def test_every_answer_names_its_headers(document: dict[str, Any]) -> None:
    """The request's id on all; how long to wait on 429 and 503; what is asked for on 401."""
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"]
            assert ("Retry-After" in answer["headers"]) is (status in {"429", "503"})
            assert ("WWW-Authenticate" in answer["headers"]) is (status == "401")
    upload = document["paths"]["/upload"]["post"]["responses"]["201"]
    assert "Idempotent-Replayed" in upload["headers"]
    assert "Link" in document["paths"]["/uploads"]["get"]["responses"]["200"]["headers"]
    assert "ETag" in document["paths"]["/docs"]["get"]["responses"]["304"]["headers"]
    assert "Location" in document["paths"]["/play/{token}/{path}"]["get"]["responses"]["302"]["headers"]


def test_an_upload_leads_to_all_that_can_be_asked_of_its_file(document: dict[str, Any]) -> None:
    links = document["paths"]["/upload"]["post"]["responses"]["201"]["links"]
    assert links.keys() == {route.operation_id for route in ROUTES if "{file_id}" in route.path}
    assert {link["parameters"]["file_id"] for link in links.values()} == {"$response.body#/file_id"}


def test_the_contracts_routes_are_all_there(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described >= {
        ("POST", "/upload"),
        ("GET", "/upload/{file_id}/status"),
        ("GET", "/upload/{file_id}/download/original"),
        ("GET", "/upload/{file_id}/download/processed"),
        ("GET", "/upload/{file_id}/events"),
        ("POST", "/upload/{file_id}/cancel"),
        ("POST", "/upload/{file_id}/retry"),
        ("DELETE", "/upload/{file_id}"),
        ("GET", "/uploads"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/version"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/"),
    }


def test_who_may_ask_is_told_as_the_table_has_it(document: dict[str, Any]) -> None:
    for route in ROUTES:
        operation = document["paths"][route.template][route.method.lower()]
        asked = route.access is not Access.OPEN
        assert operation["security"] == ([{"bearer": []}, {"cookie": []}] if asked else [])
        for status in ("401", "429"):
            assert (status in operation["responses"]) is (asked or HTTPStatus(int(status)) in route.problems)
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}


def test_schemas_are_the_models_that_check_and_answer(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for model in (UploadRequest, UploadAddress, FileStatus, Problem):
        assert schemas[model.__name__]["properties"].keys() == model.model_fields.keys()
    assert schemas["UploadRequest"]["required"] == ["file_name"]
    assert schemas["UploadRequest"]["additionalProperties"] is False
    assert schemas["Status"]["enum"] == [status.value for status in Status]
    assert set(schemas["ErrorCode"]["enum"]) == {code.value for code in ErrorCode}
    assert set(schemas["FileStatus"]["required"]) == FileStatus.model_fields.keys(), "every field of a status is always there"


def test_queries_are_described_with_their_bounds(document: dict[str, Any]) -> None:
    parameters = {entry["name"]: entry for entry in document["paths"]["/uploads"]["get"]["parameters"]}
    assert parameters.keys() == {"status", "limit", "cursor"}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert "pending" in str(parameters["status"]["schema"])
    assert "$ref" not in str(parameters)
    outputs = document["paths"]["/upload/{file_id}/download/processed"]["get"]
    [parameter] = [entry for entry in outputs["parameters"] if entry["in"] == "query"]
    assert (parameter["name"], parameter["schema"]) == ("segments", {"type": "boolean", "default": False})
    assert "422" in outputs["responses"]
