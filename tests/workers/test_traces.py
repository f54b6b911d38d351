"""Jobs and webhooks as spans: beneath what caused them, with their outcome, and the context handed on."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from tests.support.catalog import FIGURES, Given, completion
from tests.support.receiver import receiving
from tests.support.spans import CALLERS, SPAN, TRACE, Spans, place, told
from tests.support.world import FILE_ID, KEY, World, direct_job, open_world
from vproc.core.files import Status
from vproc.db.catalog import open_catalog
from vproc.errors import CancelledByOwnerError, EncoderError, ErrorCode, RejectedError
from vproc.outgoing import CheckedSender
from vproc.telemetry import Metrics
from vproc.workers.job_runner import Job
from vproc.workers.webhooks import Webhooks

HIDDEN = "https://b.example/k?X-Amz-Signature=5ec7e7"


async def handled(world: World, *, error: Exception | None = None) -> None:
    if error is not None:

        async def step(job: Job) -> None:
            raise error

        world.pipeline.steps.append(step)
    await world.handle_next()


async def test_a_job_is_a_span_with_its_stages_beneath(tmp_path: Path) -> None:
    spans = Spans()
    async with open_world(tmp_path, tracer=spans.tracer) as world:
        version = world.raw.upload(KEY, b"raw bytes", metadata={"vproc-traceparent": CALLERS})
        await world.handle_next()
        assert (await world.file()).status is Status.COMPLETED
    job = spans.named("job")
    assert place(job) == (TRACE, SPAN)
    stages = [span for span in spans.ended if span is not job]
    assert {span.name for span in stages} >= {"publish", "finish"}
    assert {place(span) for span in stages} == {(TRACE, f"{job.context.span_id:016x}")}
    attributes = told(job)
    assert attributes.pop("messaging.message.id")
    assert attributes.pop("vproc.run_id")
    assert attributes == {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "vproc.file_id": str(FILE_ID),
        "vproc.profile": "abr",
        "vproc.attempt": 1,
        "vproc.outcome": "completed",
        "vproc.bytes_in": version.size_bytes,
        "vproc.bytes_out": 20,
    }


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (RejectedError(ErrorCode.CORRUPT_MEDIA, f"it ends early: {HIDDEN}"), "rejected", "corrupt_media"),
        (EncoderError(ErrorCode.ENCODER_FAILED, f"ffmpeg exited with 1: {HIDDEN}"), "retried", "encoder_failed"),
        (KeyError(HIDDEN), "retried", "internal"),
        (CancelledByOwnerError(), "cancelled", None),
    ],
)
async def test_how_a_job_ended_is_told(tmp_path: Path, error: Exception, outcome: str, code: str | None) -> None:
    """A cancel by its owner is no fault. Nothing that opens anything is told."""
    spans = Spans()
    async with open_world(tmp_path, tracer=spans.tracer) as world:
        world.raw.upload(KEY, b"raw bytes")
        await handled(world, error=error)
    job = spans.named("job")
    assert (told(job)["vproc.outcome"], told(job).get("error.type")) == (outcome, code)
    assert job.status.status_code is (StatusCode.UNSET if code is None else StatusCode.ERROR)
    assert "5ec7e7" not in "".join(span.to_json() for span in spans.ended)


async def test_a_direct_job_brings_its_context(tmp_path: Path) -> None:
    """In an attribute of the message, or in its metadata; the attribute counts before the object's."""
    spans = Spans()
    other = CALLERS.replace(TRACE, "c" * 32)
    async with open_world(tmp_path, tracer=spans.tracer) as world:
        world.raw.upload("a.mp4", b"a", metadata={"vproc-traceparent": other})
        world.raw.upload("b.mp4", b"b")
        for _ in range(2):
            (message,) = await world.queue.receive(max_messages=1, wait_s=1)
            await world.queue.delete(message.receipt_handle)  # their events
        world.queue.put(direct_job("a.mp4"), attributes={"traceparent": CALLERS})
        await world.handle_next()
        world.queue.put(direct_job("b.mp4", metadata={"traceparent": CALLERS}))
        await world.handle_next()
    assert [place(span) for span in spans.ended if span.name == "job"] == [(TRACE, SPAN)] * 2


async def test_a_webhook_is_a_span_in_its_file_s_trace_and_hands_it_on(tmp_path: Path) -> None:
    """Its address may hold a token: the host alone is told."""
    spans = Spans()
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.db") as catalog, receiving() as receiver:
        given = Given(catalog)
        file = await given.pending(callback_url=receiver.url, traceparent=CALLERS)
        lease = await given.leased(file.file_id)
        await catalog.complete(lease, completion(lease.run_id), FIGURES)
        receiver.then(204).then(500)
        webhooks = Webhooks(
            outbox=catalog,
            sender=CheckedSender(allowed_hosts=frozenset({"127.0.0.1"}), agent="vproc/1"),
            secrets=(b"a" * 32,),
            metrics=Metrics(CollectorRegistry()),
            tracer=spans.tracer,
        )
        assert await webhooks.deliver_due() == 3
    handed = {headers["traceparent"] for headers, _ in receiver.requests}
    assert handed == {f"00-{TRACE}-{span.context.span_id:016x}-01" for span in spans.ended}
    assert {place(span) for span in spans.ended} == {(TRACE, SPAN)}
    (failed,) = [span for span in spans.ended if told(span)["http.response.status_code"] == 500]
    attributes = told(failed)
    assert attributes.pop("vproc.webhook_id").startswith("msg_")
    assert attributes.pop("vproc.event_type").startswith("video.")
    assert attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 500,
        "server.address": "127.0.0.1",
        "vproc.attempt": 1,
        "vproc.file_id": str(file.file_id),
        "vproc.outcome": "retried",
        "error.type": "500",
    }
