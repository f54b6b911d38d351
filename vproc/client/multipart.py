"""Uploads of any size: a file goes to the store in parts, several at a time, and a later process goes on where one stopped.

The list of parts that the store has is the truth. Beside it, only which upload is this file's is kept: `resume`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from os import stat_result
from pathlib import Path
from uuid import UUID

import anyio

from vproc.client.api import ApiClient
from vproc.client.errors import ApiError, StoreError, UploadGoneError
from vproc.client.local import stat_file
from vproc.client.part import PartBody, send_part
from vproc.client.parts import PartsApi, StandingPart
from vproc.client.resume import BegunUpload, KeptUpload
from vproc.client.transfer import CHUNK_BYTES, unreadable
from vproc.core.keys import file_id_in_key
from vproc.core.parts import MOST_PARTS
from vproc.tasks import task_group

MIB = 1024 * 1024
LARGE_BYTES = 64 * MIB
"""From here on it is worth several requests."""

PARALLEL_PARTS = 4
# A router that is started anew, a laptop that wakes up: two minutes in all.
DELAYS_S = (0.5, 2.0, 5.0, 15.0, 30.0, 60.0)
_LEAST_PART_BYTES = 8 * MIB
_MOST_ROUNDS = 3
_BAD, _UNFIT = 400, 422


def part_bytes_for(size_bytes: int) -> int:
    """The length of every part but the last, in whole MiB: 8 MiB, and more where 10,000 of these are too few."""
    least = -(-size_bytes // MOST_PARTS)
    return max(_LEAST_PART_BYTES, -(-least // MIB) * MIB)


async def upload_in_parts(
    client: ApiClient,
    path: Path,
    *,
    profile: str | None = None,
    kept: KeptUpload | None = None,
    on_bytes: Callable[[int], None] | None = None,
    say: Callable[[str], None] | None = None,
    delays_s: Sequence[float] = DELAYS_S,
) -> UUID:
    """Upload a file of any size; its id. Raises `ApiError`, after which the same call goes on where it stopped.

    ``kept`` is what an earlier process left. ``on_bytes`` hears how many bytes stand or are under way, which falls where a part
    is sent again; ``say`` hears a sentence for people when an upload goes on or begins anew.
    """
    kept = kept or KeptUpload()
    say = say or _silent
    api = PartsApi(client, delays_s)
    begun = await _found(api, path, kept, say)
    while True:
        resumed = begun is not None
        if begun is None:
            begun = await _begin(api, path, profile=profile)
            kept.save(begun)
        try:
            await _Sending(api, path, kept, begun, on_bytes or _untold).to_the_end(resumed=resumed)
        except UploadGoneError:
            kept.forget()
            if not resumed:
                raise
            say(f"{path}: the store knows the earlier upload no more, so it begins anew")
            begun = None
        else:
            kept.forget()
            return file_id_of(begun)


async def _found(api: PartsApi, path: Path, kept: KeptUpload, say: Callable[[str], None]) -> BegunUpload | None:
    """The upload that an earlier process began of this very file. One of a file that has changed since is given up."""
    begun = kept.load()
    if begun is None:
        return None
    if not _is_the_file(begun, await stat_file(path)):
        say(f"{path} has changed since its upload was begun, so it begins anew")
        await _give_up(api, begun)
        kept.forget()
        return None
    say(f"{path}: an earlier upload goes on")
    return begun


async def _begin(api: PartsApi, path: Path, *, profile: str | None) -> BegunUpload:
    now = await stat_file(path)
    key, upload_id = await api.begin(path, now.st_size, profile=profile)
    return BegunUpload(
        key=key,
        upload_id=upload_id,
        size_bytes=now.st_size,
        mtime_ns=now.st_mtime_ns,
        part_bytes=part_bytes_for(now.st_size),
    )


def _is_the_file(begun: BegunUpload, now: stat_result) -> bool:
    return (begun.size_bytes, begun.mtime_ns) == (now.st_size, now.st_mtime_ns)


async def _give_up(api: PartsApi, begun: BegunUpload) -> None:
    with suppress(ApiError):  # the daemon gives up by itself what nobody finishes
        await api.give_up(begun)


def file_id_of(begun: BegunUpload) -> UUID:
    """The file that an upload becomes."""
    file_id = file_id_in_key(begun.key)
    if file_id is None:
        raise ApiError(f"the API named an upload {begun.key!r}, which holds no file's id: check --api or VPROC_API_URL")
    return file_id


@dataclass(slots=True)
class _Sending:
    """One upload on its way. ``etags`` of the parts that stand; ``sent_bytes`` of each part that stands or is under way."""

    api: PartsApi
    path: Path
    kept: KeptUpload
    begun: BegunUpload
    on_bytes: Callable[[int], None]
    etags: dict[int, str] = field(default_factory=dict)
    sent_bytes: dict[int, int] = field(default_factory=dict)

    async def to_the_end(self, *, resumed: bool) -> None:
        """Send what is missing and join all of it. Raises `UploadGoneError` where that upload is known no more."""
        if resumed and await self._joined_before():
            return
        if resumed:
            self._adopt(await self.api.standing(self.begun))
        for _ in range(_MOST_ROUNDS):
            await self._send_missing()
            await self._check_unchanged()
            self._keep(tuple(self.etags[number] for number in self._numbers()))
            try:
                await self.api.join(self.begun)
            except ApiError as error:
                if error.status not in {_BAD, _UNFIT}:
                    raise
                refused = error
            else:
                return
            # Something that stood is gone, or stands otherwise.
            self._keep(())
            self._adopt(await self.api.standing(self.begun))
            if len(self.etags) == len(self._numbers()):
                raise refused
        raise refused

    async def _joined_before(self) -> bool:
        """Whether the answer to an earlier process's last request was all that was missing."""
        if not self.begun.joining:
            return False
        try:
            await self.api.join(self.begun)
        except ApiError as error:
            if error.status not in {_BAD, _UNFIT}:
                raise
            self._keep(())
            return False
        self.on_bytes(self.begun.size_bytes)
        return True

    def _keep(self, joining: tuple[str, ...]) -> None:
        self.begun = replace(self.begun, joining=joining)
        self.kept.save(self.begun)

    def _numbers(self) -> range:
        return range(1, max(1, -(-self.begun.size_bytes // self.begun.part_bytes)) + 1)

    def _length(self, number: int) -> int:
        return min(self.begun.part_bytes, self.begun.size_bytes - (number - 1) * self.begun.part_bytes)

    def _adopt(self, standing: dict[int, StandingPart]) -> None:
        """Take what the store has for the truth: a part of another length, or that is not what was sent, is sent again."""
        mine = self.etags
        self.etags = {
            number: standing[number].etag
            for number in self._numbers()
            if number in standing
            and standing[number].size_bytes == self._length(number)
            and mine.get(number, standing[number].etag) == standing[number].etag
        }
        self.sent_bytes = {number: self._length(number) for number in self.etags}
        self.on_bytes(sum(self.sent_bytes.values()))

    async def _send_missing(self) -> None:
        missing = iter([number for number in self._numbers() if number not in self.etags])

        async def send_some() -> None:
            for number in missing:
                self.etags[number] = await self._send(number)

        async with task_group() as tasks:
            for number in range(PARALLEL_PARTS):
                tasks.start_soon(send_some, name=f"upload-{number}")

    async def _check_unchanged(self) -> None:
        if _is_the_file(self.begun, await stat_file(self.path)):
            return
        await _give_up(self.api, self.begun)
        self.kept.forget()
        raise StoreError(f"{self.path} changed while it was uploaded: upload it again")

    async def _send(self, number: int) -> str:
        """Send a part; its ETag."""
        length = self._length(number)
        return await send_part(
            self.api,
            self.begun,
            number,
            what=f"part {number} of {self.path}",
            length_bytes=length,
            opened=lambda: self._body(number),
        )

    @asynccontextmanager
    async def _body(self, number: int) -> AsyncIterator[PartBody]:
        try:
            file = await anyio.open_file(self.path, "rb")
        except OSError as error:
            raise unreadable(self.path, error) from error
        async with file:
            yield _FilePart(
                file,
                self.path,
                (number - 1) * self.begun.part_bytes,
                self._length(number),
                lambda sent: self._tell(number, sent),
            )

    def _tell(self, number: int, sent_bytes: int) -> None:
        self.sent_bytes[number] = sent_bytes
        self.on_bytes(sum(self.sent_bytes.values()))


@dataclass(slots=True)
class _FilePart:
    """A piece of an open file as a request's body, read in threads. ``fault`` says why it could not be read: aiohttp shows a
    body's exception as a connection's, which would be tried again."""

    file: anyio.AsyncFile[bytes]
    path: Path
    offset_bytes: int
    length_bytes: int
    tell: Callable[[int], None]
    fault: StoreError | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        sent_bytes = 0
        self.tell(0)
        try:
            await self.file.seek(self.offset_bytes)
            while sent_bytes < self.length_bytes:
                chunk = await self.file.read(min(CHUNK_BYTES, self.length_bytes - sent_bytes))
                if not chunk:
                    self.fault = StoreError(f"{self.path} changed while it was uploaded: upload it again")
                    break
                yield chunk
                sent_bytes += len(chunk)
                self.tell(sent_bytes)
        except OSError as error:
            self.fault = unreadable(self.path, error)
        if self.fault is not None:
            raise self.fault


def _untold(_sent_bytes: int) -> None:
    """Nobody wants to know."""


def _silent(_sentence: str) -> None:
    """Nobody listens."""
