"""The token in an address of playback: it names one file and its end, and is signed, so that nobody makes one of his own.

It is in an address, where it may be seen by whoever sees the address: so it opens one file for some hours, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID

SECRET_BYTES = 32
_MAC_BYTES = 16
_TOKEN_BYTES = 16 + 4 + _MAC_BYTES
_TOKEN_CHARACTERS = _TOKEN_BYTES * 4 // 3
_PURPOSE = b"vproc play 1"


def make_play_token(file_id: UUID, expires_at: datetime, secret: bytes) -> str:
    """A token of 48 characters; its end is kept to the second."""
    told = file_id.bytes + struct.pack(">I", int(expires_at.timestamp()))
    return urlsafe_b64encode(told + _mac(told, secret)).decode()


def read_play_token(token: str, secret: bytes, *, now: datetime) -> UUID | None:
    """The file that it opens; None for what is no token, another's, or at its end."""
    if len(token) != _TOKEN_CHARACTERS or not token.isascii():
        return None
    try:
        raw = urlsafe_b64decode(token)
    except ValueError:
        return None
    if len(raw) != _TOKEN_BYTES:
        return None
    told, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(told, secret)):
        return None
    ends = datetime.fromtimestamp(struct.unpack(">I", told[16:])[0], UTC)
    return UUID(bytes=told[:16]) if now < ends else None


def _mac(told: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, _PURPOSE + told, hashlib.sha256).digest()[:_MAC_BYTES]
