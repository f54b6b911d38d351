"""What ends a child before its time, wherever it runs: wall time, a stall, a directory that grows, too much on standard output.
And what becomes of its output meanwhile. Starting and ending it is the runner's business.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from anyio import CancelScope, current_time, sleep, to_thread

from vproc.ports import Feed, ProcessLimits, StopReason
from vproc.workers.streams import LineSplitter, Tail

STDOUT_LIMIT_BYTES = 1024**2
STDERR_KEPT_BYTES = 16 * 1024
_WATCH_FIRST_S, _WATCH_INTERVAL_S = 0.05, 1.0


class Watch:
    """Over one child. Wait for its end within ``awaiting``, which is cancelled once it is to be ended: for ``reason``, or for
    ``failure``, what the caller's own functions raised."""

    def __init__(
        self,
        *,
        cwd: Path,
        limits: ProcessLimits,
        on_line: Callable[[str], bool] | None,
        feed: Feed | None,
        stderr_bytes: int = STDERR_KEPT_BYTES,
    ) -> None:
        self.awaiting = CancelScope()
        self.reason: StopReason | None = None
        self.failure: Exception | None = None
        self.stderr = Tail(stderr_bytes)
        self._cwd = cwd
        self._limits = limits
        self._on_line = on_line
        self._feed = feed
        self._begun = self._news_at = current_time()
        self._stdout = bytearray()
        self._lines = LineSplitter(self._hear)

    @property
    def wall_s(self) -> float:
        """How long it has been watched."""
        return current_time() - self._begun

    @property
    def stdout(self) -> bytes:
        """What was captured of standard output."""
        return bytes(self._stdout)

    def take(self, data: bytes) -> None:
        """Take what came from standard output."""
        if self._on_line is None:
            self._capture(data)
        else:
            self._lines.feed(data)

    def flush(self) -> None:
        """Nothing more comes: the last line may have no end."""
        self._lines.flush()

    async def clock(self) -> None:
        """Until wall time or the time without news is over."""
        while True:
            now = current_time()
            wall_left = self._begun + self._limits.wall_s - now
            stall_left = math.inf if self._limits.stall_s is None else self._news_at + self._limits.stall_s - now
            if wall_left <= 0 or stall_left <= 0:
                self._stop(StopReason.WALL if wall_left <= 0 else StopReason.STALL)
                return
            await sleep(min(wall_left, stall_left))

    async def directory(self, look: Callable[[], int] = int) -> None:
        """Weigh the directory every second, more often at first. ``look`` is called in a thread each time before: it tells how
        many bytes are held there that no name shows."""
        interval_s = _WATCH_FIRST_S
        while self.reason is None:
            await sleep(interval_s)
            await self.weigh(look)
            if self.reason is not None:
                self.awaiting.cancel()
            interval_s = min(2 * interval_s, _WATCH_INTERVAL_S)

    async def weigh(self, look: Callable[[], int] = int) -> None:
        """One look: what was written since the last."""

        def weigh() -> bool:
            unnamed_bytes = look()
            return directory_bytes(self._cwd) + unnamed_bytes > self._limits.directory_bytes

        if await to_thread.run_sync(weigh, abandon_on_cancel=True):
            self.reason = self.reason or StopReason.DIRECTORY

    async def feed(self, write: Callable[[bytes], Awaitable[bool]]) -> None:
        """Give the child its input by ``write``. A child that waits for input makes no progress, and is not stalled."""
        if self._feed is None:
            return

        async def give(data: bytes) -> bool:
            taken = await write(data)
            self._news_at = current_time()
            return taken

        try:
            await self._feed(give)
        except Exception as error:  # noqa: BLE001 - raised to the caller once the child is ended
            self.failure = self.failure or error
            self.awaiting.cancel()

    def _stop(self, reason: StopReason) -> None:
        self.reason = self.reason or reason
        self.awaiting.cancel()

    def _capture(self, data: bytes) -> None:
        self._news_at = current_time()
        room = STDOUT_LIMIT_BYTES - len(self._stdout)
        self._stdout += data[:room]
        if len(data) > room:
            self._stop(StopReason.STDOUT)

    def _hear(self, line: str) -> None:
        if self._on_line is None or self.failure:
            return
        try:
            if self._on_line(line):
                self._news_at = current_time()
        except Exception as error:  # noqa: BLE001 - raised to the caller once the child is ended
            self.failure = error
            self.awaiting.cancel()


def directory_bytes(path: Path) -> int:
    """The sizes of all files under a directory together. Files that vanish meanwhile, and links, count nothing."""
    total = 0
    pending = [os.fspath(path)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(found.st_mode):
                        pending.append(entry.path)
                    elif stat.S_ISREG(found.st_mode):
                        total += max(found.st_size, found.st_blocks * 512)
    return total
