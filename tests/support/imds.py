"""EC2's instance metadata service and an ECS agent, on loopback, in a thread of its own: for this process and for others."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROLE = "vproc-test"
_TOKEN_HEADER = "X-aws-ec2-metadata-token"
_HANGS_FOR_S = 60


@dataclass
class FakeHost:
    """What it says. ``failing``: a status that everything is answered with, or 0: nothing is answered. ``asked`` counts by
    path; ``protections`` are the bodies that came; ``protection_answer`` is given to the next of them, and goes on."""

    url: str = ""
    spot: str | None = None
    lifecycle: str | None = None
    rebalance: str | None = None
    credentials_end_at: datetime = field(default_factory=lambda: datetime.now(UTC) + timedelta(hours=6))
    number: int = 1
    failing: int | None = None
    token: str = "token-1"
    asked: Counter[str] = field(default_factory=Counter)
    protections: list[dict[str, Any]] = field(default_factory=list)
    protection_answer: tuple[int, dict[str, Any]] = (200, {"protection": {"ProtectionEnabled": True}})
    ended: threading.Event = field(default_factory=threading.Event)

    def credentials(self) -> dict[str, str]:
        """Of the role, as they are now. ``number`` tells them apart."""
        return {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": f"ASIATEST{self.number}",
            "SecretAccessKey": "secret",
            "Token": f"session-{self.number}",
            "LastUpdated": "2026-01-01T00:00:00Z",
            "Expiration": f"{self.credentials_end_at:%Y-%m-%dT%H:%M:%SZ}",
        }

    def answer(self, path: str) -> tuple[int, str]:
        """To a GET with a token that holds."""
        known = {
            "/latest/meta-data/spot/instance-action": self.spot,
            "/latest/meta-data/autoscaling/target-lifecycle-state": self.lifecycle,
            "/latest/meta-data/events/recommendations/rebalance": self.rebalance,
            "/latest/meta-data/iam/security-credentials/": ROLE,
            f"/latest/meta-data/iam/security-credentials/{ROLE}": json.dumps(self.credentials()),
        }
        text = known.get(path)
        return (404, "") if text is None else (200, text)


def _handler(host: FakeHost) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - three verbs of one server
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked[self.path] += 1
            if not self._failed():
                held = self.headers.get(_TOKEN_HEADER) == host.token
                self._send(*(host.answer(self.path) if held else (401, "")))

        def do_PUT(self) -> None:
            host.asked[self.path] += 1
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self._failed():
                return
            if self.path == "/latest/api/token":
                self._send(200 if self.headers.get(f"{_TOKEN_HEADER}-ttl-seconds") else 400, host.token)
            else:
                host.protections.append(json.loads(body))
                status, answer = host.protection_answer
                self._send(status, json.dumps(answer))

        def _failed(self) -> bool:
            if host.failing is None:
                return False
            if host.failing:
                self._send(host.failing, "out of order")
            else:
                host.ended.wait(_HANGS_FOR_S)
            return True

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


@contextmanager
def fake_host() -> Iterator[FakeHost]:
    """One that listens."""
    host = FakeHost()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(host)) as server:
        host.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield host
        finally:
            host.ended.set()
            server.shutdown()
            thread.join()
