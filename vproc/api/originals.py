"""A file's original in the raw bucket: which object is the file's own, and which only stands under the same key."""

from __future__ import annotations

from vproc.core.files import File, ObjectVersion
from vproc.core.keys import file_id_in_key
from vproc.ports import ObjectStore


async def standing_original(raw: ObjectStore, file: File) -> ObjectVersion | None:
    """What a reader of the key gets now, where that is the file's original; None where it is gone or another's."""
    version = await raw.head(file.key)
    return version if version is not None and _is_original(version, file) else None


async def remove_original(raw: ObjectStore, file: File) -> None:
    """Delete the original where it stands; an object of a later upload is left alone."""
    version = await raw.head(file.key, version_id=None if _own_key(file) else file.version_id)
    if version is not None and _is_original(version, file):
        await raw.delete(version)


def _is_original(version: ObjectVersion, file: File) -> bool:
    return _own_key(file) or version.etag == file.etag


def _own_key(file: File) -> bool:
    """Whether the API made the key: then all that stands there is this file's. Elsewhere another upload is another file."""
    return file_id_in_key(file.key) == file.file_id
