"""Queue, bucket and presigner in memory: small true implementations of the ports.

Time is a callable, so that a `ManualClock` passes a visibility timeout without waiting for it. `Faults`, which all share,
fails or holds their next calls. No network here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from tests.support.faults import Faults, ManualClock, Pause, faulty
from tests.support.memory_queue import DeadLetter, MemoryQueue
from tests.support.memory_store import MemoryStore, MemoryStoreOptions, s3_event
from vproc.ports import PresignedRequest

__all__ = [
    "SIGNATURE",
    "DeadLetter",
    "Faults",
    "ManualClock",
    "MemoryPresigner",
    "MemoryQueue",
    "MemoryStore",
    "MemoryStoreOptions",
    "Pause",
    "s3_event",
]

SIGNATURE = "5ec7e7516na7u7e"
"""Stands in every address that `MemoryPresigner` makes: a test may look for it where it must not be."""


class MemoryPresigner(Faults):
    """Addresses that look signed. ``now`` gives aware UTC."""

    def __init__(
        self,
        *,
        raw_bucket: str = "raw",
        processed_bucket: str = "processed",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        expires_s: int = 900,
    ) -> None:
        super().__init__()
        self._raw_bucket = raw_bucket
        self._processed_bucket = processed_bucket
        self._now = now
        self._expires_s = expires_s

    @faulty
    async def put(self, key: str, *, content_type: str, size_bytes: int | None, metadata: Mapping[str, str]) -> PresignedRequest:
        """As the port says. A length is signed, but no client sets that header by hand."""
        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        headers.update({f"x-amz-meta-{name}": value for name, value in metadata.items()})
        return self._signed("PUT", self._raw_bucket, key, headers)

    @faulty
    async def get_raw(self, key: str, *, file_name: str) -> PresignedRequest:
        """As the port says."""
        return self._signed("GET", self._raw_bucket, key, {}, file_name=file_name)

    @faulty
    async def get_processed(self, key: str, *, file_name: str | None = None) -> PresignedRequest:
        """As the port says."""
        return self._signed("GET", self._processed_bucket, key, {}, file_name=file_name)

    def _signed(
        self, method: str, bucket: str, key: str, headers: dict[str, str], *, file_name: str | None = None
    ) -> PresignedRequest:
        query = f"X-Amz-Expires={self._expires_s}&X-Amz-Signature={SIGNATURE}"
        if file_name is not None:
            query += f"&response-content-disposition={quote(f'attachment; filename={file_name}', safe='')}"
        url = f"https://{bucket}.s3.eu-west-1.amazonaws.test/{quote(key)}?{query}"
        return PresignedRequest(method, url, headers, self._now() + timedelta(seconds=self._expires_s))
