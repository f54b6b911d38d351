"""The header ``Idempotency-Key`` as a value: the same key and the same request make one upload, however often they are sent.
Keys are an owner's own, and are kept for a day (draft-ietf-httpapi-idempotency-key-header-07)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from vproc.core.files import File

KEPT_S = 24 * 3600.0
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
TAKES = "Idempotency-Key: takes 1 to 255 printable ASCII characters."


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key, and the SHA-256 of the request that came with it."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Announced:
    """A file that was announced: now, or ``replayed``: by the same request before."""

    file: File
    replayed: bool = False


def idempotency_key(value: str, *, path: str, body: bytes) -> IdempotencyKey:
    """The key of a request. Raises `ValueError` that says what the header takes."""
    if not _KEY.fullmatch(value) or not value.strip():
        raise ValueError(TAKES)
    return IdempotencyKey(value, hashlib.sha256(path.encode() + b"\0" + body).hexdigest())
