"""Errors as RFC 9457 problems, request ids, the access line, metrics, headers: what every route has in common."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from uuid import UUID

import anyio
import pytest

import vproc.api.body
import vproc.http
from tests.api.conftest import LogLines
from tests.support.api import TokenIdentity, running_api
from tests.support.manifests import ladder
from tests.support.memory import SIGNATURE
from tests.support.routes import ACCOUNT_ROUTES, half_a_body, path_of
from vproc.core.keys import manifest_key
from vproc.errors import UnavailableError
from vproc.http import ROUTES

MEMBERS = {"type", "title", "status", "detail", "instance"}


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/upload/", 404, "Not Found"),
        ("GET", "/upload/5/status", 404, "Not Found"),
        ("GET", "/assets/..%2f..%2fsettings.py", 404, "Not Found"),
        ("GET", "/assets/nothing.js", 404, "Not Found"),
        ("GET", "/upload", 405, "Method Not Allowed"),
        ("PUT", "/healthz", 405, "Method Not Allowed"),
        ("PROPFIND", "/uploads", 405, "Method Not Allowed"),
        ("POST", "/upload", 415, "Unsupported Media Type"),
        ("GET", "/uploads?limit=x", 422, "Unprocessable Content"),
    ],
)
async def test_every_error_is_a_problem(tmp_path: Path, method: str, path: str, status: int, title: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.ask(method, path, headers={"X-Request-ID": "my.id_1-2"})
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json; charset=utf-8"
    body = answer.json
    assert set(body) == MEMBERS
    assert (body["type"], body["title"], body["status"], body["instance"]) == ("about:blank", title, status, "my.id_1-2")
    assert body["detail"].endswith(".")


async def test_a_wrong_method_is_told_which_are_right(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.ask("PUT", "/uploads")
        deletable = await api.get("/upload/11111111-2222-4333-8444-555555555555")
    assert answer.headers["Allow"] == "GET,HEAD"
    assert answer.detail == "This address takes GET, HEAD, not PUT."
    assert deletable.headers["Allow"] == "DELETE"


async def test_without_identity_every_route_that_is_not_open_is_a_401(tmp_path: Path) -> None:
    open_paths = set()
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        for route in ROUTES:
            path = path_of(route, UUID(int=5))
            answer = await api.ask(route.method, path, headers={"Cookie": "a=b"})
            if answer.status == 401:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert set(answer.json) == MEMBERS | ({"error", "message"} if path.startswith("/s3/") else set())
            else:
                assert answer.status == (404 if path.startswith(("/play/", "/auth/")) else 200), path
                open_paths.add(route.path)
    pages = {"/", "/ops", "/assets/{name}", "/openapi.json", "/docs", "/docs/{name}"}
    doors = ACCOUNT_ROUTES - {"/auth/me"}
    assert open_paths == {*pages, *doors, "/healthz", "/readyz", "/metrics", "/play/{token}/{path:.+}"}


async def test_what_nobody_expected_is_a_500_that_tells_nothing_and_one_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: LogLines
) -> None:
    async with running_api(tmp_path) as api:

        async def broken(_: UUID) -> None:
            raise RuntimeError("password=hunter2 at /srv/secret")

        monkeypatch.setattr(api.catalog, "get", broken)
        answer = await api.get(f"/upload/{UUID(int=1)}/status", headers={"X-Request-ID": "r-500"})
    assert answer.status == 500
    assert set(answer.json) == MEMBERS
    assert b"hunter2" not in answer.body
    assert b"/srv" not in answer.body
    [line] = logs.named("request_failed")
    assert line["request_id"] == "r-500"
    assert "RuntimeError" in line["exception"]
    assert "hunter2" not in logs.text
    assert logs.text.count("Traceback") == 1


async def test_an_answer_that_takes_too_long_is_a_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vproc.http, "ANSWER_WITHIN_S", 0.1)
    async with running_api(tmp_path) as api:
        file = await api.given.failed()
        api.raw.pause_next("head")
        answer = await api.get(f"/upload/{file.file_id}/download/original")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


async def test_a_body_that_does_not_arrive_is_a_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vproc.api.body, "BODY_WITHIN_S", 0.1)
    async with running_api(tmp_path) as api:
        assert (await half_a_body(api.port)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a", True), ("A-z0.9_" * 9, True), ("x" * 65, False), ("", False), ("a b", False), ('"', False), ("é", False)],
)
async def test_a_request_keeps_its_id_or_gets_one(tmp_path: Path, logs: LogLines, given: str, kept: bool) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.get("/version", headers={"X-Request-ID": given})
        other = await api.get("/version")
    request_id = answer.headers["X-Request-ID"]
    assert (request_id == given) == kept
    assert 1 <= len(request_id) <= 64
    assert request_id != other.headers["X-Request-ID"]
    assert [line["request_id"] for line in logs.named("request_answered")] == [request_id, other.headers["X-Request-ID"]]


async def test_each_request_is_one_line_and_probes_are_debug_lines(tmp_path: Path, logs: LogLines) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        await api.get(f"/upload/{file.file_id}/status?token=hunter2")
        await api.get("/nowhere/hunter2?a=hunter2")
        for path in ("/healthz", "/readyz", "/metrics"):
            await api.get(path)
    lines = [(line["level"], line["method"], line["route"], line["status"]) for line in logs.named("request_answered")]
    assert lines == [
        ("info", "GET", "/upload/{file_id}/status", 200),
        ("info", "GET", "unmatched", 404),
        ("debug", "GET", "/healthz", 200),
        ("debug", "GET", "/readyz", 200),
        ("debug", "GET", "/metrics", 200),
    ]
    assert all(line["duration_s"] >= 0 for line in logs.named("request_answered"))
    assert "hunter2" not in logs.text


async def test_what_happens_in_a_request_bears_its_id(tmp_path: Path, logs: LogLines) -> None:
    async with running_api(tmp_path) as api:
        await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers={"X-Request-ID": "r-1"})
        api.presigner.fail_next("put", UnavailableError("no credentials"))
        await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers={"X-Request-ID": "r-2"})
    assert [line["request_id"] for line in logs.named("upload_announced")] == ["r-1"]
    [away] = logs.named("dependency_unavailable")
    assert (away["request_id"], away["detail"]) == ("r-2", "no credentials")


async def test_neither_signatures_nor_tokens_are_ever_logged(tmp_path: Path, logs: LogLines) -> None:
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        headers = {"Authorization": "Bearer ann~hunter2"}
        made = await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=headers)
        file = await api.given.completed()
        await api.processed.put(manifest_key(file.file_id), ladder(file.file_id).to_json(), content_type="application/json")
        admin = {"Authorization": "Bearer admin", "Cookie": "session=hunter2"}
        for what in ("status", "events", "download/processed", "download/original"):
            answer = await api.get(f"/upload/{file.file_id}/{what}", headers=admin)
            assert answer.status in {200, 404}
        await api.get("/uploads?cursor=hunter2", headers=headers)
    assert SIGNATURE in made.json["upload_url"]
    assert logs.named("request_answered")
    for secret in (SIGNATURE, "hunter2"):
        assert secret not in logs.text


async def test_labels_come_from_the_route_table_and_a_short_list_of_methods(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        for number in range(5):
            await api.get(f"/upload/{UUID(int=number)}/status")
            await api.get(f"/random/{number}")
            await api.ask("PROPFIND", f"/random/{number}")
        await api.ask("HEAD", "/version")
        assert api.sample("vproc_http_requests_total", route="/upload/{file_id}/status", method="GET", status="404") == 5
        assert api.sample("vproc_http_requests_total", route="unmatched", method="GET", status="404") == 5
        assert api.sample("vproc_http_requests_total", route="unmatched", method="other", status="404") == 5
        assert api.sample("vproc_http_requests_total", route="/version", method="HEAD", status="200") == 1
        assert api.sample("vproc_http_request_duration_seconds_count", route="/version") == 1
        series = [sample for family in api.metrics.registry.collect() for sample in family.samples]
        routes = {sample.labels["route"] for sample in series if "route" in sample.labels}
    assert routes <= {route.template for route in ROUTES} | {"unmatched"}


async def test_a_streams_time_to_answer_ends_with_its_head(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        asked = perf_counter()
        async with api.session.get(f"{api.url}/upload/{file.file_id}/events") as response:
            head_seen = perf_counter()
            await response.content.readany()
            api.draining.set()
            await response.read()
        with anyio.fail_after(20):
            await api.until("vproc_http_requests_total", route="/upload/{file_id}/events", method="GET", status="200")
        total_s = api.sample("vproc_http_request_duration_seconds_sum", route="/upload/{file_id}/events")
    assert 0 < total_s <= head_seen - asked


@pytest.mark.parametrize(
    "line", [b"BREW /coffee?key=hunter2 HTTP/1.1", b"\x16\x03\x01hunter2", b"GET /" + b"hunter2" * 2000 + b" HTTP/1.1"]
)
async def test_what_is_no_http_is_refused_without_a_word_of_it_in_the_log(tmp_path: Path, logs: LogLines, line: bytes) -> None:
    async with running_api(tmp_path) as api, await anyio.connect_tcp("127.0.0.1", api.port) as socket:
        await socket.send(line + b"\r\nHost: a\r\n\r\n")
        with anyio.fail_after(20):
            assert (await socket.receive()).split(b" ")[1] == b"400"
        assert (await api.get("/healthz")).status == 200
    assert len(logs.named("request_unreadable")) == 1
    assert "hunter2" not in logs.text
    assert "Traceback" not in logs.text


async def test_every_answer_has_the_headers_that_keep_browsers_careful(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        answers = [await api.get(path) for path in ("/healthz", "/", "/docs", "/assets/style.css", "/nowhere", "/uploads")]
        crossed = await api.ask("OPTIONS", "/upload", headers={"Origin": "https://evil.example"})
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Server"] == "vproc"
        assert answer.headers["Cache-Control"] in {"no-store", "no-cache"}
    assert not [name for name in crossed.headers if name.lower().startswith("access-control")], "no CORS unless asked for"
    assert crossed.status == 405
