"""The pages of the documentation, their fenced blocks, and a shell in which what stands there runs as it stands there."""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import product, takewhile
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from tests.support.daemon import STOPS_WITHIN_S, environment
from tests.support.source import ROOT, TESTS, committed, dotted, modules
from vproc.cli import cli

SHELL = ("sh", "console")
SETTINGS = {"VPROC_RAW_BUCKET": "acme-raw", "VPROC_PROCESSED_BUCKET": "acme-out", "VPROC_QUEUE_URL": "https://sqs.eu-west-1/1/q"}
"""The three settings that there must be, where nothing is asked of them."""
ENDS_WITHIN_S = 60
_FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)$")
_HEADING = re.compile(r"^#{1,6} +(.+)$")
_AWS = Path(sys.executable).parent / "aws"
# What may stand before a command.
_BEFORE = re.compile(r"[|&;(]+|then|do|exec|\w+=.*")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``key`` is ``page#section``, with ``:2`` for the second block of a section."""

    key: str
    language: str
    text: str
    line: int

    @property
    def section(self) -> str:
        """The page and the heading's anchor."""
        return self.key.partition(":")[0]

    @property
    def commands(self) -> str:
        """What a person would type: of a ``console`` the lines behind a prompt."""
        if self.language != "console":
            return self.text
        return "".join(line.removeprefix("$ ") + "\n" for line in self.text.splitlines() if line.startswith("$ "))


def anchor(heading: str) -> str:
    """A heading's anchor, as code hosts make it: lower case, no punctuation, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [
        file for file in committed() if file.suffix == ".md" and (file == ROOT / "README.md" or ROOT / "docs" in file.parents)
    ]


@cache
def blocks() -> tuple[Block, ...]:
    """Every fenced block of every page."""
    return tuple(block for page in pages() for block in blocks_of(page.read_text(), page.relative_to(ROOT).as_posix()))


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """The fenced blocks of a page's text. One that is never closed is a ValueError."""
    section, seen = page, 0
    fence, language, began, held = "", "", 0, [""]
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            if line.strip() == fence:
                seen += 1
                yield Block(section + (f":{seen}" if seen > 1 else ""), language, "".join(held), began)
                fence = ""
            else:
                held.append(line + "\n")
        elif opened := _FENCE.match(line):
            fence, language, began, held = opened[2], opened[3].strip(), number, []
        elif heading := _HEADING.match(line):
            section, seen = f"{page}#{anchor(heading[1])}", 0
    if fence:
        raise ValueError(f"{page}:{began}: the block is not closed")


def script_of(section: str, language: str | None = None) -> str:
    """The commands of a section, or its blocks of another language; at least one. A test that calls it answers for them:
    `claimed` reads the call, so its arguments are literals."""
    wanted = SHELL if language is None else (language,)
    found = [block.commands for block in blocks() if block.section == section and block.language in wanted]
    if not found:
        raise LookupError(f"{section} has no block of {' or '.join(wanted)}")
    return "\n".join(found)


def runs(*sections: str, language: str | None = None) -> pytest.MarkDecorator:
    """The test gets the commands of these sections, in this order, as ``script``, and answers for them. `claimed` reads the
    call, so its arguments are literals."""
    scripts = [pytest.param("\n".join(script_of(section, language) for section in sections), id=sections[0])]
    return pytest.mark.parametrize("script", scripts)


def runs_each(*sections: str) -> pytest.MarkDecorator:
    """Likewise, but each section is a script of its own."""
    return pytest.mark.parametrize("script", [pytest.param(script_of(section), id=section) for section in sections])


@cache
def claimed() -> frozenset[tuple[str, str]]:
    """Section and language of every block that a test answers for, by `runs`, `runs_each` and `script_of`."""
    found = set()
    for module in modules(TESTS):
        imported = {name.removeprefix(f"{__name__}.") for name, _ in module.imports() if name.startswith(f"{__name__}.")}
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and dotted(node.func) in {"runs", "runs_each", "script_of"} & imported:
                kinds = [keyword.value for keyword in node.keywords if keyword.arg == "language"]
                languages = [ast.literal_eval(kind) for kind in kinds] or SHELL
                found |= {(ast.literal_eval(section), language) for section in node.args for language in languages}
    return frozenset(found)


def inline() -> Iterator[tuple[str, list[str]]]:
    """Page and words of each code span that begins with ``vproc``; of ``create|revoke`` once with each."""
    for page in pages():
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`(?:\.venv/bin/)?vproc ([^`]+)`", text):
            words = [word.split("|") for word in re.sub("['\"]", "", span).split()]
            for chosen in product(*words):
                yield page.relative_to(ROOT).as_posix(), list(chosen)


def calls_in(script: str) -> Iterator[list[str]]:
    """The words behind each ``vproc`` of a script, up to what the shell makes of the rest of the line."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:
            words = []  # A quotation that goes on in the next line is no command of ours.
        starts = [at for at, word in enumerate(words) if _is_ours(word) and (at == 0 or _BEFORE.fullmatch(words[at - 1]))]
        for start in starts:
            yield list(takewhile(lambda word: word[0] not in "|&;<>)" and word != "2", words[start + 1 :]))


def _is_ours(word: str) -> bool:
    return word == "vproc" or word.endswith("bin/vproc")


def fault_of(words: list[str], *, whole: bool = True) -> str | None:
    """What the command line has against these words; None where nothing. Of less than a ``whole`` call, as prose names it,
    only the command and its options are looked at."""
    command: click.Command = cli
    context = click.Context(cli, info_name="vproc")
    rest = list(words)
    while isinstance(command, click.Group) and rest and rest[0][0].islower():
        if rest[0] not in command.commands:
            return f"no command {rest[0]}"
        command = command.commands[rest.pop(0)]
        context = click.Context(command, info_name=command.name, parent=context)
    if whole:
        return _told(command, rest)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
    return next((f"no option {word}" for word in rest if word.startswith("--") and word.partition("=")[0] not in known), None)


def _told(command: click.Command, words: list[str]) -> str | None:
    if isinstance(command, click.Group) and not set(words) & {"--help", "-h", "--version"}:
        return "a command is lacking"
    try:
        command.make_context(command.name, list(words))
    except click.exceptions.Exit:
        return None
    except click.BadParameter as error:
        # What a variable will hold is not known here.
        return None if "does not exist" in error.message or any("$" in word for word in words) else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    return None


@dataclass(frozen=True)
class Shell:
    """A folder to type commands in. ``vproc`` is this tree's; a curl fails for an answer that is an error; and what is
    asked of 127.0.0.1:8080 goes to ``api``, so that no command need be changed.

    What cannot run here has a stand-in: ``instead`` by the word after ``vproc``, ``programs`` by the program's name.
    """

    folder: Path
    api: str = ""
    instead: dict[str, str] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def _environment(self) -> dict[str, str]:
        bin_ = self.folder / ".venv" / "bin"
        bin_.mkdir(parents=True, exist_ok=True)
        cases = "".join(f"  {word}) {other}; exit ;;\n" for word, other in self.instead.items())
        # The AWS CLI 1 does not read AWS_ENDPOINT_URL for every service.
        endpoint = '${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}'
        scripts = {
            "vproc": f'case "$1" in\n{cases}esac\nexec {sys.executable} -m vproc "$@"',
            "aws": f'exec {_AWS} {endpoint} "$@"',
            **self.programs,
        }
        for name, script in scripts.items():
            (bin_ / name).write_text(f"#!/usr/bin/env bash\nset -eu\n{script}\n")
            (bin_ / name).chmod(0o755)
        port = f"connect-to = 127.0.0.1:8080:{urlsplit(self.api).netloc}\n" if self.api else ""
        (self.folder / ".curlrc").write_text(f"fail\n{port}")
        found = environment(self.folder, **({"VPROC_API_URL": self.api} if self.api else {}))
        path = f"{bin_}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return found | {"PATH": path, "HOME": str(self.folder), "CURL_HOME": str(self.folder)} | self.settings

    def run(self, script: str, **variables: str) -> str:
        """Type commands; all that they print to standard output. The first that fails is an AssertionError with its words."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment() | variables,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=ENDS_WITHIN_S,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, script: str, **variables: str) -> Iterator[str]:
        """A command that goes on until it is ended, and its first line. It must end well on SIGTERM."""
        with (
            (self.folder / "running.err").open("w") as log,
            subprocess.Popen(
                ["bash", "-euc", f"exec {script.strip()}"],
                cwd=self.folder,
                env=self._environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            try:
                line = process.stdout.readline()
                assert line, (self.folder / "running.err").read_text()
                yield line
            finally:
                process.send_signal(signal.SIGTERM)
                code = process.wait(STOPS_WITHIN_S)
            assert code == 0, (self.folder / "running.err").read_text()
