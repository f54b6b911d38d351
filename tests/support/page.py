"""The daemon's page in a true browser: what it told, what it asked and whom, what went wrong on it, how it looks.

Nothing may be wrong on it and no other host may be asked, unless a test says so: that is asserted at the end of each.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from anyio import to_thread
from playwright.async_api import Browser, BrowserContext, Locator, Page, Request, async_playwright, expect

from tests.support.browser import FLAGS, PLAYBACK, find_browser
from tests.support.daemon import Daemon
from tests.support.media import FFMPEG, clip
from tests.support.source import ROOT

WITHIN_MS = 60_000
ARTEFACTS = ROOT / "tests" / "artefacts" / "page"
IMAGES = ROOT / "docs" / "images"
AXE = PLAYBACK / "node_modules" / "axe-core" / "axe.min.js"
MIB = 1024**2

# Every text of a card's line and badge, however short it stands.
_HEAR = """
addEventListener("DOMContentLoaded", () => new MutationObserver((changes) => {
  for (const { target, addedNodes } of changes) {
    for (const { data } of addedNodes) if (data && target.matches?.(".line, .badge, #announce")) heard(target.className, data);
  }
}).observe(document.body, { childList: true, subtree: true }));
"""
_PICTURE = """(video) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 64, 36);
  const { data } = context.getImageData(0, 0, 64, 36);
  const seen = new Set();
  for (let at = 0; at < data.length; at += 4) seen.add(`${data[at] >> 4},${data[at + 1] >> 4},${data[at + 2] >> 4}`);
  return seen.size;
}"""


@dataclass
class Seen:
    """The page, and what was seen of it. ``allowed``: statuses of answers, ``expected``:
    words of the console, which a test brings about on purpose."""

    page: Page
    hosts: set[str]
    allowed: set[int] = field(default_factory=set)
    expected: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    heard: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, kind: str, text: str) -> None:
        """A new text of a line that people watch."""
        self.heard.append((kind, text))

    def told(self, kind: str) -> list[str]:
        """Every text of a kind: ``line``, ``badge``, ``unseen`` (what a screen reader is told)."""
        return [text for heard, text in self.heard if heard == kind]

    def card(self, name: str) -> Locator:
        """The card of that file."""
        return self.page.locator(".card", has=self.page.get_by_role("heading", name=name, exact=True))

    async def choose(self, *files: Path) -> None:
        """Choose files, as by the button."""
        await self.page.set_input_files("#file", list(files))

    async def reaches(self, name: str, state: str) -> Locator:
        """The card of that file, once it is in that state."""
        card = self.card(name)
        await expect(card).to_have_attribute("data-state", state, timeout=WITHIN_MS)
        return card

    async def plays(self, card: Locator, *, picture: bool = True, from_s: float = 0) -> None:
        """The player of a card goes on, and shows a picture that is no single colour."""
        video = card.locator("video")
        await expect(video).to_be_visible(timeout=WITHIN_MS)
        await card.get_by_role("button", name="Mute").click()
        await card.get_by_role("button", name="Play", exact=True).click()
        await self.passes(card, from_s + 0.5)
        if picture:
            assert (found := await self.colours(card)) > 8, f"{found} colours: a dark screen, or one of one colour"

    async def passes(self, card: Locator, time_s: float) -> None:
        """Playback goes past a time."""
        await self.page.wait_for_function(
            "([video, time]) => video.currentTime > time", arg=[await card.locator("video").element_handle(), time_s]
        )

    async def colours(self, card: Locator) -> int:
        """How many colours the picture has, coarsely."""
        # The media come from another origin, so what a canvas may read of them is by CORS: hls.js fetches them itself.
        count: int = await card.locator("video").evaluate(_PICTURE)
        return count

    async def shoot(self, name: str, *, shown: str = "", of: Locator | None = None) -> None:
        """Keep a picture of the page as it stands. Where it is ``shown`` in the documentation, under that name, it must be there;
        with ``UPDATE_SCREENSHOTS`` it is made anew: of what the window holds, or ``of`` one element.
        """
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
        if shown:
            picture = IMAGES / f"{shown}.png"
            if os.environ.get("UPDATE_SCREENSHOTS"):
                IMAGES.mkdir(exist_ok=True)
                seen = await (self.page.screenshot() if of is None else of.screenshot())
                palette = "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none"
                command = [FFMPEG, "-v", "error", "-y", "-f", "png_pipe", "-i", "-", "-vf", palette, str(picture)]
                await to_thread.run_sync(partial(subprocess.run, command, input=seen, check=True))
            assert picture.is_file(), "UPDATE_SCREENSHOTS=1 pytest tests/e2e/test_page.py"

    async def axe(self) -> None:
        """axe-core finds no violation."""
        await self.page.evaluate(AXE.read_text())
        found = await self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        told = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]]
        assert told == [], json.dumps(told, indent=1)
        assert len(found["passes"]) > 10


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A Chromium."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        try:
            yield running
        finally:
            await running.close()


@asynccontextmanager
async def opened(daemon: Daemon, path: str = "/", **options: object) -> AsyncIterator[Seen]:
    """The page in a browser of its own; ``options`` are those of Playwright's ``new_context``."""
    async with browser() as running:
        context = await running.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})  # type: ignore[arg-type]
        context.set_default_timeout(WITHIN_MS)
        seen = await watched(context, daemon)
        await seen.page.goto(f"{daemon.api}{path}")
        yield seen
        assert seen.wrong == [], seen.wrong
        asked = {urlsplit(request.url).netloc for request in seen.asked if request.url.startswith("http")}
        assert asked <= seen.hosts, asked


async def watched(context: BrowserContext, daemon: Daemon) -> Seen:
    """A new page, and eyes on it."""
    page = await context.new_page()
    seen = Seen(page, {urlsplit(daemon.api).netloc, urlsplit(daemon.ready["s3"]).netloc})

    def complain(kind: str, text: str, url: str) -> None:
        # What a test brings about is told on the console too.
        known = [*map(str, seen.allowed), *seen.expected]
        if kind in {"error", "warning"} and not any(word in text for word in known):
            seen.wrong.append(f"{text} {url}")

    page.on("console", lambda message: complain(message.type, message.text, message.location.get("url", "")))
    page.on("pageerror", lambda error: seen.wrong.append(str(error)))
    page.on(
        "response",
        lambda answer: (
            seen.wrong.append(f"{answer.status} {answer.url}")
            if answer.status >= 400 and answer.status not in seen.allowed
            else None
        ),
    )
    page.on("request", lambda request: seen.asked.append(request))  # noqa: PLW0108 - Playwright marks what it is given
    page.on("dialog", lambda dialog: dialog.accept())
    await page.expose_function("heard", seen.hear)
    await page.add_init_script(_HEAR)
    return seen


def large(folder: Path, size_bytes: int, name: str = "large.mp4") -> Path:
    """A short video that is so large: behind it stands a box of nothing (ISO/IEC 14496-12, section 8.1.2)."""
    video = clip("short.mp4").read_bytes()
    free_bytes = size_bytes - len(video)
    path = folder / name
    with path.open("wb") as file:
        file.write(video + struct.pack(">I4s", free_bytes, b"free"))
        file.truncate(size_bytes)
    return path
