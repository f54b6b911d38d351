"""Requests to servers that strangers name: webhooks. Every address is looked at before it is connected to, nothing is followed.

aiohttp asks its resolver only for names, so the check stands at three places: the address as written, what the name resolves to,
and the very socket address, just before a socket is made for it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address

import aiohttp
import anyio
import anyio.to_thread
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from vproc.core.webhook_delivery import Sent, Trouble
from vproc.core.webhook_target import Target, TargetError, check_address, read_target

TIMEOUT_S = 20.0
LOOKUPS_AT_ONCE = 16
_FOR_STATUS_ONLY = 1024

Lookup = Callable[[str, int, socket.AddressFamily], Awaitable[list[ResolveResult]]]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CheckedSender:
    """`ports.WebhookSender` over aiohttp. ``allowed_hosts`` may be on private addresses. ``lookup`` resolves a name."""

    def __init__(
        self,
        *,
        allowed_hosts: frozenset[str],
        agent: str,
        timeout_s: float = TIMEOUT_S,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._agent = agent
        self._timeout_s = timeout_s
        self._lookup = lookup or _system_lookup()
        self._tls = tls or ssl.create_default_context()

    async def send(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Sent:
        """POST these bytes; of the answer only status and ``Retry-After`` are kept."""
        try:
            read_target(url, self._allowed_hosts)
            # What is asked for is what aiohttp makes of it: a host may look different before it is brought into ASCII.
            asked = URL(url)
            target = read_target(str(asked), self._allowed_hosts)
            with anyio.fail_after(self._timeout_s):
                return await self._ask(target, asked, headers, body)
        except TargetError as error:
            log.warning("webhook_refused", reason=str(error))
            return Sent(trouble=Trouble.REFUSED)
        except TimeoutError:
            return Sent(trouble=Trouble.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = _cause(error, TargetError)
            if refused is not None:
                log.warning("webhook_refused", reason=str(refused))
            return Sent(trouble=Trouble.REFUSED if refused is not None else Trouble.UNREACHABLE)

    async def _ask(self, target: Target, url: URL, headers: Mapping[str, str], body: bytes) -> Sent:
        """A connection of its own, so that no other's check counts for it, and nothing of one answer is seen by the next."""
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(self._lookup, target),
            use_dns_cache=False,
            force_close=True,
            ssl=self._tls,
            socket_factory=lambda address: _checked_socket(address, target),
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s),
                trust_env=False,
                auto_decompress=False,
                read_bufsize=_FOR_STATUS_ONLY,
                headers={"User-Agent": self._agent, "Content-Type": "application/json"},
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            sent = Sent(response.status, retry_after=response.headers.get("Retry-After"))
            response.close()
            return sent


class _CheckedResolver(AbstractResolver):
    """Gives only addresses that may be connected to: where one of them may not be, none."""

    def __init__(self, lookup: Lookup, target: Target) -> None:
        self._lookup = lookup
        self._target = target

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of a name."""
        found = await self._lookup(host, port, family)
        for result in found:
            _check(result["host"], self._target)
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _system_lookup() -> Lookup:
    """The system's resolver, in threads of its own. asyncio's look-ups share six threads on a machine of two cores, and those of
    S3 and SQS are among them: names of strangers that nobody answers for would hold those up."""
    limiter = anyio.CapacityLimiter(LOOKUPS_AT_ONCE)

    async def look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        def ask() -> list[ResolveResult]:
            found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            return [
                ResolveResult(
                    hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
                for kind, _, protocol, _, address in found
            ]  # fmt: skip

        return await anyio.to_thread.run_sync(ask, limiter=limiter, abandon_on_cancel=True)

    return look_up


def _checked_socket(info: aiohttp.AddrInfoType, target: Target) -> socket.socket:
    """Called for each address that is about to be connected to."""
    _check(str(info[4][0]), target)
    made = socket.socket(info[0], info[1], info[2])
    made.setblocking(False)
    return made


def _check(address: str, target: Target) -> None:
    if not target.trusted:
        try:
            read = ip_address(address.partition("%")[0])
        except ValueError:
            raise TargetError("no address") from None
        check_address(read)


def _cause(error: BaseException | None, kind: type[TargetError]) -> TargetError | None:
    """What lies behind an error of aiohttp's, which wraps what a resolver raises."""
    seen = 0
    while error is not None and seen < 10:  # noqa: PLR2004 - a chain is short
        if isinstance(error, kind):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
