"""One part of an upload, sent until it stands: each try to a new address, with pauses where the store is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import aiohttp
import anyio
from yarl import URL

from vproc.client.errors import AddressRefusedError, StoreAwayError, StoreError, UploadGoneError
from vproc.client.parts import PartsApi
from vproc.client.resume import BegunUpload
from vproc.client.transfer import STORE_TIMEOUT, error_text, proxy_for, reason_of, store_words

_MOST_REFUSALS = 3
_OK, _FORBIDDEN, _NOT_FOUND, _SERVER = 200, 403, 404, 500
_BUSY = frozenset({408, 409, 429})


class PartBody(Protocol):
    """The bytes of a part, once. ``fault`` says why they could not be read: aiohttp shows a body's exception as a connection's,
    which would be tried again."""

    @property
    def fault(self) -> StoreError | None:
        """Why it could not be read."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes."""
        ...


Opened = Callable[[], AbstractAsyncContextManager[PartBody]]
"""Makes the part's body anew, for each try."""


async def send_part(api: PartsApi, begun: BegunUpload, number: int, *, what: str, length_bytes: int, opened: Opened) -> str:
    """Send a part; its ETag. ``what`` names it in errors. Raises `StoreError`, `UploadGoneError`, `ApiError`."""
    refusals = 0
    delays_s: Iterator[float] = iter(api.delays_s)
    while True:
        url = await api.address(begun, number)
        try:
            async with opened() as body:
                return await _put(api, url, body, length_bytes, what)
        except AddressRefusedError:
            refusals += 1
            if refusals == _MOST_REFUSALS:
                raise
        except StoreAwayError:
            delay_s = next(delays_s, None)
            if delay_s is None:
                raise
            await anyio.sleep(delay_s)


async def _put(api: PartsApi, url: str, body: PartBody, length_bytes: int, what: str) -> str:
    try:
        async with api.client.session.put(
            URL(url, encoded=True),
            data=body.chunks(),
            headers={"Content-Length": str(length_bytes)},
            skip_auto_headers=("Content-Type", "Accept"),
            allow_redirects=False,
            timeout=STORE_TIMEOUT,
            proxy=proxy_for(url),
        ) as response:
            etag = response.headers.get("ETag", "").strip('"')
            if response.status == _OK and etag:
                return etag
            raise _refused(what, response.status, await error_text(response))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if body.fault is not None:
            raise body.fault from None
        raise StoreAwayError(f"{what} broke off ({reason_of(error)})") from error


def _refused(what: str, status: int, text: str) -> StoreError:
    words = f"{what}: the store answered {store_words(status, text)}"
    if status == _FORBIDDEN:
        return AddressRefusedError(f"{words}. Compare the daemon's clock and AWS credentials", status=status)
    if status == _NOT_FOUND:
        return UploadGoneError(words, status=status)
    # A connection that was silent for long is answered 400 RequestTimeout (S3 API reference, "Error responses").
    if status == _OK or status in _BUSY or status >= _SERVER or "RequestTimeout" in text:
        return StoreAwayError(words, status=status)
    return StoreError(words, status=status)
