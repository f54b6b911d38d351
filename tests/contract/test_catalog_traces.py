"""The trace that a file belongs to, on both databases: kept from its announcement to its last webhook, and no user's business."""

from __future__ import annotations

from uuid import uuid4

from tests.support.catalog import Given, claim_request, new_file
from tests.support.spans import CALLERS
from vproc.api.models import FileStatus
from vproc.core.idempotency import IdempotencyKey
from vproc.core.webhook import event_payload
from vproc.db.catalog import SqlCatalog

OTHERS = CALLERS.replace("b", "c")
KEY = IdempotencyKey("k-1", "digest-1")


async def test_a_file_keeps_the_trace_of_its_announcement(catalog: SqlCatalog, given: Given) -> None:
    """The same request again gets the first one's, and what a message brings changes nothing of it."""
    first = (await catalog.announce(new_file(traceparent=CALLERS), key=KEY)).file
    again = (await catalog.announce(new_file(traceparent=OTHERS), key=KEY)).file
    assert (first.traceparent, again.file_id, again.traceparent) == (CALLERS, first.file_id, CALLERS)
    claim = await catalog.claim(claim_request(first.file_id, traceparent=OTHERS))
    assert claim.file is not None
    assert claim.file.traceparent == CALLERS
    due = await catalog.take_due(limit=9, per_host=9, running={}, lease_s=60)
    assert {(event.file_id, event.traceparent) for event in due} == {(first.file_id, CALLERS)}
    for shown in (FileStatus.of(claim.file).model_dump_json(), str(event_payload(claim.file))):
        assert CALLERS not in shown
    assert [row["traceparent"] for row in await given.rows("files")] == [CALLERS]


async def test_one_without_a_quota_and_one_that_nobody_announced(catalog: SqlCatalog) -> None:
    """The group commit writes it, and so does the claim that makes a file."""
    file = (await catalog.announce(new_file(traceparent=CALLERS))).file
    assert file.traceparent == CALLERS
    for given in (CALLERS, None):
        made = await catalog.claim(claim_request(uuid4(), traceparent=given))
        assert made.file is not None
        assert made.file.traceparent == given
