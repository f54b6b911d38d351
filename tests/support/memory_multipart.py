"""Uploads in parts to a bucket in memory, with S3's manners."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tests.support.faults import Faults, faulty
from tests.support.memory_store import MemoryStore
from vproc.errors import InvalidRequestError, NotFoundError
from vproc.ports import Part, PartsCall, PresignedForm, PresignedRequest

SIGNED = "X-Amz-Signature=5ec7e7516na7u7e"


@dataclass(slots=True)
class _Begun:
    key: str
    content_type: str
    metadata: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryMultipart(Faults):
    """Parts are sent by `put`. Their lengths may be claimed, so that a test of gigabytes holds none. ``now`` gives aware UTC."""

    def __init__(
        self, store: MemoryStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC), expires_s: int = 900
    ) -> None:
        super().__init__()
        self.store = store
        self.now = now
        self.begun: dict[str, _Begun] = {}
        self.claimed: dict[tuple[str, int], int] = {}
        self._expires_s = expires_s
        self._numbers = itertools.count(1)

    def put(self, upload_id: str, number: int, body: bytes, *, claimed_bytes: int | None = None) -> str:
        """Send one part as a client would; its ETag."""
        self.begun[upload_id].parts[number] = body
        self.claimed[upload_id, number] = len(body) if claimed_bytes is None else claimed_bytes
        return _etag(body)

    def stands(self, key: str, upload_id: str, parts: Mapping[int, bytes]) -> None:
        """Have an upload of that id, with these parts, as if a client had begun it."""
        self.begun[upload_id] = _Begun(key, "video/mp4", {})
        for number, body in parts.items():
            self.put(upload_id, number, body)

    @faulty
    async def create(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> str:
        """As the port says."""
        upload_id = f"upload-{next(self._numbers)}/+="
        self.begun[upload_id] = _Begun(key, content_type, dict(metadata))
        return upload_id

    @faulty
    async def sign_part(self, key: str, upload_id: str, number: int) -> PresignedRequest:
        """As the port says."""
        return self._signed("PUT", key, f"uploadId={quote(upload_id, safe='')}&partNumber={number}")

    @faulty
    async def sign_call(self, call: PartsCall, key: str, upload_id: str | None = None) -> PresignedRequest:
        """As the port says."""
        method = {PartsCall.LIST: "GET", PartsCall.ABORT: "DELETE"}.get(call, "POST")
        return self._signed(method, key, f"uploadId={quote(upload_id, safe='')}" if upload_id is not None else "uploads=")

    @faulty
    async def list_parts(self, key: str, upload_id: str) -> tuple[Part, ...]:
        """As the port says."""
        parts = self._known(key, upload_id).parts
        return tuple(Part(number, _etag(parts[number]), self.claimed[upload_id, number]) for number in sorted(parts))

    @faulty
    async def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """As the port says."""
        begun = self._known(key, upload_id)
        if any(_etag(begun.parts.get(part.number, b"")) != part.etag for part in parts):
            raise InvalidRequestError("parts: one was not uploaded, or has another ETag.")
        body = b"".join(begun.parts[part.number] for part in parts)
        self.store.upload(key, body, content_type=begun.content_type, metadata=begun.metadata)
        del self.begun[upload_id]
        return await self.address(key)

    async def address(self, key: str) -> str:
        """As the port says."""
        return f"https://{self.store.bucket}.s3.eu-west-1.amazonaws.test/{quote(key)}"

    @faulty
    async def abort(self, key: str, upload_id: str) -> None:
        """As the port says."""
        if upload_id in self.begun and self.begun[upload_id].key == key:
            del self.begun[upload_id]

    @faulty
    async def sign_form(self, key: str, *, content_type: str, max_bytes: int, metadata: Mapping[str, str]) -> PresignedForm:
        """As the port says; the policy is but the length."""
        fields = {"key": key, "success_action_status": "201", "content-type": content_type, "policy": f"1..{max_bytes}"}
        fields |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        url = f"https://{self.store.bucket}.s3.eu-west-1.amazonaws.test/"
        return PresignedForm(url, fields, self.now() + timedelta(seconds=self._expires_s))

    def _known(self, key: str, upload_id: str) -> _Begun:
        begun = self.begun.get(upload_id)
        if begun is None or begun.key != key:
            raise NotFoundError("There is no such upload.")
        return begun

    def _signed(self, method: str, key: str, query: str) -> PresignedRequest:
        url = f"https://{self.store.bucket}.s3.eu-west-1.amazonaws.test/{quote(key)}?{query}&{SIGNED}"
        return PresignedRequest(method, url, {}, self.now() + timedelta(seconds=self._expires_s))


def _etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
