"""Whether anybody opens a file, told by the kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_ACCESS, _IN_OPEN = 0x1, 0x20
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def watched(path: Path) -> Iterator[Callable[[], bool]]:
    """Gives whether it was opened or read since the last question, by any process."""
    handle = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0 or _libc.inotify_add_watch(handle, os.fsencode(path), _IN_OPEN | _IN_ACCESS) < 0:
        raise OSError(ctypes.get_errno(), "inotify")

    def was_opened() -> bool:
        try:
            return bool(os.read(handle, 65536))
        except BlockingIOError:
            return False

    try:
        yield was_opened
    finally:
        os.close(handle)
