"""Real daemons and a collector on loopback: an upload is one trace, from the caller's own span to the webhook."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev, serve
from tests.support.media import clip
from tests.support.span_collector import FAILED, SpanCollector, TakenSpan, collecting, exporting_to

pytestmark = pytest.mark.xdist_group("e2e-traces")

STAGES = {"download", "probe", "encode", "verify", "publish", "finish"}
WEBHOOKS = ["video.completed", "video.processing", "video.uploaded"]
SERVER, CLIENT, CONSUMER = 2, 3, 5
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLERS = f"00-{TRACE}-{SPAN}-01"
STOPS_WITHIN_S = 15
"""The poll in flight, the exporter's two seconds, and a slow machine."""


@contextmanager
def hooked() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A receiver of webhooks, and the headers of what came."""
    came: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            came.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook?token=hook-token-77", came
        finally:
            server.shutdown()
            thread.join()


def announce(daemon: Daemon, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Ask for a file, as a caller who traces does."""
    sent = {"Content-Type": "application/json", **headers}
    answer = fetch(daemon.api + path, "POST", json.dumps(body).encode(), sent)
    assert answer.status in {200, 201}, answer
    told: dict[str, Any] = answer.json
    return told


def put(announced: dict[str, Any], body: bytes) -> None:
    """Send the bytes as the answer says."""
    assert fetch(announced["upload_url"], "PUT", body, announced["headers"]).status == 200


def ended_job(file_id: str) -> Any:
    """Looks for a job's span."""
    return lambda spans: next((s for s in spans if s.name == "job" and s.attributes["vproc.file_id"] == file_id), None)


def settings_for(collector: SpanCollector) -> dict[str, str]:
    """Of a daemon that traces and tells of files."""
    return exporting_to(
        collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20collector-secret-99",
        VPROC_WEBHOOK_ALLOWED_HOSTS="127.0.0.1",
        VPROC_WEBHOOK_SECRET="whsec_" + "bm90IGEgc2Vj" * 3,
    )


def test_an_upload_is_one_trace_from_its_caller_to_the_webhook(tmp_path: Path) -> None:
    """The announcement, the job with its stages, each webhook: all in the caller's trace, each beneath what caused it. Nothing
    that opens anything is in what was sent, nor in what is logged of it."""
    with collecting() as collector, hooked() as (hook, told), dev(tmp_path, **settings_for(collector)) as daemon:
        wanted = {"file_name": "tiny.mp4", "callback_url": hook}
        announced = announce(daemon, "/upload", wanted, traceparent=CALLERS)
        assert announced["headers"]["x-amz-meta-vproc-traceparent"].startswith(f"00-{TRACE}-")
        put(announced, clip("tiny.mp4").read_bytes())
        file_id = announced["file_id"]
        daemon.caller.completed(file_id)
        playback = daemon.caller.ask(f"/upload/{file_id}/playback", "POST").json
        assert fetch(daemon.api + playback["hls"]).status == 200
        assert daemon.caller.ask(f"/upload/{file_id}/download/processed").status == 200

        def whole(_: list[TakenSpan]) -> dict[str, list[TakenSpan]] | None:
            found = collector.of(TRACE)
            return found if len(found.get("webhook", ())) == 3 and "job" in found else None

        trace = collector.until(whole, what="job and webhooks")
        logged = daemon.logged("job_ended")
        answered = daemon.logged("upload_announced")
    check_tree(trace, file_id)
    assert {headers["traceparent"].split("-")[1] for headers in told} == {TRACE}
    assert {headers["traceparent"].split("-")[2] for headers in told} == {span.span_id for span in trace["webhook"]}
    assert (logged["trace_id"], answered["trace_id"]) == (TRACE, TRACE)
    assert collector.headers[0]["authorization"] == "Bearer collector-secret-99"
    query = parse_qs(urlsplit(announced["upload_url"]).query)
    secrets = [query["X-Amz-Signature"][0], "X-Amz-", "hook-token-77", "collector-secret-99", "bm90IGEgc2Vj"]
    secrets += [playback["hls"].split("/")[2], "tiny.mp4", "http://"]
    sent = b"".join(collector.bodies)
    assert [secret for secret in secrets if secret.encode() in sent] == []
    assert "collector-secret-99" not in (tmp_path / "dev.err").read_text()


def check_tree(trace: dict[str, list[TakenSpan]], file_id: str) -> None:
    """What is beneath what, and what each says of itself."""
    assert set(trace) == {"POST /upload", "job", "webhook", *STAGES}
    (request,), (job,) = trace["POST /upload"], trace["job"]
    assert (request.parent_id, request.kind) == (SPAN, SERVER)
    assert (job.parent_id, job.kind) == (request.span_id, CONSUMER)
    assert {span.parent_id for stage in STAGES for span in trace[stage]} == {job.span_id}
    assert {(span.parent_id, span.kind) for span in trace["webhook"]} == {(request.span_id, CLIENT)}
    assert sorted(span.attributes["vproc.event_type"] for span in trace["webhook"]) == WEBHOOKS
    every = [request, job, *trace["webhook"]]
    assert {span.attributes["vproc.file_id"] for span in every} == {file_id}
    assert {span.status for spans in trace.values() for span in spans} == {0}
    assert {span.resource["service.name"] for span in every} == {"vproc"}
    told = {"http.route": "/upload", "http.request.method": "POST", "http.response.status_code": 201}
    assert request.attributes.items() >= told.items()
    wanted = {"vproc.profile": "abr", "vproc.attempt": 1, "vproc.outcome": "completed", "messaging.system": "aws_sqs"}
    assert job.attributes.items() >= wanted.items()
    assert {span.attributes["http.response.status_code"] for span in trace["webhook"]} == {204}


def test_processes_share_the_trace_of_an_upload_in_parts(tmp_path: Path) -> None:
    """One answers the API, another does the job. The object bears the context too, so that it survives the catalog."""
    (tmp_path / "api").mkdir()
    (tmp_path / "work").mkdir()
    with collecting() as collector, dev(
        tmp_path / "api", VPROC_ROLES="api", **exporting_to(collector.url, OTEL_SERVICE_NAME="front")
    ) as front:  # fmt: skip
        own = {"VPROC_DATABASE_URL": front.ready["database_url"], "VPROC_ROLES": "worker", "VPROC_DELETE_RAW": "false"}
        own |= exporting_to(collector.url, OTEL_RESOURCE_ATTRIBUTES="service.name=back,deployment.environment.name=test")
        with serve(tmp_path / "work", **front.settings, **own):
            body = clip("tiny.mp4").read_bytes()
            begun = announce(front, "/s3/multipart", {"filename": "tiny.mp4", "type": "video/mp4"}, traceparent=CALLERS)
            place, query = f"/s3/multipart/{begun['uploadId']}", f"key={begun['key']}"
            address = front.caller.ask(f"{place}/1?{query}").json["url"]
            part = fetch(address, "PUT", body, {"Content-Type": "application/octet-stream"})
            joined = {"parts": [{"PartNumber": 1, "ETag": part.headers["etag"]}]}
            assert front.caller.ask(f"{place}/complete?{query}", "POST", joined).status == 200
            file_id = front.caller.id_of(begun["key"])
            front.caller.completed(file_id)
            job = collector.until(ended_job(file_id), what="the job")
            kept = client("s3", front).head_object(Bucket=front.ready["raw_bucket"], Key=begun["key"])
    trace = collector.of(TRACE)
    (request,) = trace["POST /s3/multipart"]
    assert (request.parent_id, job.parent_id, job.trace_id) == (SPAN, request.span_id, TRACE)
    assert kept["Metadata"]["vproc-traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert (request.resource["service.name"], job.resource["service.name"]) == ("front", "back")
    assert job.resource["deployment.environment.name"] == "test"
    assert request.resource["service.instance.id"] != job.resource["service.instance.id"]


def client(service: str, daemon: Daemon) -> Any:
    """The stock client of the daemon's own S3 or SQS."""
    settings = daemon.settings
    return boto3.client(
        service,
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )


def test_an_object_that_nobody_announced_may_bring_its_context(tmp_path: Path) -> None:
    """In its metadata; without one its job begins a trace. A failure is told with its code."""
    with collecting() as collector, dev(tmp_path, **exporting_to(collector.url)) as daemon:
        s3, raw = client("s3", daemon), daemon.ready["raw_bucket"]
        s3.put_object(Bucket=raw, Key="uploads/a.mp4", Body=b"no video", Metadata={"vproc-traceparent": CALLERS})
        s3.put_object(Bucket=raw, Key="uploads/b.mp4", Body=b"none either")
        first, second = (daemon.caller.id_of(f"uploads/{name}.mp4") for name in "ab")
        jobs = [collector.until(ended_job(file_id), what="a job") for file_id in (first, second)]
    assert [(job.trace_id == TRACE, job.parent_id) for job in jobs] == [(True, SPAN), (False, "")]
    assert {(job.status, job.attributes["error.type"], job.attributes["vproc.outcome"]) for job in jobs} == {
        (FAILED, "unsupported_media", "rejected")
    }
    assert all(job.message for job in jobs)


def test_a_trace_that_the_sampler_leaves_out_is_left_out_everywhere(tmp_path: Path) -> None:
    """Nothing is sent, nor is a log line marked, and the upload goes its way."""
    with collecting() as collector:
        with dev(tmp_path, **exporting_to(collector.url, OTEL_TRACES_SAMPLER="always_off")) as daemon:
            file_id = daemon.caller.upload(clip("tiny.mp4"))
            daemon.caller.completed(file_id)
        assert "trace_id" not in daemon.logged("job_ended")
        assert daemon.logged("tracing_started")
        assert collector.bodies == []


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and says nothing on them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def closed_port() -> Iterator[str]:
    """Nobody listens there."""
    yield "http://127.0.0.1:9"


@pytest.mark.parametrize("away", [silent_server, closed_port])
def test_a_collector_that_is_away_holds_up_neither_a_job_nor_the_end(tmp_path: Path, away: Any) -> None:
    """What is lost are spans, and nothing is told of each try."""
    with away() as url:
        with dev(tmp_path, **exporting_to(url)) as daemon:
            daemon.caller.completed(daemon.caller.upload(clip("tiny.mp4")))
            begun = time.monotonic()
        took = time.monotonic() - begun
    assert took < STOPS_WITHIN_S
    log = daemon.log()
    assert {"spans_left", "daemon_stopped"} <= {entry["event"] for entry in log}
    assert [entry for entry in log if entry["logger"].startswith("opentelemetry.") and entry["level"] != "error"] == []


def test_with_nothing_set_nothing_is_traced(tmp_path: Path) -> None:
    """A caller's own context changes nothing then: no header more to send, no line marked."""
    with dev(tmp_path) as daemon:
        announced = announce(daemon, "/upload", {"file_name": "tiny.mp4"}, traceparent=CALLERS)
        assert daemon.logged("upload_announced").get("trace_id") is None
        assert [entry["event"] for entry in daemon.log() if entry["event"].startswith("tracing")] == []
    assert "x-amz-meta-vproc-traceparent" not in announced["headers"]
