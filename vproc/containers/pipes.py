"""A container's pipes over one connection that changes its protocol: bytes go in as they are, both outputs come back in frames.

The frames are of the Docker Engine's API, "Attach to a container": a byte that names the stream, three zeros, four bytes of
length, then so much of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import (
    BrokenResourceError,
    ClosedResourceError,
    DelimiterNotFound,
    EndOfStream,
    IncompleteRead,
    connect_unix,
    fail_after,
)
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from vproc.errors import UnavailableError
from vproc.ports import Stream

_HEADERS = "Host: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n"
_HEAD_BYTES = 16 * 1024
_FRAME_HEAD_BYTES = 8
_TAKEN_BYTES = 64 * 1024
_ANSWER_WITHIN_S = 30.0
_STREAMS = {1: Stream.STDOUT, 2: Stream.STDERR}
_SWITCHED = (b"101", b"200")


class EnginePipes:
    """The pipes of one container."""

    def __init__(self, stream: SocketStream, received: BufferedByteReceiveStream) -> None:
        self._stream = stream
        self._received = received
        self._input_ended = False

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        """See `ports.ContainerPipes`."""
        try:
            while True:
                head = await self._received.receive_exactly(_FRAME_HEAD_BYTES)
                left = int.from_bytes(head[4:])
                while left:
                    data = await self._received.receive(min(left, _TAKEN_BYTES))
                    left -= len(data)
                    if (stream := _STREAMS.get(head[0])) is not None:
                        yield stream, data
        except (EndOfStream, BrokenResourceError, ClosedResourceError, IncompleteRead):
            return

    async def write(self, data: bytes) -> bool:
        """See `ports.ContainerPipes`."""
        if self._input_ended:
            return False
        try:
            await self._stream.send(data)
        except (BrokenResourceError, ClosedResourceError):
            return False
        return True

    async def end_input(self) -> None:
        """See `ports.ContainerPipes`."""
        if not self._input_ended:
            self._input_ended = True
            try:
                await self._stream.send_eof()
            except (OSError, BrokenResourceError, ClosedResourceError):
                return


@asynccontextmanager
async def open_pipes(socket: Path, target: str) -> AsyncIterator[EnginePipes]:
    """Attach by a POST of ``target``. Raises `UnavailableError`."""
    try:
        with fail_after(_ANSWER_WITHIN_S):
            stream = await connect_unix(socket)
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"the container engine at {socket} does not answer: {error}") from error
    async with stream:
        received = BufferedByteReceiveStream(stream)
        try:
            with fail_after(_ANSWER_WITHIN_S):
                await stream.send(f"POST {target} HTTP/1.1\r\n{_HEADERS}\r\n".encode())
                head = await received.receive_until(b"\r\n\r\n", _HEAD_BYTES)
        except (EndOfStream, BrokenResourceError, IncompleteRead, DelimiterNotFound, TimeoutError) as error:
            raise UnavailableError(f"the container engine at {socket} ended the connection to a container's pipes") from error
        status = head.split(b" ", 2)[1:2]
        if not status or status[0] not in _SWITCHED:
            line = head.partition(b"\r\n")[0].decode(errors="replace")
            raise UnavailableError(f"the container engine at {socket} does not attach a container: {line}")
        yield EnginePipes(stream, received)
