"""API keys and sessions as values: how a key looks, what is kept of it, and what it allows. Nothing here reads a database.

A key is ``vproc_{id}_{secret}``. The catalog keeps the id and the SHA-256 of the secret: 256 random bits need no slow hash, and a
reader of the database learns nothing that opens a door. The prefix is for scanners of leaked secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

KEY_PREFIX = "vproc_"
_KEY = re.compile(rf"{KEY_PREFIX}(?P<id>[a-z2-7]{{13}})_(?P<secret>[A-Za-z0-9_-]{{43}})", re.ASCII)
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
KEY_BYTES = 8 + 32
MOST_OWNER_CHARACTERS = 255
"""Of an owner, which may be the subject of an OpenID Connect token (Core, section 2)."""
MOST_OWNER_BYTES = 900
"""Of an owner as part of a storage key, where each character may take up to twelve; the whole key takes 1024."""


class Scope(StrEnum):
    """What a key allows beyond asking who it is."""

    FILES = "files"
    """Its owner's own files."""
    ADMIN = "admin"
    """Every owner's files."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of ``api_keys``. ``digest`` is of the secret. A revoked one stays, so that the audit knows it."""

    key_id: str
    owner: str
    scopes: frozenset[Scope]
    digest: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. ``token`` is shown once, to whoever asked for it, and kept nowhere."""

    token: str
    key_id: str
    digest: str


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session: the cookie's value is kept as ``digest`` only. ``key_id`` is the key that it was traded for."""

    digest: str
    owner: str
    scopes: frozenset[Scope]
    key_id: str | None
    expires_at: datetime


def make_key(chance: bytes) -> NewKey:
    """A key out of `KEY_BYTES` random bytes, of which nobody knows yet."""
    if len(chance) != KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} bytes, not of {len(chance)}")
    key_id, secret = b32encode(chance[:8]).decode().rstrip("=").lower(), _text(chance[8:])
    return NewKey(f"vproc_{key_id}_{secret}", key_id, digest_of(secret))


def read_key(token: str) -> tuple[str, str] | None:
    """Id and digest of what may be a key; None for what cannot be one."""
    match = _KEY.fullmatch(token)
    return (match["id"], digest_of(match["secret"])) if match else None


def session_token(chance: bytes) -> str:
    """The value of a new session's cookie, out of 32 random bytes."""
    return _text(chance)


def read_session_token(value: str) -> str | None:
    """The digest of what may be a session's cookie; None for what cannot be one."""
    return digest_of(value) if _SESSION.fullmatch(value) else None


def _text(chance: bytes) -> str:
    return urlsafe_b64encode(chance).decode().rstrip("=")


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one, other)


def checked_owner(owner: str) -> str:
    """An owner that may own files. Raises `ValueError` that says what one takes."""
    if not owner or len(owner) > MOST_OWNER_CHARACTERS or not owner.isprintable() or owner != owner.strip():
        raise ValueError(f"an owner takes 1 to {MOST_OWNER_CHARACTERS} printable characters, no space at either end")
    if len(quote(owner, safe="")) > MOST_OWNER_BYTES:
        raise ValueError(f"an owner takes {MOST_OWNER_BYTES} bytes where it is percent-encoded")
    return owner


def scopes_of(names: Collection[str]) -> frozenset[Scope]:
    """Scopes by their names; `Scope.FILES` where none is named. Raises `ValueError` for an unknown one."""
    return frozenset(Scope(name) for name in names) or frozenset({Scope.FILES})
