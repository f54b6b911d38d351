"""A vproc as a process of its own, with nothing of this shell's settings: started, ready, stopped, its log at hand.

No process outlives its block; each wait is bounded. Several workers on one store are `tests.support.cluster`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.caller import Caller, fetch
from tests.support.cluster import until
from tests.support.source import ROOT

READY_WITHIN_S = 60
STOPS_WITHIN_S = 30
ENDS_WITHIN_S = 60
_OWN = ("AWS_", "VPROC_", "S3_", "SQS_", "OTEL_")
_ALSO_OWN = ("DATABASE_URL", "STATE_DIRECTORY")


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """This shell's environment without a setting of vproc's or AWS's but ``settings``; temporary files lie in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN) and name not in _ALSO_OWN}
    own = {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
        "VPROC_LOG_FORMAT": "json",
        # The poll in flight ends sooner, and so does the daemon.
        "VPROC_VISIBILITY_TIMEOUT_S": "20",
    }
    return kept | own | settings


def command(*words: object) -> list[str]:
    """The command line of a vproc command."""
    return [sys.executable, "-m", "vproc", *map(str, words)]


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def faults(self) -> list[str]:
        """What it told a person, a line for each fault; its log is left out."""
        return [line for line in self.stderr.splitlines() if not line.startswith("{")]


def run(folder: Path, *words: object, within: Sequence[str] = (), **settings: str) -> Ended:
    """Run a vproc command to its end, in ``folder``, in bounded time. ``within``: the words that stand before it."""
    done = subprocess.run(
        [*within, *command(*words)],
        cwd=folder,
        env=environment(folder, **settings),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=ENDS_WITHIN_S,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass
class Daemon:
    """A running `vproc dev` or `vproc serve`. ``ready`` is the ready line of `dev`, and empty for `serve`."""

    process: subprocess.Popen[bytes]
    folder: Path
    name: str
    ready: dict[str, Any] = field(default_factory=dict)
    api: str = ""

    @property
    def caller(self) -> Caller:
        """A client of its API."""
        return Caller(self.api)

    @property
    def settings(self) -> dict[str, str]:
        """What another process needs to use the store and the queue of a `dev`: an AWS client, a command, a second daemon."""
        return embedded_settings(self.ready)

    def log(self) -> list[dict[str, Any]]:
        """Every whole line of its log so far."""
        text = (self.folder / f"{self.name}.err").read_text("utf-8", "replace")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]

    def logged(self, event: str, *, within_s: float = 20) -> dict[str, Any]:
        """The first entry of that name, once it is there."""
        found, _ = until(
            lambda: next((entry for entry in self.log() if entry["event"] == event), None), within_s=within_s, what=event
        )
        assert found is not None
        return found

    def until_ready(self) -> None:
        """Wait until `/readyz` says so."""
        until(lambda: fetch(f"{self.api}/readyz").status == 200, within_s=READY_WITHIN_S, what="/readyz")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOPS_WITHIN_S)


def embedded_settings(ready: Mapping[str, Any]) -> dict[str, str]:
    """The variables for another process, from a `dev`'s ready line."""
    return {
        "AWS_ENDPOINT_URL": ready["s3"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
        "VPROC_RAW_BUCKET": ready["raw_bucket"],
        "VPROC_PROCESSED_BUCKET": ready["processed_bucket"],
        "VPROC_QUEUE_URL": ready["queue_url"],
        "VPROC_DLQ_URL": ready["dlq_url"],
    }


def on_its_own_disk(folder: Path, options: str) -> list[str]:
    """The words before a command that give it a memory disk at ``folder``, with mount's ``options``. Nobody else sees it but
    under ``/proc/PID/root``, and it is gone with the command. An ordinary user becomes root of a namespace for it."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    return [*unshare, "sh", "-c", 'mount -t tmpfs -o "$1" vproc-test "$2" && shift 2 && exec "$@"', "sh", options, str(folder)]


@contextmanager
def dev(folder: Path, **settings: str) -> Iterator[Daemon]:
    """A `vproc dev` on a free port, its data in ``folder``; ready. It must end well on SIGTERM."""
    with _running(folder, "dev", "dev", "--port", 0, "--data", folder / "data", **settings) as daemon:
        output = folder / "dev.out"
        line, _ = until(lambda: output.read_text().endswith("\n") and output.read_text(), within_s=READY_WITHIN_S, what="ready")
        daemon.ready = json.loads(line)
        daemon.api = daemon.ready["api"]
        yield daemon


@contextmanager
def serve(folder: Path, *, within: Sequence[str] = (), **settings: str) -> Iterator[Daemon]:
    """A `vproc serve` on a free port; ready. It must end well on SIGTERM. ``within``: as in `run`."""
    settings = {"VPROC_PORT": "0", "VPROC_SCRATCH_DIR": str(folder), **settings}
    with _running(folder, "serve", "serve", within=within, **settings) as daemon:
        daemon.api = daemon.logged("daemon_started", within_s=READY_WITHIN_S)["api"]
        yield daemon


@contextmanager
def _running(folder: Path, name: str, *words: object, within: Sequence[str] = (), **settings: str) -> Iterator[Daemon]:
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        process = subprocess.Popen(
            [*within, *command(*words)],
            cwd=folder,
            env=environment(folder, **settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    daemon = Daemon(process, folder, name)
    try:
        yield daemon
        code = process.poll()
        assert code is None, f"it ended by itself with {code}: {daemon.log()[-3:]}"
        assert daemon.stop() == 0
        assert "Traceback" not in (folder / f"{name}.err").read_text()
        until(lambda: not processes_in(folder), within_s=5, what=f"no process in {folder}: {processes_in(folder)}")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def processes_in(folder: Path) -> list[str]:
    """Command lines that name this folder: what a daemon started and left."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in words:
            found.append(words)
    return found
