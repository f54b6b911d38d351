"""Bytes to and from the object store through presigned addresses: streamed, tried again, checked. No API here.

An address is sent exactly as it was signed, without the API's key, and never appears in an error.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import anyio
import anyio.to_thread
from yarl import URL

from vproc.client.errors import AddressRefusedError, StoreError
from vproc.client.values import Output, Upload

CHUNK_BYTES = 1024 * 1024
# No total: a large file on a slow line takes what it takes. A peer that says nothing for two minutes is gone.
STORE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120)
_ERROR_BYTES = 16 * 1024
_S3_ERROR = re.compile(r"<(Code|Message)>([^<]*)</")
_PARTIAL, _REDIRECT, _FORBIDDEN, _EXISTS, _SERVER = 206, 300, 403, 412, 500
_BUSY = frozenset({408, 429})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for that address; None for loopback, and where none is named."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_loopback(host) or proxy_bypass(host):
        return None
    return getproxies().get(parts.scheme)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def readable_bytes(size_bytes: int) -> str:
    """A size for people: ``1.4 MiB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":  # noqa: PLR2004 - the base of the units
            break
        size /= 1024
    return f"{size_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


@dataclass(slots=True)
class _Body:
    """An open file as a request's body, read in threads. ``fault`` says why it could not be read: aiohttp shows a body's
    exception as a connection's, which would be tried again."""

    file: anyio.AsyncFile[bytes]
    path: Path
    size_bytes: int
    on_bytes: Callable[[int], None] | None
    sent_bytes: int = 0
    fault: StoreError | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        self._told(0)
        try:
            await self.file.seek(0)
            while chunk := await self.file.read(CHUNK_BYTES):
                if self.sent_bytes + len(chunk) > self.size_bytes:
                    break
                yield chunk
                self._told(self.sent_bytes + len(chunk))
        except OSError as error:
            self.fault = unreadable(self.path, error)
        if self.fault is None and self.sent_bytes != self.size_bytes:
            self.fault = StoreError(f"{self.path} changed while it was uploaded: upload it again")
        if self.fault is not None:
            raise self.fault

    def _told(self, sent_bytes: int) -> None:
        self.sent_bytes = sent_bytes
        if self.on_bytes is not None:
            self.on_bytes(sent_bytes)


@dataclass(frozen=True, slots=True)
class Transfers:
    """Uploads and downloads over one session. ``retry_delays_s``: the pauses between tries."""

    session: aiohttp.ClientSession
    retry_delays_s: Sequence[float] = field(default=(0.5, 2.0))

    async def put(self, upload: Upload, path: Path, *, on_bytes: Callable[[int], None] | None = None) -> None:
        """Send a file. ``on_bytes`` hears the bytes sent so far; it starts at 0 again with each try. Raises `StoreError`."""
        try:
            file = await anyio.open_file(path, "rb")
        except OSError as error:
            raise unreadable(path, error) from error
        uncertain = False
        fault = StoreError("the upload was not tried")
        async with file:
            for delay_s in (*self.retry_delays_s, None):
                body = _Body(file, path, upload.size_bytes, on_bytes)
                try:
                    status, text = await self._put_once(upload, body)
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    if body.fault is not None:
                        raise body.fault from None
                    fault = StoreError(f"the upload of {path} broke off ({reason_of(error)})")
                else:
                    # After a try that may have arrived, "it exists" means that it has: nobody else holds this address.
                    if status < _REDIRECT or (status == _EXISTS and uncertain):
                        return
                    fault = _upload_refused(status, text, upload)
                    if status < _SERVER and status not in _BUSY:
                        raise fault
                uncertain = True
                if delay_s is not None:
                    await anyio.sleep(delay_s)
        raise fault

    async def _put_once(self, upload: Upload, body: _Body) -> tuple[int, str]:
        headers = {**upload.headers, "Content-Length": str(body.size_bytes)}
        async with self.session.request(
            upload.method,
            URL(upload.url, encoded=True),
            data=body.chunks() if body.size_bytes else b"",
            headers=headers,
            # A header that was not signed must not be sent either: stores refuse it.
            skip_auto_headers=("Content-Type", "Accept"),
            allow_redirects=False,
            timeout=STORE_TIMEOUT,
            proxy=proxy_for(upload.url),
        ) as response:
            return response.status, await error_text(response)

    async def get(self, output: Output, to: Path) -> bool:
        """Fetch an output to ``to`` and check its size and digest; False when the right file stands there already.

        A broken download goes on where it stopped; one that is not what was made is fetched anew once. Raises `StoreError`;
        `AddressRefusedError` where the address is over.
        """
        if await anyio.to_thread.run_sync(_stands, to, output):
            return False
        part = to.with_name(f".{to.name}.part")
        fault = StoreError("the download was not tried")
        wrong = 0
        for delay_s in (*self.retry_delays_s, None):
            try:
                await anyio.to_thread.run_sync(_make_parent, to)
                await self._get_once(output, part)
            except AddressRefusedError:
                raise
            except (StoreError, aiohttp.ClientError, TimeoutError) as error:
                detail = error.detail if isinstance(error, StoreError) else f"broke off ({reason_of(error)})"
                fault = StoreError(f"{output.key}: {detail}")
            except OSError as error:
                raise _unwritable(part, error) from error
            else:
                if await anyio.to_thread.run_sync(_adopt, part, to, output):
                    return True
                fault = StoreError(f"{output.key}: what was downloaded is not what was made (its checksum differs)")
                wrong += 1
                if wrong > 1:
                    break
            if delay_s is not None:
                await anyio.sleep(delay_s)
        raise fault

    async def _get_once(self, output: Output, part: Path) -> None:
        begun = await anyio.to_thread.run_sync(_begun_bytes, part, output.size_bytes)
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        async with self.session.get(
            URL(output.url, encoded=True),
            headers=headers,
            skip_auto_headers=("Accept",),
            timeout=STORE_TIMEOUT,
            proxy=proxy_for(output.url),
        ) as response:
            if response.status == _FORBIDDEN:
                raise AddressRefusedError(
                    f"{output.key}: the store refused its address ({await _explain(response)})", status=response.status
                )
            if response.status >= _REDIRECT:
                raise StoreError(f"the store answered {await _explain(response)}", status=response.status)
            async with await anyio.open_file(part, "ab" if response.status == _PARTIAL else "wb") as file:
                async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                    await file.write(chunk)


async def error_text(response: aiohttp.ClientResponse) -> str:
    """The start of an error's body; nothing of a good answer's."""
    if response.status < _REDIRECT:
        return ""
    return (await response.content.read(_ERROR_BYTES)).decode("utf-8", "replace")


async def _explain(response: aiohttp.ClientResponse) -> str:
    return store_words(response.status, await error_text(response))


def store_words(status: int, text: str) -> str:
    """``403 AccessDenied: Request has expired``, from S3's XML."""
    found = dict(_S3_ERROR.findall(text))
    words = ": ".join(found[name] for name in ("Code", "Message") if found.get(name))
    return f"{status} {words}".strip()


def unreadable(path: Path, error: OSError) -> StoreError:
    """Why a local file cannot be read."""
    return StoreError(f"cannot read {path}: {error.strerror}")


def _unwritable(path: Path, error: OSError) -> StoreError:
    remedy = "free some and run it again: it goes on where it stopped" if error.errno in _FULL else "name another folder"
    return StoreError(f"cannot write {path}: {error.strerror}: {remedy}")


def _upload_refused(status: int, text: str, upload: Upload) -> StoreError:
    words = store_words(status, text)
    if status == _FORBIDDEN:
        return AddressRefusedError(
            f"the store refused the upload ({words}): its address held until {upload.expires_at}, and for the headers it was "
            "given with. Submit the file again; where that does not help, compare the daemon's clock and AWS credentials",
            status=status,
        )
    if status == _EXISTS:
        return StoreError(
            f"something was uploaded to this address already ({words}): an address takes one upload, and {upload.file_id} has "
            "had its own. Submit the file again for a new one",
            status=status,
        )
    return StoreError(f"the store answered the upload with {words}", status=status)


def reason_of(error: BaseException) -> str:
    """An exception in a few words, without the address that aiohttp puts in some."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "no connection"
    if isinstance(error, OSError) and error.strerror and "://" not in error.strerror:
        return error.strerror
    return "the connection was lost"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stands(path: Path, output: Output) -> bool:
    return path.is_file() and path.stat().st_size == output.size_bytes and _sha256(path) == output.sha256


def _make_parent(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)


def _begun_bytes(part: Path, size_bytes: int) -> int:
    """How much of a download stands; a part that is as long as the whole is no beginning, and goes."""
    begun = part.stat().st_size if part.is_file() else 0
    if begun >= size_bytes:
        part.unlink(missing_ok=True)
        return 0
    return begun


def _adopt(part: Path, to: Path, output: Output) -> bool:
    """Give a right download its name; remove a wrong one, so that the next try starts anew."""
    if not _stands(part, output):
        part.unlink(missing_ok=True)
        return False
    part.replace(to)
    return True
