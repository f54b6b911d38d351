"""Local work files: a directory for this process, one below it for each job, always removed. What dead processes left is
removed at the start of the next one; a lock held for life tells the living from the dead.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
import structlog

from vproc.errors import ConfigError, ErrorCode, UnavailableError

_PREFIX = "vproc-scratch-"
_LOCK = "lock"
_YOUNG_S = 60

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Disk(NamedTuple):
    free_bytes: int
    size_bytes: int


class Scratch:
    """The directory of this process. Use `open_scratch`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def free_bytes(self) -> int:
        """Free space for an ordinary user where jobs work. Raises `UnavailableError` when the directory is gone."""
        return (await self._told()).free_bytes

    async def size_bytes(self) -> int:
        """Size of the file system where jobs work. Raises likewise."""
        return (await self._told()).size_bytes

    async def _told(self) -> _Disk:
        try:
            told = await anyio.to_thread.run_sync(os.statvfs, self.root)
        except OSError as error:
            raise UnavailableError(f"the scratch directory is gone: {error.strerror}", code=ErrorCode.OUT_OF_DISK) from error
        return _Disk(told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize)

    async def require(self, size_bytes: int) -> None:
        """Raise `UnavailableError` where there is no room for so much."""
        free = await self.free_bytes()
        if free < size_bytes:
            raise UnavailableError(
                f"the scratch disk has {free} bytes free and the job needs about {size_bytes}", code=ErrorCode.OUT_OF_DISK
            )

    @asynccontextmanager
    async def directory(self, name: str) -> AsyncIterator[Path]:
        """A job's own empty directory, removed with all it holds when the block ends, however it ends."""
        path = self.root / name
        try:
            await anyio.to_thread.run_sync(lambda: path.mkdir(mode=0o700))
        except OSError as error:
            raise UnavailableError(
                f"cannot work in the scratch directory: {error.strerror}", code=ErrorCode.OUT_OF_DISK
            ) from error
        try:
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(lambda: shutil.rmtree(path, ignore_errors=True))


@asynccontextmanager
async def open_scratch(parent: Path) -> AsyncIterator[Scratch]:
    """Make this process's directory below ``parent``, remove what dead processes left, remove ours at the end.

    Raises `ConfigError` where ``parent`` cannot be used.
    """
    try:
        root, lock = await anyio.to_thread.run_sync(_make, parent)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = "no space is left there" if full else error.strerror
        raise ConfigError(f"VPROC_SCRATCH_DIR: takes a directory that can be written (got {str(parent)!r}: {reason})") from error
    try:
        for removed in await anyio.to_thread.run_sync(_remove_dead, parent, root):
            log.info("stale_scratch_removed", directory=removed)
        yield Scratch(root)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(root, ignore_errors=True))
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        unlocked = root / f"{_LOCK}.new"
        lock = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It has its name only once it is held: another process that starts now would take it for a dead one's.
        unlocked.rename(root / _LOCK)
    except OSError:
        shutil.rmtree(root, ignore_errors=True)
        raise
    return root, lock


def _remove_dead(parent: Path, own: Path) -> list[str]:
    removed = []
    for path in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another process may remove it at the same time
            if path == own or not path.is_dir() or path.stat().st_uid != os.getuid():
                continue
            if not (path / _LOCK).exists():
                if time.time() - path.stat().st_mtime < _YOUNG_S:
                    continue  # its process may be about to take the lock
            elif not _lock_is_free(path / _LOCK):
                continue
            shutil.rmtree(path)
            removed.append(str(path))
    return removed


def _lock_is_free(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
