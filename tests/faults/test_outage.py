"""S3, SQS or the database away, for seconds in `make test` and for minutes in `make chaos`: the daemon stays, asks seldom, says
what it cannot, answers what it can, and works again within half a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest
from anyio.from_thread import start_blocking_portal

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev, run, serve
from tests.support.fault_proxy import FaultProxy, Verb, drop_request, fault_proxy, status
from tests.support.media import clip
from tests.support.postgres import PostgresServer

CHAOS = bool(os.environ.get("VPROC_TEST_CHAOS"))
AWAY_S = 180.0 if CHAOS else 6.0
RECOVERS_WITHIN_S = 30.0
POLLS_A_SECOND = 2
BUSY_SHARE = 0.3
"""Of one core, while nothing works: more would be a hot loop. Half of it is this test's own asking."""

OUTAGES: dict[str, Callable[[], Verb]] = {
    "refused": drop_request,
    "unavailable": lambda: status(503, "ServiceUnavailable"),
    "denied": lambda: status(403, "ExpiredToken"),
}


@contextmanager
def proxied(url: str) -> Iterator[FaultProxy]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fault_proxy(url)) as proxy:
        proxy.secrets = {"embedded": "embedded"}
        yield proxy


@contextmanager
def daemon_behind(tmp_path: Path, **settings: str) -> Iterator[tuple[Daemon, FaultProxy]]:
    """A daemon whose S3 and SQS are behind a proxy."""
    folders = [tmp_path / name for name in ("store", "daemon")]
    for folder in folders:
        folder.mkdir()
    with dev(folders[0], VPROC_ROLES="api") as store, proxied(store.ready["s3"]) as proxy:
        own = {"AWS_ENDPOINT_URL": proxy.url, "VPROC_DATABASE_URL": f"sqlite:///{folders[1]}/vproc.db"}
        with serve(folders[1], **store.settings | own | settings) as daemon:
            daemon.until_ready()
            yield daemon, proxy


def cpu_s(daemon: Daemon) -> float:
    """Processor time of the process so far."""
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_away(daemon: Daemon, *checks: str) -> None:
    """It says so, by name."""

    def says() -> bool:
        answer = fetch(f"{daemon.api}/readyz")
        return answer.status == 503 and all(answer.json["checks"][name] != "ok" for name in checks)

    until(says, within_s=30, what=f"/readyz red: {fetch(f'{daemon.api}/readyz').body!r}")


def stays_calm(daemon: Daemon, asked: Callable[[], int]) -> None:
    """For as long as it lasts: alive, not busy, and asking no more often than it should."""
    begun, cpu_before, asked_before = time.monotonic(), cpu_s(daemon), asked()
    Event().wait(AWAY_S)
    lasted_s = time.monotonic() - begun
    assert daemon.process.poll() is None
    assert fetch(f"{daemon.api}/healthz").status == 200
    assert asked() - asked_before <= POLLS_A_SECOND * lasted_s + 1
    assert cpu_s(daemon) - cpu_before <= BUSY_SHARE * lasted_s


def works_again(daemon: Daemon) -> None:
    begun = time.monotonic()
    daemon.until_ready()
    file_id = daemon.caller.upload(clip("tiny.mp4"), profile="copy")
    assert daemon.caller.completed(file_id)["attempts"] == 1
    assert time.monotonic() - begun < RECOVERS_WITHIN_S


@pytest.mark.timeout(AWAY_S + 200)
@pytest.mark.parametrize("how", OUTAGES)
def test_s3_and_sqs_are_away_and_return(how: str, tmp_path: Path) -> None:
    with daemon_behind(tmp_path) as (daemon, proxy):
        earlier = daemon.caller.upload(clip("tiny.mp4"), profile="copy")
        daemon.caller.completed(earlier)
        proxy.down = OUTAGES[how]()
        is_away(daemon, "queue", "raw_bucket", "processed_bucket")
        assert daemon.caller.status(earlier)["processing_status"] == "completed", "what it knows it tells"
        assert daemon.caller.ask("/upload", "POST", {"file_name": "a.mp4"}).status == 201, "an address takes no request"
        stays_calm(daemon, lambda: proxy.calls["ReceiveMessage"])
        proxy.heal()
        works_again(daemon)


@pytest.mark.timeout(AWAY_S + 200)
def test_a_job_that_an_outage_breaks_off_is_done_when_it_ends(tmp_path: Path) -> None:
    with daemon_behind(tmp_path, VPROC_VISIBILITY_TIMEOUT_S="6") as (daemon, proxy):
        file_id = daemon.caller.upload(clip("hd.mp4"))
        until(lambda: daemon.caller.status(file_id)["stage"] == "encode", within_s=30, what="an encode")
        proxy.down = drop_request()
        until(lambda: '"job_ended"' in log_text(daemon), within_s=60, what="the end of the attempt")
        assert daemon.caller.status(file_id)["processing_status"] in {"uploaded", "processing"}
        proxy.heal()
        told = daemon.caller.completed(file_id)
        assert told["error"] is None


@pytest.mark.timeout(200)
def test_expired_tokens_at_the_heartbeats_lose_no_lease(tmp_path: Path) -> None:
    """Until new credentials are there the lease that was proved still holds."""
    with daemon_behind(tmp_path, VPROC_VISIBILITY_TIMEOUT_S="6") as (daemon, proxy):
        proxy.on("ChangeMessageVisibility", *[status(403, "ExpiredToken")] * 3)
        file_id = daemon.caller.upload(clip("hd.mp4"))
        told = daemon.caller.completed(file_id)
        assert (told["attempts"], told["error"]) == (1, None)
        assert proxy.calls["ChangeMessageVisibility"] > 3
        metrics = fetch(f"{daemon.api}/metrics").body.decode()
        assert 'vproc_heartbeats_total{outcome="error"} 3.0' in metrics
        assert 'vproc_heartbeats_total{outcome="lost"} 0.0' in metrics


def log_text(daemon: Daemon) -> str:
    return (daemon.folder / f"{daemon.name}.err").read_text()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        with suppress(AssertionError):  # a test that failed may have left it stopped
            server.stop("immediate")
        server.remove()


@pytest.mark.timeout(AWAY_S + 200)
def test_the_database_is_away_and_returns(server: PostgresServer, tmp_path: Path) -> None:
    url = server.url(server.create_database()).replace("postgresql+asyncpg", "postgresql")
    assert run(tmp_path, "migrate", VPROC_DATABASE_URL=url).code == 0
    with daemon_behind(tmp_path, VPROC_DATABASE_URL=url) as (daemon, proxy):
        earlier = daemon.caller.upload(clip("tiny.mp4"), profile="copy")
        daemon.caller.completed(earlier)
        server.stop("immediate")
        is_away(daemon, "database")
        for path, method in ((f"/upload/{earlier}/status", "GET"), ("/uploads", "GET"), ("/upload", "POST")):
            answer = daemon.caller.ask(path, method, {"file_name": "a.mp4"} if method == "POST" else None)
            assert (answer.status, answer.json["title"]) == (503, "Service Unavailable"), answer
            assert "retry-after" in answer.headers
        stays_calm(daemon, lambda: proxy.calls["ReceiveMessage"])
        server.start()
        works_again(daemon)
        assert daemon.caller.status(earlier)["processing_status"] == "completed"
