"""What `make dist` leaves in dist/, installed into an environment of its own as a stranger would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.source import ROOT
from tests.support.tree import run
from vproc import __version__


@pytest.fixture(scope="module")
def dist() -> Path:
    run("make", "--no-print-directory", "-C", ROOT, "dist")
    return ROOT / "dist"


@pytest.mark.parametrize("name", [f"vproc-{__version__}-py3-none-any.whl", f"vproc-{__version__}.tar.gz"])
def test_it_installs_and_runs(dist: Path, tmp_path: Path, name: str) -> None:
    """The wheel, and the sdist by way of a wheel; beside them only what the lock file pins."""
    python = tmp_path / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path)
    pip = (python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements.lock")
    run(*pip, "--no-deps", "--no-build-isolation", dist / name)
    vproc = tmp_path / "bin" / "vproc"
    assert run(vproc, "--version") == f"vproc {__version__}\n"
    assert "abr" in run(vproc, "profiles")
    assert run(python, "-I", "-c", "import vproc; print(vproc.__file__)").startswith(str(tmp_path))
