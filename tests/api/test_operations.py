"""Liveness, readiness, metrics, version."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.api.conftest import LogLines
from tests.support.api import running_api
from tests.support.memory import ManualClock
from vproc.api.readiness import ReadinessChecks
from vproc.errors import ConfigError, UnavailableError
from vproc.vitals import Vitals


async def test_health_is_told_whatever_is_away(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        api.draining.set()
        api.queue.fail_next("check", UnavailableError("away"), times=float("inf"))
        answer = await api.get("/healthz")
        head = await api.ask("HEAD", "/healthz")
        asked = api.queue.calls["check"]
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert (head.status, head.body) == (200, b"")
    assert asked == 0


async def test_health_is_wedged_while_something_stands_still(tmp_path: Path) -> None:
    vitals = Vitals()
    async with running_api(tmp_path, vitals=vitals) as api:
        with vitals.pulse("poller") as pulse:
            pulse.due(-1)
            wedged = await api.get("/healthz")
            pulse.due(60)
            well = await api.get("/healthz")
    assert (wedged.status, wedged.json, wedged.headers["Retry-After"]) == (503, {"status": "wedged"}, "2")
    assert (well.status, well.json) == (200, {"status": "ok"})


async def test_readiness_names_each_check_and_what_is_wrong(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        api.queue.fail_next("check", UnavailableError("the queue does not answer"))
        wrong = await api.get("/readyz")
    assert (wrong.status, wrong.headers["Retry-After"]) == (503, "2")
    assert wrong.json == {
        "status": "unready",
        "checks": {"queue": "the queue does not answer", "raw_bucket": "ok", "database": "ok"},
        "sandbox": {},
    }
    async with running_api(tmp_path) as api:
        right = await api.get("/readyz")
    assert (right.status, right.json["status"]) == (200, "ready")


async def test_a_draining_process_is_not_ready_and_asks_nobody(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        assert (await api.get("/readyz")).status == 200
        api.draining.set()
        asked = api.queue.calls["check"]
        answer = await api.get("/readyz")
        assert (answer.status, answer.json["status"]) == (503, "draining")
        assert api.queue.calls["check"] == asked


async def test_many_probers_ask_each_dependency_once_in_a_while() -> None:
    clock, asked, go_on = ManualClock(), 0, anyio.Event()

    async def check() -> None:
        nonlocal asked
        asked += 1
        await go_on.wait()

    readiness = ReadinessChecks({"queue": check}, draining=anyio.Event(), clock=clock, sandbox={"seccomp": True})
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(readiness)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert asked == 1
    clock.advance(1.9)
    assert (await readiness()).sandbox == {"seccomp": True}
    assert asked == 1
    clock.advance(0.1)
    await readiness()
    assert asked == 2


async def test_checks_run_at_once_and_none_holds_the_answer(logs: LogLines) -> None:
    both = anyio.Event()

    async def first() -> None:
        await both.wait()

    async def second() -> None:
        both.set()

    async def hangs() -> None:
        await anyio.sleep_forever()

    async def misconfigured() -> None:
        raise ConfigError("VPROC_DLQ_URL: not set")

    async def buggy() -> None:
        raise KeyError("secret")

    checks = {"first": first, "second": second, "hangs": hangs, "misconfigured": misconfigured, "buggy": buggy}
    readiness = await ReadinessChecks(checks, draining=anyio.Event(), within_s=0.2)()
    assert readiness.status == "unready"
    assert readiness.checks == {
        "first": "ok",
        "second": "ok",
        "hangs": "gave no answer within 0.2 s",
        "misconfigured": "VPROC_DLQ_URL: not set",
        "buggy": "failed: KeyError",
    }
    assert [line["check"] for line in logs.named("check_failed")] == ["buggy"]


async def test_a_prober_that_hangs_up_does_not_break_the_next_one() -> None:
    go_on = anyio.Event()
    readiness = ReadinessChecks({"slow": go_on.wait}, draining=anyio.Event())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(readiness)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    go_on.set()
    assert (await readiness()).status == "ready"


async def test_metrics_are_those_of_this_process(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await api.get("/version")
        answer = await api.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert b'vproc_http_requests_total{method="GET",route="/version",status="200"} 1.0' in answer.body
    assert b"# TYPE vproc_jobs_in_progress gauge" in answer.body


@pytest.mark.parametrize("path", ["/version", "/version?x=y"])
async def test_the_version_says_what_runs(tmp_path: Path, path: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.get(path)
    assert answer.json == {"version": "1.2.3", "ffmpeg": "5.1.9"}
