"""The events stream: every change, its end, and how it ends otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import aiohttp
import anyio
import pytest
from anyio.abc import SocketStream

from tests.support.api import RunningApi, TokenIdentity, running_api
from tests.support.catalog import CORRUPT, CRASHED, FIGURES, completion
from vproc.core.files import Outcome, Stage, Status
from vproc.errors import UnauthenticatedError, UnavailableError, VprocError
from vproc.ports import Caller


class Event(NamedTuple):
    """One event as a browser would see it."""

    name: str
    id: int
    data: Any


class Stream:
    """A stream that is being read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Event | None:
        """The next event; None when the stream ended."""
        fields: dict[str, str] = {}
        with anyio.fail_after(20):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\r\n")
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif not line and fields:
                    return Event(fields["event"], int(fields["id"]), json.loads(fields["data"]))
        return None

    async def rest(self) -> list[Event]:
        """All events to the end."""
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


@asynccontextmanager
async def opened(api: RunningApi, file_id: UUID, **headers: str) -> AsyncIterator[Stream]:
    async with api.session.get(f"{api.url}/upload/{file_id}/events", headers=headers) as response:
        assert response.status == 200, await response.text()
        yield Stream(response)


def told(event: Event | None) -> tuple[Any, ...]:
    """Name, status, stage and progress of an event."""
    assert event is not None
    return event.name, event.data["processing_status"], event.data["stage"], event.data["progress"]


async def test_every_change_is_told_from_the_state_now_to_the_end(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            assert stream.response.headers["Content-Type"] == "text/event-stream"
            assert stream.response.headers["Cache-Control"] == "no-cache"
            assert stream.response.headers["X-Content-Type-Options"] == "nosniff"
            seen = [first := await stream.next()]
            lease = await api.given.leased(file.file_id)
            seen.append(await stream.next())
            for progress, stage in ((0.5, Stage.ENCODE), (0.5, Stage.VERIFY), (0.9, Stage.VERIFY)):
                await api.catalog.report(lease, progress=progress, stage=stage)
                seen.append(await stream.next())
            await api.catalog.complete(lease, completion(lease.run_id), FIGURES)
            last, *end = await stream.rest()
        assert first is not None
        status = await api.status(file.file_id)
    assert [told(event)[1:] for event in seen] == [
        ("pending", None, 0.0),
        ("processing", None, 0.0),
        ("processing", "encode", 0.5),
        ("processing", "verify", 0.5),
        ("processing", "verify", 0.9),
    ]
    assert told(last)[:2] == ("status", "completed")
    assert last.data == status, "an event holds the very status"
    assert [event.name for event in end] == ["end"]
    ids = [event.id for event in (*seen, last, *end) if event is not None]
    assert ids == list(range(1, 8))


@pytest.mark.parametrize("status", [status for status in Status if status.terminal])
async def test_a_finished_file_is_told_at_once_and_ends(tmp_path: Path, status: Status) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.in_status(status)
        async with opened(api, file.file_id) as stream:
            events = await stream.rest()
    assert [event.name for event in events] == ["status", "end"]
    assert events[0].data["processing_status"] == status


async def test_a_heartbeat_that_changes_nothing_is_not_told(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        lease = await api.given.leased()
        async with opened(api, lease.file_id) as stream:
            await stream.next()
            await api.catalog.renew(lease, ttl_s=60)
            await api.catalog.report(lease, progress=0.0, stage=Stage.DOWNLOAD)
            await api.catalog.renew(lease, ttl_s=60)
            await api.catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES)
            events = await stream.rest()
    # The stage may be told or be overtaken by the failure; a renewal is never told.
    assert [event.name for event in events][-2:] == ["status", "end"]
    assert events[-2].data["error"]["code"] == "corrupt_media"
    bodies = [{**event.data, "updated_at": None} for event in events[:-1]]
    assert all(before != after for before, after in pairwise(bodies))


async def test_an_error_that_leaves_the_file_waiting_is_a_change(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        lease = await api.given.leased()
        async with opened(api, lease.file_id) as stream:
            await stream.next()
            await api.catalog.release(lease, Outcome.RETRIED, FIGURES, error=CRASHED, count_attempt=True)
            event = await stream.next()
    assert told(event)[:2] == ("status", "uploaded")
    assert event is not None
    assert event.data["error"]["code"] == "encoder_failed"


async def test_a_change_by_another_process_is_seen(tmp_path: Path) -> None:
    """No word reaches this process: it looks again by itself."""
    async with running_api(tmp_path) as api, running_other(tmp_path) as other:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            await stream.next()
            await other.catalog.request_cancel(file.file_id)
            events = await stream.rest()
    assert [event.name for event in events] == ["status", "end"]
    assert events[0].data["processing_status"] == "cancelled"


def running_other(folder: Path) -> Any:
    """A second API over the same database."""
    return running_api(folder)


async def test_a_deleted_file_ends_its_stream(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            await stream.next()
            assert (await api.ask("DELETE", f"/upload/{file.file_id}")).status == 204
            assert [event.name for event in await stream.rest()] == ["end"]


async def test_a_drain_breaks_the_stream_off_without_an_end(tmp_path: Path) -> None:
    """The client is to ask again: `end` would tell it that there is no more."""
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            await stream.next()
            api.draining.set()
            assert await stream.rest() == []
        async with opened(api, file.file_id) as stream:
            assert [event.name for event in await stream.rest()] == ["status"], "told how it stands, and let go"


async def test_closing_the_server_ends_streams_at_once(tmp_path: Path) -> None:
    """Long before the shutdown timeout, which no outer timeout could cut short."""
    async with aiohttp.ClientSession() as session:
        async with running_api(tmp_path, shutdown_timeout_s=60) as api:
            file = await api.given.pending()
            response = await session.get(f"{api.url}/upload/{file.file_id}/events")
            stream = Stream(response)
            await stream.next()
            begun = anyio.current_time()
        assert anyio.current_time() - begun < 30
        assert await stream.rest() == []
        response.close()


async def test_a_reader_that_hangs_up_ends_its_handler(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            await stream.next()
            stream.response.close()
        with anyio.fail_after(20):
            await api.until("vproc_http_requests_total", route="/upload/{file_id}/events", method="GET", status="499")
        assert api.catalog._hub._waiting == {}, "nobody waits for that file any more"


async def test_a_reader_that_vanishes_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        socket: SocketStream = await anyio.connect_tcp("127.0.0.1", api.port)
        async with socket:
            await socket.send(f"GET /upload/{file.file_id}/events HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert b"200 OK" in await socket.receive()
        with anyio.fail_after(20):
            await api.until("vproc_http_requests_total", route="/upload/{file_id}/events", method="GET", status="499")
        assert (await api.status(file.file_id))["processing_status"] == "pending"


async def test_a_catalog_that_is_away_for_a_moment_does_not_end_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            await stream.next()
            asked = anyio.Event()
            true_get = api.catalog.get

            async def away(_: UUID) -> None:
                asked.set()
                monkeypatch.setattr(api.catalog, "get", true_get)
                raise UnavailableError("the database is away")

            monkeypatch.setattr(api.catalog, "get", away)
            await api.catalog.request_cancel(file.file_id)
            with anyio.fail_after(20):
                await asked.wait()
            events = await stream.rest()
    assert [event.name for event in events] == ["status", "end"]


async def test_what_breaks_in_the_middle_is_logged_and_ends_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.pending()
        async with opened(api, file.file_id) as stream:
            await stream.next()

            async def broken(_: UUID) -> None:
                raise KeyError("a bug")

            monkeypatch.setattr(api.catalog, "get", broken)
            await api.catalog.request_cancel(file.file_id)
            assert await stream.rest() == []
    assert capsys.readouterr().out.count("request_failed") == 1


@pytest.mark.parametrize(
    ("last", "first"), [("41", 42), ("0", 1), ("", 1), ("-5", 1), ("x", 1), ("²", 1), ("9" * 40, 1), ("9" * 15, 10**15)]
)
async def test_numbers_go_on_from_the_last_one_seen(tmp_path: Path, last: str, first: int) -> None:
    async with running_api(tmp_path) as api:
        file = await api.given.in_status(Status.CANCELLED)
        async with opened(api, file.file_id, **{"Last-Event-ID": last}) as stream:
            events = await stream.rest()
    assert [event.id for event in events] == [first, first + 1]


async def test_a_stream_needs_an_identity_and_has_no_head(tmp_path: Path) -> None:
    async with running_api(tmp_path, identity=TokenIdentity()) as api:
        file = await api.given.pending(owner="ann")
        path = f"/upload/{file.file_id}/events"
        assert (await api.get(path)).status == 401
        assert (await api.ask("HEAD", path)).status == 405
        async with opened(api, file.file_id, Authorization="Bearer ann") as stream:
            assert told(await stream.next())[1] == "pending"


class Revocable(TokenIdentity):
    """Callers until they are revoked, and trouble while there is some."""

    def __init__(self) -> None:
        self.trouble: list[VprocError] = []
        self.revoked = False
        self.asked = anyio.Event()

    async def identify(self, authorization: str | None, cookies: Mapping[str, str]) -> Caller:
        if self.trouble:
            raise self.trouble.pop()
        if self.revoked:
            self.asked.set()
            raise UnauthenticatedError("This API key does not hold.")
        return await super().identify(authorization, cookies)


async def test_a_stream_ends_with_what_identified_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``end``, and not because what knows its reader is away for a moment."""
    monkeypatch.setattr("vproc.api.events.IDENTIFY_AGAIN_S", 0.0)
    identity = Revocable()
    async with running_api(tmp_path, identity=identity) as api:
        file = await api.given.pending(owner="ann")
        async with opened(api, file.file_id, Authorization="Bearer ann") as stream:
            assert told(await stream.next())[1] == "pending"
            identity.trouble.append(UnavailableError("the catalog is away"))
            await api.given.leased(file.file_id)
            assert told(await stream.next())[1] == "processing"
            identity.revoked = True
            assert "end" not in [event.name for event in await stream.rest()]
        assert identity.asked.is_set()
        assert (await api.get(f"/upload/{file.file_id}/events", headers={"Authorization": "Bearer ann"})).status == 401


async def test_a_reader_is_not_asked_for_at_each_look(tmp_path: Path) -> None:
    identity = Revocable()
    async with running_api(tmp_path, identity=identity) as api:
        file = await api.given.pending(owner="ann")
        async with opened(api, file.file_id, Authorization="Bearer ann") as stream:
            await stream.next()
            identity.revoked = True
            await api.catalog.request_cancel(file.file_id)
            assert [event.name for event in await stream.rest()] == ["status", "end"]
        assert not identity.asked.is_set()
