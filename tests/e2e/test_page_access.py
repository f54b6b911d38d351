"""The page for everybody: with the keyboard alone, by axe-core, on a phone, in the dark, and how much of it there is."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev
from tests.support.media import clip
from tests.support.page import WITHIN_MS, Seen, opened
from tests.support.source import PACKAGE

pytestmark = pytest.mark.xdist_group("e2e-page-access")

WEB = PACKAGE / "web"
FIRST_BYTES, FIRST_SENT_BYTES = 53_000, 22_000
"""What is fetched before a video is opened. As written the bound of it all, 60 kB, is kept here and not by all together."""
DOOR_BYTES, DOOR_SENT_BYTES = 59_000, 24_000
ALL_BYTES, ALL_SENT_BYTES = 77_000, 32_000
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("page-access")
    broken = folder / "broken.mp4"
    broken.write_bytes(b"no video at all, " * 100)
    with dev(folder) as running:
        running.caller.completed(running.caller.upload(clip("main.mp4")))
        running.caller.end_of(running.caller.upload(broken))
        running.caller.announce("waiting-for-its-bytes-with-a-rather-long-name-that-nobody-would-want-to-type-twice.mp4")
        yield running


async def _opened_video(seen: Seen) -> None:
    card = seen.card("main.mp4")
    await card.get_by_role("button", name="Watch").click()
    await expect(card.locator("video")).to_be_visible(timeout=WITHIN_MS)
    await expect(card.get_by_label("Quality")).to_be_visible(timeout=WITHIN_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
async def test_axe_finds_nothing_and_nothing_sticks_out(daemon: Daemon, scheme: str, device: str) -> None:
    """In both colours and on both widths, with all states in the list, a video and a question open."""
    async with opened(daemon, color_scheme=scheme, **(PHONE if device == "phone" else {})) as seen:
        await expect(seen.page.locator(".card")).to_have_count(3)
        await seen.axe()
        await _opened_video(seen)
        await seen.card("main.mp4").get_by_text("more", exact=False).last.click()
        await seen.axe()
        width = await seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]
        await seen.shoot(f"{device}-{scheme}")
        await seen.card("broken.mp4").get_by_role("button", name="Delete").click()
        await seen.axe()


async def test_by_the_keyboard_alone(daemon: Daemon) -> None:
    """From the top of the page to a playing video, a deleted file and back, with a focus that is seen all the way."""
    gone = daemon.caller.announce("gone.mp4")["file_id"]
    async with opened(daemon) as seen:
        page = seen.page
        await expect(seen.card("gone.mp4")).to_be_visible()

        async def tab_to(name: str, *, within: int = 40) -> None:
            for _ in range(within):
                await page.keyboard.press("Tab")
                focused, outline = await page.evaluate(
                    """() => {
                        const { activeElement: one } = document;
                        return [one.getAttribute("aria-label") ?? one.textContent, getComputedStyle(one).outlineStyle];
                    }"""
                )
                assert outline != "none", f"the focus is not seen on {focused}"
                if focused == name:
                    return
            raise AssertionError(f"{name} is not reached")

        # The browser learns that choosers are awaited by a message that nobody answers: the tabs come behind it.
        async with page.expect_file_chooser() as chooser:
            await tab_to("Choose files")
            await page.keyboard.press("Enter")
        await (await chooser.value).set_files([])
        await tab_to("Delete")
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(seen.card("gone.mp4").get_by_role("button", name="Delete")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Shift+Tab")
        await page.keyboard.press("Enter")
        await expect(seen.card("gone.mp4")).to_have_count(0)
        assert await page.evaluate("document.activeElement !== document.body"), "the focus fell off the page"
        await tab_to("Watch")
        await page.keyboard.press("Enter")
        card = seen.card("main.mp4")
        await expect(card.get_by_label("Quality")).to_be_visible(timeout=WITHIN_MS)
        await tab_to("Seek")
        await page.keyboard.press("m")
        await page.keyboard.press("k")
        await seen.passes(card, 0.3)
        await page.keyboard.press("ArrowRight")
        await seen.passes(card, 5)
        await expect(card.locator(".preview")).to_be_visible()
    assert daemon.caller.ask(f"/upload/{gone}/status").status == 404


async def test_what_moves_is_still_for_whom_it_should_be(daemon: Daemon) -> None:
    async with opened(daemon, reduced_motion="reduce") as seen:
        moving = "[...document.querySelectorAll('*')].filter((one) => getComputedStyle(one).transitionDuration !== '0s').length"
        await expect(seen.page.locator(".card").first).to_be_visible()
        assert await seen.page.evaluate(moving) == 0


def _with_imports(*names: str, later: bool = False) -> set[str]:
    """These scripts and all that they import; also what they fetch only when it is needed, where ``later``."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            pattern = r'"/assets/(\w+\.(?:js|css))"' if later else r'from "/assets/(\w+\.js)"'
            waiting += re.findall(pattern, (WEB / name).read_text())
    return found


async def test_the_first_paint_waits_for_no_player(daemon: Daemon) -> None:
    """What shows one video is fetched when one is opened, hls.js with it; the door, where there is none, never."""
    async with opened(daemon) as seen:
        await expect(seen.page.locator(".card").first).to_be_visible()
        asked = [urlsplit(one.url).path for one in seen.asked if one.url.startswith(daemon.api)]
        assert {path.removeprefix("/assets/") for path in asked if path.endswith(".js")} == _with_imports("main.js")
        await _opened_video(seen)
        asked = [urlsplit(one.url).path.removeprefix("/assets/") for one in seen.asked]
        assert {"player.js", "hls.min.mjs"} <= set(asked)
        assert "session.js" not in asked


@pytest.mark.parametrize(
    ("scripts", "later", "most_written", "most_sent"),
    [
        pytest.param(("main.js",), False, FIRST_BYTES, FIRST_SENT_BYTES, id="first"),
        pytest.param(("main.js", "session.js"), False, DOOR_BYTES, DOOR_SENT_BYTES, id="first-with-a-door"),
        pytest.param(("main.js",), True, ALL_BYTES, ALL_SENT_BYTES, id="all"),
    ],
)
def test_the_page_is_small(daemon: Daemon, scripts: tuple[str, ...], later: bool, most_written: int, most_sent: int) -> None:
    """As it is written, with every comment and space, and as it is sent, which is in gzip. hls.js is left out."""
    names = sorted(_with_imports(*scripts, later=later))
    paths = ["/", *(f"/assets/{name}" for name in ("style.css", "icon.svg", *names))]
    written = [fetch(f"{daemon.api}{path}") for path in paths]
    sent = [fetch(f"{daemon.api}{path}", headers={"Accept-Encoding": "gzip"}) for path in paths]
    assert {answer.status for answer in written + sent} == {200}
    assert most_written * 0.97 < sum(len(answer.body) for answer in written) <= most_written
    assert sum(len(answer.body) for answer in sent) <= most_sent
    assert sent[-1].headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent[-1].body) == written[-1].body == (WEB / names[-1]).read_bytes()


def test_the_copy_of_hls_js_is_the_one_that_was_published_and_is_tested(daemon: Daemon) -> None:
    """To the byte, with its licence, and the version that the outputs are tested with; `scripts/hls-js` renews it."""
    from hashlib import sha256  # noqa: PLC0415

    head, *lines = (WEB / "hls" / "VERSION").read_text().splitlines()
    digests = dict(reversed(line.split()) for line in lines)
    assert {"LICENSE", "hls.min.mjs"} == digests.keys() == {path.name for path in (WEB / "hls").iterdir()} - {"VERSION"}
    assert {name: sha256((WEB / "hls" / name).read_bytes()).hexdigest() for name in digests} == digests
    lock = Path(__file__).parent / "playback" / "package.json"
    assert f'"{head.replace(" ", chr(34) + ": " + chr(34))}"' in lock.read_text()
    sent = fetch(f"{daemon.api}/assets/hls.min.mjs")
    assert (sent.status, sent.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
