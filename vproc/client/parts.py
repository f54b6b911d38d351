"""The API's calls about uploads in parts, tried again where they failed in a way that may pass. No byte of media is sent here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import anyio

from vproc.client.api import ApiClient, as_promised
from vproc.client.errors import ApiError, ApiUnreachableError, StoreAwayError, UploadGoneError
from vproc.client.resume import BegunUpload

Result = TypeVar("Result")

_NOT_FOUND, _SERVER = 404, 500
_PASSING = frozenset({408, 409, 429})


@dataclass(frozen=True, slots=True)
class StandingPart:
    """A part that the store has. ``etag`` is without quotes."""

    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PartsApi:
    """``delays_s``: the pauses between the tries of one call. Each call may raise `ApiError`, and all but `begin`
    `UploadGoneError`."""

    client: ApiClient
    delays_s: Sequence[float]

    async def begin(self, path: PurePath, size_bytes: int | None, *, profile: str | None) -> tuple[str, str]:
        """Announce a file; its key and the id of its upload. However often it is asked, that is one file."""
        body = {
            "filename": path.name,
            "type": "",
            **({} if size_bytes is None else {"size": size_bytes}),
            "metadata": {"profile": profile} if profile is not None else {},
        }
        once = {"Idempotency-Key": uuid4().hex}
        answer = await self._patiently(lambda: self.client.ask("POST", "/s3/multipart", body=body, headers=once))
        with as_promised(self.client.api_url):
            return str(answer["key"]), str(answer["uploadId"])

    async def standing(self, begun: BegunUpload) -> dict[int, StandingPart]:
        """Every part that stands, by its number."""
        answer = await self._known(begun, "GET")
        with as_promised(self.client.api_url):
            return {int(part["PartNumber"]): StandingPart(str(part["ETag"]).strip('"'), int(part["Size"])) for part in answer}

    async def address(self, begun: BegunUpload, number: int) -> str:
        """Where to put a part. It holds for minutes only."""
        answer = await self._known(begun, "GET", f"/{number}")
        with as_promised(self.client.api_url):
            return str(answer["url"])

    async def join(self, begun: BegunUpload) -> None:
        """Make the object of its parts. It may be asked again, also after it was done."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(begun.joining, 1)]
        await self._known(begun, "POST", "/complete", {"parts": parts})

    async def give_up(self, begun: BegunUpload) -> None:
        """Let the store forget it, and cancel its file."""
        await self._known(begun, "DELETE")

    async def _known(self, begun: BegunUpload, method: str, more: str = "", body: dict[str, Any] | None = None) -> Any:
        path = f"/s3/multipart/{quote(begun.upload_id, safe='')}{more}"
        try:
            return await self._patiently(lambda: self.client.ask(method, path, body=body, query={"key": begun.key}))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                raise UploadGoneError(error.detail, status=error.status) from error
            raise

    async def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        for delay_s in self.delays_s:
            try:
                return await call()
            except ApiError as error:
                nobody = isinstance(error, ApiUnreachableError) and error.nobody and not self.client.answered
                if nobody or not may_pass(error):
                    raise
            await anyio.sleep(delay_s)
        return await call()


def may_pass(error: ApiError) -> bool:
    """Whether the same may go well a little later."""
    if isinstance(error, StoreAwayError | ApiUnreachableError):
        return True
    return error.status is not None and (error.status in _PASSING or error.status >= _SERVER)
