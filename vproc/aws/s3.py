"""S3 as `ports.ObjectStore`: small objects, listings, deletions, checksums. Bulk transfer is in `transfer`."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
from botocore.exceptions import ClientError

from vproc.aws.errors import CONFLICT_CODES, MISSING_CODES, PRECONDITION_CODES, code_of, translated
from vproc.aws.transfer import Download, Upload, write_budget_s
from vproc.core.files import ObjectVersion
from vproc.core.manifest import base64_of_hex
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import FileSlice, StoredObject
from vproc.telemetry import Metrics

_READ_BYTES = 1024 * 1024


class S3Bucket:
    """One bucket. ``control`` makes the small requests, ``bulk`` moves media."""

    def __init__(self, *, bucket: str, control: Any, bulk: Any, metrics: Metrics) -> None:
        self.bucket = bucket
        self._control = control
        self._bulk = bulk
        self._metrics = metrics

    async def head(self, key: str, *, version_id: str | None = None) -> ObjectVersion | None:
        """The object's current version."""
        pinned = {"VersionId": version_id} if version_id else {}
        with translated("look at the object"), self._metrics.s3_request("head"):
            try:
                told = await self._control.head_object(Bucket=self.bucket, Key=key, **pinned)
            except ClientError as error:
                if code_of(error) in MISSING_CODES:
                    return None
                raise
            version = told.get("VersionId")
            return ObjectVersion(
                bucket=self.bucket,
                key=key,
                etag=str(told["ETag"]).strip('"'),
                size_bytes=int(told["ContentLength"]),
                version_id=version if version and version != "null" else None,
                content_type=told.get("ContentType"),
                metadata=tuple(sorted(told.get("Metadata", {}).items())),
            )

    async def download(self, version: ObjectVersion, to: Path, *, on_piece: Callable[[int, int], None] | None = None) -> None:
        """Fetch exactly that version."""
        await Download(self._bulk, version, to, metrics=self._metrics, on_piece=on_piece).run()

    async def fetch(self, version: ObjectVersion, to: Path, *, start: int, end: int) -> None:
        """Fetch a part of exactly that version."""
        await Download(self._bulk, version, to, metrics=self._metrics, on_piece=None).part(start, end)

    async def get(self, key: str) -> bytes | None:
        """A small object's bytes."""
        with translated("read the object"), self._metrics.s3_request("get"):
            try:
                with anyio.fail_after(60):
                    answer = await self._control.get_object(Bucket=self.bucket, Key=key)
                    async with answer["Body"] as body:
                        return bytes(await body.read())
            except ClientError as error:
                if code_of(error) in MISSING_CODES:
                    return None
                raise

    async def put(self, key: str, body: bytes, *, content_type: str, if_absent: bool = False) -> bool:
        """Write a small object. A conditional write that meets another (409) is tried again, then is the store's fault."""
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        checksum = base64_of_hex(hashlib.sha256(body).hexdigest())
        for _ in range(3):
            with translated("write the object"), self._metrics.s3_request("put"):
                try:
                    with anyio.fail_after(write_budget_s(len(body))):
                        answer = await self._control.put_object(
                            Bucket=self.bucket,
                            Key=key,
                            Body=body,
                            ContentType=content_type,
                            ChecksumAlgorithm="SHA256",
                            ChecksumSHA256=checksum,
                            **condition,
                        )
                        answer["ETag"]  # without one nothing was written, whoever answered
                except ClientError as error:
                    if if_absent and code_of(error) in PRECONDITION_CODES:
                        return False
                    if code_of(error) in CONFLICT_CODES:
                        continue
                    raise
            return True
        raise UnavailableError("cannot write the object: other writes to it keep coming in between")

    async def put_file(self, key: str, part: FileSlice, *, content_type: str) -> str:
        """Write a local file or a part of it."""
        return await Upload(self._bulk, self.bucket, key, part, content_type=content_type, metrics=self._metrics).run()

    async def stat(self, key: str) -> StoredObject | None:
        """Size and checksum of what stands."""
        with translated("look at the object"), self._metrics.s3_request("head"):
            try:
                told = await self._control.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as error:
                if code_of(error) in MISSING_CODES:
                    return None
                raise
            told["ETag"]  # what has none is no answer of S3's
            return StoredObject(key=key, size_bytes=int(told["ContentLength"]), sha256=told.get("ChecksumSHA256"))

    async def read_sha256(self, key: str) -> str | None:
        """Hex SHA-256 by reading the whole object."""
        digest = hashlib.sha256()
        with translated("read the object back"), self._metrics.s3_request("get"):
            try:
                answer = await self._bulk.get_object(Bucket=self.bucket, Key=key)
                async with answer["Body"] as body:
                    while chunk := await body.read(_READ_BYTES):
                        await anyio.to_thread.run_sync(digest.update, chunk)
            except ClientError as error:
                if code_of(error) in MISSING_CODES:
                    return None
                raise
        return digest.hexdigest()

    async def delete(self, version: ObjectVersion) -> bool:
        """Delete that version only: by its id on a versioned bucket, else on condition of its ETag."""
        which = {"VersionId": version.version_id} if version.version_id else {"IfMatch": f'"{version.etag}"'}
        with translated("delete the object"), self._metrics.s3_request("delete"):
            try:
                answer = await self._control.delete_object(Bucket=self.bucket, Key=version.key, **which)
                if (status := answer["ResponseMetadata"]["HTTPStatusCode"]) != HTTPStatus.NO_CONTENT:
                    raise UnavailableError(f"cannot delete the object: {status} is no answer of S3's")
            except ClientError as error:
                if code_of(error) in PRECONDITION_CODES:
                    return False
                if code_of(error) not in MISSING_CODES:
                    raise
        return True

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object under the prefix, and multipart uploads begun there."""
        if not prefix.endswith("/") or len(prefix) < len("x/"):
            raise ValueError(f"not a prefix to delete: {prefix!r}")
        await self._abort_uploads(prefix)
        deleted = 0
        batch: list[str] = []
        async for key, _, _ in self.list(prefix):
            batch.append(key)
            if len(batch) == 1000:  # noqa: PLR2004 - DeleteObjects takes no more
                deleted += await self._delete_batch(batch)
                batch = []
        return deleted + (await self._delete_batch(batch) if batch else 0)

    async def _delete_batch(self, keys: list[str]) -> int:
        with translated("delete objects"), self._metrics.s3_request("delete"):
            answer = await self._control.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        if errors := answer.get("Errors"):
            raise UnavailableError(f"cannot delete {len(errors)} of {len(keys)} objects: {errors[0].get('Code')}")
        return len(keys)

    async def _abort_uploads(self, prefix: str) -> None:
        async for key, upload_id, _ in self.unfinished_uploads(prefix):
            await self.abort_upload(key, upload_id)

    async def unfinished_uploads(self, prefix: str = "") -> AsyncIterator[tuple[str, str, datetime]]:
        """Key, id and begin of every upload in parts under the prefix."""
        place: dict[str, str] = {}
        while True:
            with translated("list multipart uploads"), self._metrics.s3_request("list"):
                page = await self._control.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix, **place)
            for upload in page.get("Uploads") or ():
                yield upload["Key"], upload["UploadId"], upload["Initiated"]
            if not page.get("IsTruncated"):
                return
            place = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Give up an upload in parts."""
        with translated("abort a multipart upload"), self._metrics.s3_request("delete"):
            try:
                await self._control.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if code_of(error) not in {*MISSING_CODES, "NoSuchUpload"}:
                    raise

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int, datetime]]:
        """Key, size and time of every object under the prefix."""
        token: dict[str, str] = {}
        while True:
            with translated("list objects"), self._metrics.s3_request("list"):
                page = await self._control.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **token)
            for entry in page.get("Contents", ()):
                yield entry["Key"], int(entry["Size"]), entry["LastModified"]
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    async def require(self, variable: str) -> None:
        """See at the start that the bucket is there and ours to use. Raises `ConfigError` that names the setting."""
        with translated(f"reach bucket {self.bucket}"):
            try:
                await self._control.head_bucket(Bucket=self.bucket)
            except ClientError as error:
                if code_of(error) in {*MISSING_CODES, "NoSuchBucket"}:
                    raise ConfigError(f"{variable}: no such bucket (got {self.bucket!r})") from error
                if code_of(error) in {"403", "AccessDenied", "Forbidden"}:
                    raise ConfigError(
                        f"{variable}: access to {self.bucket!r} refused by S3: check the role's s3: rights"
                    ) from error
                raise

    async def check(self) -> None:
        """Ask for the bucket's head."""
        with translated(f"reach bucket {self.bucket}"):
            await self._control.head_bucket(Bucket=self.bucket)
