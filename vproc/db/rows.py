"""Rows as the values of `vproc.core`, and the few statements on one row that every change of state is made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Insert, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from vproc.core.files import Attempt, File, FileError, Outcome, RawState, Stage, Status
from vproc.core.leases import AttemptFigures, Completion, NewFile
from vproc.db.clock import instant
from vproc.db.tables import files, transactions
from vproc.errors import ErrorCode

NO_LEASE: Mapping[str, Any] = MappingProxyType(
    {
        "lease_token": None,
        "lease_run_id": None,
        "lease_expires_at": None,
        "cancel_requested": False,
        "receipts": {},
        "stage": None,
        "speed": None,
        "eta_s": None,
    }
)
NO_ERROR: Mapping[str, Any] = MappingProxyType({"error_code": None, "error_detail": None, "error_retryable": None})


def error_values(error: FileError) -> dict[str, Any]:
    """The columns of a file's error."""
    return {"error_code": error.code, "error_detail": error.detail, "error_retryable": error.retryable}


def new_values(new: NewFile) -> dict[str, Any]:
    """The columns of a file that was announced, but for its status."""
    return {
        "file_id": new.file_id,
        "owner": new.owner,
        "file_name": new.file_name,
        "bucket": new.bucket,
        "key": new.key,
        "profile": new.profile,
        "content_type": new.content_type,
        "size_bytes": new.size_bytes,
        "metadata": dict(new.metadata),
        "callback_url": new.callback_url,
        "upload_expires_at": new.upload_expires_at and new.upload_expires_at.timestamp(),
        "traceparent": new.traceparent,
    }


def completed_values(completion: Completion) -> dict[str, Any]:
    """The columns of a completed file that its manifest tells."""
    return {
        "status": Status.COMPLETED,
        "progress": 1.0,
        "etag": completion.source.etag,
        "version_id": completion.source.version_id,
        "size_bytes": completion.source.size_bytes,
        "run_id": completion.run_id,
        "original_codec": completion.original_codec,
        "target_codec": completion.target_codec,
        "media_s": completion.media_s,
    }


def file_from(row: RowMapping) -> File:
    """A row of ``files``."""
    error = None
    if row["error_code"] is not None:
        error = FileError(ErrorCode(row["error_code"]), row["error_detail"], row["error_retryable"])
    return File(
        file_id=row["file_id"],
        owner=row["owner"],
        file_name=row["file_name"],
        bucket=row["bucket"],
        key=row["key"],
        profile=row["profile"],
        status=Status(row["status"]),
        created_at=instant(row["created_at"]),
        updated_at=instant(row["updated_at"]),
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
        etag=row["etag"],
        version_id=row["version_id"],
        metadata=row["metadata"],
        callback_url=row["callback_url"],
        progress=row["progress"],
        stage=Stage(row["stage"]) if row["stage"] is not None else None,
        speed=row["speed"],
        eta_s=row["eta_s"],
        original_codec=row["original_codec"],
        target_codec=row["target_codec"],
        processing_time_s=row["processing_time_s"],
        attempts=row["attempts"],
        error=error,
        run_id=row["run_id"],
        raw_state=RawState(row["raw_state"]),
        upload_expires_at=instant(row["upload_expires_at"]) if row["upload_expires_at"] is not None else None,
        completed_at=instant(row["completed_at"]) if row["completed_at"] is not None else None,
        upload_id=row["upload_id"],
        upload_open=bool(row["upload_open"]),
        traceparent=row["traceparent"],
    )


def attempt_from(row: RowMapping) -> Attempt:
    """A row of ``transactions``."""
    return Attempt(
        file_id=row["file_id"],
        run_id=row["run_id"],
        attempt=row["attempt"],
        worker=row["worker"],
        started_at=instant(row["started_at"]),
        ended_at=instant(row["ended_at"]) if row["ended_at"] is not None else None,
        outcome=Outcome(row["outcome"]),
        error_code=ErrorCode(row["error_code"]) if row["error_code"] is not None else None,
        error_detail=row["error_detail"],
        stage_seconds=row["stage_seconds"],
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        cpu_s=row["cpu_s"],
        peak_memory_bytes=row["peak_memory_bytes"],
        s3_requests=row["s3_requests"],
        sqs_requests=row["sqs_requests"],
        speed=row["speed"],
        task=row["task"],
    )


def insert_into(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert of the dialect's own, which can say what is to be done where a row of that key stands; the same in both."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_absent(connection: AsyncConnection, table: Table) -> Insert:
    """An insert that does nothing where a row of that key stands."""
    return insert_into(connection, table).on_conflict_do_nothing()


async def locked(connection: AsyncConnection, file_id: UUID) -> RowMapping | None:
    """The file's row, tombstones too, held until the transaction ends. On SQLite a writer holds the whole database."""
    found = await connection.execute(select(files).where(files.c.file_id == file_id).with_for_update())
    return found.mappings().one_or_none()


async def put(connection: AsyncConnection, file_id: UUID, **values: Any) -> RowMapping:
    """Change columns of a file that stands; the row as it is then."""
    changed = await connection.execute(update(files).where(files.c.file_id == file_id).values(**values).returning(files))
    row: RowMapping = changed.mappings().one()
    return row


def lease_stands(row: RowMapping, now: float) -> bool:
    """Whether somebody holds the file's lease. One that has expired by the database's clock is nobody's."""
    return row["lease_token"] is not None and row["lease_expires_at"] > now


async def close_attempt(
    connection: AsyncConnection,
    file_id: UUID,
    run_id: str,
    *,
    now: float,
    outcome: Outcome,
    error: FileError | None = None,
    figures: AttemptFigures | None = None,
    counted: bool = True,
) -> RowMapping:
    """End an attempt that runs; its row as it is then."""
    figures = figures or AttemptFigures({})
    closed = await connection.execute(
        update(transactions)
        .where(transactions.c.file_id == file_id, transactions.c.run_id == run_id)
        .values(
            ended_at=now,
            outcome=outcome,
            counted=counted,
            error_code=error and error.code,
            error_detail=error and error.detail,
            stage_seconds=dict(figures.stage_seconds),
            bytes_in=figures.bytes_in,
            bytes_out=figures.bytes_out,
            cpu_s=figures.cpu_s,
            peak_memory_bytes=figures.peak_memory_bytes,
            s3_requests=figures.s3_requests,
            sqs_requests=figures.sqs_requests,
            speed=figures.speed,
            task=None if figures.task is None else dict(figures.task),
        )
        .returning(transactions)
    )
    row: RowMapping = closed.mappings().one()
    return row


async def close_dead_holder(connection: AsyncConnection, row: RowMapping, *, now: float) -> None:
    """End the attempt of a holder whose lease has expired. It counts: nobody was there to say that it should not."""
    if row["lease_run_id"] is not None:
        error = FileError(ErrorCode.LEASE_LOST, "its lease ended: the process died or was cut off", retryable=True)
        await close_attempt(connection, row["file_id"], row["lease_run_id"], now=now, outcome=Outcome.LOST, error=error)
