"""What an operator's Prometheus and Grafana are given: the alerts' rules and the dashboard's queries, as they are committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.source import ROOT

ALERTS = ROOT / "deploy/prometheus/alerts.yml"
ALERTS_TEST = ROOT / "deploy/prometheus/alerts_test.yml"
DASHBOARD = ROOT / "deploy/grafana/vproc.json"


def alerts() -> dict[str, dict[str, Any]]:
    """Each alert's rule, by its name."""
    return {rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def dashboard_queries(*, instance: str = ".*", interval: str = "5m") -> Iterator[tuple[str, str]]:
    """Title and query of each curve, with Grafana's variables filled in."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$instance", instance).replace("$__rate_interval", interval)
