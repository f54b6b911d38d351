"""The demo's child: a stand-in for `vproc dev` that does as told, started and ended by the true code."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import anyio
import pytest

from vproc.cli import child
from vproc.cli.child import LOG_NAME, dev_daemon, work_directory
from vproc.cli.errors import DemoError
from vproc.errors import ConfigError

READY = json.dumps({"api": "http://api", "s3": "http://s3", "processed_bucket": "out"})
HEARS = "trap 'echo ended >> \"$OUT\"; exit 0' TERM"
WAITS = "while :; do sleep 0.02; done"
READY_AND_WAITS = f"{HEARS}; echo '{READY}'; {WAITS}"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script that is run instead of Python; ``OUT`` names a file for its words."""
    script = tmp_path / "python"
    script.touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(script))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    return script


def says(script: Path, body: str) -> None:
    script.write_text(f'#!/bin/sh\necho "$$" > "$OUT.pid"\n{body}\n')


def gone(tmp_path: Path) -> bool:
    try:
        os.kill(int((tmp_path / "out.pid").read_text()), 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_ready_daemon_is_given_and_ended(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in its folder with its own settings, its log in a file; at the end it gets SIGTERM, and is gone."""
    monkeypatch.setenv("VPROC_ROLES", "api")
    monkeypatch.setenv("VPROC_CONCURRENCY", "1")
    says(stand_in, f'env >> "$OUT"; pwd >> "$OUT"; echo "$@" >> "$OUT"; echo note >&2; {READY_AND_WAITS}')
    work = tmp_path / "work"
    work.mkdir()
    async with dev_daemon(work) as daemon:
        assert daemon.api == "http://api"
        assert daemon.address_of("id/x") == "http://s3/out/id/x"
        assert not gone(tmp_path)
    assert gone(tmp_path)
    said = (tmp_path / "out").read_text().splitlines()
    assert said[-1] == "ended"
    assert f"-m vproc dev --port 0 --host 127.0.0.1 --data {work}/data" in said
    assert str(work) in said
    assert "VPROC_CONCURRENCY=1" in said
    assert "VPROC_DRAIN_TIMEOUT_S=0" in said
    assert not any(line.startswith("VPROC_ROLES") for line in said)
    assert (work / LOG_NAME).read_text().startswith("note\n")


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("echo 'vproc: VPROC_X: is wrong' >&2; exit 78", ConfigError, "^VPROC_X: is wrong$"),
        ("echo noise >&2; echo 'vproc: no queue' >&2; exit 75", DemoError, "did not start: no queue$"),
        ("exit 9", DemoError, "did not start: exit code 9$"),
    ],
)
async def test_a_daemon_that_does_not_start_says_why(
    stand_in: Path, tmp_path: Path, body: str, kind: type[Exception], words: str
) -> None:
    """Its own words are the demo's, and its wrong settings are."""
    says(stand_in, body)
    with pytest.raises(kind, match=words):
        async with dev_daemon(tmp_path):
            pytest.fail("it is not ready")


async def test_a_daemon_that_is_never_ready(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for so long, and ended."""
    monkeypatch.setattr(child, "_READY_WITHIN_S", 0.3)
    says(stand_in, WAITS)
    with pytest.raises(DemoError, match="not ready within"):
        async with dev_daemon(tmp_path):
            pytest.fail("it is not ready")
    assert gone(tmp_path)


async def test_a_daemon_that_does_not_hear_sigterm_is_killed(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the story fails, whose error stays plain."""
    monkeypatch.setattr(child, "_GRACE_S", 0.2)
    says(stand_in, f"trap '' TERM; echo '{READY}'; {WAITS}")
    with pytest.raises(DemoError, match=r"^the story's own$"):
        async with dev_daemon(tmp_path):
            raise DemoError("the story's own")
    assert gone(tmp_path)


async def test_a_daemon_is_ended_where_the_story_is_cancelled(stand_in: Path, tmp_path: Path) -> None:
    """As Ctrl-C does it."""
    says(stand_in, READY_AND_WAITS)
    with anyio.CancelScope() as scope:
        async with dev_daemon(tmp_path):
            scope.cancel()
            await anyio.sleep_forever()
    assert gone(tmp_path)


async def test_a_daemon_that_ends_by_itself_is_noticed(stand_in: Path, tmp_path: Path) -> None:
    says(stand_in, READY_AND_WAITS)
    async with dev_daemon(tmp_path) as daemon:
        os.kill(int((tmp_path / "out.pid").read_text()), signal.SIGTERM)
        with anyio.fail_after(10):
            await daemon.ended.wait()
    assert daemon.result is not None
    assert daemon.result.returncode == 0


def worked(error: BaseException | None, *, log: bool = True) -> Path:
    """A demo that leaves these in its folder and ends so; the folder."""
    with work_directory() as work:
        (work / "data").mkdir()
        (work / "clip.mp4").touch()
        if log:
            (work / LOG_NAME).write_text("log")
        if error is not None:
            raise error
    return work


def test_of_a_demo_that_failed_the_log_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The rest is gone, and the error names the log."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DemoError, match="it broke") as caught:
        worked(DemoError("it broke"))
    [log] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert str(caught.value) == f"it broke (the daemon's log: {log})"
    assert log.name == LOG_NAME
    assert [*log.parent.iterdir()] == [log]


@pytest.mark.parametrize("error", [KeyboardInterrupt("now"), ConfigError("wrong"), DemoError("before the daemon")])
def test_otherwise_nothing_is_left(error: BaseException, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not after success, not after Ctrl-C, not where there is no log to look at."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(type(error), match=f"^{error}$"):
        worked(error, log=not isinstance(error, DemoError))
    assert not worked(None).exists()
    assert list(tmp_path.iterdir()) == []
