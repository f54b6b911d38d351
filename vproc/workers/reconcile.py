"""Brings the catalog, the buckets and the queue together again after something was lost: an event, a message, the catalog itself.

The manifest has the last word on a finished file: what it says is written into the catalog. Everything else whose original stands
is announced to the queue once more, and goes the usual way: a message too many does no harm, one too few loses a file.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from uuid import UUID

import structlog

from vproc.core.dead_letters import DeadLetter
from vproc.core.fairness import message_group
from vproc.core.files import DEFAULT_OWNER, File, FileError, RawState, Status
from vproc.core.keys import MANIFEST_NAME, file_id_in_key, manifest_key, owner_in_key, run_prefix
from vproc.core.leases import Completion, NewFile
from vproc.core.manifest import Manifest, source_version
from vproc.core.notification import Work, work_in
from vproc.errors import ErrorCode, TransientError, UnavailableError
from vproc.ports import Catalog, DeadLetters, ObjectStore, Queue
from vproc.telemetry import Metrics

EVENT_GRACE = timedelta(minutes=15)
"""An event may be so late. A younger object is left alone."""
BACKLOG_GRACE = timedelta(hours=6)
"""While the queue holds messages, any of them may be the one that seems to be missing: for so long it is waited for."""
SWEEP_GRACE = timedelta(days=1)
"""Longer than a job takes: younger outputs and uploads in parts may be somebody's work."""

BATCH = 100
MOST_LETTERS = 1000
"""So many are looked at in one pass."""

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Repair(StrEnum):
    """What was done: the label of ``vproc_janitor_actions_total``."""

    RESTORED = "file_restored"
    ANNOUNCED = "object_announced"
    SWEPT = "run_swept"
    ABORTED = "upload_aborted"
    MARKED = "file_marked_dead"
    WITHOUT_SOURCE = "file_without_source"


@dataclass(frozen=True, slots=True)
class Repaired:
    """One repair: of what, and why."""

    repair: Repair
    subject: str
    reason: str


@dataclass(slots=True)
class _Folder:
    """What stands of one file in the processed bucket. ``runs``: the time of each one's newest object."""

    file_id: UUID
    names: set[str] = field(default_factory=set)
    runs: dict[str, datetime] = field(default_factory=dict)


class Reconciler:
    """Makes one pass. With ``dry_run`` it only tells. ``failures`` counts what could not be mended this time."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        raw: ObjectStore,
        processed: ObjectStore,
        queue: Queue,
        metrics: Metrics,
        delete_raw: bool,
        tell: Callable[[Repaired], None],
        letters: DeadLetters | None = None,
        dry_run: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.failures = 0
        self._catalog = catalog
        self._raw = raw
        self._processed = processed
        self._queue = queue
        self._metrics = metrics
        self._delete_raw = delete_raw
        self._tell = tell
        self._letters = letters
        self._dry_run = dry_run
        self._clock = clock

    async def run(self) -> None:
        """All of it. Raises `UnavailableError` where a dependency is away; any other fault holds up no other file."""
        async for folder in self._folders():
            await self._tried(str(folder.file_id), self._mend_outputs(folder))
        await self._tried("dead letters", self.mark_dead())
        await self.end_without_source()  # first: once something was announced, the queue is waited for
        await self.announce_forgotten()
        await self.abort_uploads()

    # --- outputs ------------------------------------------------------------------------------------------------------

    async def _folders(self) -> AsyncIterator[_Folder]:
        """The files of the processed bucket; what is no file's is left alone."""
        folder: _Folder | None = None
        async for key, _, changed_at in self._processed.list(""):
            first, _, rest = key.partition("/")
            file_id = _uuid(first)
            if folder is not None and folder.file_id != file_id:
                yield folder
                folder = None
            if file_id is None or not rest:
                continue
            folder = folder or _Folder(file_id)
            name, below, _ = rest.partition("/")
            if below:
                folder.runs[name] = max(changed_at, folder.runs.get(name, changed_at))
            else:
                folder.names.add(name)
        if folder is not None:
            yield folder

    async def _mend_outputs(self, folder: _Folder) -> None:
        file = await self._catalog.get(folder.file_id)
        manifest = await self._manifest(folder, file)
        if manifest is not None and (file is None or not file.status.terminal or file.status is Status.EXPIRED):
            await self._restore(folder, manifest)
            return
        if file is not None and not file.status.terminal:
            return  # any of its runs may still become the winner
        winner = manifest.run_id if manifest else file.run_id if file else None
        for run_id, changed_at in folder.runs.items():
            if run_id != winner and changed_at < self._clock() - SWEEP_GRACE:
                prefix = run_prefix(folder.file_id, run_id)
                if not self._dry_run:
                    await self._processed.delete_prefix(prefix)
                self._done(Repair.SWEPT, prefix, "outputs of a run that did not win")

    async def _manifest(self, folder: _Folder, file: File | None) -> Manifest | None:
        """Read only where it is not known what it says."""
        if MANIFEST_NAME not in folder.names or (file is not None and file.status is Status.COMPLETED):
            return None
        body = await self._processed.get(manifest_key(folder.file_id))
        return Manifest.from_json(body) if body is not None else None

    async def _restore(self, folder: _Folder, manifest: Manifest) -> None:
        """A committed file that the catalog does not know as such."""
        source, subject = manifest.source, str(folder.file_id)
        missing = sorted({entry.key.partition("/")[2] for entry in manifest.entry_points} - folder.names)
        if missing:
            # Its run died before the last step, which the way of every job makes up for.
            await self._announce(
                {"bucket": source.bucket, "key": source.key, "file_id": subject, "profile": manifest.profile},
                f"committed, and {missing[0]} is missing",
            )
            return
        stands = await self._raw.head(source.key, version_id=source.version_id) if source.bucket == self._raw.bucket else None
        version = source_version(manifest)
        left = stands is not None and stands.identity == version.identity
        raw_state = (RawState.DELETE_PENDING if self._delete_raw else RawState.KEPT) if left else RawState.DELETED
        if self._dry_run or await self._catalog.restore(
            _new_file(manifest),
            Completion(manifest.run_id, version, source.codec, manifest.target_codec, self._delete_raw, source.duration_s),
            completed_at=manifest.created_at,
            raw_state=raw_state,
        ):
            self._done(Repair.RESTORED, subject, "its manifest stands, and the catalog did not know it as completed")

    # --- originals ----------------------------------------------------------------------------------------------------

    async def announce_forgotten(self) -> None:
        """Send a message for every original that nobody works on and that waits too long already: its event never came, its
        message was lost, or it was uploaded once more to a key that was done with."""
        patience = await self._patience()
        async for key, _, changed_at in self._raw.list(""):
            if changed_at < self._clock() - patience and not key.endswith("/"):
                await self._tried(key, self._mend_original(key, changed_at, patience))

    async def _patience(self) -> timedelta:
        depth = (await self._queue.depths())["main"]
        return BACKLOG_GRACE if depth.visible + depth.in_flight + depth.delayed > 0 else EVENT_GRACE

    async def end_without_source(self) -> None:
        """Fail files whose object was replaced or deleted after their worker had died: the message that comes back is about what
        stands under the key by then, which is another file, and nothing else would ever end these."""
        before, left = self._clock() - await self._patience(), 0
        while files := await self._catalog.abandoned(before=before, limit=BATCH, skip=left):
            for file in files:
                left += not await self._tried(str(file.file_id), self._end_without_source(file))

    async def _end_without_source(self, file: File) -> bool:
        """Whether it was ended."""
        if file.bucket != self._raw.bucket or file_id_in_key(file.key) == file.file_id:
            return False  # whatever stands under a key of its own is this file's, and is announced
        version = await self._raw.head(file.key, version_id=file.version_id)
        if version is not None and version.identity == (file.version_id or file.etag):
            return False
        if await self._processed.head(manifest_key(file.file_id)) is not None:
            return False  # it was committed: that is what the manifest is for
        if not self._dry_run:
            error = FileError(
                ErrorCode.SOURCE_MISSING, "its object was replaced or deleted before it was processed", retryable=False
            )
            await self._catalog.fail_unclaimed(file.file_id, error)
        self._done(Repair.WITHOUT_SOURCE, str(file.file_id), f"{file.key} is another object by now, or none")
        return not self._dry_run

    async def _mend_original(self, key: str, changed_at: datetime, patience: timedelta) -> None:
        file = await self._file_of(Work(self._raw.bucket, key))
        if file is None:
            await self._announce({"bucket": self._raw.bucket, "key": key}, "no file is known of it")
            return
        if file.status is Status.COMPLETED:
            replaced = changed_at > (file.completed_at or file.updated_at)
            if replaced and file.raw_state is not RawState.DELETE_PENDING:
                await self._announce({"bucket": self._raw.bucket, "key": key}, "uploaded again after its file was completed")
            return
        if file.status in {Status.FAILED, Status.CANCELLED}:
            return  # kept for a retry, until the bucket expires it
        # A job that is held writes to its row every second.
        if file.updated_at < self._clock() - patience:
            job = {"bucket": file.bucket, "key": key, "file_id": str(file.file_id), "profile": file.profile}
            await self._announce(job, f"its file is {file.status}, and nobody works on it")

    async def _announce(self, job: dict[str, str], reason: str) -> None:
        if not self._dry_run:
            owner = owner_in_key(job["key"]) or DEFAULT_OWNER
            await self._queue.send(json.dumps(job), group=message_group(owner))
        self._done(Repair.ANNOUNCED, job["key"], reason)

    # --- dead letters ---------------------------------------------------------------------------------------------------

    async def mark_dead(self) -> None:
        """Fail the files of letters that SQS itself put aside, having delivered them too often: no worker tells of them."""
        if self._letters is None:
            return
        async with self._letters.held(most=MOST_LETTERS) as letters:
            for letter in letters:
                if letter.code is None:
                    await self._tried(letter.message_id, self._mark(letter))

    async def _mark(self, letter: DeadLetter) -> None:
        for work in work_in(letter.body):
            file = await self._file_of(work)
            if file is None or file.status.terminal:
                continue
            if not self._dry_run:
                error = FileError(ErrorCode.INTERNAL, f"its message was {letter.detail}, and is a dead letter", retryable=True)
                await self._catalog.fail_unclaimed(file.file_id, error)
                file = await self._catalog.get(file.file_id)
            if self._dry_run or (file is not None and file.status is Status.FAILED):
                self._done(Repair.MARKED, str(work.file_id or work.key), f"SQS itself moved its message: {letter.message_id}")

    async def _file_of(self, work: Work) -> File | None:
        own = work.file_id or file_id_in_key(work.key)
        return await (self._catalog.get(own) if own else self._catalog.find_by_key(work.bucket, work.key))

    # --- uploads in parts ---------------------------------------------------------------------------------------------

    async def abort_uploads(self) -> None:
        """Give up uploads in parts that nobody finished: their parts are paid for, and no listing shows them."""
        for store in (self._raw, self._processed):
            async for key, upload_id, begun_at in store.unfinished_uploads():
                if begun_at < self._clock() - SWEEP_GRACE and not await self._goes_on(key, upload_id):
                    if not self._dry_run:
                        await store.abort_upload(key, upload_id)
                    self._done(Repair.ABORTED, key, f"an upload in parts, begun {begun_at.isoformat(timespec='seconds')}")

    async def _goes_on(self, key: str, upload_id: str) -> bool:
        """Whether somebody still sends parts: then the catalog knows the upload, and an address of it holds."""
        file_id = file_id_in_key(key)
        file = await self._catalog.get(file_id) if file_id is not None else None
        if file is None or file.upload_id != upload_id or file.upload_expires_at is None:
            return False
        return file.status is Status.PENDING and file.upload_expires_at > self._clock()

    # --- each ---------------------------------------------------------------------------------------------------------

    async def _tried(self, subject: str, act: Awaitable[bool | None]) -> bool:
        """What it gave; False where it failed."""
        try:
            return bool(await act)
        except UnavailableError:
            raise
        except TransientError as error:
            self.failures += 1
            log.warning("reconcile_failed", subject=subject, error=error.detail)
            return False

    def _done(self, repair: Repair, subject: str, reason: str) -> None:
        if not self._dry_run:
            self._metrics.janitor_actions.labels(repair.value).inc()
            log.info(repair.value, subject=subject, reason=reason)
        self._tell(Repaired(repair, subject, reason))


def _uuid(text: str) -> UUID | None:
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None


def _new_file(manifest: Manifest) -> NewFile:
    """What is still known of a file: its name is that of its object, whoever uploaded it under another."""
    source = manifest.source
    return NewFile(
        file_id=manifest.file_id,
        owner=owner_in_key(source.key) or DEFAULT_OWNER,
        file_name=PurePosixPath(source.key).name,
        bucket=source.bucket,
        key=source.key,
        profile=manifest.profile,
        content_type=None,
        size_bytes=source.bytes,
        metadata={},
        callback_url=None,
        upload_expires_at=None,
    )
