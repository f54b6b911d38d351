"""What `vproc submit` is given, as things to upload: files, patterns of files, standard input, objects of a bucket."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import anyio.to_thread

from vproc.client import ApiError
from vproc.errors import ConfigError, DependencyError, JobError

STDIN = "-"
_S3 = "s3://"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of this machine."""

    path: Path

    @property
    def label(self) -> str:
        """As it was given."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The name it is uploaded under."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class StreamSource:
    """Standard input, or an object of a bucket: read once, from its beginning to its end. ``place`` is None for the first."""

    label: str
    name: str
    place: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class NoSource:
    """What cannot be uploaded, and why."""

    label: str
    fault: str

    @property
    def name(self) -> str:
        """What there is of one."""
        return self.label


Source = FileSource | StreamSource | NoSource


def read_sources(words: Sequence[str], *, stdin_name: str | None) -> list[Source]:
    """Each word as what it stands for, patterns as what matches them; nothing twice."""
    found = [source for word in words for source in _of_word(word, stdin_name)]
    return list(dict.fromkeys(found))


def _of_word(word: str, stdin_name: str | None) -> Sequence[Source]:
    if word == STDIN:
        return [StreamSource(STDIN, stdin_name or STDIN)]
    if word.startswith(_S3):
        return [_of_address(word)]
    if (parts := urlsplit(word)).scheme in {"http", "https"}:
        # Its query may be a signature: it is not repeated.
        return [
            NoSource(
                f"{parts.scheme}://{parts.hostname}{parts.path}", "takes files, - and s3://BUCKET/KEY, no address of the web"
            )
        ]
    # A name with a bracket in it is a name where such a file stands.
    if not has_magic(word) or os.path.lexists(word):
        return [FileSource(Path(word))]
    matching = sorted(path for path in glob(word, recursive=True) if not Path(path).is_dir())  # noqa: PTH207 - it takes a whole word
    return [FileSource(Path(path)) for path in matching] or [NoSource(word, "no file matches")]


def _of_address(word: str) -> Source:
    bucket, _, key = word.removeprefix(_S3).partition("/")
    name = PurePosixPath(key).name
    if not bucket or not name or key.endswith("/"):
        return NoSource(word, "takes s3://BUCKET/KEY, the address of one object")
    return StreamSource(word, name, (bucket, key))


Read = Callable[[int], Awaitable[bytes]]


@asynccontextmanager
async def open_stream(source: StreamSource) -> AsyncIterator[tuple[Read, int | None]]:
    """What gives its next bytes, and its length where that is known. Raises `ApiError`."""
    if source.place is None:
        yield _read_stdin, None
        return
    from vproc.aws.object_reader import open_object  # noqa: PLC0415 - heavy: only s3:// needs it

    try:
        async with open_object(*source.place, region=os.environ.get("AWS_REGION")) as reader:
            yield reader.read, reader.size_bytes
    except ConfigError as error:
        raise ApiError("; ".join(error.faults)) from error
    except JobError as error:
        raise ApiError(error.detail) from error
    except DependencyError as error:
        raise ApiError(str(error)) from error


async def _read_stdin(size_bytes: int) -> bytes:
    """From a thread that is left behind where the command is interrupted: a read of a pipe cannot be called back."""
    try:
        return await anyio.to_thread.run_sync(sys.stdin.buffer.read, size_bytes, abandon_on_cancel=True)
    except OSError as error:
        raise ApiError(f"cannot read standard input: {error.strerror}") from error
