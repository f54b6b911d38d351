"""Names of objects in both buckets, and the identity of a file. Nothing here reads a bucket."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import quote, unquote
from uuid import UUID, uuid5

from vproc.core.files import ObjectVersion

UPLOAD_PREFIX = "videos/"
ALLOWED_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".3gp", ".flv", ".wmv", ".mxf", ".ogv",
)  # fmt: skip
MANIFEST_NAME = "manifest.json"
ENTRY_POINTS = ("master.m3u8", "manifest.mpd", "poster.jpg", "sprite.vtt", "chapters.vtt", "metadata.json")

# UUID5 namespace of objects that were put in the raw bucket without the API. Changing it would process every
# such object again.
_OBJECT_NAMESPACE = UUID("6f0d6a3e-5a0b-4c86-9a0f-2d1f6b1f5c11")
_UPLOAD_KEY = re.compile(r"videos/(?P<owner>[^/]+)/(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?P<suffix>\.[a-z0-9]+)?")


def upload_key(owner: str, file_id: UUID, file_name: str) -> str:
    """``videos/{owner}/{file_id}{.ext}``; the owner percent-encoded, the suffix lower-cased. No other part of the name enters."""
    suffix = PurePosixPath(file_name).suffix.lower()
    part = quote(owner, safe="")
    if part in {".", ".."}:  # steps in a path, which clients take before they send it
        part = part.replace(".", "%2E")
    return f"{UPLOAD_PREFIX}{part}/{file_id}{suffix}"


def file_id_in_key(key: str) -> UUID | None:
    """The id in a key that `upload_key` made; None for any other key."""
    match = _UPLOAD_KEY.fullmatch(key)
    return UUID(match["id"]) if match else None


def owner_in_key(key: str) -> str | None:
    """The owner in a key that `upload_key` made; None for any other key."""
    match = _UPLOAD_KEY.fullmatch(key)
    return unquote(match["owner"]) if match else None


def file_id_of_object(version: ObjectVersion, profile: str) -> UUID:
    """The identity of an object that no API call announced: one object version and one profile give one id, for ever."""
    return uuid5(_OBJECT_NAMESPACE, f"{version.bucket}\n{version.key}\n{version.identity}\n{profile}")


def file_prefix(file_id: UUID) -> str:
    """All outputs of a file: ``{file_id}/``."""
    return f"{file_id}/"


def run_prefix(file_id: UUID, run_id: str) -> str:
    """The media of one run: ``{file_id}/{run}/``."""
    return f"{file_id}/{run_id}/"


def manifest_key(file_id: UUID) -> str:
    """The commit of a file: ``{file_id}/manifest.json``."""
    return f"{file_id}/{MANIFEST_NAME}"
