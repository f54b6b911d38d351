"""Signed addresses. Signing is computed, not asked for: no request leaves here, but for a role's credentials now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from vproc.aws.signing import AddressSigner
from vproc.ports import PresignedRequest


class S3Presigner:
    """Signs with SigV4 for the address that clients reach. An address dies with the credentials that signed it, whatever
    it says itself, so ``expires_at`` is the earlier of the two."""

    def __init__(
        self, *, client: Any, raw_bucket: str, processed_bucket: str, upload_expires_s: int, download_expires_s: int
    ) -> None:
        self._raw = AddressSigner(client, raw_bucket)
        self._processed = AddressSigner(client, processed_bucket)
        self._upload_expires_s = upload_expires_s
        self._download_expires_s = download_expires_s

    async def put(self, key: str, *, content_type: str, size_bytes: int | None, metadata: Mapping[str, str]) -> PresignedRequest:
        """Address of one upload. Content type, length where given, metadata and ``If-None-Match: *`` are signed: the
        address writes this object once, and cannot replace it."""
        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        # a client that sends a body says its length by itself
        length = {} if size_bytes is None else {"Content-Length": str(size_bytes)}
        signed = await self._raw.sign("PUT", key, expires_s=self._upload_expires_s, headers=headers | length)
        return replace(signed, headers=headers)

    async def get_raw(self, key: str, *, file_name: str) -> PresignedRequest:
        """Address to download an original."""
        return await self._get(self._raw, key, file_name)

    async def get_processed(self, key: str, *, file_name: str | None = None) -> PresignedRequest:
        """Address of an output."""
        return await self._get(self._processed, key, file_name)

    async def _get(self, signer: AddressSigner, key: str, file_name: str | None) -> PresignedRequest:
        query = {}
        if file_name is not None:
            # What a user's file may be called is untrusted: it is only ever saved, never shown (RFC 6266, RFC 8187).
            query["response-content-disposition"] = f"attachment; filename*=UTF-8''{quote(file_name, safe='')}"
        return await signer.sign("GET", key, expires_s=self._download_expires_s, query=query)
