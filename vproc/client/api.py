"""`ApiClient`: a call of the HTTP API each, the events of a file as an iterator, and whole downloads."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import aiohttp
import anyio

from vproc.client.errors import AddressRefusedError, ApiError, ApiUnreachableError
from vproc.client.events import event_data
from vproc.client.local import safe_path, stat_upload
from vproc.client.patience import Patience, read_retry_after
from vproc.client.transfer import Transfers, proxy_for
from vproc.client.unreachable import checked_address, unreachable
from vproc.client.values import FileList, FileStatus, Output, Upload
from vproc.tasks import task_group

DEFAULT_API_URL = "http://127.0.0.1:8080"

_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10, sock_read=30)
# The server pings more often than this, so a stream that is silent for longer is a dead one.
_EVENTS_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_RETRY_DELAYS_S = (0.5, 2.0)
# A daemon that is started anew is back well within these.
_FOLLOW_DELAYS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
_PAGE_LIMIT = 100
_PARALLEL_DOWNLOADS = 4
_ERROR, _UNAUTHORIZED, _FORBIDDEN, _CONFLICT = 400, 401, 403, 409
# What stands before a daemon answers so for it: the address is right.
_FOREIGN = dict.fromkeys((502, 503, 504), ": the proxy there gets no answer from the daemon. Try again in a moment")
# Made twice, these do what they do once (RFC 9110, section 9.2.2). A POST is only with an Idempotency-Key.
_REPEATABLE = frozenset({"GET", "PUT", "DELETE"})
_IDEMPOTENCY_KEY = "Idempotency-Key"


class ApiClient:
    """A session with one API: ``async with ApiClient(url) as client``. Every call may raise `ApiError`, and so
    does an address that is none.

    ``retry_delays_s``: the pauses between the tries of an upload or a download. ``follow_delays_s``: those between
    tries to get the events back (one at least); when all were used up without a word, `follow` raises.

    A request that is refused for now (429, 503) is made again when the answer says so, within a minute in all; ``on_wait`` hears
    of each such pause as a sentence. A POST is made again only after a 429, or under an Idempotency-Key.
    """

    def __init__(
        self,
        api_url: str = DEFAULT_API_URL,
        *,
        api_key: str | None = None,
        retry_delays_s: Sequence[float] = _RETRY_DELAYS_S,
        follow_delays_s: Sequence[float] = _FOLLOW_DELAYS_S,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.api_url = checked_address(api_url)
        api_key = (api_key or "").strip()
        if not api_key.isprintable():
            raise ApiError("the API key holds a line break or another character that none has: set --api-key or VPROC_API_KEY")
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._retry_delays_s = tuple(retry_delays_s)
        self._follow_delays_s = tuple(follow_delays_s)
        self._on_wait = on_wait
        self._answered = False
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._opened = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        session, self._opened = self._opened, None
        if session is not None:
            with anyio.CancelScope(shield=True):
                await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session; the store is asked through it as well."""
        if self._opened is None:
            raise RuntimeError("ApiClient is used outside its `async with`")
        return self._opened

    @property
    def answered(self) -> bool:
        """Whether anything has answered here yet. Before that a wrong address is likelier than a network that comes back."""
        return self._answered

    @property
    def _transfers(self) -> Transfers:
        return Transfers(self.session, self._retry_delays_s)

    async def create_upload(
        self,
        path: Path,
        *,
        profile: str | None = None,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        callback_url: str | None = None,
    ) -> Upload:
        """Announce a local file and get the address that takes it, up to 5 GiB; `upload_in_parts` takes any size."""
        size_bytes = (await stat_upload(path)).st_size
        optional = {"profile": profile, "content_type": content_type, "metadata": metadata, "callback_url": callback_url}
        body = {"file_name": path.name, "size": size_bytes, **{name: value for name, value in optional.items() if value}}
        answer = await self._announced(body)
        with as_promised(self.api_url):
            return Upload(
                file_id=UUID(answer["file_id"]),
                s3_key=answer["s3_key"],
                url=answer["upload_url"],
                method=answer["method"],
                headers=answer["headers"],
                expires_at=answer["expires_at"],
                size_bytes=size_bytes,
            )

    async def _announced(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Announce, and once more after each pause where no answer came: under one key that is one file."""
        key = {_IDEMPOTENCY_KEY: uuid4().hex}
        for delay_s in self._retry_delays_s:
            try:
                return await self._call("POST", "/upload", body=body, headers=key)
            except ApiError as error:
                # 409: the try whose answer was lost is still being answered.
                if not isinstance(error, ApiUnreachableError) and error.status != _CONFLICT:
                    raise
                await anyio.sleep(delay_s)
        return await self._call("POST", "/upload", body=body, headers=key)

    async def put(self, upload: Upload, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
        """Send the file to its address, trying again where the network or the store failed. Raises `StoreError`.

        ``on_bytes`` hears how many bytes are sent so far; it falls back to 0 when a try starts anew.
        """
        await self._transfers.put(upload, path, on_bytes=on_bytes)

    async def status(self, file_id: UUID | str) -> FileStatus:
        """The file as it stands."""
        return FileStatus(await self._call("GET", f"/upload/{file_id}/status"))

    async def cancel(self, file_id: UUID | str) -> FileStatus:
        """Cancel it. Where it is being processed the worker hears a little later."""
        return FileStatus(await self._call("POST", f"/upload/{file_id}/cancel"))

    async def retry(self, file_id: UUID | str) -> FileStatus:
        """Process a failed or cancelled file again, while its raw stands."""
        return FileStatus(await self._call("POST", f"/upload/{file_id}/retry"))

    async def delete(self, file_id: UUID | str) -> None:
        """Delete the file and its outputs. Cancel first what is being processed."""
        await self._call("DELETE", f"/upload/{file_id}")

    async def follow(self, file_id: UUID | str) -> AsyncGenerator[FileStatus, None]:
        """Each change of the file, from how it stands now to its end; the last one is terminal.

        A stream that breaks is opened again, and where there is none the status is asked for instead.
        """
        told: FileStatus | None = None
        async with aclosing(self._reports(file_id)) as reports:
            async for status in reports:
                if status != told:
                    told = status
                    yield status
                if status.status.terminal:
                    return

    async def _reports(self, file_id: UUID | str) -> AsyncGenerator[FileStatus, None]:
        """The file's events and, each time their stream ends, its status; without end."""
        heard = False
        silent = 0
        while True:
            try:
                async with aclosing(self._events(file_id)) as events:
                    async for status in events:
                        heard, silent = True, 0
                        yield status
            except ApiError:
                pass  # What it means for the file, the status says: the stream may be what fails.
            try:
                status = await self.status(file_id)
            except ApiUnreachableError:
                # Before the first word a wrong address is likelier than a daemon that is being started anew.
                if not heard or silent >= len(self._follow_delays_s):
                    raise
            else:
                heard, silent = True, 0
                yield status
            await anyio.sleep(self._follow_delays_s[silent])
            silent += 1

    async def _events(self, file_id: UUID | str) -> AsyncGenerator[FileStatus, None]:
        """The file's events stream, once."""
        url = f"{self.api_url}/upload/{file_id}/events"
        try:
            async with self.session.get(
                url,
                headers={**self._headers, "Accept": "text/event-stream"},
                timeout=_EVENTS_TIMEOUT,
                proxy=proxy_for(url),
            ) as response:
                await self._raise_for(response)
                async for data in event_data(response.content):
                    body = json.loads(data)
                    if "processing_status" in body:
                        yield FileStatus(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ApiUnreachableError(f"the events of {file_id} broke off") from error

    async def outputs(self, file_id: UUID | str) -> tuple[Output, ...]:
        """What a completed file gave, each with an address that holds for a while; single segments as well."""
        answer = await self._call("GET", f"/upload/{file_id}/download/processed", query={"segments": "true"})
        with as_promised(self.api_url):
            return tuple(Output.from_entry(entry) for entry in answer["outputs"])

    async def download_processed(
        self,
        file_id: UUID | str,
        to: Path,
        *,
        wanted: Callable[[Output], bool] | None = None,
        parallel: int = _PARALLEL_DOWNLOADS,
        on_output: Callable[[Output, bool], None] | None = None,
    ) -> tuple[tuple[Output, Path], ...]:
        """Save the outputs under ``to``, each under its key, ``parallel`` at a time; each with the path where it stands.

        ``wanted`` chooses; without it all are. What stands there already with the right size and digest is kept, a broken
        download goes on. ``on_output`` hears of each output that stands, and whether it was fetched now. Raises `StoreError`
        for what is not what was made.
        """
        for last in (False, True):
            outputs = [output for output in await self.outputs(file_id) if wanted is None or wanted(output)]
            saved = tuple((output, to / safe_path(output.key)) for output in outputs)
            try:
                await self.save(saved, parallel=parallel, on_output=on_output)
            except AddressRefusedError:
                # A long download outlives its addresses. What is saved stays; the rest gets new ones, once.
                if last:
                    raise
            else:
                break
        return saved

    async def save(
        self,
        wanted: Sequence[tuple[Output, Path]],
        *,
        parallel: int = _PARALLEL_DOWNLOADS,
        on_output: Callable[[Output, bool], None] | None = None,
    ) -> None:
        """Fetch outputs to their paths, as `download_processed` does. The first failure ends the others."""
        transfers = self._transfers
        rest = iter(wanted)

        async def save_some() -> None:
            for output, path in rest:
                fetched = await transfers.get(output, path)
                if on_output is not None:
                    on_output(output, fetched)

        async with task_group() as tasks:
            for number in range(parallel):
                tasks.start_soon(save_some, name=f"download-{number}")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        answer = await self.ask(method, path, body=body, query=query, headers=headers)
        with as_promised(self.api_url):
            if not isinstance(answer, dict):
                raise TypeError
            return answer

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Any request of the API's; the JSON of its answer. Refused for now, it is made again: see the class."""
        repeatable = method in _REPEATABLE or _IDEMPOTENCY_KEY in (headers or {})
        patience = Patience(repeatable, self._retry_delays_s)
        while True:
            try:
                return await self._ask_once(method, path, body=body, query=query, headers=headers)
            except ApiError as error:
                if isinstance(error, ApiUnreachableError) and not self.answered:
                    raise
                pause_s = patience.pause_s(error)
                if pause_s is None:
                    raise
                if self._on_wait is not None:
                    self._on_wait(f"{error.detail} Trying again in {pause_s:g} s")
            await anyio.sleep(pause_s)

    async def _ask_once(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> Any:
        url = f"{self.api_url}{path}"
        try:
            async with self.session.request(
                method,
                url,
                json=body,
                params=query,
                headers={**self._headers, **(headers or {}), "Accept": "application/json"},
                timeout=_TIMEOUT,
                proxy=proxy_for(url),
            ) as response:
                await self._raise_for(response)
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.api_url, error) from error
        if not text:
            return {}
        with as_promised(self.api_url):
            return json.loads(text)

    async def _raise_for(self, response: aiohttp.ClientResponse) -> None:
        """Raise what an RFC 9457 problem says; a word of our own where the answer is no problem of vproc's."""
        self._answered = True
        if response.status < _ERROR:
            return
        try:
            problem = json.loads(await response.text())
            detail = str(problem["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"{self.api_url} answered {response.status} {response.reason}"
            detail += _FOREIGN.get(response.status, ": is this vproc's API? Check --api or VPROC_API_URL")
        if response.status == _UNAUTHORIZED:
            detail += " (set --api-key or VPROC_API_KEY)"
        if response.status == _FORBIDDEN:
            detail += " (this key or token may not: take another, see `vproc keys list`)"
        raise ApiError(detail, status=response.status, retry_after_s=read_retry_after(response.headers.get("Retry-After")))

    async def list(self, *, status: str | None = None, limit: int = 20) -> tuple[FileStatus, ...]:
        """The caller's files, newest first, ``limit`` of them at most."""
        return (await self.list_from(None, status=status, limit=limit)).files

    async def list_from(
        self, cursor: str | None, *, status: str | None = None, search: str | None = None, limit: int = 20
    ) -> FileList:
        """The caller's files from where an earlier list ended, newest first, ``limit`` of them at most.

        ``search``: only those with that in their name, in any case; they are looked for here, a hundred files a request.
        """
        found: list[FileStatus] = []
        sought = (search or "").casefold()
        while True:
            # A cursor stands after a page, so a page never holds more than is wanted: what is sought is few of many.
            size = _PAGE_LIMIT if sought else min(limit - len(found), _PAGE_LIMIT)
            optional = {"status": status, "cursor": cursor}
            query = {name: value for name, value in optional.items() if value}
            page = await self._call("GET", "/uploads", query={**query, "limit": str(size)})
            with as_promised(self.api_url):
                files = [FileStatus(entry) for entry in page["uploads"]]
                found += [file for file in files if sought in file.file_name.casefold()]
            cursor = page.get("cursor")
            if not cursor or len(found) >= limit:
                return FileList(tuple(found[:limit]), None if len(found) > limit else cursor)


@contextmanager
def as_promised(api_url: str) -> Iterator[None]:
    """Turn an answer of another shape than the API's into words."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ApiError(f"{api_url} answered, but not as vproc's API does: check --api or VPROC_API_URL") from error
