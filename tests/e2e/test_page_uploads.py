"""Large files through the page, in parts: paused, gone on with after a reload, parts tried again; several files at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from playwright.async_api import Error, Request, Route, expect

from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev
from tests.support.media import clip
from tests.support.page import MIB, WITHIN_MS, Seen, large, opened

pytestmark = pytest.mark.xdist_group("e2e-page-uploads")

PART = 8 * MIB
SIZE = 4 * PART + 1234
PARTS = [1, 2, 3, 4, 5]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("page-uploads"), VPROC_PROFILE="copy") as running:
        yield running


def _part_of(request: Request) -> int | None:
    """Which part is put by a request to the store; None for another request."""
    number = parse_qs(urlsplit(request.url).query).get("partNumber")
    return int(number[0]) if number and request.method == "PUT" else None


@dataclass
class Store:
    """Stands before the store. ``held``: parts that wait until ``free``; ``faults``: what a part gets instead, in turn."""

    held: set[int] = field(default_factory=set)
    faults: dict[int, list[int | str]] = field(default_factory=dict)
    put: list[int] = field(default_factory=list)
    free: anyio.Event = field(default_factory=anyio.Event)
    _more: anyio.Event = field(default_factory=anyio.Event)

    async def has(self, **times: int) -> None:
        """Wait until parts were put so often: ``part_3=2``."""
        wanted = {int(name.removeprefix("part_")): count for name, count in times.items()}
        with anyio.fail_after(WITHIN_MS / 1000):
            while any(self.put.count(number) < count for number, count in wanted.items()):
                await self._more.wait()

    async def answer(self, route: Route) -> None:
        """One request to the store."""
        number = _part_of(route.request)
        if number is None:
            await route.continue_()
            return
        self.put.append(number)
        self._more.set()
        self._more = anyio.Event()
        if faults := self.faults.get(number):
            fault = faults.pop(0)
            if isinstance(fault, str):
                await route.abort(fault)
            else:
                await route.fulfill(status=fault, headers={"Access-Control-Allow-Origin": "*"})
            return
        if number in self.held:
            await self.free.wait()
        try:
            await route.continue_()
        except Error:
            assert self.held, "the browser gave it up: nothing but what was held may be"


async def _before(seen: Seen, daemon: Daemon) -> Store:
    store = Store()
    await seen.page.route(f"{daemon.ready['s3']}/**", store.answer)
    return store


async def test_a_large_file_goes_on_after_a_pause_and_after_a_reload(daemon: Daemon, tmp_path: Path) -> None:
    """Only the parts that were missing are put again, and what arrives is the file."""
    path = large(tmp_path, SIZE)
    async with opened(daemon) as seen:
        store = await _before(seen, daemon)
        store.held = {3, 4, 5}
        await seen.choose(path)
        card = seen.card("large.mp4")
        await expect(card).to_have_attribute("data-state", "uploading")
        await expect(card).to_contain_text(re.compile(r"\d+ %"))
        # Two parts stand, and as many as go at once are on their way.
        await store.has(part_3=1, part_4=1, part_5=1)
        await card.get_by_role("button", name="Pause").click()
        await expect(card).to_have_attribute("data-state", "paused")
        await seen.shoot("paused")
        await card.get_by_role("button", name="Resume").click()
        await expect(card).to_have_attribute("data-state", "uploading")
        await store.has(part_3=2, part_4=2, part_5=2)
        assert Counter(store.put) == {1: 1, 2: 1, 3: 2, 4: 2, 5: 2}
        await seen.page.reload()
        store.free.set()
        await expect(card).to_have_attribute("data-state", "interrupted")
        await expect(card.locator(".line")).to_have_text("49 % is uploaded. Choose the same file again to go on.")
        await seen.axe()
        await seen.shoot("interrupted")
        store.put.clear()
        async with seen.page.expect_file_chooser() as chooser:
            await card.get_by_role("button", name="Choose the file again").click()
        await (await chooser.value).set_files(path)
        await seen.reaches("large.mp4", "completed")
        assert sorted(store.put) == [3, 4, 5]
        assert await seen.page.locator(".card").count() == 1
        [file_id] = parse_qs(urlsplit(seen.page.url).query)["file"]
        assert await seen.page.evaluate("localStorage.getItem('vproc.uploads')") == "{}"
    assert daemon.caller.status(file_id)["size"] == SIZE


async def test_another_file_is_not_taken_for_the_rest(daemon: Daemon, tmp_path: Path) -> None:
    """A file that was changed since is uploaded as a new one; the parts of the old one can be discarded."""
    path = large(tmp_path, SIZE, "first.mp4")
    async with opened(daemon) as seen:
        store = await _before(seen, daemon)
        store.held = {2, 3}
        await seen.choose(path)
        await store.has(part_2=1, part_3=1)
        await seen.page.reload()
        store.free.set()
        store.held = set()
        card = seen.card("first.mp4")
        await expect(card).to_have_attribute("data-state", "interrupted")
        other = large(tmp_path, SIZE - 5, "other.mp4")
        store.put.clear()
        async with seen.page.expect_file_chooser() as chooser:
            await card.get_by_role("button", name="Choose the file again").click()
        await (await chooser.value).set_files(other)
        await expect(seen.page.locator("#refused")).to_contain_text("That is another file than “first.mp4”")
        await seen.reaches("other.mp4", "completed")
        assert sorted(store.put) == PARTS
        await card.get_by_role("button", name="Discard").click()
        await expect(card).to_have_count(0)
        assert await seen.page.evaluate("localStorage.getItem('vproc.uploads')") == "{}"
    cancelled = daemon.caller.ask("/uploads?status=cancelled").json["uploads"]
    assert [file["file_name"] for file in cancelled] == ["first.mp4"]


async def test_a_part_that_fails_is_tried_again(daemon: Daemon, tmp_path: Path) -> None:
    """A connection that breaks, a store that throttles, an address that expired: each costs a try, with a fresh address."""
    path = large(tmp_path, SIZE, "faults.mp4")
    async with opened(daemon) as seen:
        seen.allowed |= {503, 403}
        store = await _before(seen, daemon)
        store.faults = {1: [503], 2: ["connectionreset"], 4: [403]}
        await seen.choose(path)
        await seen.reaches("faults.mp4", "completed")
        assert Counter(store.put) == {1: 2, 2: 2, 3: 1, 4: 2, 5: 1}
        signed = [urlsplit(asked.url).path.rsplit("/", 1)[-1] for asked in seen.asked if "/s3/multipart/" in asked.url]
        assert Counter(signed)["4"] == 2
        assert [text for text in seen.wrong if "ERR_CONNECTION_RESET" not in text] == []
        seen.wrong.clear()


async def test_an_upload_that_is_cancelled_leaves_nothing(daemon: Daemon, tmp_path: Path) -> None:
    path = large(tmp_path, SIZE, "unwanted.mp4")
    async with opened(daemon) as seen:
        store = await _before(seen, daemon)
        store.held = {1, 2, 3}
        await seen.choose(path)
        await store.has(part_1=1, part_2=1, part_3=1)
        async with seen.page.expect_response(lambda answer: answer.request.method == "DELETE") as given_up:
            await seen.card("unwanted.mp4").get_by_role("button", name="Cancel").click()
        assert (await given_up.value).status == 200
        await expect(seen.page.locator(".card[data-state=uploading]")).to_have_count(0)
        store.free.set()
    listed = fetch(f"{daemon.api}/uploads?limit=100").json["uploads"]
    assert [file["processing_status"] for file in listed if file["file_name"] == "unwanted.mp4"] == ["cancelled"]


async def test_many_files_are_dropped_at_once(daemon: Daemon, tmp_path: Path) -> None:
    """Dropped anywhere, uploaded two at a time, each followed to its end although a browser streams only some of them."""
    video = clip("second.mp4").read_bytes()
    paths = [tmp_path / f"many-{number}.mp4" for number in range(8)]
    for path in paths:
        path.write_bytes(video)
    async with opened(daemon) as seen:
        await seen.page.evaluate(
            """async (names) => {
                const data = new DataTransfer();
                const body = await (await fetch("/assets/icon.svg")).blob();
                for (const name of names) data.items.add(new File([body], name));
                const how = { dataTransfer: data, bubbles: true, cancelable: true };
                const send = (type) => document.body.dispatchEvent(new DragEvent(type, how));
                send("dragenter");
                window.shown = !document.getElementById("dropping").hidden;
                send("drop");
            }""",
            ["dropped.mp4", "dropped.txt"],
        )
        assert await seen.page.evaluate("window.shown")
        await expect(seen.page.locator("#dropping")).to_be_hidden()
        await expect(seen.page.locator("#refused")).to_contain_text("dropped.txt")
        await seen.reaches("dropped.mp4", "failed")
        await seen.choose(*paths)
        for path in paths:
            await seen.reaches(path.name, "completed")
        # No player opened by itself in the midst of it.
        assert await seen.page.locator("video").count() <= 1
        await seen.shoot("many")
