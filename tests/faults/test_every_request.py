"""One job over the real adapters, one of its requests to AWS broken on the wire; then the message comes again.

Each number of a request meets one kind of fault in `make test`, and every kind in `make chaos`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from moto.sqs.models import sqs_backends
from prometheus_client import CollectorRegistry

from tests.support.aws import Aws, open_aws
from tests.support.catalog import Given
from tests.support.fault_proxy import FaultProxy, Verb, drop_answer, drop_request, fault_proxy, garbage, pretend, status
from tests.support.world import FILE_ID, KEY, direct_job, parts_over
from vproc.core.files import Outcome, RawState, Status
from vproc.core.keys import manifest_key
from vproc.core.manifest import Manifest
from vproc.db.catalog import open_catalog
from vproc.errors import TransientError
from vproc.telemetry import Metrics
from vproc.workers.janitor import Janitor
from vproc.workers.jobs import Jobs

CHAOS = bool(os.environ.get("VPROC_TEST_CHAOS"))
KINDS: dict[str, Callable[[], Verb]] = {
    "reset_before": drop_request,
    "reset_after": drop_answer,
    "500": lambda: status(500, "InternalError"),
    "slow_down": lambda: status(503, "SlowDown"),
    "expired": lambda: status(403, "ExpiredToken"),
    "garbage": garbage,
}
MOST_REQUESTS = 80
MOST_DELIVERIES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A worker over AWS, with the proxy between."""

    proxy: FaultProxy
    aws: Aws
    jobs: Jobs
    janitor: Janitor
    given: Given

    async def deliver(self) -> None:
        """One delivery, to its end."""
        try:
            messages = await self.aws.queue.receive(max_messages=1, wait_s=0)
        except TransientError:
            return  # the consumer would ask again
        for message in messages:
            await self.jobs.handle(message)

    async def send(self) -> None:
        """The one message, visible: whatever became of the last delivery of it."""
        forget_messages(self.aws.queue_url)
        await self.aws.queue.send(direct_job(bucket=self.aws.raw.bucket))

    async def until_it_is_done(self) -> None:
        """Other workers take over, each once the last one's lease has run out."""
        self.proxy.heal()
        for _ in range(MOST_DELIVERIES):
            await self.given.expire_leases()
            await self.send()
            await self.deliver()
            file = await self.given.catalog.get(FILE_ID)
            if file is not None and file.status.terminal:
                await self.janitor.sweep()
                return
        raise AssertionError(f"not done after {MOST_DELIVERIES} deliveries")


def forget_messages(queue_url: str) -> None:
    """Empty a queue, what is in flight too: SQS itself lets that be done once a minute only."""
    queue = sqs_backends["123456789012"]["us-east-1"].get_queue(queue_url.rpartition("/")[2])
    queue._messages, queue._pending_messages = [], set()


@asynccontextmanager
async def opened(proxy: FaultProxy, folder: Path, name: str = "jobs.db") -> AsyncIterator[Line]:
    async with open_aws(proxy.url) as aws, open_catalog(f"sqlite+aiosqlite:///{folder / name}") as catalog:
        metrics = Metrics(CollectorRegistry())
        parts = parts_over(catalog, aws.queue, aws.raw, aws.processed, folder=folder, metrics=metrics, max_attempts=9)
        await aws.raw.put(KEY, b"the original", content_type="video/mp4")
        yield Line(proxy, aws, parts.jobs, parts.janitor, Given(catalog))


async def check(line: Line) -> None:
    """Completed, whole, once; nothing is left."""
    file = await line.given.read(FILE_ID)
    assert (file.status, file.raw_state) == (Status.COMPLETED, RawState.DELETED)
    body = await line.aws.processed.get(manifest_key(FILE_ID))
    assert body is not None
    manifest = Manifest.from_json(body)
    assert manifest.run_id == file.run_id
    for output in (*manifest.outputs, *manifest.entry_points):
        found = await line.aws.processed.get(output.key)
        assert found is not None
        assert (len(found), hashlib.sha256(found).hexdigest()) == (output.bytes, output.sha256)
    assert {key.split("/")[1] async for key, _, _ in line.aws.processed.list("") if key.count("/") > 1} == {manifest.run_id}
    assert [entry async for entry in line.aws.raw.list("")] == []
    for store in (line.aws.raw, line.aws.processed):
        assert [upload async for upload in store.unfinished_uploads()] == []
    depths = await line.aws.queue.depths()
    assert (depths["main"].visible, depths["main"].in_flight, depths["dlq"].visible) == (0, 0, 0)
    assert all(attempt.outcome is not Outcome.RUNNING for attempt in await line.given.catalog.attempts(FILE_ID))


@pytest.fixture
async def proxy(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(moto_url) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.mark.parametrize("offset", range(len(KINDS) if CHAOS else 1))
async def test_a_job_with_any_request_broken_is_done_by_the_next(offset: int, proxy: FaultProxy, tmp_path: Path) -> None:
    broken: list[str] = []
    for number in range(1, MOST_REQUESTS):
        kind = list(KINDS)[(number + offset) % len(KINDS)]
        async with opened(proxy, tmp_path, f"{number}.db") as line:
            await line.send()
            proxy.at(number, KINDS[kind]())
            await line.deliver()
            reached = len(proxy.names) >= number
            hit = proxy.names[number - 1] if reached else None
            await line.until_it_is_done()
            try:
                await check(line)
            except AssertionError as error:
                raise AssertionError(f"{kind} at request {number}, {hit}") from error
        if hit is None:
            break
        broken.append(hit)
    assert {"ReceiveMessage", "HeadObject", "PutObject", "GetObject", "DeleteObject", "DeleteMessage"} <= set(broken)


# --- what SQS may do and moto does not ---------------------------------------------------------------------------------


async def test_a_deletion_that_was_applied_and_not_answered_is_no_error(proxy: FaultProxy, tmp_path: Path) -> None:
    async with opened(proxy, tmp_path) as line:
        await line.send()
        proxy.on("DeleteMessage", drop_answer())
        await line.deliver()
        await check(line)


async def test_a_deletion_that_was_answered_and_not_applied_is_a_duplicate(proxy: FaultProxy, tmp_path: Path) -> None:
    """It comes again, is seen to be done, and costs no second encode."""
    async with opened(proxy, tmp_path) as line:
        await line.send()
        proxy.on("DeleteMessage", pretend())
        await line.deliver()
        assert (await line.aws.queue.depths())["main"].in_flight == 1
        (attempt,) = await line.given.catalog.attempts(FILE_ID)
        await line.send()
        await line.deliver()
        assert await line.given.catalog.attempts(FILE_ID) == (attempt,)
        await check(line)
