"""Who asks, and whose file it is: the one place where a file is looked up for a caller."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from vproc.api.parts import CALLER, parts_of
from vproc.core.files import DEFAULT_OWNER, File
from vproc.errors import NotFoundError
from vproc.ports import Caller


class OpenIdentity:
    """``VPROC_AUTH=none``: everybody is the default owner and sees every file."""

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:  # noqa: ARG002 - the port's
        """The default owner, whoever asks."""
        return Caller(DEFAULT_OWNER, admin=True)


def caller_of(request: web.Request) -> Caller:
    """Who asks; only on a route that needs an identity."""
    return request[CALLER]


def may_see(caller: Caller, file: File) -> bool:
    """A file shows to its owner and to an admin."""
    return caller.admin or file.owner == caller.owner


async def own_file(request: web.Request) -> File:
    """The file that the path names. One `NotFoundError` for an id that is none, a file that is not, and another's."""
    file_id = _uuid_or_none(request.match_info["file_id"])
    file = await parts_of(request).catalog.get(file_id) if file_id is not None else None
    if file is None or not may_see(caller_of(request), file):
        raise NotFoundError("There is no such file.")
    return file


def _uuid_or_none(text: str) -> UUID | None:
    """Only the canonical form: braces, ``urn:`` and missing hyphens would give one file several addresses."""
    try:
        file_id = UUID(text)
    except ValueError:
        return None
    return file_id if str(file_id) == text.lower() else None
