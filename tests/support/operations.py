"""A busy day for whoever looks at `/ops`: jobs, hours, failures and dead letters, put into a daemon's catalog and queue."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import anyio
import boto3
from sqlalchemy import update

from tests.support.catalog import FIGURES, Given, completion, new_file
from tests.support.daemon import Daemon, run
from vproc.core.dead_letters import ATTEMPTS_ATTRIBUTE, CODE_ATTRIBUTE, DETAIL_ATTRIBUTE, FILE_ID_ATTRIBUTE
from vproc.core.files import FileError, Outcome, Stage
from vproc.db.catalog import open_catalog
from vproc.db.tables import files, transactions
from vproc.errors import ErrorCode


class Running(NamedTuple):
    """A job as its worker last told of it. ``silent``: that was long ago."""

    name: str
    profile: str
    stage: Stage
    progress: float
    speed: float | None
    eta_s: float | None
    attempt: int = 1
    silent: bool = False


LONG = "a-recording-of-the-whole-conference-with-a-name-that-nobody-would-want-to-type-twice.mkv"
JOBS = (
    Running("keynote-2026.mov", "abr", Stage.ENCODE, 0.62, 3.4, 310.0),
    Running(LONG, "abr", Stage.DOWNLOAD, 0.04, None, None, attempt=2),
    Running("interview.mp4", "mp4", Stage.ENCODE, 0.31, 0.0, None, silent=True),
    Running("podcast-117.mp4", "audio", Stage.PUBLISH, 0.97, 41.0, 3.0),
)
FAILURES = (
    ("broken-upload.mp4", ErrorCode.CORRUPT_MEDIA, "only 12 % of the declared duration can be decoded", 1),
    ("holiday.avi", ErrorCode.STALLED, "no progress for 120 s at 41 % of the encode stage", 3),
    ("presentation.mp4", ErrorCode.UNSUPPORTED_MEDIA, "the file holds no video and no sound that can be read", 1),
    ("drone-4k-hdr.mov", ErrorCode.OUT_OF_MEMORY, "ffmpeg was killed when memory ran out, twice", 2),
)
LETTERS = (
    ("videos/ann/holiday.avi", ErrorCode.STALLED, "no progress for 120 s at 41 % of the encode stage", 3),
    ("imports/2026/old tapes/tape 04.mpg", ErrorCode.SOURCE_MISSING, "the object is not in the raw bucket", 1),
    ("videos/bob/interview-raw.mxf", None, "", None),
)
COMPLETED = (0, 0, 1, 0, 2, 3, 5, 9, 14, 18, 22, 19, 12, 15, 21, 26, 24, 17, 11, 8, 6, 4, 7, 5)
FAILED = (0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 4, 1, 0, 0, 0, 1, 0, 0, 2, 1)
"""By hours, the one under way last."""


def busy(daemon: Daemon) -> None:
    """All of it."""
    anyio.run(_fill, daemon.ready["database_url"].replace("sqlite://", "sqlite+aiosqlite://"))
    for key, code, detail, attempts in LETTERS:
        bury(daemon, key, code=code, detail=detail, attempts=attempts)


def bury(
    daemon: Daemon, key: str, *, code: ErrorCode | None = ErrorCode.STALLED, detail: str = "no progress", attempts: int | None = 3
) -> None:
    """A dead letter about that object of the raw bucket; without a code as SQS itself puts one aside."""
    told = {} if code is None else {CODE_ATTRIBUTE: code.value, DETAIL_ATTRIBUTE: detail, ATTEMPTS_ATTRIBUTE: str(attempts)}
    if code is ErrorCode.STALLED:
        told[FILE_ID_ATTRIBUTE] = str(uuid4())
    sqs = boto3.client(
        "sqs", endpoint_url=daemon.ready["s3"], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    sqs.send_message(
        QueueUrl=daemon.ready["dlq_url"],
        MessageBody=json.dumps({"bucket": daemon.ready["raw_bucket"], "key": key}),
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in told.items()},
    )
    sqs.close()


def key_of(folder: Path, daemon: Daemon, owner: str, *, scope: str = "files") -> str:
    """A new API key."""
    made = run(folder, "keys", "create", owner, "--scope", scope, "--json", VPROC_DATABASE_URL=daemon.ready["database_url"])
    assert made.code == 0, made
    return str(json.loads(made.stdout)["key"])


async def _fill(url: str) -> None:
    async with open_catalog(url) as catalog:
        await _Day(Given(catalog)).fill()


class _Day:
    def __init__(self, given: Given) -> None:
        self._given = given
        self._catalog = given.catalog
        self._now = time.time()

    async def fill(self) -> None:
        hour = int(self._now) // 3600
        for back, (completed, failed) in enumerate(zip(reversed(COMPLETED), reversed(FAILED), strict=True)):
            at = (hour - back) * 3600.0
            for number in range(completed):
                await self._completed(at + number)
            if back:
                for _ in range(failed):
                    await self._failed("earlier.mp4", FileError(ErrorCode.CORRUPT_MEDIA, "damaged", retryable=False), at, 1)
        for number, (name, code, detail, attempts) in enumerate(FAILURES):
            await self._failed(name, FileError(code, detail, retryable=True), self._now - 60 - 1500 * number, attempts)
        for number, job in enumerate(JOBS):
            await self._running(number, job)

    async def _file(self, name: str, profile: str = "abr") -> UUID:
        return (await self._catalog.create(new_file(file_name=name, profile=profile, callback_url=None))).file_id

    async def _set(self, file_id: UUID, **values: float) -> None:
        async with self._catalog._database.write() as connection:
            await connection.execute(update(files).where(files.c.file_id == file_id).values(**values))

    async def _completed(self, at: float) -> None:
        lease = await self._given.leased(await self._file("done.mp4"))
        await self._catalog.complete(lease, completion(lease.run_id, delete_raw=False, media_s=95.0), FIGURES)
        await self._set(lease.file_id, completed_at=at, created_at=at)

    async def _failed(self, name: str, error: FileError, at: float, attempts: int) -> None:
        lease = await self._given.leased(await self._file(name))
        await self._catalog.fail(lease, error, Outcome.REJECTED, FIGURES)
        await self._set(lease.file_id, failed_at=at, created_at=at, attempts=attempts)

    async def _running(self, number: int, job: Running) -> None:
        worker = f"encoder-{number % 2 + 1}:{4100 + number}:ab12cd34"
        lease = await self._given.leased(await self._file(job.name, job.profile), worker=worker, ttl_s=3600.0)
        await self._catalog.report(lease, progress=job.progress, stage=job.stage, speed=job.speed, eta_s=job.eta_s)
        begun = {"started_at": self._now - 700 + 150 * number, "attempt": job.attempt}
        async with self._catalog._database.write() as connection:
            await connection.execute(update(transactions).where(transactions.c.file_id == lease.file_id).values(**begun))
        if job.silent:
            await self._catalog.renew(lease, ttl_s=-1)
