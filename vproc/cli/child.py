"""A `vproc dev` as a child of the demo: started, heard when it is ready, always ended; and where it works."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import anyio

import vproc
from vproc.cli.errors import DemoError
from vproc.cli.group import WRONG_CONFIGURATION
from vproc.errors import ConfigError, VprocError
from vproc.ports import ProcessLimits, ProcessResult
from vproc.tasks import task_group
from vproc.workers.confinement import Confinement, Layer
from vproc.workers.ffmpeg import ToolPair, find_pairs
from vproc.workers.process import run_process
from vproc.workers.runners import LocalRunner

LOG_NAME = "vproc-dev.log"

_READY_WITHIN_S = 90.0
# Nothing is lost by a KILL: all that the daemon holds is embedded, and thrown away with it.
_GRACE_S = 4.0
_TOOL_WALL_S = 300.0
_FOR_EVER_S = 30 * 86400.0
_NO_LIMIT = 1 << 62
# The demo shows the daemon as it comes, whatever this shell is set for: another role, address or login would break it.
_LEFT_OUT = (
    "VPROC_CONFIG", "VPROC_ROLES", "VPROC_AUTH", "VPROC_HOST", "VPROC_PORT", "VPROC_PUBLIC_URL",
    "VPROC_S3_PUBLIC_ENDPOINT_URL", "VPROC_DELETE_RAW", "VPROC_LOG_FORMAT", "STATE_DIRECTORY",
)  # fmt: skip
# The shell gives the log its file and enters the folder, where no .env lies, and is gone with exec.
_SHELL = 'cd "$1" && log="$2" && shift 2 && exec "$@" 2>"$log"'


@contextmanager
def work_directory() -> Iterator[Path]:
    """A temporary folder; of a demo that failed the daemon's log is left in it, and named in the error."""
    work = Path(mkdtemp(prefix="vproc-demo-"))
    log = work / LOG_NAME
    try:
        yield work
    except VprocError as error:
        if isinstance(error, ConfigError) or not log.is_file():
            shutil.rmtree(work, ignore_errors=True)
            raise
        for entry in work.iterdir():
            if entry != log:
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
        raise DemoError(f"{getattr(error, 'detail', error)} (the daemon's log: {log})") from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    shutil.rmtree(work, ignore_errors=True)


@dataclass(slots=True)
class DevDaemon:
    """A running `vproc dev`. The addresses are those of its ready line."""

    work: Path
    api: str = ""
    s3: str = ""
    processed_bucket: str = ""
    result: ProcessResult | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    def address_of(self, key: str) -> str:
        """Where anybody may read an object of the processed bucket: the embedded store asks for no signature."""
        return f"{self.s3}/{self.processed_bucket}/{key}"

    async def run(self) -> None:
        """Run it until it ends by itself or is cancelled: SIGTERM then, and SIGKILL where that is not enough."""
        python = [sys.executable, "-m", "vproc", "dev", "--port", "0", "--host", "127.0.0.1", "--data", str(self.work / "data")]
        self.result = await run_process(
            ["/bin/sh", "-c", _SHELL, "sh", str(self.work), str(self.work / LOG_NAME), *python],
            env=_environment(),
            cwd=self.work,
            limits=_limits(_FOR_EVER_S),
            on_line=self._hear,
            grace_s=_GRACE_S,
        )
        self.changed.set()
        self.ended.set()

    def _hear(self, line: str) -> bool:
        said = json.loads(line)
        self.api, self.s3, self.processed_bucket = said["api"], said["s3"], said["processed_bucket"]
        self.changed.set()
        return True

    async def ready(self) -> None:
        """Return when it has said where it is. Raises `DemoError` where it ends before or takes too long."""
        try:
            with anyio.fail_after(_READY_WITHIN_S):
                await self.changed.wait()
        except TimeoutError:
            raise DemoError(f"the daemon was not ready within {_READY_WITHIN_S:.0f} s") from None
        if self.result is not None:
            raise await self._start_error(self.result.returncode)

    async def _start_error(self, code: int) -> VprocError:
        """What it said itself on its way out, in the form that `group.fail` gives it: its wrong settings are the demo's."""
        lines = (await anyio.Path(self.work / LOG_NAME).read_text("utf-8", "replace")).splitlines()
        faults = [line.removeprefix("vproc: ") for line in lines if line.startswith("vproc: ")]
        if code == WRONG_CONFIGURATION and faults:
            return ConfigError(*faults)
        return DemoError(f"the daemon did not start: {'; '.join(faults) or f'exit code {code}'}")


@asynccontextmanager
async def dev_daemon(work: Path) -> AsyncIterator[DevDaemon]:
    """A `vproc dev` that is ready, with its data and its log in ``work``; ended in any case. Raises `DemoError`."""
    daemon = DevDaemon(work)
    async with task_group() as tasks:
        tasks.start_soon(daemon.run, name="vproc-dev")
        try:
            await daemon.ready()
            yield daemon
        finally:
            tasks.cancel_scope.cancel()


async def run_tool(argv: Sequence[str], *, cwd: Path) -> ProcessResult:
    """Run ffmpeg or ffprobe on a file of our own, unconfined. ``argv`` begins with one of what `find_tools` gave."""
    return await run_process(argv, env=os.environ, cwd=cwd, limits=_limits(_TOOL_WALL_S))


async def find_tools(work: Path) -> ToolPair:
    """The ffmpeg and ffprobe that the daemon will choose. Raises `ConfigError` where there are none."""
    runner = LocalRunner(Confinement(frozenset({Layer.RLIMITS})))
    return (await find_pairs(os.environ.get("VPROC_FFMPEG") or None, os.environ.get("VPROC_FFPROBE") or None, runner, cwd=work))[
        0
    ]


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    # It starts in another folder, and must find the package that runs here.
    here = str(Path(vproc.__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    environment["VPROC_DRAIN_TIMEOUT_S"] = "0"
    return environment


def _limits(wall_s: float) -> ProcessLimits:
    return ProcessLimits(
        wall_s=wall_s, cpu_s=_NO_LIMIT, memory_bytes=_NO_LIMIT, output_bytes=_NO_LIMIT, directory_bytes=_NO_LIMIT
    )
