"""What is committed: no address to download from, no path of somebody's machine, nothing large, locks that agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from shutil import which

import pytest
from packaging.requirements import Requirement

from tests.support.source import ROOT, committed, text_of

MOST_BYTES = 2_000_000
PINNING = re.compile(r"\.(lock|toml|txt|cfg|json|sh|ya?ml)$|(^|/)(Dockerfile[^/]*|Makefile|\.npmrc|setup|run)$")
DOWNLOAD = re.compile(
    r"(extra-)?index-url|\"resolved\"\s*:\s*\"http|registry\s*[=:]\s*[\"'{]?\s*https?:"
    r"|https?://[^\" ]*\.(whl|tar\.gz|tgz)\b|files\.pythonhosted"
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|farm|Users)/")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
LOCKS = (
    "requirements.lock",
    "requirements-test.lock",
    "requirements-docs.lock",
    "requirements-release.lock",
    "bench/cloud.lock",
    "scripts/clips.lock",
    "scripts/node.lock",
)


def lines_that_match(files: list[Path], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for file in files
        for number, line in enumerate((text_of(file) or "").splitlines(), 1)
        if pattern.search(line)
    ]


def pins(name: str) -> dict[str, str]:
    return {package.lower().replace("_", "-"): version for package, version in PIN.findall((ROOT / name).read_text())}


def test_no_file_says_where_to_download_from() -> None:
    """Files that install something name versions and hashes; the machine's settings say where from."""
    files = [file for file in committed() if PINNING.search(file.relative_to(ROOT).as_posix())]
    assert len(files) > 5
    assert lines_that_match(files, DOWNLOAD) == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    """What is committed works wherever it is cloned."""
    assert lines_that_match([file for file in committed() if file != Path(__file__)], MACHINE_PATH) == []


def test_no_file_is_large() -> None:
    """Media and archives come from packages, not from the repository."""
    assert [str(file) for file in committed() if file.stat().st_size > MOST_BYTES] == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash(name: str) -> None:
    """A lock file pins one version of each package and at least one hash for it."""
    entries = re.split(r"^(?=\S)", (ROOT / name).read_text(), flags=re.MULTILINE)
    entries = [entry for entry in entries if entry.strip() and not entry.startswith("#")]
    assert entries
    for entry in entries:
        assert PIN.match(entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


def test_the_test_lock_holds_the_other_one() -> None:
    """What `make test` installs is what `make demo` installs, and more: so one environment serves both."""
    demo, test = pins("requirements.lock"), pins("requirements-test.lock")
    assert {name: test.get(name) for name in demo} == demo


def test_the_locks_satisfy_the_project() -> None:
    """Each dependency of pyproject.toml is pinned to a version that it allows. The extra ``vmaf`` is as large as all the others
    together and a judge alone, and ``otel`` is for who has a collector: no installation has them unasked, only the tests' lock
    pins them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    unasked, groups = [*extras.pop("vmaf"), *extras.pop("otel")], project["dependency-groups"]
    for name, wanted in (
        (
            "requirements.lock",
            [
                *project["project"]["dependencies"],
                *(requirement for extra in extras.values() for requirement in extra),
                *groups["build"],
            ],
        ),
        ("requirements-test.lock", [*unasked, *groups["test"], *groups["lint"]]),
        ("requirements-docs.lock", groups["docs"]),
        ("bench/cloud.lock", groups["cloud"]),
        ("requirements-release.lock", [*groups["release"], *groups["build"]]),
    ):
        pinned = pins(name)
        for requirement in map(Requirement, wanted):
            version = pinned.get(requirement.name.lower())
            assert version is not None, f"{name} lacks {requirement}: make lock"
            assert requirement.specifier.contains(version, prereleases=True), f"{name} has {requirement.name} {version}"


@pytest.mark.parametrize("script", ["scripts/setup", ".ci/run"])
def test_the_scripts_are_programs(script: str) -> None:
    """The shell scripts can be started, parse, and stop at the first error."""
    file = ROOT / script
    assert file.stat().st_mode & 0o111 == 0o111
    text = file.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -eu\n" in text
    assert subprocess.run(["bash", "-n", str(file)], check=False, capture_output=True).stderr == b""


@pytest.mark.parametrize(
    ("goal", "kernel", "machine", "asked"),
    [
        ("demo", "Linux", "x86_64", False),
        ("demo", "Linux", "aarch64", False),
        ("demo", "Linux", "riscv64", True),
        ("demo", "Darwin", "arm64", True),
        ("test", "Linux", "x86_64", True),
    ],
)
def test_set_up_asks_for_ffmpeg_only_where_the_python_package_brings_none(
    goal: str, kernel: str, machine: str, asked: bool, tmp_path: Path
) -> None:
    """On a machine that has none. The tests want the system's beside it."""
    for program in ("bash", "env", "dirname", "mkdir", "sort"):
        (tmp_path / program).symlink_to(which(program) or program)
    (tmp_path / "uname").write_text(f"#!/bin/sh\n[ $1 = -s ] && echo {kernel} || echo {machine}\n")
    (tmp_path / "uname").chmod(0o755)
    argv = [str(ROOT / "scripts" / "setup"), goal, "--list"]
    environment = {"PATH": str(tmp_path), "PYTHON": sys.executable}
    listed = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment)
    assert listed.stderr == ""
    assert ("ffmpeg" in listed.stdout.split()) is asked
    assert ("chromium" in listed.stdout.split()) is (goal == "test")


@pytest.mark.parametrize("words", [[], ["demon"], ["demo", "--now"]])
def test_set_up_refuses_words_that_it_does_not_know(words: list[str]) -> None:
    refused = subprocess.run([str(ROOT / "scripts" / "setup"), *words], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "usage: scripts/setup demo|test|docs|release|boots [--list]" in refused.stderr


def test_make_without_a_goal_lists_every_goal() -> None:
    """`make` says what there is: each goal that the Makefile declares has its line."""
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None
    shown = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert re.findall(r"^  make ([a-z]+) ", shown, re.MULTILINE) == declared[1].split()
