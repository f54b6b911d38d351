"""The page as a person uses it: a true browser, a true daemon, its own store, under the page's own policy."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.support.browser import FLAGS, find_browser
from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev
from tests.support.media import clip

pytestmark = pytest.mark.xdist_group("e2e-page")

WITHIN_MS = 60_000
ABR_LINKS = {
    *("master.m3u8", "manifest.mpd", "poster.jpg", "sprite.vtt", "metadata.json", "sprite-001.jpg"),
    *("v720/playlist.m3u8", "v360/playlist.m3u8", "audio/playlist.m3u8", "v720/iframes.m3u8", "v360/iframes.m3u8"),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("page")) as running:
        yield running


@dataclass
class Browser:
    """A page, and what went wrong on it."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    def hear(self, state: str) -> None:
        """A new text of the state line."""
        self.states.append(state)

    async def links(self) -> dict[str, str]:
        """Names and addresses of the outputs, once they are shown."""
        await expect(self.page.locator("#outputs a").first).to_be_visible(timeout=WITHIN_MS)
        found = await self.page.eval_on_selector_all("#outputs a", "links => links.map((a) => [a.textContent, a.href])")
        return dict(found)

    async def play(self) -> dict[str, float]:
        """Play what the page offers until it has run for a while; where it is then, and how wide its picture is."""
        await expect(self.page.locator("#player")).to_be_visible(timeout=WITHIN_MS)
        return await self.page.evaluate(
            """() => new Promise((resolve, reject) => {
                const player = document.getElementById("player");
                const where = () => ({ at_s: player.currentTime, width: player.videoWidth, long_s: player.duration });
                player.onerror = () => reject(player.error.message);
                player.ontimeupdate = () => player.currentTime > 0.5 && resolve(where());
                player.muted = true;
                player.play().catch(reject);
            })"""
        )

    async def loaded(self, selector: str) -> bool:
        """Whether a picture is shown, and is one."""
        await expect(self.page.locator(selector)).to_be_visible(timeout=WITHIN_MS)
        return bool(
            await self.page.eval_on_selector(selector, "async (img) => { await img.decode(); return img.naturalWidth > 0; }")
        )


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Browser]:
    """The page in a browser; anything that is told on its console, breaks or is refused is wrong."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = await browser.new_page()
        seen = Browser(page)
        page.on("console", lambda message: seen.wrong.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        page.on("response", lambda answer: seen.wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
        # Every text of the state line, however short it stands.
        await page.expose_function("heard", seen.hear)
        await page.add_init_script(
            """addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
                for (const { addedNodes } of changes) for (const { data } of addedNodes) heard(data);
            }).observe(document.getElementById("state"), { childList: true }));"""
        )
        await page.goto(address)
        yield seen
        await browser.close()


async def test_a_person_uploads_watches_and_plays(daemon: Daemon) -> None:
    """Choose, upload, see both bars run, get every output by its link, play it; the address is the file's, to come back to."""
    async with opened(f"{daemon.api}/") as browser:
        page = browser.page
        await expect(page.locator("#job")).to_be_hidden()
        await page.set_input_files("#file", clip("main.mp4"))
        await page.click("#send")
        await expect(page.locator("#send")).to_be_disabled()
        links = await browser.links()
        assert links.keys() == ABR_LINKS
        assert {fetch(address).status for address in links.values()} == {200}
        await expect(page.locator("#state")).to_have_text("completed, 100 %")
        await expect(page.locator("#send")).to_be_enabled()
        await expect(page.locator("#error")).to_be_empty()
        assert await page.eval_on_selector("#bar", "(bar) => bar.value") == 1
        assert await page.inner_text("#name") == "main.mp4"
        poster = str(await page.get_attribute("#player", "poster"))
        assert fetch(poster).headers["content-type"] == "image/jpeg"
        played = await browser.play()
        assert played["width"] in {640, 1280}
        assert played["long_s"] == pytest.approx(6, abs=0.2)
        [file_id] = parse_qs(urlsplit(page.url).query)["file"]
        assert daemon.caller.status(file_id)["processing_status"] == "completed"
        await page.reload()
        assert (await browser.links()).keys() == ABR_LINKS
        assert browser.wrong == []
    told = [re.sub(r"\d+", "N", state) for state in browser.states]
    for state in ("uploading, N %", "uploaded, waiting for a worker", "completed, N %"):
        assert state in told
    assert [state for state in told if re.fullmatch(r"processing, encode, N %(, N\.N.)?, N s left", state)]


@pytest.mark.parametrize(("profile", "width"), [("h264", 640), ("audio", 0)])
async def test_a_file_that_is_known_is_played_by_its_address(daemon: Daemon, profile: str, width: int) -> None:
    """`/?file=ID`, as `vproc demo --serve` prints it: an MP4 or sound alone plays where it is."""
    file_id = daemon.caller.upload(clip("short.mp4"), profile=profile)
    async with opened(f"{daemon.api}/?file={file_id}") as browser:
        played = await browser.play()
        assert (played["width"], played["long_s"]) == (width, pytest.approx(2, abs=0.1))
        assert await browser.page.inner_text("#name") == "short.mp4"
        assert browser.wrong == []


async def test_what_the_browser_cannot_play_is_shown_and_linked(daemon: Daemon) -> None:
    """HEVC, of which this one has sound only, is offered as a link, not as a black picture; pictures are shown."""
    hevc = daemon.caller.upload(clip("short.mp4"), profile="hevc")
    pictures = daemon.caller.upload(clip("short.mp4"), profile="thumbnails")
    async with opened(f"{daemon.api}/?file={hevc}") as browser:
        links = await browser.links()
        await expect(browser.page.locator("#unplayed")).to_be_visible()
        await expect(browser.page.locator("#player")).to_be_hidden()
        assert await browser.page.get_attribute("#stream", "href") == links["v360.mp4"]
        await browser.page.goto(f"{daemon.api}/?file={pictures}")
        assert (await browser.links()).keys() == {"poster.jpg", "sprite.vtt", "sprite-001.jpg", "metadata.json"}
        assert await browser.loaded("#poster")
        await expect(browser.page.locator("#unplayed")).to_be_hidden()
        assert browser.wrong == []


async def test_a_file_that_is_no_video_says_so(daemon: Daemon, tmp_path: Path) -> None:
    """Why it failed stands on the page, and the next upload starts clean."""
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(b"no video " * 5000)
    async with opened(f"{daemon.api}/") as browser:
        page = browser.page
        await page.set_input_files("#file", fake)
        await page.click("#send")
        await expect(page.locator("#error")).not_to_be_empty(timeout=WITHIN_MS)
        [file_id] = parse_qs(urlsplit(page.url).query)["file"]
        assert await page.inner_text("#error") == daemon.caller.status(file_id)["error"]["detail"]
        assert (await page.inner_text("#state")).startswith("failed")
        await expect(page.locator("#bar")).to_be_hidden()
        assert browser.wrong == []
        await page.set_input_files("#file", clip("short.mp4"))
        await page.click("#send")
        await browser.links()
        await expect(page.locator("#error")).to_be_empty()
        await expect(page.locator("#bar")).to_be_visible()


async def test_an_address_of_no_file_says_so(daemon: Daemon) -> None:
    async with opened(f"{daemon.api}/?file=none") as browser:
        await expect(browser.page.locator("#error")).to_have_text("There is no such file.")
        assert [told for told in browser.wrong if not re.search(r"\b404\b", told)] == []
