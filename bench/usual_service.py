"""``python usual_service.py DATABASE BUCKET``: the usual way to announce uploads, which vproc's is measured against. FastAPI on
uvicorn, one worker; boto3 signs; SQLAlchemy writes to SQLite, as durably as vproc's catalog does.

It runs in an environment of its own (`bench/usual_service.txt`), so nothing of this project is imported. What makes it fast is
given to it: uvloop and httptools, one client of boto3, handlers in threads, as FastAPI has it for libraries that block, and a
lock, so that writers do not meet SQLite's and sleep.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import boto3
import uvicorn
from botocore.config import Config
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import JSON, Index, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

EXPIRES_S = 3600
SUFFIXES = ("mp4", "mov", "m4v", "mkv", "webm", "avi", "ts", "mpg", "3gp", "flv", "wmv", "mxf", "ogv")
MOST_BYTES = 5 * 1024**3


class Base(DeclarativeBase):
    """The tables."""


class File(Base):
    """An upload that was announced."""

    __tablename__ = "files"
    __table_args__ = (Index("ix_owner_created_at", "owner", "created_at"), Index("ix_key", "key"))

    file_id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str]
    file_name: Mapped[str]
    bucket: Mapped[str]
    key: Mapped[str]
    profile: Mapped[str]
    status: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int | None]
    extra: Mapped[dict[str, str]] = mapped_column("metadata", JSON())
    callback_url: Mapped[str | None]
    upload_expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class UploadRequest(BaseModel):
    """What is announced."""

    model_config = ConfigDict(extra="forbid")

    file_name: Annotated[str, Field(min_length=1, max_length=255, pattern=rf"(?i)\.({'|'.join(SUFFIXES)})$")]
    content_type: Annotated[str, Field(pattern=r"^(video|audio)/[A-Za-z0-9.+-]+$|^application/octet-stream$")] = "video/mp4"
    size: Annotated[int, Field(ge=1)] | None = None
    profile: Literal["abr", "mp4", "copy"] = "abr"
    metadata: dict[str, str] = {}
    callback_url: str | None = None


class UploadAddress(BaseModel):
    """Where to put it."""

    file_id: UUID
    s3_key: str
    upload_url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_at: datetime
    profile: str


def make_app(database: str, bucket: str) -> FastAPI:
    """The service."""
    engine = create_engine(f"sqlite:///{database}")
    writing = Lock()
    event.listen(engine, "connect", _durable)
    Base.metadata.create_all(engine)
    s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    app = FastAPI()

    @app.post("/upload", status_code=201)
    def create(wanted: UploadRequest) -> UploadAddress:
        if wanted.size is not None and wanted.size > MOST_BYTES:
            raise HTTPException(413)
        file_id, now = uuid4(), datetime.now(UTC)
        name = re.split(r"[/\\]", wanted.file_name)[-1]
        key = f"videos/default/{file_id}.{name.rpartition('.')[2].lower()}"
        parameters: dict[str, Any] = {"Bucket": bucket, "Key": key, "ContentType": wanted.content_type, "IfNoneMatch": "*"}
        if wanted.size is not None:
            parameters["ContentLength"] = wanted.size
        url = s3.generate_presigned_url("put_object", Params=parameters, ExpiresIn=EXPIRES_S)
        file = File(
            file_id=file_id,
            owner="default",
            file_name=name,
            bucket=bucket,
            key=key,
            profile=wanted.profile,
            status="pending",
            content_type=wanted.content_type,
            size_bytes=wanted.size,
            extra=wanted.metadata,
            callback_url=wanted.callback_url,
            upload_expires_at=now + timedelta(seconds=EXPIRES_S),
            created_at=now,
            updated_at=now,
        )
        address = UploadAddress(
            file_id=file_id,
            s3_key=key,
            upload_url=url,
            method="PUT",
            headers={"Content-Type": wanted.content_type, "If-None-Match": "*"},
            expires_at=file.upload_expires_at,
            profile=file.profile,
        )
        with writing, Session(engine) as session:
            session.add(file)
            session.commit()
        return address

    return app


def _durable(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def main(database: str, bucket: str) -> None:
    """Serve on a free port, which standard output tells."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        sys.stdout.write(json.dumps({"api": f"http://127.0.0.1:{listener.getsockname()[1]}"}) + "\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(make_app(database, bucket))).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
