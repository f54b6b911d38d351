"""Where ffmpeg runs: `ports.Runner` on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_hex

from anyio import to_thread

from vproc.errors import UnavailableError
from vproc.ports import Feed, ProcessLimits, ProcessResult
from vproc.workers.confinement import Confinement, environment, raise_if_refused
from vproc.workers.process import run_process


class LocalRunner:
    """Runs children of this process, each confined. ``grace_s`` is the time between TERM and KILL, ``reap_s`` how long a
    killed child may take to go.

    Call `run` from a thread that lives as long as the process, as the event loop's does: a child dies with the thread that
    started it.
    """

    def __init__(self, confinement: Confinement, *, grace_s: float = 2.0, reap_s: float = 10.0) -> None:
        self.confinement = confinement
        self._grace_s = grace_s
        self._reap_s = reap_s

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None = None,
        feed: Feed | None = None,
    ) -> ProcessResult:
        """See `ports.Runner`. A layer that cannot be had raises `LayerRefusedError`, an `UnavailableError`: nothing ran."""
        program, directory = await to_thread.run_sync(_resolve, argv[0], cwd)
        nonce = token_hex(8)
        result = await run_process(
            self.confinement.command([program, *argv[1:]], cwd=directory, limits=limits, parent=os.getpid(), nonce=nonce),
            env=environment(directory),
            cwd=directory,
            limits=limits,
            on_line=on_line,
            feed=feed,
            grace_s=self._grace_s,
            reap_s=self._reap_s,
        )
        raise_if_refused(result.returncode, result.stderr, nonce)
        return result


def _resolve(program: str, cwd: Path) -> tuple[str, Path]:
    """Both without links, for Landlock's rules are about files and not names. Raises `UnavailableError` without the program."""
    found = shutil.which(program)
    if found is None:
        variable = "VPROC_FFPROBE" if "ffprobe" in Path(program).name else "VPROC_FFMPEG"
        raise UnavailableError(f"{program} is not a program on this machine; {variable} names one")
    return str(Path(found).resolve()), cwd.resolve()
