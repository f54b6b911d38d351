"""A real Prometheus scrapes a daemon that did a job: it takes every line, loads the alerts, and every query of the dashboard
is answered."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.support.caller import fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev
from tests.support.documents import runs
from tests.support.media import clip
from tests.support.watching import ALERTS, alerts, dashboard_queries

pytestmark = pytest.mark.xdist_group("e2e-prometheus")

# What a daemon that did one job has nothing to show of.
SILENT = {
    "Age of what came last",
    "Webhooks, a minute",
    "Time of a webhook",
    "Announcements of the host, an hour",
    "What the janitor mended, an hour",
}


class Prometheus:
    """A server on a free port of this machine, with the rules as they are committed; it scrapes every second."""

    def __init__(self, folder: Path, target: str) -> None:
        program = shutil.which("prometheus")
        assert program is not None
        shutil.copy(ALERTS, folder / "alerts.yml")
        scraped = {"job_name": "vproc", "static_configs": [{"targets": [target]}]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [scraped],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.url = f"http://{address}"
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"),
                    *(f"--web.listen-address={address}", "--storage.tsdb.retention.time=1d"),
                ],
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        try:
            return fetch(f"{self.url}/-/ready").status == 200
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives. An expression that is none is a fault of the test's."""
        answer = fetch(f"{self.url}/api/v1/query?{urlencode({'query': expression})}").json
        assert answer["status"] == "success", f"{expression}: {answer}"
        return list(answer["data"]["result"])


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that did a job."""
    with dev(tmp_path_factory.mktemp("prometheus-dev")) as running:
        running.caller.completed(running.caller.upload(clip("short.mp4"), profile="abr"))
        yield running


@pytest.fixture(scope="module")
def prometheus(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), urlsplit(daemon.api).netloc)
    try:
        until(server.answers, within_s=30, what="Prometheus")
        until(lambda: len(server.query("count_over_time(up[1m]) > 3")) == 1, within_s=30, what="some scrapes")
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def test_the_daemon_is_scraped_and_nothing_is_wrong(prometheus: Prometheus) -> None:
    """Every alert is loaded and healthy as a rule; none fires, but for layers of confinement that this machine lacks."""
    assert prometheus.query('up{job="vproc"}')[0]["value"][1] == "1"
    groups = fetch(f"{prometheus.url}/api/v1/rules").json["data"]["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert list(rules) == list(alerts())
    until(
        lambda: {rule["health"] for rule in fetch(f"{prometheus.url}/api/v1/rules").json["data"]["groups"][0]["rules"]} == {"ok"},
        within_s=30,
        what="all rules were looked at",
    )
    firing = {alert["metric"]["alertname"] for alert in prometheus.query('ALERTS{alertstate="firing"}')}
    assert firing == set()


def test_each_query_of_the_dashboard_is_answered(prometheus: Prometheus) -> None:
    """And has something to show of a daemon that did a job, but for the few that wait for an event."""
    empty = set()
    for title, expression in dashboard_queries(interval="1m"):
        if not prometheus.query(expression):
            empty.add(title)
    assert empty <= SILENT


@runs("docs/how-to/scale.md#the-number-to-scale-by", language="promql")
def test_the_query_to_scale_by_is_answered(prometheus: Prometheus, script: str) -> None:
    """As the page has it: of a daemon that has nothing to do, nothing for each slot."""
    [answer] = prometheus.query(script)
    assert float(answer["value"][1]) == 0
