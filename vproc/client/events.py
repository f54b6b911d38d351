"""Server-sent events, as the WHATWG's HTML standard (section 9.2.6) interprets a stream: lines in, data out."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator


async def event_data(lines: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """The data of each event, in order. Comments, names and an event cut off by the stream's end give nothing."""
    data: list[str] = []
    async for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield "\n".join(data)
            data = []
            continue
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
