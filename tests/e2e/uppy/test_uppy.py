"""Uppy's own S3 plugin, versions 5 and 6, in a true browser: against the daemon and a store whose answers break as a test wants.

Version 5 asks the API across origins with a key; version 6 in its companion mode asks its own origin with the session's
cookie, and in its `signRequest` mode has each request signed and speaks to the store by itself.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal
from playwright.async_api import Page, async_playwright

from tests.support.browser import FLAGS, find_browser
from tests.support.caller import ENDED, Answered, fetch
from tests.support.cluster import until
from tests.support.daemon import Daemon, dev, run
from tests.support.fault_proxy import Asked, FaultProxy, Verb, answered, drop_answer, fault_proxy
from tests.support.media import clip
from tests.support.uploader_site import Site, bundle, uploader_site

pytestmark = pytest.mark.xdist_group("e2e-uppy")

WITHIN_MS = 20_000
PART = 5 << 20
"""As uploader.js cuts them."""
MODES = ("v5", "v6", "v6-sign")


@dataclass
class World:
    """The daemon, its store behind a proxy, a site, and the key that its users have."""

    daemon: Daemon
    proxy: FaultProxy
    site: Site
    key: str

    def options(self, mode: str, **more: object) -> dict[str, Any]:
        """What the page sets Uppy up with."""
        told: dict[str, Any] = {"parts": True, **more}
        if mode == "v5":
            headers = {"authorization": f"Bearer {self.key}"}
            return told | {"plugin": {"endpoint": f"{self.daemon.api}/", "headers": headers, "retryDelays": [0, 0, 100]}}
        if mode == "v6":
            return told | {"plugin": {"companionEndpoint": self.site.origin}}
        return told | {"sign": {"url": f"{self.daemon.api}/s3/sign", "key": self.key}}

    @property
    def numbers(self) -> list[int]:
        """The parts of the film."""
        return list(range(1, ceil(len(self.site.film) / PART) + 1))

    def ask(self, path: str) -> Answered:
        """The API, with the key."""
        return fetch(self.daemon.api + path, headers={"Authorization": f"Bearer {self.key}"})

    def end_of(self, key: str) -> dict[str, Any]:
        """The file of that key, once the daemon is done with it."""
        file_id = Path(key).stem

        def ended() -> dict[str, Any] | None:
            told: dict[str, Any] = self.ask(f"/upload/{file_id}/status").json
            return told if told["processing_status"] in ENDED else None

        told, _ = until(ended, within_s=60, what=f"{key} done")
        assert told is not None
        return told

    def original(self, key: str) -> bytes:
        """What arrived."""
        return fetch(self.ask(f"/upload/{Path(key).stem}/download/original").json["download_url"]).body


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One of it for all tests. Originals are kept, to be looked at."""
    folder = tmp_path_factory.mktemp("uppy")
    scripts = {version: bundle(version, folder) for version in (5, 6)}
    film = clip("odd.mkv").read_bytes()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(uploader_site(film, scripts)) as site,
        portal.wrap_async_context_manager(fault_proxy("")) as proxy,
        dev(
            folder,
            VPROC_AUTH="api-key",
            VPROC_CORS_ORIGINS=site.origin,
            VPROC_S3_PUBLIC_ENDPOINT_URL=proxy.url,
            VPROC_DELETE_RAW="false",
            VPROC_PROFILE="copy",
        ) as daemon,
    ):
        daemon.until_ready()
        site.api = daemon.api
        proxy.upstream = daemon.ready["s3"].rstrip("/")
        proxy.secrets = {"embedded": "embedded"}
        made = run(folder, "keys", "create", "kim", "--json", VPROC_DATABASE_URL=daemon.ready["database_url"])
        assert made.code == 0, made.stderr
        yield World(daemon, proxy, site, json.loads(made.stdout)["key"])


@asynccontextmanager
async def open_page(world: World, mode: str) -> AsyncIterator[Page]:
    """A browser with the page; nothing goes wrong on it that no test asked for."""
    world.proxy.heal()
    world.proxy.always.clear()
    world.proxy.refused.clear()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        try:
            page = await browser.new_page()
            page.set_default_timeout(WITHIN_MS)
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda message: print("console:", message.text))  # noqa: T201 - shown where a test fails
            await page.goto(world.site.page(int(mode[1])))
            if mode == "v6":
                await page.evaluate("(key) => window.logIn(key)", world.key)
            yield page
            assert problems == []
        finally:
            await browser.close()
    assert world.proxy.refused == []


async def start(page: Page, world: World, mode: str, meta: dict[str, str] | None = None, **more: object) -> None:
    """Set Uppy up, add the film, upload."""
    await page.evaluate("(options) => window.begin(options)", world.options(mode, **more))
    await page.evaluate("([name, meta]) => window.add(name, meta)", ["Été 1.mkv", meta or {}])
    if more.get("keep"):
        await page.wait_for_function("window.told.log.some((line) => line.includes('Added 1 blobs'))")
    await page.evaluate("() => window.upload()")


async def done(page: Page) -> str:
    """The key of the film, once Uppy says that it is there."""
    try:
        await page.wait_for_function("window.told.done.length > 0 || window.told.errors.length > 0")
    finally:
        told = await page.evaluate("() => window.told")
        print(told)  # noqa: T201 - what Uppy logged, where a test fails
    assert told["errors"] == [], told
    [one] = told["done"]
    assert one["key"].startswith("videos/kim/")
    assert one["url"].partition("?")[0].endswith(one["key"])
    return str(one["key"])


async def arrived(world: World, key: str, profile: str = "copy") -> None:
    """The object is the film, and the daemon has made of it what was asked for."""
    told = await anyio.to_thread.run_sync(world.end_of, key)
    assert (told["processing_status"], told["profile"], told["size"]) == ("completed", profile, len(world.site.film)), told
    assert await anyio.to_thread.run_sync(world.original, key) == world.site.film


# --- what breaks -------------------------------------------------------------------------------------------------------


@dataclass
class Parts:
    """Every part that was asked for, in order. ``held`` once part 2 waits; it is lost when it is let go."""

    begun: list[int] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    hold: bool = False
    faults: list[Verb] = field(default_factory=list)

    async def part(self, proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        """One UploadPart."""
        number = int(asked.request.query["partNumber"])
        self.begun.append(number)
        if number == 2 and self.hold:
            self.hold = False
            self.held.set()
            await anyio.to_thread.run_sync(self.let_go.wait)
            return await refusal(500, "InternalError", "let go")(proxy, asked)
        if number == 2 and self.faults:
            return await self.faults.pop(0)(proxy, asked)
        return answered(asked, await proxy.forward(asked))


def refusal(status: int, code: str, message: str) -> Verb:
    """As S3 refuses a browser: with the headers that let the page read why."""

    async def verb(_proxy: FaultProxy, asked: Asked) -> web.StreamResponse:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
        return web.Response(status=status, text=body, content_type="application/xml", headers=headers)

    return verb


@asynccontextmanager
async def holding_part_two(world: World) -> AsyncIterator[Parts]:
    """The second part does not get through at first."""
    parts = Parts(hold=True)
    world.proxy.always["UploadPart"] = parts.part
    try:
        yield parts
    finally:
        parts.let_go.set()


# --- the cases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_small_file_goes_in_one_request(world: World, mode: str) -> None:
    """By a form in the companion modes, by PUT where requests are signed; the profile stands in its metadata."""
    async with open_page(world, mode) as page:
        before = world.proxy.calls.copy()
        await start(page, world, mode, {"profile": "thumbnails"}, parts=False)
        key = await done(page)
        sent = world.proxy.calls - before
        assert sent["UploadPart"] == 0
        assert sent["PutObject"] == (1 if mode == "v6-sign" else 0)
    # Uppy gives the callback no metadata: the default is made of it.
    await arrived(world, key, profile="copy" if mode == "v6-sign" else "thumbnails")


@pytest.mark.parametrize("mode", MODES)
async def test_a_large_file_goes_in_parts(world: World, mode: str) -> None:
    """Each part once."""
    parts = Parts()
    async with open_page(world, mode) as page:
        world.proxy.always["UploadPart"] = parts.part
        await start(page, world, mode)
        key = await done(page)
    assert sorted(parts.begun) == world.numbers
    await arrived(world, key)


@pytest.mark.parametrize("mode", MODES)
async def test_an_upload_is_paused_and_resumed(world: World, mode: str) -> None:
    """What the store has is not sent again."""
    async with open_page(world, mode) as page, holding_part_two(world) as parts:
        await start(page, world, mode)
        assert await anyio.to_thread.run_sync(parts.held.wait, 30)
        await page.wait_for_function("window.told.parts.includes(1)")
        await page.evaluate("() => window.uppy.pauseAll()")
        parts.let_go.set()
        await page.evaluate("() => window.uppy.resumeAll()")
        key = await done(page)
    assert (parts.begun.count(1), parts.begun.count(2)) == (1, 2)
    await arrived(world, key)


@pytest.mark.parametrize("mode", MODES)
async def test_an_upload_goes_on_after_a_reload(world: World, mode: str) -> None:
    """With the plugin that keeps files over a reload: the same upload, and the part that stands is not sent again."""
    async with open_page(world, mode) as page, holding_part_two(world) as parts:
        await start(page, world, mode, keep=True)
        assert await anyio.to_thread.run_sync(parts.held.wait, 30)
        await page.wait_for_function("window.told.parts.includes(1)")
        begun = await page.evaluate("() => window.uppy.getFiles()[0].s3Multipart")
        await page.reload()
        parts.let_go.set()
        await page.evaluate("(options) => window.begin(options)", world.options(mode, keep=True))
        await page.wait_for_function("window.told.restored")
        await page.evaluate("() => { window.uppy.emit('restore-confirmed') }")
        key = await done(page)
        assert key == begun["key"]
    assert (parts.begun.count(1), parts.begun.count(2)) == (1, 2)
    await arrived(world, key)


@pytest.mark.parametrize("fault", [refusal(503, "SlowDown", "as a test wants"), drop_answer()], ids=["refused", "unheard"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_lost_part_is_sent_again(world: World, mode: str, fault: Verb) -> None:
    """One that the store refused for once, and one whose answer was lost: Uppy tries again by itself."""
    parts = Parts(faults=[fault])
    async with open_page(world, mode) as page:
        world.proxy.always["UploadPart"] = parts.part
        await start(page, world, mode)
        key = await done(page)
    assert sorted(parts.begun) == sorted([*world.numbers, 2])
    await arrived(world, key)


@pytest.mark.parametrize("mode", MODES)
async def test_a_part_whose_address_is_over_gets_a_new_one(world: World, mode: str) -> None:
    """Version 5 asks for it by itself; version 6 fails the file, and its retry goes on from the parts that stand."""
    parts = Parts(faults=[refusal(403, "AccessDenied", "Request has expired")])
    async with open_page(world, mode) as page:
        world.proxy.always["UploadPart"] = parts.part
        await start(page, world, mode)
        if mode != "v5":
            await page.wait_for_function("window.told.errors.length > 0")
            await page.evaluate("() => { window.told.errors = []; window.uppy.retryAll() }")
        key = await done(page)
    assert sorted(parts.begun) == sorted([*world.numbers, 2])
    await arrived(world, key)


@pytest.mark.parametrize("mode", MODES)
async def test_a_cancelled_upload_leaves_nothing(world: World, mode: str) -> None:
    """Its file is cancelled, and the store is told to forget the parts."""
    async with open_page(world, mode) as page, holding_part_two(world) as parts:
        await start(page, world, mode)
        assert await anyio.to_thread.run_sync(parts.held.wait, 30)
        await page.wait_for_function("window.told.parts.includes(1)")
        key = await page.evaluate("() => window.uppy.getFiles()[0].s3Multipart.key")
        await page.evaluate("() => window.uppy.cancelAll()")
        parts.let_go.set()
        told = await anyio.to_thread.run_sync(world.end_of, key)
        assert told["processing_status"] == "cancelled"
