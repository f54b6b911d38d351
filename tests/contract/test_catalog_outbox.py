"""The outbox on both databases: what is announced, who delivers it, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import anyio

from tests.support.catalog import FIGURES, HOOK, Given, claim_request
from vproc.core.files import Outcome, Status
from vproc.db.catalog import SqlCatalog
from vproc.ports import DueEvent

Another = Callable[[], Awaitable[SqlCatalog]]


async def take(
    catalog: SqlCatalog, *, limit: int = 99, per_host: int = 99, lease_s: float = 60, **running: int
) -> tuple[DueEvent, ...]:
    return await catalog.take_due(limit=limit, per_host=per_host, running=running, lease_s=lease_s)


async def events(given: Given) -> list[str]:
    return sorted(
        f"{row['type']} {json.loads(row['payload'])['data']['processing_status']}" for row in await given.rows("outbox")
    )


async def test_the_first_claim_announces_that_it_was_uploaded(catalog: SqlCatalog, given: Given) -> None:
    """And each attempt that it is processed; a message that comes twice announces nothing."""
    file = await given.pending()
    assert await events(given) == []
    request = claim_request(file.file_id)
    await catalog.claim(request)
    once = ["video.processing processing", "video.uploaded uploaded"]
    assert await events(given) == once
    await catalog.claim(request)
    claim = await catalog.claim(claim_request(file.file_id))
    assert await events(given) == once
    assert claim.lease is None
    await given.expire_leases()
    await catalog.claim(claim_request(file.file_id))
    assert await events(given) == ["video.processing processing", *once]


async def test_a_file_that_nobody_asked_about_is_no_event(catalog: SqlCatalog, given: Given) -> None:
    await given.leased((await given.pending(callback_url=None)).file_id)
    assert await given.rows("outbox") == []


async def test_who_takes_an_event_has_it_alone_until_its_lease_ends(catalog: SqlCatalog, given: Given) -> None:
    """One that was not noted is due again, with the same id and the same bytes; the first holder's note counts no more."""
    await given.in_status(Status.CANCELLED)
    (first,) = await take(catalog, lease_s=-1)
    (second,) = await take(catalog)
    assert await take(catalog) == ()
    assert (first.event_id, first.body, first.url, first.host) == (second.event_id, second.body, HOOK, "hooks.example")
    assert (first.attempt, second.attempt, second.disabled) == (1, 2, False)
    assert not await catalog.event_delivered(first, "200")
    assert not await catalog.event_given_up(first, "410", disable=True)
    assert await catalog.disabled_urls() == ()
    assert await catalog.event_delivered(second, "200")
    (event,) = await catalog.list_events(limit=9)
    assert (event.last_result, event.attempts, event.failed_at) == ("200", 2, None)
    assert event.delivered_at is not None
    assert await take(catalog) == ()


async def test_two_that_look_at_once_share_the_work(catalog: SqlCatalog, given: Given, another: Another) -> None:
    """Each event goes to one of them."""
    for _ in range(10):
        await given.in_status(Status.CANCELLED)
    other = await another()
    taken: list[str] = []

    async def look(one: SqlCatalog) -> None:
        for _ in range(10):
            taken.extend(event.event_id for event in await take(one, limit=3))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, catalog)
        tasks.start_soon(look, other)
    assert len(taken) == len(set(taken)) == 10


async def test_what_is_postponed_waits(catalog: SqlCatalog, given: Given) -> None:
    await given.in_status(Status.CANCELLED)
    (event,) = await take(catalog)
    assert await catalog.event_postponed(event, "503", delay_s=60)
    assert await take(catalog) == ()
    assert await catalog.redeliver(event.event_id) == 1
    (again,) = await take(catalog)
    assert (again.event_id, again.attempt) == (event.event_id, 1)
    assert await catalog.event_postponed(again, "timeout", delay_s=-1)
    assert len(await take(catalog)) == 1


async def test_no_host_takes_all_places(catalog: SqlCatalog, given: Given) -> None:
    """A thousand that wait for one host hide no other, and those that run count."""
    for url in [HOOK] * 5 + ["https://other.example/x"]:
        await catalog.request_cancel((await given.pending(callback_url=url)).file_id)
    running = {"hooks.example": 1}
    due = await catalog.take_due(limit=4, per_host=2, running=running, lease_s=60)
    assert sorted(event.host for event in due) == ["hooks.example", "other.example"]
    assert await catalog.take_due(limit=4, per_host=2, running={"hooks.example": 2}, lease_s=60) == ()


async def test_an_address_that_wants_no_more_is_known(catalog: SqlCatalog, given: Given) -> None:
    """Its other events say so when they come due; to send again is to send to it again."""
    for _ in range(2):
        await given.in_status(Status.CANCELLED)
    (gone,) = await take(catalog, limit=1)
    assert await catalog.event_given_up(gone, "410", disable=True)
    assert await catalog.disabled_urls() == (HOOK,)
    (other,) = await take(catalog)
    assert other.disabled
    assert await catalog.event_given_up(other, "disabled", disable=False)
    assert await catalog.redeliver(None) == 2
    assert await catalog.disabled_urls() == ()
    assert [event.disabled for event in await take(catalog)] == [False, False]
    assert await catalog.redeliver("msg_none") == 0


async def test_a_file_that_is_deleted_is_told_of_all_the_same(catalog: SqlCatalog, given: Given) -> None:
    file = await given.in_status(Status.CANCELLED)
    await catalog.bury(file.file_id)
    assert [event.url for event in await take(catalog)] == [HOOK]


async def test_a_drain_announces_no_end(catalog: SqlCatalog, given: Given) -> None:
    lease = await given.leased()
    await catalog.release(lease, Outcome.DRAINED, FIGURES, error=None, count_attempt=False)
    assert await given.endings() == []


async def test_what_was_told_or_given_up_is_forgotten_and_what_waits_is_not(catalog: SqlCatalog, given: Given) -> None:
    for _ in range(3):
        await catalog.request_cancel((await given.pending()).file_id)
    told, given_up, waits = await take(catalog)
    await catalog.event_delivered(told, "204")
    await catalog.event_given_up(given_up, "404", disable=False)
    assert await catalog.forget_events() == 0
    assert await catalog.forget_events(older_than_s=-1) == 2
    assert [row["id"] for row in await given.rows("outbox")] == [waits.event_id]


async def test_what_is_given_back_is_due_at_once_and_was_no_attempt(catalog: SqlCatalog, given: Given) -> None:
    await given.in_status(Status.CANCELLED)
    (first,) = await take(catalog)
    assert await take(catalog) == ()
    assert await catalog.event_given_back(first)
    (again,) = await take(catalog)
    assert (again.event_id, again.attempt) == (first.event_id, 1)
    assert not await catalog.event_given_back(first), "it is another's by now"


async def test_who_answered_that_it_is_gone_is_forgotten_in_the_end(catalog: SqlCatalog, given: Given) -> None:
    await given.in_status(Status.CANCELLED)
    (event,) = await take(catalog)
    await catalog.event_given_up(event, "410", disable=True)
    assert await catalog.forget_disabled() == 0
    assert await catalog.disabled_urls() == (HOOK,)
    assert await catalog.forget_disabled(older_than_s=-1) == 1
    assert await catalog.disabled_urls() == ()
