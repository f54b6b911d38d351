"""Files of this machine: what can be uploaded, and where an output may be saved."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

import anyio

from vproc.client.errors import ApiError, StoreError


def safe_path(key: str) -> PurePosixPath:
    """An object's key as a relative path. Raises `StoreError` for one that would leave its folder."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts or "\0" in key or not path.parts:
        raise StoreError(f"{key!r} is no name to save an output under")
    return path


async def stat_file(path: Path) -> os.stat_result:
    """Of a local file that can be uploaded. Raises `ApiError` for anything else."""
    try:
        found = await anyio.Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ApiError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise ApiError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise ApiError(f"{path} is a folder: name its files, as {path}/*.mp4")
    if not stat.S_ISREG(found.st_mode):
        raise ApiError(f"{path} is no regular file: give it through standard input, as -")
    return found


async def stat_upload(path: Path) -> os.stat_result:
    """Of a file that is about to be announced: this user may read it. Raises `ApiError`."""
    found = await stat_file(path)
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ApiError(f"{path}: its name is not UTF-8: rename it") from None
    try:
        await (await anyio.open_file(path, "rb")).aclose()
    except OSError as error:
        raise ApiError(f"cannot read {path}: {error.strerror}") from error
    return found
