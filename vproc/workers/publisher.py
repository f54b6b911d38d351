"""Sends a run's objects, commits them by the manifest, copies the entry points, and proves that all of it stands."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar
from uuid import UUID

import anyio
import anyio.to_thread
import structlog

from vproc.core.keys import file_prefix, manifest_key, run_prefix
from vproc.core.manifest import EntryPoint, Manifest, Output, base64_of_hex, checksum_matches
from vproc.errors import ErrorCode, TransientError
from vproc.ports import ObjectStore
from vproc.tasks import task_group
from vproc.workers.package import Item, Package

UPLOADS_AT_A_TIME = 6
CHECKS_AT_A_TIME = 16
Value = TypeVar("Value")
LARGE_BYTES = 8 * 1024 * 1024
"""Larger objects go up one after another, each in parts of its own: memory stays bounded."""
MANIFEST_TYPE = "application/json"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Publisher:
    """Writes to the processed bucket. Only `commit` makes anything count."""

    def __init__(self, *, store: ObjectStore) -> None:
        self._store = store

    def sending(self, file_id: UUID, run_id: str, *, on_sent: Callable[[int], None]) -> Sending:
        """The sending of one run's objects. ``on_sent`` hears the size of each that stands."""
        return Sending(self._store, file_id, run_id, prove=self.prove, on_sent=on_sent)

    async def commit(self, manifest: Manifest) -> Manifest:
        """Write the manifest if none stands; the one that stands afterwards, which may be another run's."""
        key = manifest_key(manifest.file_id)
        if await self._store.put(key, manifest.to_json(), content_type=MANIFEST_TYPE, if_absent=True):
            return manifest
        body = await self._store.get(key)
        if body is None:
            raise TransientError(ErrorCode.OUTPUT_INVALID, "a manifest stood there, and was removed")
        winner = Manifest.from_json(body)
        if winner.run_id != manifest.run_id:
            log.info("other_run_won", run_id=manifest.run_id, winner=winner.run_id)
        return winner

    async def place_entry_points(self, manifest: Manifest) -> None:
        """Copy what the manifest names to the fixed names: the same bytes, whoever does it, however often."""

        async def place(entry: EntryPoint) -> None:
            body = await self._store.get(entry.source_key)
            if body is None or await anyio.to_thread.run_sync(_sha256, body) != entry.sha256:
                raise TransientError(ErrorCode.OUTPUT_INVALID, f"{entry.source_key} is not what the manifest lists")
            await self._store.put(entry.key, body, content_type=entry.content_type)

        await _each(place, manifest.entry_points, at_a_time=UPLOADS_AT_A_TIME)
        await self.prove(manifest.entry_points)

    async def prove(self, outputs: Iterable[Output]) -> None:
        """See that each object stands with its size and checksum; read it back only where the store keeps none."""

        async def prove_one(output: Output) -> None:
            told = await self._store.stat(output.key)
            if told is None:
                raise TransientError(ErrorCode.OUTPUT_INVALID, f"{output.key} does not stand")
            if told.size_bytes != output.bytes:
                raise TransientError(
                    ErrorCode.OUTPUT_INVALID, f"{output.key} has {told.size_bytes} bytes instead of {output.bytes}"
                )
            if told.sha256 is not None:
                same = checksum_matches(output.store_checksum, told.sha256)
            else:
                same = await self._store.read_sha256(output.key) == output.sha256
            if not same:
                raise TransientError(ErrorCode.OUTPUT_INVALID, f"{output.key} has other bytes than were sent")

        await _each(prove_one, outputs, at_a_time=CHECKS_AT_A_TIME)


class Sending:
    """Sends the objects of one run, some of them while others are still being made. Each is proved once it is sent."""

    def __init__(
        self,
        store: ObjectStore,
        file_id: UUID,
        run_id: str,
        *,
        prove: Callable[[Iterable[Output]], Awaitable[None]],
        on_sent: Callable[[int], None],
    ) -> None:
        self._store = store
        self._file_id = file_id
        self._prefix = run_prefix(file_id, run_id)
        self._prove = prove
        self._on_sent = on_sent
        self._limiter = anyio.Semaphore(UPLOADS_AT_A_TIME)
        self._turns: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._sent: dict[str, Output] = {}

    async def send(self, item: Item) -> None:
        """Write one object and see that it stands. Sent again with other bytes, it is overwritten by the later."""
        # A film's last segment is sent again, longer, maybe before its first sending has ended: that one must not land on top.
        async with self._turns[item.path], self._limiter:
            output = await self._write(item)
            await self._prove([output])
        self._sent[item.path] = output
        self._on_sent(item.size_bytes)

    async def finish(self, package: Package) -> tuple[tuple[Output, ...], tuple[EntryPoint, ...]]:
        """Send what of the package was not sent before; what the manifest is to list."""
        rest = [item for item in package.items if not self._stands(item)]
        for item in (item for item in rest if item.size_bytes > LARGE_BYTES):
            await self.send(item)
        small = [item for item in rest if item.size_bytes <= LARGE_BYTES]
        await _each(self.send, small, at_a_time=UPLOADS_AT_A_TIME)
        listed = tuple(self._sent[item.path] for item in package.items)
        entries = tuple(_entry_point(self._file_id, name, self._sent[path]) for name, path in package.entries.items())
        return listed, entries

    def _stands(self, item: Item) -> bool:
        sent = self._sent.get(item.path)
        return sent is not None and (sent.bytes, sent.sha256) == (item.size_bytes, item.sha256)

    async def _write(self, item: Item) -> Output:
        key, digest, checksum = self._prefix + item.path, item.sha256, None
        if isinstance(item.body, bytes):
            await self._store.put(key, item.body, content_type=item.content_type)
        else:
            told = await self._store.put_file(key, item.body, content_type=item.content_type)
            checksum = told if told != base64_of_hex(digest) else None
        return Output(
            kind=item.kind,
            key=key,
            bytes=item.size_bytes,
            sha256=digest,
            content_type=item.content_type,
            checksum=checksum,
            **item.facts,
        )


def _entry_point(file_id: UUID, name: str, source: Output) -> EntryPoint:
    facts = source.model_dump(exclude={"key", "checksum"})
    return EntryPoint(**facts, key=file_prefix(file_id) + name, source_key=source.key)


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def _each(act: Callable[[Value], Awaitable[None]], values: Iterable[Value], *, at_a_time: int) -> None:
    """Do it for all, so many at a time; the first error stops the rest."""
    limiter = anyio.Semaphore(at_a_time)

    async def one(value: Value) -> None:
        try:
            await act(value)
        finally:
            limiter.release()

    async with task_group() as tasks:
        for value in values:
            await limiter.acquire()
            tasks.start_soon(one, value)
