"""A real daemon tells a real receiver what became of an upload; the receiver checks it with the standard's own library."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks import Webhook

from tests.support.cluster import until
from tests.support.daemon import dev
from tests.support.media import clip

SECRET = "whsec_" + "bm90IGEgc2Vj" * 3
_RETRIED_WITHIN_S = 30


@dataclass
class Hook:
    """What came, in its order; the first that tells of an end is answered 503."""

    url: str = ""
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def status_for(self, headers: dict[str, str], body: bytes) -> int:
        """How it is answered."""
        self.came.append((headers, body))
        if json.loads(body)["type"] == "video.completed" and not self.refused:
            self.refused.append(headers["webhook-id"])
            return 503
        return 204


@contextmanager
def hooked() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(hook.status_for({name.lower(): value for name, value in self.headers.items()}, body))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: what came is asked of the hook."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_port}/told"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


def test_a_receiver_hears_of_an_upload_to_its_end(tmp_path: Path) -> None:
    """What it refused comes again under the same id, with the same bytes; the job did not wait for it."""
    settings = {"VPROC_WEBHOOK_SECRET": SECRET, "VPROC_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"}
    with hooked() as hook, dev(tmp_path, **settings) as daemon:
        file_id = daemon.caller.upload(clip("tiny.mp4"), callback_url=hook.url)
        daemon.caller.completed(file_id)
        until(
            lambda: sum(headers["webhook-id"] in hook.refused for headers, _ in hook.came) == 2,
            within_s=_RETRIED_WITHIN_S,
            what="the event that was refused, again",
        )
        log = (tmp_path / "dev.err").read_text()
    told = [Webhook(SECRET).verify(body, headers) for headers, body in hook.came]
    assert {event["data"]["file_id"] for event in told} == {file_id}
    ids = {headers["webhook-id"]: body for headers, body in hook.came}
    assert sorted(json.loads(body)["type"] for body in ids.values()) == ["video.completed", "video.processing", "video.uploaded"]
    assert len({body for headers, body in hook.came if headers["webhook-id"] in hook.refused}) == 1
    assert SECRET not in log
    assert hook.url not in log
