"""The pipes between the daemon and a child: its standard input, written as it takes it, and its output, emptied to the end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress

from anyio import CancelScope, Event, wait_readable, wait_writable

_READ_BYTES = 64 * 1024
_STDIN_PIPE_BYTES = 1024 * 1024  # the most that an ordinary user may ask for: fewer changes between us and the child


def pipe_out(kept: ExitStack, passed: ExitStack) -> tuple[int, int]:
    """A pipe from a child: its read end is closed with ``kept``, its write end, which the child is given, with ``passed``."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    kept.callback(os.close, read_end)
    passed.callback(os.close, write_end)
    os.set_blocking(read_end, False)
    return read_end, write_end


def pipe_in(kept: ExitStack, passed: ExitStack) -> tuple[Stdin, int]:
    """A pipe to a child, likewise the other way round."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    passed.callback(os.close, read_end)
    stdin = Stdin(write_end)
    kept.callback(stdin.close)
    with suppress(OSError):
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _STDIN_PIPE_BYTES)
    os.set_blocking(write_end, False)
    return stdin, read_end


class Stdin:
    """The write end of a child's standard input."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    async def write(self, data: bytes) -> bool:
        """Write all of it, as the child takes it. False: it takes no more."""
        view = memoryview(data)
        while view:
            if self._fd is None:
                return False
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                await wait_writable(self._fd)
            except BrokenPipeError:
                return False
        return True

    def close(self) -> None:
        """The end of the input. May be called again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Drain:
    """Empties one pipe to its end, whatever becomes of the caller: a child that blocks on a full pipe cannot hear a TERM."""

    def __init__(self, fd: int, take: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._take = take
        self._scope = CancelScope(shield=True)
        self.ended = Event()

    async def run(self) -> None:
        """Until the pipe's end."""
        with self._scope:
            while True:
                await wait_readable(self._fd)
                try:
                    data = os.read(self._fd, _READ_BYTES)
                except BlockingIOError:
                    continue
                if not data:
                    break
                self._take(data)
        self.ended.set()

    def cancel(self) -> None:
        """Leave the rest."""
        self._scope.cancel()
