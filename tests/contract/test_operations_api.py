"""The operator's view over a socket, with a catalog of either kind: what is told, what it costs, and what a redrive does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from tests.api.conftest import LogLines, logs
from tests.support.api import PROFILES, RunningApi, TokenIdentity, running_api
from tests.support.memory_letters import dead_letter
from vproc.api import desk
from vproc.api.parts import PARTS, Limits
from vproc.core.dead_letters import Redriven
from vproc.core.files import Stage
from vproc.errors import UnavailableError
from vproc.http import FOR_ADMINS

__all__ = ["logs"]

ADMIN = {"Authorization": "Bearer admin"}


@pytest.fixture
async def api(tmp_path: Path, url: str) -> AsyncIterator[RunningApi]:
    async with running_api(tmp_path, identity=TokenIdentity(), limits=Limits(profiles=PROFILES), database_url=url) as running:
        yield running


async def state(api: RunningApi) -> dict[str, Any]:
    answer = await api.get("/ops/state", headers=ADMIN)
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json
    return told


async def redrive(api: RunningApi, **wanted: object) -> tuple[int, Any]:
    answer = await api.ask("POST", "/ops/dead-letters/redrive", json=wanted, headers=ADMIN)
    return answer.status, answer.json


async def test_all_is_told_at_a_glance(api: RunningApi) -> None:
    lease = await api.given.leased(worker="host:1:abc")
    await api.catalog.report(lease, progress=0.25, stage=Stage.ENCODE, speed=1.5, eta_s=90.0)
    await api.given.completed(media_s=12.5)
    failed = await api.given.failed()
    told = await state(api)
    [job] = told["jobs"]
    assert (job["file_id"], job["stage"], job["progress"]) == (str(lease.file_id), "encode", 0.25)
    assert (job["speed"], job["eta_s"]) == (1.5, 90)
    assert (job["worker"], job["attempt"], job["silent"], job["owner"], job["profile"]) == ("host:1:abc", 1, False, "ann", "abr")
    assert datetime.now(UTC) >= datetime.fromisoformat(job["started_at"])
    assert told["running"] == 1
    assert [sum(hour[what] for hour in told["hours"]) for what in ("completed", "failed", "media_s")] == [1, 1, 12.5]
    assert (len(told["hours"]), told["hours"][0]["begins_at"][13:]) == (24, ":00:00Z")
    [failure] = told["failures"]
    assert (failure["file_id"], failure["attempts"]) == (str(failed.file_id), 1)
    assert failure["error"] == {"code": "corrupt_media", "detail": "the index is damaged", "retryable": False}
    assert told["process"] == {"version": "1.2.3", "ffmpeg": "5.1.9", "schema_version": "0010", "uptime_s": 0}


async def test_queue_and_scratch_are_the_gauges(api: RunningApi) -> None:
    """To the number what Prometheus gets; nothing is known of a worker where there is none."""
    told = await state(api)
    assert told["worker"] is None
    assert told["queue"]["oldest_age_s"] is None
    api.queue.put("a")
    api.clock.advance(desk.GAUGES_EVERY_S)
    metrics = api.metrics
    metrics.queue_oldest_age.labels("main").set(7.5)
    metrics.job_slots.set(4)
    metrics.jobs_in_progress.set(3)
    metrics.scratch_free.set(5_000_000_000)
    metrics.scratch_size.set(8_000_000_000)
    told = await state(api)
    assert told["worker"] == {"jobs": 3, "slots": 4, "scratch_free_bytes": 5_000_000_000, "scratch_size_bytes": 8_000_000_000}
    queue = told["queue"]
    shown = (queue["waiting"], queue["in_flight"], queue["delayed"], queue["dead_letters"], queue["oldest_age_s"])
    assert shown == (1, 0, 0, 0, 7.5)
    scraped = (await api.get("/metrics")).body.decode()
    for line in ('vproc_queue_messages{queue="main",state="visible"} 1.0', "vproc_scratch_free_bytes 5e+09"):
        assert line in scraped
    assert datetime.fromisoformat(queue["read_at"]).timestamp() == pytest.approx(api.sample("vproc_queue_read_timestamp_seconds"))


async def test_ten_tabs_cost_one_query_and_one_reading_of_the_queue(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = 0, api.catalog.overview

    async def counted(**asked: int) -> Any:
        nonlocal looks
        looks += 1
        return await look(**asked)

    monkeypatch.setattr(api.catalog, "overview", counted)
    async with anyio.create_task_group() as tabs:
        for _ in range(10):
            tabs.start_soon(state, api)
    assert (looks, api.queue.calls["depths"]) == (1, 1)
    api.clock.advance(desk.OVERVIEW_KEPT_S)
    await state(api)
    assert (looks, api.queue.calls["depths"]) == (2, 1)


async def test_a_queue_that_is_away_leaves_the_numbers_with_their_age(api: RunningApi) -> None:
    api.queue.put("a")
    before = (await state(api))["queue"]
    api.queue.put("b")
    api.clock.advance(desk.GAUGES_EVERY_S)
    api.queue.fail_next("depths", UnavailableError("SQS is away"))
    assert (await state(api))["queue"] == before


async def test_a_queue_that_does_not_answer_holds_nobody_up(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "GAUGES_WITHIN_S", 0.1)
    api.queue.pause_next("depths")
    assert (await state(api))["queue"]["read_at"] is None


async def test_a_catalog_that_is_away_is_a_503(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(**_: int) -> Any:
        raise UnavailableError("away")

    monkeypatch.setattr(api.catalog, "overview", away)
    answer = await api.get("/ops/state", headers=ADMIN)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")


# --- dead letters ------------------------------------------------------------------------------------------------------


async def test_dead_letters_tell_their_reason(api: RunningApi) -> None:
    file_id = str(uuid4())
    api.letters.letters += [dead_letter("m-1", file_id=file_id), dead_letter("m-2", code=None)]
    answer = await api.get("/ops/dead-letters", headers=ADMIN)
    by_us, by_sqs = answer.json["letters"]
    assert by_us == {
        "message_id": "m-1", "code": "stalled", "detail": "no progress for 60 s", "file_id": file_id, "attempts": 3,
        "objects": ["raw/a.mp4"], "sent_at": "2026-01-02T00:00:00Z",
    }  # fmt: skip
    assert (by_sqs["code"], by_sqs["detail"], by_sqs["file_id"], by_sqs["attempts"]) == (None, "received too often", None, None)
    assert answer.json["more"] is False


async def test_they_are_bounded_and_looked_at_once_for_all(api: RunningApi) -> None:
    api.letters.letters += [dead_letter(f"m-{number}") for number in range(desk.MOST_LETTERS + 1)]
    seen = []

    async def look() -> None:
        seen.append((await api.get("/ops/dead-letters", headers=ADMIN)).json)

    async with anyio.create_task_group() as tabs:
        for _ in range(5):
            tabs.start_soon(look)
    assert [(len(one["letters"]), one["more"]) for one in seen] == [(desk.MOST_LETTERS, True)] * 5
    assert (api.letters.calls["_look"], api.queue.calls["depths"]) == (1, 1)


async def test_one_is_redriven_and_gone_from_the_list_at_once(api: RunningApi) -> None:
    file_id = str(uuid4())
    api.letters.letters += [dead_letter("m-1"), dead_letter("m-2", file_id=file_id)]
    await api.get("/ops/dead-letters", headers=ADMIN)
    assert await redrive(api, ids=[file_id]) == (200, {"redriven": 1, "by": "hand"})
    assert [letter.message_id for letter in api.letters.sent] == ["m-2"]
    left = (await api.get("/ops/dead-letters", headers=ADMIN)).json["letters"]
    assert [letter["message_id"] for letter in left] == ["m-1"]
    assert api.queue.calls["depths"] == 3  # with each look and with the redrive: the number that is shown is theirs


async def test_all_are_redriven_only_where_that_is_said(api: RunningApi) -> None:
    api.letters.letters += [dead_letter("m-1"), dead_letter("m-2")]
    for wanted in ({}, {"all": False}, {"ids": []}, {"ids": ["m-1"], "all": True}, {"every": True}):
        assert (await redrive(api, **wanted))[0] == 422
    assert api.letters.sent == []
    assert await redrive(api, all=True) == (200, {"redriven": 2, "by": "hand"})
    assert api.letters.letters == []


async def test_a_letter_that_is_not_there_sends_none_back(api: RunningApi) -> None:
    api.letters.letters.append(dead_letter("m-1"))
    status, problem = await redrive(api, ids=["m-1", "m-9"])
    assert (status, api.letters.sent) == (404, [])
    assert "'m-9' among the 1" in problem["detail"]


async def test_a_redrive_waits_for_who_looks(api: RunningApi) -> None:
    """Else it would not find what it names: who looks hides it."""
    api.letters.letters.append(dead_letter("m-1"))
    look = api.letters.pause_next("_look")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: api.get("/ops/dead-letters", headers=ADMIN))
        await api.letters.called("_look")
        answers = []

        async def send() -> None:
            answers.append(await redrive(api, ids=["m-1"]))

        tasks.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        look.release()
    assert answers == [(200, {"redriven": 1, "by": "hand"})]


async def test_what_takes_long_goes_on_and_what_sqs_stops_is_told(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.letters.redriven = Redriven(7, "sqs")
    assert await redrive(api, all=True) == (200, {"redriven": 7, "by": "sqs"})
    api.letters.redriven = Redriven(2, "sqs", "CouldNotDetermineMessageSource")
    status, problem = await redrive(api, all=True)
    assert (status, problem["detail"]) == (503, "SQS stopped after about 2 letters: CouldNotDetermineMessageSource.")
    monkeypatch.setattr(desk, "REDRIVE_WITHIN_S", 0.0)
    assert await redrive(api, all=True) == (202, {"redriven": None, "by": None})


async def test_a_queue_without_a_place_for_them_says_so(api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.app[PARTS].desk, "_letters", None)
    answer = await api.get("/ops/dead-letters", headers=ADMIN)
    assert (answer.status, "VPROC_DLQ_URL" in answer.detail) == (404, True)
    assert (await redrive(api, all=True))[0] == 404


async def test_a_redrive_is_in_the_audit_whoever_asked(api: RunningApi, logs: LogLines) -> None:
    api.letters.letters.append(dead_letter("m-1"))
    answer = await api.ask("POST", "/ops/dead-letters/redrive", json={"all": True}, headers={"Authorization": "Bearer ann"})
    assert (answer.status, answer.detail, api.letters.sent) == (403, FOR_ADMINS, [])
    await redrive(api, all=True)
    lines = [(line["action"], line["owner"], line["result"], line["status"]) for line in logs.named("audit")]
    assert lines == [("letters.redrive", "ann", "refused", 403), ("letters.redrive", "admin", "done", 200)]
    [told] = logs.named("letters_redriven")
    assert (told["letters"], told["by"], told["owner"]) == (1, "hand", "admin")
    assert json.dumps(told).count("handle-") == 0
