"""Server-sent events of one file: each change of status, stage or progress, to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter
from uuid import UUID

import anyio
import structlog
from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from vproc.api.access import caller_of, may_see, own_file
from vproc.api.models import FileStatus, StreamedEvent
from vproc.api.parts import ANSWERED_AT, STREAM, Parts, parts_of
from vproc.api.route import EVENT_STREAM, Access, Answer, Header, Route
from vproc.core.files import File
from vproc.errors import UnauthenticatedError, UnavailableError, VprocError
from vproc.ports import Caller
from vproc.tasks import task_group

LOOK_AGAIN_S = 1.0
"""How late a change made by another process is seen."""
IDENTIFY_AGAIN_S = 30.0
"""How late a revoked key, an expired token or an ended session ends a stream, besides what an identity is believed for."""
PING_INTERVAL_S = 15.0
SEND_TIMEOUT_S = 20.0
_RECONNECT_AFTER_MS = 2000
_LARGEST_ID_DIGITS = 15
_LAST_EVENT_ID = EventSourceResponse.DEFAULT_LAST_EVENT_HEADER

log = structlog.stdlib.get_logger(__name__)


async def events(request: web.Request) -> web.StreamResponse:
    """Stream a file's changes. Without ``end`` the stream broke off: the client asks again and is told all that counts."""
    file = await own_file(request)
    number = _number_of(request.headers.get(_LAST_EVENT_ID))
    response = EventSourceResponse(ping_interval=PING_INTERVAL_S, send_timeout=SEND_TIMEOUT_S)
    await response.prepare(request)
    request[STREAM] = response
    request[ANSWERED_AT] = perf_counter()
    try:
        async with response:
            await _follow(request, file, Sender(response, number))
    except (ConnectionError, TimeoutError):
        log.debug("events_reader_gone", file_id=str(file.file_id))
    return response


class Sender:
    """Sends events with numbers that rise, going on from the last one that the client saw."""

    def __init__(self, response: EventSourceResponse, number: int) -> None:
        self._response = response
        self._number = number

    async def send(self, name: str, data: str) -> None:
        """Send one event; `ConnectionError` or `TimeoutError` when the client is gone."""
        self._number += 1
        await self._response.send(data, id=str(self._number), event=name, retry=_RECONNECT_AFTER_MS)


class Reader:
    """Who reads, found out again every half a minute by what the request came with. None: nobody who may by now."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._caller = caller_of(request)
        self._due = monotonic() + IDENTIFY_AGAIN_S

    async def caller(self) -> Caller | None:
        """The caller. While what knows them is away, whoever they were last."""
        if monotonic() < self._due:
            return self._caller
        request = self._request
        try:
            identity = parts_of(request).identity
            self._caller = await identity.identify(request.headers.get(hdrs.AUTHORIZATION), request.cookies)
        except UnauthenticatedError:
            return None
        except VprocError as error:
            log.info("events_reader_not_identified", error=str(error))
        self._due = monotonic() + IDENTIFY_AGAIN_S
        return self._caller


async def _follow(request: web.Request, file: File, sender: Sender) -> None:
    """Send the file as it is, and again at each change, until it is terminal, deleted, its reader's identity has ended, or the
    process stops."""
    parts, reader = parts_of(request), Reader(request)
    told: FileStatus | None = None
    found: File | None = file
    while found is not None:
        if (caller := await reader.caller()) is None:
            return  # without ``end``: who asks again is told why
        if not may_see(caller, found):
            break
        status = FileStatus.of(found)
        if told is None or _changed(told, status):
            await sender.send("status", status.model_dump_json())
            told = status
        if found.status.terminal:
            break
        if parts.draining.is_set():
            return
        found = await _look_again(parts, file.file_id, found)
    await sender.send("end", "{}")


def _changed(told: FileStatus, status: FileStatus) -> bool:
    return told.model_copy(update={"updated_at": status.updated_at}) != status


async def _look_again(parts: Parts, file_id: UUID, last: File) -> File | None:
    """The file after a change, a moment, or the drain; as it was last while the catalog is away."""
    await _first_of(lambda: parts.catalog.changed(file_id, within_s=LOOK_AGAIN_S), parts.draining.wait)
    try:
        return await parts.catalog.get(file_id)
    except UnavailableError:
        with anyio.move_on_after(LOOK_AGAIN_S):
            await parts.draining.wait()
        return last


async def _first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    async with task_group() as tasks:

        async def ends_all(wait: Callable[[], Awaitable[object]]) -> None:
            await wait()
            tasks.cancel_scope.cancel()

        for wait in waits:
            tasks.start_soon(ends_all, wait)


def _number_of(last_event_id: str | None) -> int:
    """The number to go on from; 0 for an id that is none of ours."""
    if last_event_id is None or not last_event_id.isascii() or not last_event_id.isdigit():
        return 0
    return int(last_event_id) if len(last_event_id) <= _LARGEST_ID_DIGITS else 0


ROUTES = (
    Route(
        method="GET",
        path="/upload/{file_id}/events",
        handler=events,
        access=Access.IDENTITY,
        summary="A file's changes as they happen",
        description=(
            "Server-sent events: `status` holds the same JSON as GET /upload/{file_id}/status, at once and at each change; "
            "`end` follows the last one. A stream that ends without it broke off: ask again. Who asks is found out again every "
            "half a minute: a stream ends with its key, token or session."
        ),
        answers=(Answer(200, "A stream of events", StreamedEvent, media_types=(EVENT_STREAM,)),),
        headers=(Header(_LAST_EVENT_ID, "The id of the last event that was seen: ids go on from it."),),
        problems=(404, 503),
        streams=True,
    ),
)
