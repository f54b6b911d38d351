"""The alerts and the dashboard ask for metrics that exist, by labels and values that exist; each alert fires when it should."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from tests.support.source import ROOT
from tests.support.watching import ALERTS, ALERTS_TEST, alerts, dashboard_queries, panels
from vproc.telemetry import MESSAGE_OUTCOMES, Metrics

SELECTOR = re.compile(r"\b(vproc_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
# Prometheus' own.
OUTSIDE = {"instance", "job", "le"}
VALUE_ROW = re.compile(r"^\| `outcome` of (jobs|messages|webhooks|heartbeats) \| (.*) \|$", re.MULTILINE)


def known() -> dict[str, tuple[str, ...]]:
    """Each series that Prometheus may hold, with its labels."""
    found: dict[str, tuple[str, ...]] = {}
    for collector in vars(Metrics(CollectorRegistry())).values():
        if not isinstance(collector, MetricWrapperBase):
            continue
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(collector._type, ("",))
        for ending in endings:
            found[collector._name + ending] = tuple(collector._labelnames)
    return found


def expressions() -> list[tuple[str, str]]:
    return [(name, rule["expr"]) for name, rule in alerts().items()] + list(dashboard_queries())


@pytest.mark.parametrize(("where", "expression"), expressions())
def test_a_query_asks_for_what_is_measured(where: str, expression: str) -> None:
    """Names of metrics and labels; a misspelt one would be an alert that never fires, or an empty picture."""
    series = known()
    asked = SELECTOR.findall(expression)
    assert asked or "up{" in expression, where
    labels = set(OUTSIDE)
    for name, matchers in asked:
        assert name in series, f"{where}: there is no {name}"
        named = {label for label, _ in MATCHER.findall(matchers)}
        assert named <= {*series[name], *OUTSIDE}, f"{where}: {name} has no {named - set(series[name])}"
        labels |= set(series[name])
    grouped = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}
    assert grouped <= labels, f"{where}: nothing has {grouped - labels}"


def test_outcomes_that_are_asked_for_are_documented() -> None:
    """A value of `outcome` in a query stands in the list of values."""
    rows = dict(VALUE_ROW.findall((ROOT / "docs/reference/metrics.md").read_text()))
    values = {word for row in rows.values() for word in re.findall(r"`(\w+)`", row)} | {"ok", "error"}
    asked = {
        word
        for _, expression in expressions()
        for label, value in MATCHER.findall(expression)
        if label == "outcome"
        for word in value.split("|")
    }
    assert asked
    assert asked <= values


def test_each_alert_says_what_to_do() -> None:
    """A section of the runbook with its name, a severity, a sentence; and no section without an alert."""
    page, _, anchor = "docs/how-to/answer-an-alert.md", "", ""
    headings = re.findall(r"^## (Vproc\w+)$", (ROOT / page).read_text(), re.MULTILINE)
    assert headings == list(alerts())
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (page, anchor) == ("docs/how-to/answer-an-alert.md", name.lower())
        assert len(rule["annotations"]["summary"]) > 10


def test_promtool_finds_each_alert_firing_and_a_healthy_installation_silent() -> None:
    """The rules' own tests, and that there is one of both kinds for every alert."""
    done = subprocess.run(
        ["promtool", "test", "rules", ALERTS_TEST.name], cwd=ALERTS_TEST.parent, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = {test["name"]: test["alert_rule_test"] for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"]}
    assert [check["alertname"] for check in tests["healthy"]] == list(alerts())
    assert not any(check.get("exp_alerts") for check in tests["healthy"])
    for name in alerts():
        assert [check["alertname"] for check in tests[name] if check.get("exp_alerts")] == [name]


def test_promtool_finds_nothing_in_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=False, capture_output=True, text=True)
    assert (done.returncode, f"SUCCESS: {len(alerts())} rules found" in done.stdout) == (0, True)


def test_the_dashboard_is_laid_out() -> None:
    """Every panel has a place of its own and its own number."""
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels()) > 20


def test_every_outcome_of_a_message_begins_at_zero() -> None:
    """What the code settles a message with is among those that are there from the start, and all of those are documented."""
    settled = {
        node.args[1].value
        for path in (ROOT / "vproc/workers").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Settlement"
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    }
    assert len(settled) > 8
    assert settled <= set(MESSAGE_OUTCOMES)
    rows = dict(VALUE_ROW.findall((ROOT / "docs/reference/metrics.md").read_text()))
    documented = {word for kind in ("jobs", "messages") for word in re.findall(r"`(\w+)`", rows[kind])}
    assert documented == set(MESSAGE_OUTCOMES)
