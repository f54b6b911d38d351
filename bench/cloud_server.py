"""``python cloud_server.py PORT``: S3 and SQS by ministack on loopback, whose queue is as fast with ten thousand messages as with
ten, and which counts the requests. It keeps everything in memory.

It runs in an environment of its own (`bench/cloud.lock`), since it pins another botocore than vproc takes; nothing of this
project is imported. ``GET /_calls`` tells how many requests each access key has made, by service and operation.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from typing import Any

CALLS = "/_calls"
_CREDENTIAL = re.compile(rb"Credential=([^/]+)/[0-9]+/[^/]+/([a-z0-9-]+)/")
_SUBRESOURCES = ("uploads", "uploadId", "list-type", "delete", "versions", "tagging")


def operation_of(method: str, query: str, target: str) -> str:
    """As AWS bills it: the action of SQS; the method of S3, with the sub-resource where there is one."""
    if target:
        return target.rpartition(".")[2]
    named = {word.partition("=")[0] for word in query.split("&")}
    return " ".join([method, *(name for name in _SUBRESOURCES if name in named)])


def counting(app: Any, calls: Counter[tuple[str, str, str]]) -> Any:
    """The application, its requests counted."""

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["path"] == CALLS:
                await _tell(send, calls)
                return
            headers = dict(scope["headers"])
            if found := _CREDENTIAL.search(headers.get(b"authorization", b"")):
                target = headers.get(b"x-amz-target", b"").decode()
                operation = operation_of(scope["method"], scope["query_string"].decode(), target)
                calls[found[1].decode(), found[2].decode(), operation] += 1
        await app(scope, receive, send)

    return counted


async def _tell(send: Any, calls: Counter[tuple[str, str, str]]) -> None:
    body = json.dumps([[*key, count] for key, count in sorted(calls.items())]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until SIGTERM."""
    port = sys.argv[1]
    os.environ |= {"MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": port, "LOG_LEVEL": "WARNING", "SERVICES": "s3,sqs"}
    # It reads its settings when it is imported.
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    asyncio.run(serve(counting(app, Counter()), config))


if __name__ == "__main__":
    main()
