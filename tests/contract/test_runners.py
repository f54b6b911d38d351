"""`ports.Runner` over children of this process, and over containers of an engine that runs them as plain processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import children, confined
from tests.support.fake_engine import fake_engine, open_runner
from tests.support.runner_contract import RunnerContract
from vproc.ports import ProcessResult, Runner
from vproc.workers.runners import LocalRunner


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A job's directory."""
    (path := tmp_path / "job").mkdir()
    return path


class TestLocalRunner(RunnerContract):
    """Confined children."""

    python = sys.executable

    @pytest.fixture
    def runner(self) -> LocalRunner:
        return confined()


class TestDockerRunner(RunnerContract):
    """Containers, each removed at its end."""

    python = sys.executable

    @pytest.fixture
    def runner(self, tmp_path: Path) -> Runner:
        return _OverAnEngine(tmp_path)


class _OverAnEngine(Runner):
    """An engine for each run, in which nothing may be left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(self, argv: Sequence[str], **given: Any) -> ProcessResult:
        async with fake_engine(self._folder) as engine:
            try:
                async with open_runner(engine) as runner:
                    return await runner.run(argv, **given)
            finally:
                assert engine.containers == {}
                assert children() == []
                engine.socket.unlink()
