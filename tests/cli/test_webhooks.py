"""``vproc webhooks``: what was told, told again, and an address tried out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import anyio
import pytest
from click.testing import CliRunner, Result

from tests.support.catalog import Given
from vproc.cli import cli
from vproc.core.webhook_signing import read_secrets, show_secret, signed_headers
from vproc.db.catalog import open_catalog
from vproc.ports import DueEvent


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VPROC_DATABASE_URL", f"sqlite:///{tmp_path}/webhooks.db")
    return f"sqlite+aiosqlite:///{tmp_path}/webhooks.db"


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["webhooks", *words])


def announced(url: str) -> DueEvent:
    """An event of a cancelled file, whose address answered 410."""

    async def make() -> DueEvent:
        async with open_catalog(url) as catalog:
            await catalog.request_cancel((await Given(catalog).pending(callback_url="https://a.example/x?token=t0p")).file_id)
            (event,) = await catalog.take_due(limit=1, per_host=1, running={}, lease_s=60)
            await catalog.event_given_up(event, "410", disable=True)
            return event

    return anyio.run(make)


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A server on loopback that answers so, and what it was sent."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_event_is_listed_without_its_querys_secret_and_sent_again(database: str) -> None:
    event = announced(database)
    listed = run("list")
    assert f"{event.event_id}  " in listed.stdout
    assert "video.cancelled  given up 20" in listed.stdout
    assert "disabled by its answer 410: https://a.example/x" in listed.stdout
    assert "t0p" not in listed.output
    (row,) = map(json.loads, run("list", "--json").stdout.splitlines())
    assert (row["id"], row["last_result"], row["endpoint_disabled"], row["url"]) == (
        event.event_id,
        "410",
        True,
        "https://a.example/x",
    )
    assert run("redeliver", event.event_id).stdout == "due again: 1\n"
    (row,) = map(json.loads, run("list", "--json").stdout.splitlines())
    assert (row["attempts"], row["failed_at"], row["endpoint_disabled"]) == (0, None, False)
    assert run("redeliver", "--failed").stdout == "due again: 0\n"


def test_what_cannot_be_sent_again_is_said(database: str) -> None:
    assert run("redeliver").exit_code == 2
    assert run("redeliver", "msg_1", "--failed").exit_code == 2
    unknown = run("redeliver", "msg_1")
    assert (unknown.exit_code, "vproc webhooks list" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(("status", "code", "words"), [(204, 0, "delivered: 204"), (500, 1, "not delivered: 500")])
def test_an_address_is_tried_with_the_kept_secret(
    database: str, monkeypatch: pytest.MonkeyPatch, status: int, code: int, words: str
) -> None:
    monkeypatch.setenv("VPROC_WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")
    secret = run("list", "--show-secret").stdout.strip()
    with answering(status) as (url, got):
        done = run("test", url)
    assert (done.exit_code, done.stdout) == (code, words + "\n")
    ((headers, body),) = got
    expected = signed_headers(
        read_secrets(secret), webhook_id=headers["webhook-id"], timestamp=int(headers["webhook-timestamp"]), body=body
    )
    assert expected.items() <= headers.items()
    assert json.loads(body)["type"] == "vproc.test"


def test_a_secret_that_is_set_is_the_one(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [show_secret(bytes([number]) * 32) for number in (1, 2)]
    monkeypatch.setenv("VPROC_WEBHOOK_SECRET", ", ".join(secrets))
    assert run("list", "--show-secret").stdout.split() == secrets
    monkeypatch.setenv("VPROC_WEBHOOK_SECRET", "whsec_t0p")
    wrong = run("list")
    assert (wrong.exit_code, "VPROC_WEBHOOK_SECRET: takes whsec_" in wrong.stderr, "t0p" in wrong.output) == (78, True, False)


def test_a_private_address_is_refused(database: str) -> None:
    done = run("test", "http://127.0.0.1:9/", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (1, {"delivered": False, "result": "refused"})
