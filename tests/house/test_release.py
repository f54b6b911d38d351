"""What is published, and what is known against what it needs: `make dist` and `make audit`."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripts import script
from tests.support.source import ROOT
from vproc import __version__

DIST = script("build-dist")
AUDIT = script("audit")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    DIST.build(ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [found] = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    [found] = built.glob("*.tar.gz")
    return found


def with_more(wheel: Path, at: Path, **files: str) -> Path:
    """A copy with files beside its own, by their name with dots for slashes."""
    shutil.copy(wheel, at)
    with zipfile.ZipFile(at, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return at


# --- the wheel and the sdist -------------------------------------------------------------------------------------------


def test_the_wheel_is_the_package_and_the_sdist_builds_it(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    """With pages, migrations and profiles; without tests and bench; the version is the package's own."""
    assert list(DIST.faults(wheel, sdist, DIST.committed())) == []
    assert list(DIST.faults_of_sdist(wheel, sdist, tmp_path)) == []
    inside = set(DIST.contents(wheel))
    assert {"vproc/web/index.html", "vproc/profiles/builtin.toml", "vproc/workers/launcher.py", "vproc/py.typed"} <= inside
    assert any(name.startswith("vproc/db/migrations/versions/") for name in inside)
    assert wheel.name == f"vproc-{__version__}-py3-none-any.whl"


def test_what_does_not_belong_is_told(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    worse = with_more(wheel, tmp_path / wheel.name, **{"tests/test_x.py": "", "vproc/.env": "VPROC_QUEUE_URL=x"})
    told = list(DIST.faults(worse, sdist, DIST.committed()))
    assert [fault.partition(" has ")[2].partition(",")[0] for fault in told] == ["tests/test_x.py", "vproc/.env"]


def test_what_is_lacking_is_told(wheel: Path, sdist: Path) -> None:
    told = list(DIST.faults(wheel, sdist, [*DIST.committed(), "vproc/web/new.css"]))
    assert told == [f"{wheel.name} lacks vproc/web/new.css", f"{sdist.name} lacks vproc/web/new.css"]


def test_an_sdist_that_builds_something_else_is_told(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    other = with_more(wheel, tmp_path / wheel.name, **{"vproc/more.py": ""})
    assert list(DIST.faults_of_sdist(other, sdist, tmp_path / "again")) == [f"a wheel of {sdist.name} differs in vproc/more.py"]


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ([], 0),
        (["v1.2.3"], 0),
        (["nightly", "v1.2.3"], 0),
        (["v1.2.4"], 1),
        (["v1.2.3", "v2.0.0"], 1),
    ],
)
def test_a_tag_agrees_with_the_version(tags: list[str], told: int) -> None:
    """Another tag than a version's says nothing."""
    faults = list(DIST.faults_of_tags("1.2.3", tags))
    assert len(faults) == told
    assert all("vproc/__init__.py says 1.2.3" in fault for fault in faults)


# --- what is known against the packages --------------------------------------------------------------------------------

Asked = Callable[..., tuple[int, str]]


@pytest.fixture
def asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Asked:
    """What the audit says and its exit code, where pip-audit answers so."""

    def ask(answer: Mapping[str, Any] | str, *, code: int = 0, error: str = "") -> tuple[int, str]:
        (tmp_path / "answer").write_text(answer if isinstance(answer, str) else json.dumps(answer))
        (tmp_path / "error").write_text(error)
        fake = tmp_path / "pip-audit"
        fake.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\ncat {tmp_path}/error >&2\nexit {code}\n")
        fake.chmod(0o755)
        return AUDIT.audit([str(fake)], Path("requirements.lock")), capsys.readouterr().out

    return ask


GOOD = {"name": "anyio", "version": "4.9.0", "vulns": []}
ADVISORIES = [{"id": "GHSA-1", "fix_versions": ["3.1"]}, {"id": "PYSEC-2", "fix_versions": []}]
BAD = {"name": "aiohttp", "version": "3.0", "vulns": ADVISORIES}
UNKNOWN = {"name": "moto", "skip_reason": "Dependency not found on PyPI and could not be audited: moto (5.2.0)"}


def test_nothing_known_is_good(asked: Asked) -> None:
    assert asked({"dependencies": [GOOD]}) == (0, "audit: requirements.lock: nothing is known against its 1 packages\n")


def test_each_advisory_is_told(asked: Asked) -> None:
    code, told = asked({"dependencies": [GOOD, BAD]}, code=1)
    assert code == 1
    assert "aiohttp 3.0: GHSA-1, mended in 3.1\n" in told
    assert "aiohttp 3.0: PYSEC-2, mended in no version yet\n" in told


@pytest.mark.parametrize(
    "error",
    [
        "requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed: timed out",
        "urllib3.exceptions.ProxyError: Tunnel connection failed: 403 Forbidden",
        "NameResolutionError: Temporary failure in name resolution",
    ],
)
def test_a_database_that_is_away_is_told_in_a_line_and_no_failure(asked: Asked, error: str) -> None:
    code, told = asked("", code=1, error=error)
    assert code == 0
    assert told.count("\n") == 1
    assert AUDIT.UNREACHABLE in told


def test_a_mirror_that_knows_no_advisories_is_a_database_that_is_away(asked: Asked) -> None:
    """It answers 404 for every package, which pip-audit takes for nothing known."""
    code, told = asked({"dependencies": [UNKNOWN, UNKNOWN]})
    assert (code, told.count("\n")) == (0, 1)
    assert AUDIT.UNREACHABLE in told


@pytest.mark.parametrize(
    ("answer", "code", "error"),
    [
        ({"dependencies": [GOOD, UNKNOWN]}, 0, ""),
        ({"dependencies": []}, 0, ""),
        ({"dependencies": [GOOD]}, 1, ""),
        ("", 2, "usage: pip-audit: error: unrecognized arguments"),
        ("", 1, "ERROR:pip_audit._cli:requirements.lock: hashes do not match"),
        ("", 0, ""),
        ("{}", 0, ""),
    ],
)
def test_whatever_else_is_a_failure(asked: Asked, answer: Any, code: int, error: str) -> None:
    """Nothing that was not looked up passes for good."""
    failed, told = asked(answer, code=code, error=error)
    assert failed == 1
    assert AUDIT.UNREACHABLE not in told
    assert "nothing is known" not in told
