"""The documentation as a whole: every block of README.md and docs/ is typed in as it stands by a test beside this one, or is
checked here for what it is, or is listed in `NOT_RUN` with the reason.

Commands run in `test_documentation_sessions.py` over a daemon, and in `test_documentation_settings.py` without one.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support import daemon
from tests.support.documents import (
    SETTINGS,
    SHELL,
    Block,
    blocks,
    blocks_of,
    calls_in,
    claimed,
    fault_of,
    inline,
    pages,
    runs,
    runs_each,
)
from tests.support.source import PACKAGE, ROOT
from tests.support.watching import ALERTS
from vproc.http import ROUTES

pytestmark = pytest.mark.xdist_group("e2e-documentation")

NOT_RUN = {
    "README.md#how-it-works": "a figure",
    "docs/why/architecture.md#what-may-know-what": "a figure; import-linter holds the code to it",
    "docs/why/delivery.md#the-commit-protocol": "a figure",
    "docs/how-to/scale.md#the-number-to-scale-by": "a query of Prometheus, which the dashboard's test asks",
    "docs/how-to/upload-from-a-mobile-app.md#swift": "no compiler of Swift here",
    "docs/how-to/upload-from-a-mobile-app.md#kotlin": "no compiler of Kotlin here, nor OkHttp",
    "docs/how-to/run-as-a-service.md#run-it-as-a-service": "root, and a machine whose services it may change",
    "docs/how-to/run-as-a-service.md#run-it-as-a-service:2": "likewise",
    "docs/how-to/run-ffmpeg-in-containers.md#who-may-use-the-engine": "an engine that a user runs without root",
    "docs/how-to/run-ffmpeg-in-containers.md#set-it-up": "an image that there is not",
    "docs/how-to/run-ffmpeg-in-containers.md#set-it-up:3": "an engine: `make boots` has one",
    "docs/how-to/run-ffmpeg-in-containers.md#the-daemon-itself-in-a-container": "likewise; runs it, confined as here",
    "docs/how-to/run-in-a-container.md#run-it-in-a-container": "root and a container engine: `make boots` builds the image",
    "docs/how-to/run-in-a-container.md#try-it": "likewise; runs it",
    "docs/how-to/run-in-a-container.md#a-container-for-each-video": "likewise",
    "docs/how-to/run-in-a-container.md#run-it": "likewise; runs it, confined as here",
    "docs/how-to/one-file.md#run-it-from-one-file": "packs for half a minute: `make boots` builds it and runs it without Python",
    "docs/how-to/one-file.md#as-a-service": "root: `make boots` has root unpack it for another user",
}
"""Blocks that do not run, and why. The `vproc` commands in them are read by the command line all the same."""

# --- all of it -----------------------------------------------------------------------------------------------------------


def test_every_block_runs_or_says_why_not() -> None:
    """A block that nobody runs or checks is told, and so is an entry without its block."""
    keys = {block.key for block in blocks()}
    ran = {block.key for block in blocks() if (block.section, block.language) in claimed()}
    checked = {block.key for block in blocks() if block.language in CHECKS}
    assert len(ran) > 30
    assert keys - ran - checked - set(NOT_RUN) == set()
    assert set(NOT_RUN) - keys == set()
    assert set(NOT_RUN) & (ran | checked) == set()
    assert {section for section, _ in claimed()} - {block.section for block in blocks()} == set()


def test_every_command_of_ours_is_one() -> None:
    """Each `vproc …` of a block is taken by the command line; each in the prose names a command and options that there are."""
    told = [
        (block.key, words, fault)
        for block in blocks()
        if block.language in SHELL
        for words in calls_in(block.commands)
        if (fault := fault_of(words))
    ]
    told += [(page, words, fault) for page, words in inline() if (fault := fault_of(words, whole=False))]
    assert told == []


def test_what_is_no_command_is_told() -> None:
    """The two above find a wrong option, a command that is not there, and a lack of one."""
    script = "x=$(vproc submit --nowait a.mp4) && .venv/bin/vproc frob\nvproc dlq | cat\nexport A=db://h/vproc\nvproc serve 2>&1"
    calls = list(calls_in(script))
    assert [fault_of(words) is None for words in calls] == [False, False, False, True]
    assert fault_of(["submit", "--nowait", "FILE"], whole=False) == "no option --nowait"
    assert fault_of(["status", "ID"], whole=False) is None


def test_blocks_are_found() -> None:
    """In a list, of a longer fence, the second of a section; one that is never closed is told."""
    text = "# A b\n```sh\nx\n```\n- y\n\n  ```json\n  {}\n  ```\n## C\n````text\n```\n````\n"
    assert [(block.key, block.language) for block in blocks_of(text, "p.md")] == [
        ("p.md#a-b", "sh"),
        ("p.md#a-b:2", "json"),
        ("p.md#c", "text"),
    ]
    with pytest.raises(ValueError, match=r"p\.md:1"):
        list(blocks_of("```sh\nx\n", "p.md"))


def test_every_variable_of_a_page_is_a_setting() -> None:
    """What a page names is in the reference, which is compared with the code."""
    known = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", (ROOT / "docs/reference/settings.md").read_text()))
    named = {(page.name, name) for page in pages() for name in re.findall(r"\bVPROC_[A-Z0-9_]*[A-Z0-9]\b", page.read_text())}
    assert len(named) > 100
    assert [(page, name) for page, name in sorted(named) if name not in known] == []


def test_every_route_of_a_page_is_one() -> None:
    """Each `METHOD /path` of a page is answered by the API."""
    routes = [(route.method, re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(route.template))) for route in ROUTES]
    named = {
        (page.name, *call) for page in pages() for call in re.findall(r"`(GET|POST|PUT|DELETE) (/[^`? ]*)", page.read_text())
    }
    assert len(named) > 50
    known = [
        (page, method, path) for page, method, path in named if any(method == m and re.fullmatch(r, path) for m, r in routes)
    ]
    assert named - set(known) == set()


def test_every_goal_of_make_of_a_page_is_one() -> None:
    """Each `make goal` of the prose stands in the Makefile."""
    goals = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {(page.name, goal) for page in pages() for goal in re.findall(r"`make ([a-z]+)\b", page.read_text())}
    assert len(named) > 8
    assert [(page, goal) for page, goal in sorted(named) if goal not in goals] == []


# --- what a block is -----------------------------------------------------------------------------------------------------


def _check_json(text: str, folder: Path) -> None:
    assert json.loads(text)


def _check_toml(text: str, folder: Path) -> None:
    """Where it is a file of profiles, `vproc profiles` takes it too."""
    assert tomllib.loads(text)
    (folder / "profiles.toml").write_text(text)
    if "[profiles." in text:
        told = daemon.run(folder, "profiles", "--check", "profiles.toml")
        assert told.code == 0, told.stderr


def _check_python(text: str, folder: Path) -> None:
    assert compile(text, "a page", "exec")


def _check_js(text: str, folder: Path) -> None:
    (folder / "snippet.mjs").write_text(text)
    told = subprocess.run(["node", "--check", "snippet.mjs"], cwd=folder, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def _check_html(text: str, folder: Path) -> None:
    opened: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag not in ("input", "link", "meta", "img", "source"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Reader().feed(text)
    assert opened == []


def _check_unit(text: str, folder: Path) -> None:
    """systemd knows every line, as additions to our unit."""

    def somewhere(unit: str) -> str:
        return re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE)

    (folder / "vproc.service").write_text(somewhere((ROOT / "systemd" / "vproc.service").read_text()))
    (folder / "vproc.service.d").mkdir()
    (folder / "vproc.service.d" / "override.conf").write_text(somewhere(text))
    told = subprocess.run(["systemd-analyze", "verify", folder / "vproc.service"], check=False, capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")


def _check_prometheus(text: str, folder: Path) -> None:
    """Prometheus takes it, with the rules beside it as they are committed."""
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(ALERTS, folder)
    told = subprocess.run(["promtool", "check", "config", "prometheus.yml"], cwd=folder, check=False, capture_output=True)
    assert told.returncode == 0, told.stderr


def _check_settings(text: str, folder: Path) -> None:
    """A daemon starts with them, as in the image; those that must be there and are not in the block are as anywhere."""
    (folder / ".env").write_text(text)
    others = {name: value for name, value in (SETTINGS | {"VPROC_AUTH": "none"}).items() if name not in text}
    told = daemon.run(folder, "config", VPROC_HOST="0.0.0.0", **others)
    assert told.code == 0, told.stderr


CHECKS: dict[str, Callable[[str, Path], None]] = {
    "json": _check_json,
    "toml": _check_toml,
    "python": _check_python,
    "js": _check_js,
    "html": _check_html,
    "ini": _check_unit,
    "yaml": _check_prometheus,
    "dotenv": _check_settings,
}


@pytest.mark.parametrize("block", [block for block in blocks() if block.language in CHECKS], ids=lambda block: block.key)
def test_it_is_what_it_says(block: Block, tmp_path: Path) -> None:
    """What a block says it is, it is to who reads that."""
    assert block.text.strip()
    CHECKS[block.language](block.text, tmp_path)


# --- a look --------------------------------------------------------------------------------------------------------------


@runs_each(
    "README.md#two-commands",
    "docs/how-to/try-it.md#see-it-once",
    "docs/how-to/try-it.md#keep-it-running",
    "docs/how-to/work-on-the-code.md#work-on-the-code",
)
def test_the_goals_of_make_are_there(script: str) -> None:
    """Each `make …` of a page is one that make knows how to do; they are run by themselves elsewhere."""
    calls = [line for line in script.splitlines() if line.strip()]
    assert calls
    for call in calls:
        assert call.startswith("make "), call
        told = subprocess.run(["bash", "-c", f"{call.partition('#')[0]} --dry-run"], cwd=ROOT, check=False, capture_output=True)
        assert told.returncode == 0, (call, told.stderr)


@runs("docs/why/architecture.md#architecture", language="text")
def test_the_packages_tree_is_the_packages(script: str) -> None:
    """Each file and folder of the figure is there, and no folder is left out."""
    named = set(re.findall(r"^  (\w+(?:/|\.py)) ", script, re.MULTILINE))
    there = {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    assert named - there == set()
    assert {name for name in there if name.endswith("/")} - named == set()


@runs("docs/why/costs.md#what-yours-cost", language="sql")
def test_the_costs_are_right(script: str, tmp_path: Path) -> None:
    """Each product of the page comes to what it says, the bench's figures are the bench's, and the query is one."""
    page = (ROOT / "docs/why/costs.md").read_text()
    sums = re.findall(r"((?:[\d.,]+|\(.+?\))(?: [\u00d7/] \$?(?:[\d.,]+|\([^)]+\)))+) = (?:\*\*)?\$?([\d.,]+\d)", page)
    assert len(sums) > 10
    for sum_, came_to in sums:
        exact = eval(re.sub(r"[$,]", "", sum_).replace("\N{MULTIPLICATION SIGN}", "*"))
        places = len(came_to.partition(".")[2])
        assert abs(exact - float(came_to.replace(",", ""))) <= 0.51 * 10**-places, (sum_, came_to, exact)
    bench = (ROOT / "bench/RESULTS.md").read_text()
    section = page.partition("## Make it")[2].partition("| an hour")[0]
    seconds = re.findall(r"\b\d+\.\d\d(?= s\b)", section)
    assert len(seconds) == 4
    assert [figure for figure in [*seconds, "1.66"] if f"{figure} s" not in bench] == []
    assert daemon.run(tmp_path, "migrate", **SETTINGS).code == 0
    catalog = sqlite3.connect(tmp_path / "vproc.db")
    with contextlib.closing(catalog):
        assert catalog.execute(script).fetchone() == (0, None)
