"""Where an upload in parts stands, kept on this machine so that a later process goes on: one small file each, that only its
owner may read. It holds neither keys nor addresses that are signed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from vproc.client.errors import ApiError

_PRIVATE_FILE, _PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunUpload:
    """An upload in parts that the API knows by ``key`` and ``upload_id``, of a file as it was then. ``joining``: the ETags of all
    parts in their order, once the API was asked to join them."""

    key: str
    upload_id: str
    size_bytes: int
    mtime_ns: int
    part_bytes: int
    joining: tuple[str, ...] = ()


class KeptUpload:
    """What is known of one file's upload. Without ``file`` it is kept for this process alone."""

    def __init__(self, path: Path | None = None, file: IO[str] | None = None) -> None:
        self._path = path
        self._file = file

    def load(self) -> BegunUpload | None:
        """The upload that was begun; None where there is none, and for what was broken off while it was written."""
        if self._file is None:
            return None
        self._file.seek(0)
        try:
            kept = json.loads(self._file.read())
            return BegunUpload(**{**kept, "joining": tuple(kept["joining"])})
        except (ValueError, TypeError, KeyError):
            return None

    def save(self, begun: BegunUpload) -> None:
        """Keep it."""
        self._write(json.dumps(asdict(begun)))

    def forget(self) -> None:
        """It is joined or gone."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise ApiError(f"cannot keep where the upload stands in {self._path}: {error.strerror}") from error


@contextmanager
def kept_upload(folder: Path, *, api_url: str, path: Path, profile: str | None) -> Iterator[KeptUpload]:
    """What ``folder`` keeps of the upload of that file to that API, for one process at a time.

    Raises `ApiError` where another process has it, and where the folder cannot be used.
    """
    named = json.dumps([api_url, str(path.resolve()), profile])
    kept = folder / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.json"
    try:
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        file = _locked(kept)
    except BlockingIOError as error:
        raise ApiError(f"{path} is being uploaded by another process of this machine") from error
    except OSError as error:
        raise ApiError(f"cannot keep where the upload stands in {kept}: {error.strerror}") from error
    with file:
        upload = KeptUpload(kept, file)
        yield upload
        # Whoever waits for a name that goes looks whether it has the file that stands: see `_locked`.
        if upload.load() is None:
            kept.unlink(missing_ok=True)


def _locked(path: Path) -> IO[str]:
    """Open and lock it. Raises `BlockingIOError` where another process has it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE), "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # it was removed between open and lock
