"""Signed addresses. Signing is computed, not asked for: no request leaves here, but for a role's credentials now and then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from vproc.aws.credentials import ends_at
from vproc.aws.errors import translated
from vproc.errors import UnavailableError
from vproc.ports import PresignedRequest


class S3Presigner:
    """Signs with SigV4 for the address that clients reach. An address dies with the credentials that signed it, whatever
    it says itself, so ``expires_at`` is the earlier of the two."""

    def __init__(
        self, *, client: Any, raw_bucket: str, processed_bucket: str, upload_expires_s: int, download_expires_s: int
    ) -> None:
        self._client = client
        self._raw_bucket = raw_bucket
        self._processed_bucket = processed_bucket
        self._upload_expires_s = upload_expires_s
        self._download_expires_s = download_expires_s

    async def put(self, key: str, *, content_type: str, size_bytes: int | None, metadata: Mapping[str, str]) -> PresignedRequest:
        """Address of one upload. Content type, length where given, metadata and ``If-None-Match: *`` are signed: the
        address writes this object once, and cannot replace it."""
        parameters: dict[str, Any] = {"Key": key, "ContentType": content_type, "IfNoneMatch": "*"}
        if size_bytes is not None:
            parameters["ContentLength"] = size_bytes
        if metadata:
            parameters["Metadata"] = dict(metadata)
        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        return await self._sign("put_object", self._raw_bucket, parameters, headers=headers, expires_s=self._upload_expires_s)

    async def get_raw(self, key: str, *, file_name: str) -> PresignedRequest:
        """Address to download an original."""
        return await self._get(self._raw_bucket, key, file_name)

    async def get_processed(self, key: str, *, file_name: str | None = None) -> PresignedRequest:
        """Address of an output."""
        return await self._get(self._processed_bucket, key, file_name)

    async def _get(self, bucket: str, key: str, file_name: str | None) -> PresignedRequest:
        parameters: dict[str, Any] = {"Key": key}
        if file_name is not None:
            # What a user's file may be called is untrusted: it is only ever saved, never shown (RFC 6266, RFC 8187).
            parameters["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
        return await self._sign("get_object", bucket, parameters, headers={}, expires_s=self._download_expires_s)

    async def _sign(
        self, operation: str, bucket: str, parameters: dict[str, Any], *, headers: dict[str, str], expires_s: int
    ) -> PresignedRequest:
        method = {"put_object": "PUT", "get_object": "GET"}[operation]
        with translated("sign an address"):
            url = await self._client.generate_presigned_url(
                operation, Params={"Bucket": bucket, **parameters}, ExpiresIn=expires_s, HttpMethod=method
            )
        return PresignedRequest(method=method, url=url, headers=headers, expires_at=signed_until(self._client, expires_s))


def signed_until(client: Any, expires_s: int) -> datetime:
    """When what this client signs now ends: with its credentials at the latest. Raises `UnavailableError` where they have
    ended, and it is dead already."""
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=expires_s)
    credentials_end = ends_at(client._request_signer._credentials)  # noqa: SLF001 - no public way
    if credentials_end is None:
        return expires_at
    if credentials_end <= now:
        raise UnavailableError("cannot sign an address: the credentials have ended, and nobody gives new ones")
    return min(expires_at, credentials_end)
