"""Uploads in parts and by form: what is signed for a client, and what the store is asked for. Adapter: `aws.multipart`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from vproc.ports.store import PresignedRequest


@dataclass(frozen=True, slots=True)
class Part:
    """One part that the store has. ``etag`` is without quotes; ``size_bytes`` is None where a client names it."""

    number: int
    etag: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PresignedForm:
    """A form that anybody may post until ``expires_at`` (aware UTC): every field as it is, the file last."""

    url: str
    fields: dict[str, str]
    expires_at: datetime


class PartsCall(StrEnum):
    """What a client that speaks to the store by itself may have signed, beside its parts."""

    CREATE = "create"
    LIST = "list"
    COMPLETE = "complete"
    ABORT = "abort"


class MultipartUploads(Protocol):
    """Uploads in parts to the raw bucket. A (key, upload id) that the store does not know raises `NotFoundError`."""

    async def create(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> str:
        """Begin one; its upload id."""
        ...

    async def sign_part(self, key: str, upload_id: str, number: int) -> PresignedRequest:
        """Address of one part, 1 to 10,000. It makes no request."""
        ...

    async def sign_call(self, call: PartsCall, key: str, upload_id: str | None = None) -> PresignedRequest:
        """Address of one of the other calls; all but the first name the upload. It makes no request."""
        ...

    async def list_parts(self, key: str, upload_id: str) -> tuple[Part, ...]:
        """Every part that stands, all pages, by number."""
        ...

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """Join those parts; the object's address. Raises `InvalidRequestError` for parts that the store does not take."""
        ...

    async def address(self, key: str) -> str:
        """The object's address, unsigned: a name for it, not a way to it. It makes no request."""
        ...

    async def abort(self, key: str, upload_id: str) -> None:
        """Give it up. One that is gone already is no error."""
        ...

    async def sign_form(self, key: str, *, content_type: str, max_bytes: int, metadata: Mapping[str, str]) -> PresignedForm:
        """A form for one object of 1 to ``max_bytes`` bytes: every field is a condition of its policy. It makes no request."""
        ...
