"""The deliverer over a true catalog and true sockets: at least once, the same id, and nobody waits for somebody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import update
from structlog.testing import capture_logs

from tests.support.catalog import FIGURES, Given, completion
from tests.support.receiver import Receiver, receiving
from vproc.core.files import Status
from vproc.core.webhook_delivery import SCHEDULE_S, Sent
from vproc.db.catalog import SqlCatalog, open_catalog
from vproc.db.tables import outbox
from vproc.errors import UnavailableError
from vproc.outgoing import CheckedSender
from vproc.ports import DueEvent, Outbox, WebhookSender
from vproc.telemetry import Metrics
from vproc.workers.webhooks import PER_HOST, Webhooks

SECRETS = (b"a" * 32, b"b" * 32)
NOW = 1_800_000_000.0


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqlCatalog]:
    async with open_catalog(f"sqlite+aiosqlite:///{tmp_path}/catalog.db") as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


def webhooks(
    catalog: Outbox, *, sender: WebhookSender | None = None, metrics: Metrics | None = None, timeout_s: float = 20
) -> Webhooks:
    local = CheckedSender(allowed_hosts=frozenset({"127.0.0.1", "localhost"}), agent="vproc/1", timeout_s=timeout_s)
    return Webhooks(
        outbox=catalog,
        sender=sender or local,
        secrets=SECRETS,
        metrics=metrics or Metrics(CollectorRegistry()),
        wall=lambda: NOW,
        chance=lambda: 0.5,
        look_every_s=0.01,
    )


async def ended(catalog: SqlCatalog, url: str) -> None:
    """A file that is told of, by one event."""
    await catalog.request_cancel((await Given(catalog).pending(callback_url=url)).file_id)


async def time_passes(catalog: SqlCatalog) -> None:
    """Until all that waits is due."""
    async with catalog._database.write() as connection:
        await connection.execute(update(outbox).values(next_attempt_at=0.0))


def verified(headers: Mapping[str, str], body: bytes, secret: bytes) -> bool:
    """As a receiver checks it, by the specification."""
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    expected = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")


async def test_a_file_is_told_of_from_upload_to_end(catalog: SqlCatalog, receiver: Receiver) -> None:
    """Each event is signed by every secret, and its id is its own."""
    lease = await Given(catalog).leased((await Given(catalog).pending(callback_url=receiver.url)).file_id)
    await catalog.complete(lease, completion(lease.run_id), FIGURES)
    metrics = Metrics(CollectorRegistry())
    assert await webhooks(catalog, metrics=metrics).deliver_due() == 3
    assert sorted(json.loads(body)["type"] for _, body in receiver.requests) == [
        "video.completed",
        "video.processing",
        "video.uploaded",
    ]
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 3
    for headers, body in receiver.requests:
        assert all(verified(headers, body, secret) for secret in SECRETS)
        assert not verified(headers, body + b" ", SECRETS[0])
        assert headers["webhook-timestamp"] == str(int(NOW))
    assert await webhooks(catalog).deliver_due() == 0
    assert metrics.registry.get_sample_value("vproc_webhook_deliveries_total", {"outcome": "delivered"}) == 3


async def test_down_then_up_is_one_event(catalog: SqlCatalog, receiver: Receiver) -> None:
    """The same id and the same bytes at each attempt, until it is taken."""
    receiver.then(500).then(302, Location="http://127.0.0.1/").then(404)
    await ended(catalog, receiver.url)
    for _ in range(4):
        assert await webhooks(catalog).deliver_due() == 1
        await time_passes(catalog)
    assert await webhooks(catalog).deliver_due() == 0
    assert len({(headers["webhook-id"], body) for headers, body in receiver.requests}) == 1
    (event,) = await catalog.list_events(limit=9)
    assert (event.attempts, event.last_result, event.delivered_at is None) == (4, "204", False)


async def test_it_is_given_up_in_the_end(catalog: SqlCatalog, receiver: Receiver) -> None:
    await ended(catalog, receiver.url)
    for _ in range(len(SCHEDULE_S) + 1):
        receiver.then(500)
        assert await webhooks(catalog).deliver_due() == 1
        await time_passes(catalog)
    assert await webhooks(catalog).deliver_due() == 0
    (event,) = await catalog.list_events(limit=9)
    assert (event.delivered_at, event.last_result, event.failed_at is None) == (None, "500", False)


async def test_who_asks_to_wait_is_let_wait(catalog: SqlCatalog, receiver: Receiver) -> None:
    receiver.then(429, Retry_After="1000")
    await ended(catalog, receiver.url)
    await webhooks(catalog).deliver_due()
    (event,) = await catalog.list_events(limit=9)
    assert 990 < (event.next_attempt_at - event.created_at).total_seconds() < 1100


async def test_gone_is_asked_no_more(catalog: SqlCatalog, receiver: Receiver) -> None:
    """Nor for another file; for another path of the same host it is."""
    receiver.then(410)
    await ended(catalog, receiver.url)
    await webhooks(catalog).deliver_due()
    await ended(catalog, receiver.url)
    await ended(catalog, receiver.url.replace("hook", "other"))
    assert await webhooks(catalog).deliver_due() == 2
    assert len(receiver.requests) == 2
    assert await catalog.disabled_urls() == (receiver.url,)
    assert sorted(event.last_result or "" for event in await catalog.list_events(limit=9)) == ["204", "410", "disabled"]


async def test_killed_between_the_answer_and_its_note_it_is_sent_again(catalog: SqlCatalog, receiver: Receiver) -> None:
    """Under the same id."""

    class Cut:
        """The database is away when the answer is to be noted."""

        take_due = staticmethod(catalog.take_due)

        async def event_delivered(self, event: DueEvent, result: str) -> bool:
            raise UnavailableError("the database is away")

    await ended(catalog, receiver.url)
    assert await webhooks(Cut()).deliver_due() == 1  # type: ignore[arg-type] - nothing else is called
    assert await webhooks(catalog).deliver_due() == 0, "its lease stands"
    await time_passes(catalog)
    assert await webhooks(catalog).deliver_due() == 1
    first, second = receiver.requests
    assert (first[0]["webhook-id"], first[1]) == (second[0]["webhook-id"], second[1])


async def test_a_host_that_hangs_holds_up_no_other(catalog: SqlCatalog, receiver: Receiver) -> None:
    """It has its few places, and all else goes on."""
    hung: list[str] = []
    told = anyio.Event()

    class Sender:
        async def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Sent:
            if "slow" in url:
                hung.append(url)
                await anyio.sleep_forever()
            told.set()
            return Sent(200)

    for _ in range(3 * PER_HOST):
        await ended(catalog, "https://slow.example/")
    async with anyio.create_task_group() as tasks:
        await tasks.start(webhooks(catalog, sender=Sender()).run)
        await ended(catalog, "https://quick.example/")
        with anyio.fail_after(10):
            await told.wait()
        tasks.cancel_scope.cancel()
    assert len(hung) <= PER_HOST


async def test_the_service_outlives_a_database_that_is_away(catalog: SqlCatalog, receiver: Receiver) -> None:
    away = [UnavailableError("away")] * 3
    answered = anyio.Event()

    class Flaky:
        async def take_due(self, **options: object) -> tuple[DueEvent, ...]:
            if away:
                raise away.pop()
            return await catalog.take_due(**options)  # type: ignore[arg-type]

        async def event_delivered(self, event: DueEvent, result: str) -> bool:
            noted = await catalog.event_delivered(event, result)
            answered.set()
            return noted

    await ended(catalog, receiver.url)
    async with anyio.create_task_group() as tasks:
        await tasks.start(webhooks(Flaky()).run)  # type: ignore[arg-type] - nothing else is called
        with anyio.fail_after(10):
            await answered.wait()
        tasks.cancel_scope.cancel()
    assert [event.last_result for event in await catalog.list_events(limit=9)] == ["204"]


async def test_a_receiver_that_hangs_changes_nothing_for_the_file(catalog: SqlCatalog, receiver: Receiver) -> None:
    receiver.answers.append(receiver.hang)
    await ended(catalog, receiver.url)
    await webhooks(catalog, timeout_s=0.2).deliver_due()
    (event,) = await catalog.list_events(limit=9)
    assert (event.last_result, (await Given(catalog).read(event.file_id)).status) == ("timeout", Status.CANCELLED)


async def test_an_error_that_nobody_expected_ends_nothing(catalog: SqlCatalog, receiver: Receiver) -> None:
    """It counts as a failed attempt, and the event comes at the next."""

    class Broken:
        async def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Sent:
            raise RuntimeError("a bug in a library")

    await ended(catalog, receiver.url)
    with capture_logs() as logs:
        assert await webhooks(catalog, sender=Broken()).deliver_due() == 1
    assert "webhook_crashed" in [entry["event"] for entry in logs]
    (event,) = await catalog.list_events(limit=9)
    assert (event.attempts, event.last_result) == (1, "unreachable")
    await time_passes(catalog)
    assert await webhooks(catalog).deliver_due() == 1
    assert len(receiver.requests) == 1


async def test_what_a_drain_breaks_off_is_another_daemons_at_once(catalog: SqlCatalog, receiver: Receiver) -> None:
    """Not when its lease has ended, and as the same attempt."""
    sending = anyio.Event()

    class Hangs:
        async def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Sent:
            sending.set()
            await anyio.sleep_forever()
            raise AssertionError

    await ended(catalog, receiver.url)
    async with anyio.create_task_group() as tasks:
        await tasks.start(webhooks(catalog, sender=Hangs()).run)
        with anyio.fail_after(10):
            await sending.wait()
        tasks.cancel_scope.cancel()
    assert await webhooks(catalog).deliver_due() == 1
    (event,) = await catalog.list_events(limit=9)
    assert (event.attempts, event.last_result) == (1, "204")
