"""`ports.ContainerEngine` over the engine's API."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from vproc.containers.pipes import EnginePipes, open_pipes
from vproc.containers.wire import facts_of, mounts_of, request_of, usage_of
from vproc.errors import ConfigError, UnavailableError
from vproc.ports import ContainerFacts, ContainerSpec, ContainerState, ContainerUsage, EngineFacts

_CALL_WITHIN_S = 60.0
_CONNECTIONS = 256
_GONE = (404,)
_NOT_RUNNING = (404, 409)


class Engine:
    """An engine that answers. Use `open_engine`."""

    def __init__(self, session: aiohttp.ClientSession, socket: Path, version: str | None) -> None:
        self._session = session
        self._socket = socket
        self._prefix = f"/v{version}" if version else ""

    @property
    def address(self) -> str:
        """See `ports.ContainerEngine`, and so the others."""
        return f"unix://{self._socket}"

    async def facts(self) -> EngineFacts:
        """What it is."""
        return facts_of(await self._call("GET", "/info") or {})

    async def image_id(self, name: str) -> str | None:
        """The id of an image."""
        told = await self._call("GET", f"/images/{quote(name, safe='/:@')}/json", without=_GONE)
        return str(told["Id"]) if told else None

    async def container(self, name: str) -> ContainerFacts | None:
        """A container that there is."""
        told = await self._call("GET", f"/containers/{quote(name)}/json", without=_GONE)
        return ContainerFacts(str(told["Id"]), str(told["Image"]), mounts_of(told)) if told else None

    async def is_running(self, name: str) -> bool:
        """Whether it runs."""
        told = await self._call("GET", f"/containers/{quote(name)}/json", without=_GONE)
        return bool(told and told.get("State", {}).get("Running"))

    async def labelled(self, label: str) -> list[ContainerState]:
        """All of a label."""
        query = urlencode({"all": "true", "filters": json.dumps({"label": [label]})})
        told = await self._call("GET", f"/containers/json?{query}") or []
        return [
            ContainerState(one["Names"][0].removeprefix("/"), one.get("Labels") or {}, one.get("State") == "running")
            for one in told
            if one.get("Names")
        ]

    async def create(self, spec: ContainerSpec) -> None:
        """Make one."""
        await self._call("POST", f"/containers/create?{urlencode({'name': spec.name})}", body=request_of(spec))

    def attached(self, name: str) -> AbstractAsyncContextManager[EnginePipes]:
        """Its pipes."""
        query = urlencode({"stream": "true", "stdin": "true", "stdout": "true", "stderr": "true"})
        return open_pipes(self._socket, f"{self._prefix}/containers/{quote(name)}/attach?{query}")

    @asynccontextmanager
    async def removal(self, name: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """The engine answers with its head at once, and with the code once the container is gone."""
        url = f"http://engine{self._prefix}/containers/{quote(name)}/wait?condition=removed"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CALL_WITHIN_S)
        try:
            response = await self._session.post(url, timeout=timeout)
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(error) from error

        async def code() -> int:
            try:
                return int(json.loads(await response.read())["StatusCode"])
            except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:
                raise UnavailableError(f"the container engine at {self._socket} did not tell how a container ended") from error

        async with response:
            if response.status != 200:  # noqa: PLR2004
                raise await self._refusal("POST wait", response)
            yield code

    async def start(self, name: str) -> None:
        """Start it."""
        await self._call("POST", f"/containers/{quote(name)}/start")

    async def kill(self, name: str, signal: str) -> None:
        """Send a signal."""
        await self._call("POST", f"/containers/{quote(name)}/kill?{urlencode({'signal': signal})}", without=_NOT_RUNNING)

    async def remove(self, name: str) -> None:
        """Remove it. 409: the engine is already at it."""
        await self._call("DELETE", f"/containers/{quote(name)}?force=true&v=true", without=_NOT_RUNNING)

    async def usage(self, name: str) -> ContainerUsage | None:
        """What it uses."""
        told = await self._call("GET", f"/containers/{quote(name)}/stats?stream=false&one-shot=true", without=_NOT_RUNNING)
        return usage_of(told or {})

    async def _call(
        self, method: str, target: str, *, body: Mapping[str, Any] | None = None, without: tuple[int, ...] = ()
    ) -> Any:
        """The answer's document; None where it has none, or a status of ``without``."""
        try:
            async with self._session.request(method, f"http://engine{self._prefix}{target}", json=body) as response:
                if response.status in without:
                    return None
                if response.status >= 400:  # noqa: PLR2004
                    raise await self._refusal(f"{method} {target.partition('?')[0]}", response)
                data = await response.read()
                return json.loads(data) if data else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._away(error) from error

    async def _refusal(self, call: str, response: aiohttp.ClientResponse) -> UnavailableError:
        data = await response.read()
        try:
            said = str(json.loads(data)["message"])
        except (ValueError, KeyError, TypeError):
            said = data.decode(errors="replace")
        return UnavailableError(
            f"the container engine at {self._socket} answers {response.status} to {call}: {said.strip()[:300]}"
        )

    def _away(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"the container engine at {self._socket} does not answer: {str(error) or type(error).__name__}")


@asynccontextmanager
async def open_engine(socket: Path) -> AsyncIterator[Engine]:
    """The engine behind that socket, seen to answer. Raises `ConfigError` where this user may not ask, and `UnavailableError`."""
    connector = aiohttp.UnixConnector(path=str(socket), limit=_CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=_CALL_WITHIN_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Engine(session, socket, await _version(session, socket))


async def _version(session: aiohttp.ClientSession, socket: Path) -> str | None:
    try:
        async with session.get("http://engine/_ping") as response:
            await response.read()
            return response.headers.get("Api-Version")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if getattr(error, "errno", None) in {errno.EACCES, errno.EPERM}:
            raise ConfigError(
                f"DOCKER_HOST: this user may not use {socket}: who may, may do as root; better a rootless engine of its own"
            ) from error
        raise UnavailableError(
            f"no container engine answers at {socket}: start one, or name its socket ({str(error) or type(error).__name__})"
        ) from error
