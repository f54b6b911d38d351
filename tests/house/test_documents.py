"""The reference says all that there is, and nothing that there is not: settings, routes, commands, metrics, codes, links."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from pydantic import AliasChoices, SecretStr

from tests.support.source import PACKAGE, ROOT, committed, modules
from vproc import __version__
from vproc.cli import cli
from vproc.core.files import Outcome, Stage, Status
from vproc.core.manifest import OutputKind
from vproc.errors import ErrorCode
from vproc.http import ROUTES
from vproc.profiles import builtin_profiles
from vproc.settings import Settings, variable_of
from vproc.telemetry import Metrics

REFERENCE = ROOT / "docs" / "reference"
CODE = re.compile(r"`([^`\n]+)`")
VARIABLE = re.compile(r"\bVPROC_[A-Z0-9]+(?:_[A-Z0-9]+)*\b")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def rows(name: str, head: str) -> dict[str, list[str]]:
    """The rows of a page's tables whose first column is headed so, by the first code word of their first cell."""
    found: dict[str, list[str]] = {}
    inside = False
    for line, following in pairwise([*page(name).splitlines(), ""]):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if following.startswith("|---"):
            inside = cells[0] == head
        elif not cells:
            inside = False
        elif inside and (code := CODE.search(cells[0])):
            assert code[1] not in found, f"{name} has {code[1]} twice"
            found[code[1]] = cells
    return found


# --- settings ----------------------------------------------------------------------------------------------------------


def default_of(name: str) -> str | None:
    """A setting's default as its variable would say it; None where there is none, or one that the machine decides."""
    field = Settings.model_fields[name]
    if field.is_required() or field.default is None or field.default_factory is not None:
        return None
    value = field.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset | tuple):
        return ",".join(sorted(value) if isinstance(value, frozenset) else value) or None
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    """A setting has a row: its variable, its other names, its default, its meaning."""
    row = rows("settings.md", "variable").get(variable_of(name))
    assert row is not None, f"settings.md lacks {variable_of(name)}"
    alias = Settings.model_fields[name].validation_alias
    assert isinstance(alias, AliasChoices)
    for other in alias.choices[1:]:
        assert f"`{other}`" in row[0]
    shown = CODE.search(row[1])
    assert (shown[1] if shown else None) == default_of(name), f"{variable_of(name)}: {row[1]}"
    assert row[1] == "required" or not Settings.model_fields[name].is_required()
    assert row[2]


def test_every_variable_that_the_code_reads_is_documented() -> None:
    """No variable of ours stands in the code that the reference does not name, and none in the reference that is not read."""
    in_code = {name for module in modules() for name in VARIABLE.findall(module.text)} | {
        variable_of(n) for n in Settings.model_fields
    }
    in_code |= set(VARIABLE.findall((ROOT / "scripts" / "one-file.sh").read_text()))
    documented = {name for row in rows("settings.md", "variable") for name in VARIABLE.findall(row)}
    assert documented == {name for name in in_code if name.startswith("VPROC_")}


# --- codes and other enums ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "enum"),
    [("errors.md", ErrorCode), ("api.md", Status), ("outputs.md", OutputKind), ("metrics.md", Stage), ("metrics.md", Outcome)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_value_that_others_read_is_documented(name: str, enum: type[StrEnum]) -> None:
    """Each value of an enum that a user meets is explained on its page."""
    words = set(CODE.findall(page(name)))
    assert {value for value in enum if value != "running"} - words == set()


def test_the_error_codes_are_the_table() -> None:
    """The table of codes holds every code once and no other."""
    assert set(rows("errors.md", "code")) == {str(code) for code in ErrorCode}


def test_every_profile_is_documented() -> None:
    """Each profile that is built in has its row in the page of outputs."""
    assert set(builtin_profiles()) <= set(rows("outputs.md", "profile"))


# --- commands and routes -----------------------------------------------------------------------------------------------


def commands(group: click.Group, path: str = "vproc") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(cli)), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    """A command has its section, which names each of its options."""
    sections = re.split(r"^## +", page("commands.md"), flags=re.MULTILINE)
    found = [section for section in sections if section.startswith(f"`{name}")]
    assert len(found) == 1, f"commands.md has {len(found)} sections for {name}"
    for parameter in command.params:
        for option in parameter.opts if isinstance(parameter, click.Option) else ():
            if option.startswith("--"):
                assert option in found[0], f"{name} {option}"


def test_no_command_is_documented_that_is_not_there() -> None:
    """Each section of the page is a command."""
    sections = re.findall(r"^## +`(vproc(?: [a-z]+)*)", page("commands.md"), re.MULTILINE)
    assert sections == [name for name, _ in commands(cli)]


def test_the_routes_are_the_table() -> None:
    """The API's page has a row for each route, and for no other."""
    assert set(rows("api.md", "route")) == {f"{route.method} {route.template}" for route in ROUTES}


# --- metrics -----------------------------------------------------------------------------------------------------------


def collectors(metrics: Metrics) -> dict[str, MetricWrapperBase]:
    return {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


@pytest.fixture(scope="module")
def exposition() -> bytes:
    """What Prometheus reads of a process in which everything has happened once."""
    metrics = Metrics(CollectorRegistry())
    for collector in collectors(metrics).values():
        child = collector.labels(*("x" for _ in collector._labelnames)) if collector._labelnames else collector
        act = getattr(child, "observe", None) or getattr(child, "inc", None)
        assert act is not None
        act(1)
    return generate_latest(metrics.registry)


def test_promtool_finds_nothing(exposition: bytes) -> None:
    """`promtool check metrics` has nothing to say of our names, helps and units."""
    checked = subprocess.run(["promtool", "check", "metrics"], input=exposition, check=False, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_every_metric_is_documented_with_its_labels(exposition: bytes) -> None:
    """The page of metrics has a row for each, by the name that Prometheus sees, with its labels, and no other row."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition.decode(), re.MULTILINE))
    named = {name: kind for name, kind in types.items() if not name.endswith("_created")}
    found = rows("metrics.md", "name")
    assert set(found) == set(named)
    labels = {
        c._name + ("_total" if c._type == "counter" else ""): c._labelnames
        for c in collectors(Metrics(CollectorRegistry())).values()
    }
    for name, row in found.items():
        assert row[1] == named[name], name
        assert tuple(CODE.findall(row[2])) == labels[name], name


# --- pages -------------------------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    return [file for file in committed() if file.suffix == ".md"]


def anchors(file: Path) -> set[str]:
    """A heading's anchor, as code hosts make it: lower case, no punctuation, spaces to hyphens."""
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in HEADING.findall(file.read_text())}


@pytest.mark.parametrize("file", documents(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(file: Path) -> None:
    """A link to a file of the project finds it, and the heading that it names."""
    for target in LINK.findall(FENCE.sub("", file.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


def test_every_page_can_be_found() -> None:
    """Each page of docs/ is linked from another page."""
    linked = {
        (file.parent / target.partition("#")[0]).resolve()
        for file in documents()
        for target in LINK.findall(file.read_text())
        if not re.match(r"[a-z]+:", target)
    }
    assert {file for file in documents() if (ROOT / "docs") in file.parents} - linked == set()


def test_the_changelog_tells_of_this_version() -> None:
    """The newest section of the changelog is the version of the package, or what is not released yet."""
    newest = re.search(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] in ("Unreleased", __version__)


def test_the_readme_starts_with_the_two_commands() -> None:
    """A newcomer meets `make demo` and `make test` at once, and every make goal that the README names exists."""
    readme = (ROOT / "README.md").read_text()
    assert 0 <= readme.find("make demo") < 2500
    goals = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?= *[`\n#]| [A-Z]+=)", readme)) <= goals
    assert {"demo", "test"} <= set(re.findall(r"\bmake ([a-z]+)\b", readme))


def test_the_package_holds_no_foreign_files() -> None:
    """What a wheel would carry is Python, SQL-free migrations, the page, the profiles, a video of a second, and a type marker:
    no leftovers. The copies of Swagger UI and of hls.js have licences beside them, and what is copied keeps its name."""
    copied = {PACKAGE / "web" / name for name in ("swagger", "hls")}
    kinds = {file.suffix or file.name for file in committed() if PACKAGE in file.parents and file.parent not in copied}
    assert kinds <= {".py", ".typed", ".toml", ".html", ".css", ".js", ".svg", ".mako", ".ini", ".mp4"}


@pytest.mark.parametrize(("name", "least"), [("sources.md", 30), ("faults.md", 50)])
def test_every_test_that_a_table_names_stands(name: str, least: int) -> None:
    """What the page says is shown, is."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (REFERENCE / name).read_text())
    assert len(named) > least
    assert [(path, test) for path, test in named if f"def {test}(" not in (ROOT / path).read_text()] == []
