"""An object of any bucket, read from its beginning to its end with the reader's own credentials: what `vproc submit` takes an
``s3://`` address for. Rights: `s3:GetObject` on it (and `s3:ListBucket`, else a missing one is told as forbidden).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from vproc.aws.errors import MISSING_CODES, PRECONDITION_CODES, code_of, translated
from vproc.aws.session import open_clients
from vproc.errors import ErrorCode, RejectedError, UnavailableError

_READ_TIMEOUT_S = 30.0


@dataclass(slots=True)
class ObjectReader:
    """One version of an object. ``read`` goes on from where it stopped."""

    client: Any
    bucket: str
    key: str
    etag: str
    size_bytes: int
    offset_bytes: int = 0

    async def read(self, size_bytes: int) -> bytes:
        """The next bytes, fewer only at the end. Raises `UnavailableError`; `RejectedError` where the object was replaced."""
        end = min(self.offset_bytes + size_bytes, self.size_bytes)
        if end <= self.offset_bytes:
            return b""
        asked = {"Range": f"bytes={self.offset_bytes}-{end - 1}", "IfMatch": f'"{self.etag}"'}
        with translated(f"read s3://{self.bucket}/{self.key}"):
            try:
                answer = await self.client.get_object(Bucket=self.bucket, Key=self.key, **asked)
            except ClientError as error:
                if code_of(error) in PRECONDITION_CODES | MISSING_CODES:
                    detail = f"s3://{self.bucket}/{self.key} was replaced while it was read: submit it again"
                    raise RejectedError(ErrorCode.SOURCE_CHANGED, detail) from error
                raise
            body: bytes = await answer["Body"].read()
        if len(body) != end - self.offset_bytes:
            raise UnavailableError(f"s3://{self.bucket}/{self.key} broke off while it was read")
        self.offset_bytes = end
        return body


@asynccontextmanager
async def open_object(bucket: str, key: str, *, region: str | None) -> AsyncIterator[ObjectReader]:
    """The object as it stands. Raises `RejectedError` where there is none, `UnavailableError`, `ConfigError`."""
    async with open_clients(region=region, poll_read_timeout_s=_READ_TIMEOUT_S, public_endpoint_url=None) as clients:
        with translated(f"read s3://{bucket}/{key}"):
            try:
                head = await clients.s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if code_of(error) in MISSING_CODES:
                    raise RejectedError(ErrorCode.SOURCE_MISSING, f"s3://{bucket}/{key}: no such object") from error
                raise
        yield ObjectReader(clients.s3_bulk, bucket, key, str(head["ETag"]).strip('"'), int(head["ContentLength"]))
