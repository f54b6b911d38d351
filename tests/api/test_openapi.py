"""The OpenAPI document and the page made of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from tests.support.api import running_api
from vproc.api.docs import docs_page
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
    assert sorted(described) == sorted((route.method, route.path) for route in ROUTES)
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


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
        operation = document["paths"][route.path][route.method.lower()]
        assert bool(operation["security"]) == (route.access is Access.IDENTITY)
        assert ("401" in operation["responses"]) == (route.access is Access.IDENTITY)
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


class Links(HTMLParser):
    """Ids, links and foreign sources of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), "no script in attributes"
            assert name != "style"
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src"}:
                self.targets.append(value or "")


def test_the_page_shows_every_operation_and_body_and_asks_no_other_host(document: dict[str, Any]) -> None:
    page = docs_page(document)
    links = Links(page)
    for route in ROUTES:
        assert f"<code>{route.method} {route.path}</code>" in page
    for name in document["components"]["schemas"]:
        assert f"schema-{name}" in links.ids
    assert len(links.ids) == len(set(links.ids))
    for target in links.targets:
        assert target.startswith(("#", "/")), target
        assert not target.startswith("//")
        if target.startswith("#"):
            assert target[1:] in links.ids
    assert "script" not in links.tags


def test_the_page_escapes_what_the_document_says(document: dict[str, Any]) -> None:
    document["info"]["description"] = "<script>alert(1)</script> `<b>`"
    document["paths"]["/version"]["get"]["summary"] = "<img src=x>"
    page = docs_page(document)
    assert Links(page).tags.isdisjoint({"script", "img", "b"})
    assert "<code>&lt;b&gt;</code>" in page


async def test_both_are_served_and_kept_by_their_digest(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        for path, kind in (("/openapi.json", "application/json"), ("/docs", "text/html")):
            answer = await api.get(path)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
            again = await api.get(path, headers={"If-None-Match": answer.headers["ETag"]})
            assert (again.status, again.body) == (304, b"")
        validate((await api.get("/openapi.json")).json, cls=OpenAPIV31SpecValidator)
        policy = (await api.get("/docs")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["ETag"])
