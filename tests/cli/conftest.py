"""Fixtures of the command line's and the client's tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.fake_api import FakeApi, running_api


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with running_api() as running:
        yield running


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A file to upload, of more than one chunk."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(2_500_000))
    return path


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command sets up logging to its own standard error, which is gone after it."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine, and no .env, takes part."""
    for name in list(os.environ):
        if name.startswith(("VPROC_", "AWS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
