"""Requests as spans: which have one, what it says, and what is signed into the addresses that they give out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.api.conftest import LogLines
from tests.support.api import RunningApi, TokenIdentity, running_api
from tests.support.spans import CALLERS, SPAN, TRACE, Spans, place, told
from vproc.errors import UnavailableError

ANN = {"Authorization": "Bearer ann", "traceparent": CALLERS}
CARRIED = "x-amz-meta-vproc-traceparent"


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
async def api(tmp_path: Path, spans: Spans) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path, identity=TokenIdentity(), tracer=spans.tracer) as running:
        yield running


def own_context(spans: Spans, name: str) -> str:
    """What a request hands on."""
    return f"00-{TRACE}-{spans.named(name).context.span_id:016x}-01"


async def announce(api: RunningApi, **headers: str) -> Any:
    answer = await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=ANN | headers)
    assert answer.status == 201
    return answer.json


async def test_an_announcement_hands_its_trace_on(api: RunningApi, spans: Spans, logs: LogLines) -> None:
    """In the row, and in what the client sends with the object."""
    body = await announce(api)
    context = own_context(spans, "POST /upload")
    assert body["headers"][CARRIED] == context
    assert (await api.given.read(UUID(body["file_id"]))).traceparent == context
    span = spans.named("POST /upload")
    assert place(span) == (TRACE, SPAN)
    (line,) = logs.named("request_answered")
    assert told(span) == {
        "http.request.method": "POST",
        "http.route": "/upload",
        "http.response.status_code": 201,
        "url.scheme": "http",
        "vproc.request_id": line["request_id"],
        "vproc.file_id": body["file_id"],
    }
    assert line["trace_id"] == TRACE
    assert [line["trace_id"] for line in logs.named("audit")] == [TRACE]


async def test_the_same_request_again_hands_the_first_one_on(api: RunningApi) -> None:
    """The row keeps it, and the object is to say the same."""
    first = await announce(api, **{"Idempotency-Key": "k-1"})
    again = await announce(api, **{"Idempotency-Key": "k-1"})
    assert again["file_id"] == first["file_id"]
    assert again["headers"] == first["headers"]


async def test_forms_parts_and_signed_requests_carry_it_where_they_can(api: RunningApi, spans: Spans) -> None:
    """A client that begins its upload in parts by itself sends no metadata of ours: the row has it."""
    form = (await api.get("/s3/params", params={"filename": "a.mp4"}, headers=ANN)).json
    assert form["fields"][CARRIED] == own_context(spans, "GET /s3/params")
    begun = await api.ask("POST", "/s3/multipart", json={"filename": "a.mp4", "type": "video/mp4"}, headers=ANN)
    assert begun.status == 200
    assert api.multipart.begun[begun.json["uploadId"]].metadata == {"vproc-traceparent": own_context(spans, "POST /s3/multipart")}
    signed = (await api.ask("POST", "/s3/sign", json={"method": "POST", "key": "b.mp4"}, headers=ANN)).json
    page = await api.catalog.list(owner="ann", status=None, limit=9, cursor=None)
    (file,) = [file for file in page.files if file.key == signed["key"]]
    assert file.traceparent == own_context(spans, "POST /s3/sign")


async def test_what_went_wrong_on_our_side_is_an_error_and_no_path_is_told(api: RunningApi, spans: Spans) -> None:
    assert (await api.get("/no/such/place?token=t0k", headers=ANN)).status == 404
    assert (await api.get("/upload/no-id/status", headers=ANN)).status == 404
    api.presigner.fail_next("put", UnavailableError("no credentials: password=x"))
    assert (await api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=ANN)).status == 503
    ends = [(span.name, told(span)["http.response.status_code"], told(span).get("error.type")) for span in spans.ended]
    assert ends == [("GET", 404, None), ("GET /upload/{file_id}/status", 404, None), ("POST /upload", 503, "503")]
    assert "http.route" not in told(spans.ended[0])
    assert "t0k" not in "".join(span.to_json() for span in spans.ended)


async def test_looks_at_the_process_have_no_span(api: RunningApi, spans: Spans) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await api.get(path)).status == 200
    assert spans.ended == ()
