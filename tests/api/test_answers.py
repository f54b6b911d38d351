"""Each route gives the answers that its document names, and no others. Of accounts, test_account_answers.py proves the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest

import vproc.api.body
import vproc.api.desk
from tests.support.api import PROFILES, RunningApi, TokenIdentity, running_api
from tests.support.manifests import ladder
from tests.support.routes import ACCOUNT_ROUTES, half_a_body, path_of
from vproc.api.identity import COOKIE
from vproc.api.openapi import openapi_document
from vproc.api.parts import PARTS, Limits
from vproc.core.dead_letters import Redriven
from vproc.core.keys import manifest_key
from vproc.errors import UnavailableError
from vproc.http import ROUTES
from vproc.ports import Caller
from vproc.vitals import Vitals

REDRIVE = "/ops/dead-letters/redrive"
BODIED = ("/s3/multipart", "/s3/multipart/u/complete?key=k", "/s3/sign", REDRIVE)
A_FILE = {"filename": "a.mp4"}


async def _away(*_: object, **__: object) -> Any:
    raise UnavailableError("away")


class Provoker:
    """Asks each route for each of its answers."""

    def __init__(self, api: RunningApi, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = api
        self.monkeypatch = monkeypatch

    async def ask(self, method: str, path: str, **options: Any) -> None:
        """Ask as an admin."""
        headers = {"Authorization": "Bearer admin", **options.pop("headers", {})}
        await self.api.ask(method, path, headers=headers, **options)

    async def every_route(self, *, headers: dict[str, str], **body: Any) -> None:
        """Ask every route of a file that is not, or of one that is for everybody."""
        for route in ROUTES:
            await self.api.ask(route.method, path_of(route, UUID(int=9)), headers=headers, **(body if route.body else {}))

    async def files(self) -> None:
        """What depends on the state of a file."""
        api = self.api
        done, failed, busy = await api.given.completed(delete_raw=False), await api.given.failed(), await api.given.leased()
        waiting = await api.given.pending()
        for file in (done, failed):
            api.put_raw(file)
        await api.processed.put(manifest_key(done.file_id), ladder(done.file_id).to_json(), content_type="application/json")
        for what in ("status", "events", "download/original", "download/processed"):
            await self.ask("GET", f"/upload/{done.file_id}/{what}")
        for file_id in (busy.file_id, done.file_id, waiting.file_id):
            await self.ask("POST", f"/upload/{file_id}/cancel")
        for file_id in (failed.file_id, done.file_id):
            await self.ask("POST", f"/upload/{file_id}/retry")
        for file_id in (busy.file_id, done.file_id):
            await self.ask("DELETE", f"/upload/{file_id}")

    async def playback(self) -> None:
        """What a player asks for, with the bucket there and away."""
        done = await self.api.given.completed()
        await self.api.processed.put(manifest_key(done.file_id), ladder(done.file_id).to_json(), content_type="application/json")
        key = f"{done.file_id}/master.m3u8"
        await self.api.processed.put(key, b"#EXTM3U", content_type="application/vnd.apple.mpegurl")
        told = await self.api.ask("POST", f"/upload/{done.file_id}/playback", headers={"Authorization": "Bearer admin"})
        for path in (told.json["hls"], told.json["poster"]):
            await self.ask("GET", path, allow_redirects=False)
        with self.monkeypatch.context() as patch:
            patch.setattr(self.api.processed, "get", _away)
            await self.ask("GET", told.json["hls"])

    async def strangers_page(self) -> None:
        """Another site's page makes a browser ask that has a session here."""
        with self.monkeypatch.context() as patch:
            patch.setattr(TokenIdentity, "identify", _by_cookie)
            await self.every_route(headers={"Sec-Fetch-Site": "cross-site"})

    async def parts(self) -> None:
        """What depends on an upload in parts, and on how it is asked for."""
        keyed = {"Idempotency-Key": "k-2"}
        begun = await self.api.ask("POST", "/s3/multipart", json=A_FILE, headers={"Authorization": "Bearer admin", **keyed})
        key, upload_id = begun.json["key"], quote(begun.json["uploadId"], safe="")
        part = {"PartNumber": 1, "ETag": self.api.multipart.put(begun.json["uploadId"], 1, b"x")}
        calls = [("GET", ""), ("GET", "/1"), ("GET", "/batch"), ("POST", "/complete"), ("DELETE", "")]
        for which in (upload_id, "none"):
            for method, path in calls:
                asked = {"json": {"parts": [part]}} if path == "/complete" else {}
                await self.ask(method, f"/s3/multipart/{which}{path}?key={key}&partNumbers=1", **asked)
        await self.api.catalog.request_cancel(UUID(key.rpartition("/")[2].removesuffix(".mp4")))
        await self.ask("POST", "/s3/multipart", json=A_FILE, headers=keyed)
        await self.ask("GET", "/s3/params?filename=a.mp4")
        await self.ask("GET", f"/s3/params?filename=a.mp4&size={2**60}")
        await self.ask("POST", "/s3/sign", json={"method": "PUT", "key": "a.mp4"})
        await self.ask("POST", "/s3/sign", json={"method": "GET", "key": key, "uploadId": "none"})
        for path in BODIED:
            await self.ask("POST", path)
            for body in (b"{", b"x" * 1_100_000):
                await self.ask("POST", path, data=io.BytesIO(body), headers={"Content-Type": "application/json"})
        with self.monkeypatch.context() as patch:
            for name in ("get", "announce"):
                patch.setattr(self.api.catalog, name, _away)
            for method, path in calls:
                asked = {"json": {"parts": [part]}} if path == "/complete" else {}
                await self.ask(method, f"/s3/multipart/{upload_id}{path}?key={key}&partNumbers=1", **asked)
            await self.ask("GET", "/s3/params?filename=a.mp4")
            await self.ask("POST", "/s3/multipart", json=A_FILE)
            await self.ask("POST", "/s3/sign", json={"method": "PUT", "key": "a.mp4"})

    async def operations(self) -> None:
        """What depends on the dead letters, and on what an operator wants of them."""
        letters = self.api.letters
        for name, path in (("bob", "/ops/state"), ("eve", "/ops/dead-letters")):
            await self.ask("GET", path, headers={"Authorization": f"Bearer {name}"})
        for body in ({"ids": ["m"]}, {"all": True}, {}):
            await self.ask("POST", REDRIVE, json=body)
        letters.redriven = Redriven(1, "sqs", "it was cancelled")
        await self.ask("POST", REDRIVE, json={"all": True})
        with self.monkeypatch.context() as patch:
            patch.setattr(vproc.api.desk, "REDRIVE_WITHIN_S", 0.0)
            letters.pause_next("send_back")
            await self.ask("POST", REDRIVE, json={"all": True})
        self.api.clock.advance(60)
        letters.fail_next("_look", UnavailableError("away"))
        await self.ask("GET", "/ops/dead-letters")
        with self.monkeypatch.context() as patch:
            patch.setattr(self.api.app[PARTS].desk, "_letters", None)
            await self.ask("GET", "/ops/dead-letters")
            patch.setattr(self.api.catalog, "overview", _away)
            self.api.clock.advance(60)
            await self.ask("GET", "/ops/state")

    async def requests(self) -> None:
        """What depends on the request."""
        for body in (b'{"file_name": "a.mp4"}', b"{", b"{}", b"x" * 70_000):
            await self.ask("POST", "/upload", data=body, headers={"Content-Type": "application/json"})
        keyed = {"Authorization": "Bearer admin", "Idempotency-Key": "k-1"}
        told = await self.api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=keyed)
        await self.api.catalog.request_cancel(UUID(told.json["file_id"]))
        await self.api.ask("POST", "/upload", json={"file_name": "a.mp4"}, headers=keyed)
        await self.ask("GET", "/uploads?limit=0")
        await self.ask("GET", f"/upload/{UUID(int=9)}/download/processed?segments=some")
        await self.ask("GET", "/assets/nothing")
        await self.ask("GET", "/docs/nothing")
        self.monkeypatch.setattr(TokenIdentity, "identify", _open_identity)
        with self.monkeypatch.context() as patch:
            patch.setattr(vproc.api.body, "BODY_WITHIN_S", 0.1)
            for path in ("/upload", *BODIED):
                await half_a_body(self.api.port, path)

    def given(self) -> set[tuple[str, str, int]]:
        """Method, template and status of every answer so far, by the metrics."""
        counted = next(family for family in self.api.metrics.registry.collect() if family.name == "vproc_http_requests")
        return {
            (sample.labels["method"], sample.labels["route"], int(sample.labels["status"]))
            for sample in counted.samples
            if sample.name.endswith("_total")
        }


async def _by_cookie(*_: object) -> Caller:
    return Caller("ann", by_cookie=True)


async def _open_identity(*_: object) -> Caller:
    return Caller("default", admin=True, key_id="key")


async def test_each_route_gives_the_answers_that_its_document_names_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(profiles=PROFILES, requests_per_minute=1)
    vitals = Vitals()
    async with running_api(tmp_path, identity=TokenIdentity(), limits=limits, vitals=vitals) as api:
        provoker = Provoker(api, monkeypatch)
        for headers in ({}, {"Authorization": "Bearer admin"}, {"Authorization": "Bearer admin", "If-None-Match": "*"}):
            await provoker.every_route(headers=headers)
        await api.get("/uploads", headers={"Authorization": "Bearer ann"})
        await provoker.every_route(headers={"Authorization": "Bearer ann"})
        await provoker.files()
        await provoker.playback()
        await provoker.strangers_page()
        await provoker.parts()
        await provoker.operations()
        await provoker.requests()
        for name in ("get", "list", "announce", "open_session", "end_session"):
            monkeypatch.setattr(api.catalog, name, _away)
        await provoker.every_route(headers={"Cookie": f"{COOKIE}={'a' * 43}"}, json={"file_name": "a.mp4"})
        with vitals.pulse("poller") as pulse:
            pulse.due(-1)
            await provoker.ask("GET", "/healthz")
        api.draining.set()
        await provoker.ask("GET", "/readyz")
        given = provoker.given()
    given = {answer for answer in given if answer[1] not in ACCOUNT_ROUTES}
    document = openapi_document(ROUTES, version="1")
    named = {
        (method.upper(), path, int(status))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
        if status != "default" and path not in ACCOUNT_ROUTES
    }
    assert given == named
