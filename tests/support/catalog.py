"""Files, claims and leases for tests of the catalog: values with sensible defaults, and `Given`, which brings files to where a
test begins. `rows` looks behind the port."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, select, update

from vproc.core.files import File, FileError, ObjectVersion, Outcome, Status
from vproc.core.leases import AttemptFigures, ClaimRequest, ClaimState, Completion, Lease, NewFile
from vproc.db.catalog import SqlCatalog
from vproc.db.tables import duties, files, metadata
from vproc.errors import ErrorCode

FIGURES = AttemptFigures(
    {"download": 1.5, "encode": 20.0}, bytes_in=1_000, bytes_out=6_000_000_000, cpu_s=38.25, peak_memory_bytes=5_000_000_000,
    s3_requests=41, sqs_requests=3, speed=1.5,
)  # fmt: skip
SOURCE = ObjectVersion("raw", "videos/ann/a.mp4", "etag-1", 6_000_000_001, "v1")
HOOK = "https://hooks.example/vproc"
CORRUPT = FileError(ErrorCode.CORRUPT_MEDIA, "the index is damaged", retryable=False)
CRASHED = FileError(ErrorCode.ENCODER_FAILED, "ffmpeg exited with 1", retryable=True)


def new_file(**changes: Any) -> NewFile:
    """An announced file with a ``callback_url``."""
    file_id = changes.pop("file_id", None) or uuid4()
    values: dict[str, Any] = {
        "owner": "ann",
        "file_name": "holiday.mp4",
        "bucket": "raw",
        "key": f"videos/ann/{file_id}.mp4",
        "profile": "abr",
        "content_type": "video/mp4",
        "size_bytes": 6_000_000_000,
        "metadata": {"album": "été"},
        "callback_url": HOOK,
        "upload_expires_at": datetime.now(UTC) + timedelta(minutes=15),
    }
    return NewFile(file_id=file_id, **values | changes)


def claim_request(file_id: UUID, **changes: Any) -> ClaimRequest:
    """A claim for a minute, of a run of its own."""
    values: dict[str, Any] = {
        "version": ObjectVersion("raw", f"videos/ann/{file_id}.mp4", "etag-1", 6_000_000_001, "v1", "video/quicktime"),
        "owner": "ann",
        "file_name": "holiday.mp4",
        "profile": "abr",
        "metadata": {"album": "été"},
        "worker": "host:1",
        "run_id": uuid4().hex,
        "ttl_s": 60.0,
        "max_attempts": 3,
        "message_id": "m-1",
        "receipt_handle": "r-1",
    }
    return ClaimRequest(file_id=file_id, **values | changes)


def completion(run_id: str, **changes: Any) -> Completion:
    """What a manifest says."""
    values: dict[str, Any] = {"source": SOURCE, "original_codec": "hevc", "target_codec": "h264", "delete_raw": True}
    return Completion(run_id=run_id, **values | changes)


class Given:
    """Brings files to where a test begins, by the catalog's own methods."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self.catalog = catalog

    async def pending(self, **changes: Any) -> File:
        """A file that was announced."""
        return await self.catalog.create(new_file(**changes))

    async def leased(self, file_id: UUID | None = None, **changes: Any) -> Lease:
        """A granted claim; of a new announced file where no id is given."""
        file_id = file_id or (await self.pending()).file_id
        claim = await self.catalog.claim(claim_request(file_id, **changes))
        assert claim.state is ClaimState.GRANTED, claim
        assert claim.lease is not None
        return claim.lease

    async def expired_lease(self, file_id: UUID | None = None, **changes: Any) -> Lease:
        """A lease that ended a second ago and that nobody took: its holder is dead, or thinks that it is not."""
        lease = await self.leased(file_id, **changes)
        await self.catalog.renew(lease, ttl_s=-1)
        return lease

    async def completed(self, **changes: Any) -> File:
        """A completed file."""
        lease = await self.leased()
        return await self.catalog.complete(lease, completion(lease.run_id, **changes), FIGURES)

    async def failed(self, outcome: Outcome = Outcome.REJECTED) -> File:
        """A failed file; a cancelled one by that outcome."""
        lease = await self.leased()
        await self.catalog.fail(lease, CORRUPT, outcome, FIGURES)
        return await self.read(lease.file_id)

    async def in_status(self, status: Status) -> File:
        """A file in that state; ``processing`` is by a lease that stands."""
        match status:
            case Status.PENDING:
                file_id = (await self.pending()).file_id
            case Status.UPLOADED:
                lease = await self.leased()
                await self.catalog.release(lease, Outcome.DRAINED, FIGURES, error=None, count_attempt=False)
                file_id = lease.file_id
            case Status.PROCESSING:
                file_id = (await self.leased()).file_id
            case Status.COMPLETED:
                file_id = (await self.completed()).file_id
            case Status.FAILED:
                file_id = (await self.failed()).file_id
            case Status.CANCELLED:
                file_id = (await self.catalog.request_cancel((await self.pending()).file_id)).file_id
            case Status.EXPIRED:
                file_id = (await self.pending(upload_expires_at=datetime.now(UTC) - timedelta(hours=1))).file_id
                assert await self.catalog.expire_pending(grace_s=60) == 1
        return await self.read(file_id)

    async def read(self, file_id: UUID) -> File:
        """The file, which stands."""
        file = await self.catalog.get(file_id)
        assert file is not None
        return file

    async def expire_leases(self) -> None:
        """Time passes, until no lease stands."""
        leases = update(files).where(files.c.lease_token.is_not(None)).values(lease_expires_at=0.0)
        async with self.catalog._database.write() as connection:
            await connection.execute(leases)

    async def age_duties(self, by_s: float) -> None:
        """Let so much time pass for whoever waits to take one."""
        async with self.catalog._database.write() as connection:
            await connection.execute(update(duties).values(taken_at=duties.c.taken_at - by_s))

    async def forget(self, file_id: UUID) -> None:
        """Somebody lost its rows."""
        async with self.catalog._database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                if "file_id" in table.c:
                    await connection.execute(delete(table).where(table.c.file_id == file_id))

    async def endings(self) -> list[dict[str, Any]]:
        """The outbox without the events that tell of no end."""
        return [row for row in await self.rows("outbox") if row["type"] not in {"video.uploaded", "video.processing"}]

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table, as it is stored, in no order."""
        async with self.catalog._database.read() as connection:
            found = await connection.execute(select(metadata.tables[table]))
            return [dict(row) for row in found.mappings()]
