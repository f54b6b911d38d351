"""A container engine that runs its containers as plain processes of this machine, confined by nothing: the calls, the pipes and
the order of things are the real ones, and each call can be refused, lost or held.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream

from vproc.containers.engine import open_engine
from vproc.core.containers import Owner
from vproc.tasks import task_group
from vproc.workers.docker_runner import DockerRunner, Site

IMAGE = "the-image"
IMAGE_ID = "sha256:" + "1" * 64
GIB = 1024**3


class Fault(Enum):
    """What becomes of a call."""

    REFUSED = "refused"
    """500."""
    AWAY = "away"
    """The connection ends, and nothing was done."""
    LOST = "lost"
    """It was done, and the connection ends without an answer."""
    HELD = "held"
    """It waits until `FakeEngine.release`."""


@dataclass
class FakeContainer:
    """One that was made."""

    name: str
    body: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    pipes: SocketStream | None = None
    stdin_ended: anyio.Event = field(default_factory=anyio.Event)
    removed: anyio.Event = field(default_factory=anyio.Event)
    code: int | None = None

    @property
    def state(self) -> str:
        """As the engine calls it."""
        return "created" if self.process is None else "running" if self.code is None else "exited"


@dataclass
class Call:
    """One request."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    body: Any


class FakeEngine:
    """Its containers and what was asked of it. ``faults`` by the call's name; ``info`` changes what it says of itself, ``others``
    are containers that it tells of and that nobody made here. ``stubborn``: it removes nothing."""

    def __init__(self, socket: Path, tasks: TaskGroup) -> None:
        self.socket = socket
        self.containers: dict[str, FakeContainer] = {}
        self.made: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Fault] = {}
        self.info: dict[str, Any] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.images = {IMAGE: IMAGE_ID, IMAGE_ID: IMAGE_ID}
        self.stubborn = False
        self.held = anyio.Event()
        self.has_shell = True
        self.takes_profiles = True
        self._tasks = tasks
        self._released = anyio.Event()

    def release(self) -> None:
        """Let the calls that are held go on."""
        self._released.set()

    # --- the connection ----------------------------------------------------------------------------------------------

    async def serve(self, stream: SocketStream) -> None:
        """One connection, request after request."""
        received = BufferedByteReceiveStream(stream)
        async with stream:
            with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while await self._answer(await self._request(received), stream, received):
                    pass

    async def _request(self, received: BufferedByteReceiveStream) -> Call:
        head = (await received.receive_until(b"\r\n\r\n", 1 << 16)).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
        body = await received.receive_exactly(int(length.group(1))) if length and int(length.group(1)) else b""
        parts = urlsplit(target)
        path = re.sub(r"^/v\d+\.\d+", "", parts.path)
        last = path.rpartition("/")[2]
        name = "remove" if method == "DELETE" else "image" if path.startswith("/images") else last
        if path == "/containers/json":
            name = "list"
        elif path.startswith("/containers/") and name == "json":
            name = "inspect"
        self.calls[name] += 1
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        return Call(name, method, path, query, json.loads(body) if body else None)

    async def _answer(self, call: Call, stream: SocketStream, received: BufferedByteReceiveStream) -> bool:
        """False: the connection ends with it."""
        fault = self.faults.get(call.name)
        if fault is Fault.AWAY:
            return False
        if fault is Fault.HELD:
            self.held.set()
            await self._released.wait()
        if fault is Fault.REFUSED:
            await self._say(stream, 500, {"message": f"no {call.name} today"})
            return True
        if call.name == "attach":
            await self._attach(call, stream, received, lost=fault is Fault.LOST)
            return False
        if call.name == "wait":
            return await self._wait(call, stream, lost=fault is Fault.LOST)
        status, document = await self._do(call)
        if fault is Fault.LOST:
            return False
        await self._say(stream, status, document)
        return True

    async def _say(self, stream: SocketStream, status: int, document: Any) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} x\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await stream.send(head.encode() + body)

    # --- the calls ---------------------------------------------------------------------------------------------------

    async def _do(self, call: Call) -> tuple[int, Any]:
        match call.name:
            case "_ping":
                return 200, "OK"
            case "info":
                known = {"ServerVersion": "20.10", "MemTotal": 8 * GIB, "MemoryLimit": True, "PidsLimit": True}
                return 200, known | {"SecurityOptions": ["name=seccomp,profile=default"]} | self.info
            case "image":
                found = self.images.get(call.path.removeprefix("/images/").removesuffix("/json"))
                return (200, {"Id": found}) if found else (404, {"message": "No such image"})
            case "list":
                return 200, self._listed()
            case "create":
                return self._create(call)
        name = call.path.split("/")[2]
        if call.name == "inspect" and name in self.others:
            return 200, self.others[name]
        container = self.containers.get(name)
        if container is None:
            return 404, {"message": f"No such container: {name}"}
        return await self._do_to(container, call)

    async def _do_to(self, container: FakeContainer, call: Call) -> tuple[int, Any]:
        match call.name:
            case "start":
                return await self._start(container)
            case "kill":
                if container.state != "running":
                    return 409, {"message": "is not running"}
                self._signal(container, getattr(signal, f"SIG{call.query['signal']}"))
                return 204, None
            case "remove":
                if self.stubborn:
                    return 500, {"message": "device or resource busy"}
                if container.state == "running":
                    self._signal(container, signal.SIGKILL)
                else:
                    self._remove(container)
                return 204, None
            case "stats":
                if container.state != "running":
                    return 200, {}
                return 200, {"cpu_stats": {"cpu_usage": {"total_usage": 2e9}}, "memory_stats": {"stats": {"total_rss": 77}}}
        return 404, {"message": "page not found"}

    def _listed(self) -> list[dict[str, Any]]:
        own = [{"Names": [f"/{one.name}"], "Labels": one.body["Labels"], "State": one.state} for one in self.containers.values()]
        return [*own, *({"Names": [f"/{name}"], "Labels": one["Labels"], "State": "exited"} for name, one in self.others.items())]

    def _create(self, call: Call) -> tuple[int, Any]:
        if call.body["Image"] not in self.images:
            return 404, {"message": f"No such image: {call.body['Image']}"}
        name = call.query["name"]
        self.containers[name] = FakeContainer(name, call.body)
        self.made.append(call.body)
        return 201, {"Id": name, "Warnings": []}

    async def _start(self, container: FakeContainer) -> tuple[int, Any]:
        if not self.takes_profiles and any(
            option.startswith("seccomp=") for option in container.body["HostConfig"]["SecurityOpt"]
        ):
            self._remove(container)
            return 500, {"message": "opening seccomp profile failed: file name too long"}
        if not self.has_shell:
            self._remove(container)
            return 400, {"message": 'exec: "/bin/sh": stat /bin/sh: no such file or directory'}
        body = container.body
        mount = body["HostConfig"]["Mounts"][0]
        if not await anyio.Path(mount["Source"]).is_dir():
            self._remove(container)
            return 400, {"message": f"bind source path does not exist: {mount['Source']}"}
        bounds = [(one["Name"], one["Soft"], one["Hard"]) for one in body["HostConfig"]["Ulimits"]]
        # The trial must not write to this machine's own root.
        words = [word.replace("/vproc-trial", "/proc/vproc-trial") for word in (*body["Entrypoint"], *body["Cmd"])]
        container.process = subprocess.Popen(  # noqa: ASYNC220 - a test may wait for a fork
            ["prlimit", *(f"--{name}={soft}:{hard}" for name, soft, hard in bounds), *words],
            cwd=mount["Source"],
            env={"PATH": os.defpath} | dict(line.split("=", 1) for line in body["Env"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._tasks.start_soon(self._live, container, container.process)
        return 204, None

    async def _live(self, container: FakeContainer, process: subprocess.Popen[bytes]) -> None:
        """Carry its output to whoever is attached, and remove it at its end."""
        watched = os.pidfd_open(process.pid)
        try:
            async with anyio.create_task_group() as group:
                for number, stream in ((1, process.stdout), (2, process.stderr)):
                    assert stream is not None
                    group.start_soon(self._carry, container, number, stream.fileno())
                await anyio.wait_readable(watched)
                # Whatever else is in it ends with its first process.
                self._kill(process)
            code = process.wait()
        finally:
            self._kill(process)
            process.wait()
            os.close(watched)
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
        container.code = code if code >= 0 else 128 - code
        if container.pipes is not None:
            hang_up(container.pipes)
        if not self.stubborn:
            self._remove(container)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    async def _carry(self, container: FakeContainer, number: int, pipe: int) -> None:
        while True:
            await anyio.wait_readable(pipe)
            if not (data := os.read(pipe, 65536)):
                return
            if container.pipes is not None:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await container.pipes.send(bytes([number, 0, 0, 0]) + len(data).to_bytes(4) + data)

    async def _attach(self, call: Call, stream: SocketStream, received: BufferedByteReceiveStream, *, lost: bool) -> None:
        container = self.containers[call.path.split("/")[2]]
        await stream.send(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        if lost:
            return
        container.pipes = stream
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, ValueError):
            while True:
                data = await received.receive()
                if container.process is not None and container.process.stdin is not None:
                    await _write(container.process.stdin.fileno(), data)
        # Its input ends with the first connection that is attached.
        if container.process is not None and container.process.stdin is not None:
            container.process.stdin.close()
        await container.removed.wait()

    async def _wait(self, call: Call, stream: SocketStream, *, lost: bool) -> bool:
        container = self.containers.get(call.path.split("/")[2])
        if container is None:
            await self._say(stream, 404, {"message": "No such container"})
            return True
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        await container.removed.wait()
        if lost:
            return False
        body = json.dumps({"StatusCode": container.code, "Error": None}).encode()
        await stream.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        return True

    def _signal(self, container: FakeContainer, number: int) -> None:
        if container.process is not None:
            with suppress(ProcessLookupError):
                os.kill(container.process.pid, number)

    def _remove(self, container: FakeContainer) -> None:
        self.containers.pop(container.name, None)
        container.removed.set()


def hang_up(stream: SocketStream) -> None:
    """End a connection that another task reads from, which closes it then. Closed under that task, its number may be another's
    before the loop has forgotten it, and that other is never heard of again."""
    with suppress(OSError):
        stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_RDWR)


async def _write(pipe: int, data: bytes) -> None:
    os.set_blocking(pipe, False)
    view = memoryview(data)
    while view:
        await anyio.wait_writable(pipe)
        with suppress(BlockingIOError):
            view = view[os.write(pipe, view) :]


@asynccontextmanager
async def fake_engine(folder: Path) -> AsyncIterator[FakeEngine]:
    """One that listens in that folder; what it runs ends with the block."""
    listener = await anyio.create_unix_listener(folder / "engine.sock")
    async with listener, task_group() as tasks:
        engine = FakeEngine(folder / "engine.sock", tasks)
        tasks.start_soon(listener.serve, engine.serve)
        try:
            yield engine
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def open_runner(engine: FakeEngine, *, reap_s: float = 5, **changes: Any) -> AsyncIterator[DockerRunner]:
    """A runner over it, by the true adapter. ``changes`` to how its children look."""
    async with open_engine(engine.socket) as client:
        owner = Owner(daemon="this", boot="boot", pids="1", pid="1:1", container="")
        user = f"{os.getuid()}:{os.getgid()}"
        site = Site(owner=owner, image=IMAGE_ID, image_name=IMAGE, user=user, memory_bytes=8 * GIB)
        yield DockerRunner(client, replace(site, **changes), grace_s=0.5, reap_s=reap_s)


@contextmanager
def engine_beside(folder: Path) -> Iterator[FakeEngine]:
    """One with a loop of its own, for what has another."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake_engine(folder)) as engine:
        yield engine
