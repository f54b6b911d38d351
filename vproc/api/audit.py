"""The audit: one line for each request that may change something, however it was answered. A route names its action; nothing of
what was sent or answered is in the line, so no key, token or signature can be."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

import structlog
from aiohttp import web

from vproc.api.parts import AUDITED_FILE, CALLER
from vproc.ports import Caller

_CLIENT_CLOSED = 499

log = structlog.stdlib.get_logger("vproc.audit")


def write_audit(request: web.Request, action: str, status: int) -> None:
    """Tell who did what to which file, from where, and what came of it. Every field is always there, null where unknown."""
    caller: Caller | None = request.get(CALLER)
    log.info(
        "audit",
        action=action,
        result=_result(status),
        status=status,
        owner=caller.owner if caller else None,
        admin=caller.admin if caller else None,
        key_id=caller.key_id if caller else None,
        by=_by(caller),
        file_id=file_of(request),
        peer=peer_of(request),
    )


def peer_of(request: web.Request) -> str | None:
    """The address at the other end of the socket. No header is believed: anybody may send one."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) and name else None


def _by(caller: Caller | None) -> str | None:
    if caller is None:
        return None
    if caller.by_cookie:
        return "session"
    if caller.key_id:
        return "key"
    return "open" if caller.expires_at is None else "token"


def file_of(request: web.Request) -> str | None:
    """The file that the handler named, or the path; only where that is an id at all."""
    file_id = request.get(AUDITED_FILE)
    if file_id is not None:
        return str(file_id)
    try:
        return str(UUID(request.match_info.get("file_id", "")))
    except ValueError:
        return None


def _result(status: int) -> str:
    if status < HTTPStatus.BAD_REQUEST:
        return "done"
    if status == _CLIENT_CLOSED:
        return "unknown"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"
