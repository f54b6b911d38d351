"""The page as a person uses it: a true browser, a true daemon, its own store, under the page's own policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import expect

from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev
from tests.support.media import clip
from tests.support.page import WITHIN_MS, opened
from tests.support.subtitles import subtitled

pytestmark = pytest.mark.xdist_group("e2e-page")

SLOW_BYTES_PER_S = 3_000_000


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("page")) as running:
        yield running


def _percents(lines: list[str], pattern: str) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(pattern, line))]


async def test_a_person_uploads_watches_and_plays(daemon: Daemon) -> None:
    """Progress rises, of the upload and of each stage; then it plays by itself, and is still there after a reload."""
    async with opened(daemon) as seen:
        await seen.shoot("empty")
        network = await seen.page.context.new_cdp_session(seen.page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": SLOW_BYTES_PER_S}
        await network.send("Network.emulateNetworkConditions", slow)
        await seen.choose(clip("main.mp4"))
        card = seen.card("main.mp4")
        await expect(card.locator(".line")).to_contain_text(re.compile(r"\d+ % · .* MB/s · \d+ s left"))
        await seen.shoot("uploading", shown="upload", of=seen.page.locator("main"))
        await network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
        await seen.reaches("main.mp4", "processing")
        await expect(card.locator("[aria-current=step]")).to_have_text("Encode")
        await seen.shoot("processing")
        await seen.reaches("main.mp4", "completed")
        await seen.plays(card)
        await seen.shoot("playing", shown="play", of=card)
        await expect(card.locator(".about")).to_contain_text("main.mp4")
        [file_id] = parse_qs(urlsplit(seen.page.url).query)["file"]
        assert daemon.caller.status(file_id)["processing_status"] == "completed"
        lines = seen.told("line")
        await seen.page.reload()
        await expect(seen.card("main.mp4").locator("video")).to_be_visible(timeout=WITHIN_MS)
        told = seen.told("unseen")
        [put] = [asked for asked in seen.asked if asked.method == "PUT"]
        headers = await put.all_headers()
    # The kind that was announced, and nothing that stands there already is written over.
    assert (headers["content-type"], headers["if-none-match"]) == ("video/mp4", "*")
    sent = _percents(lines, r"MB · (\d+) %")
    made = _percents(lines, r"^(?:Fetch|Inspect|Encode|Check|Publish|Finish) · (\d+) %")
    for percents in (sent, made):
        assert len(set(percents)) > 2, lines
        assert percents == sorted(percents)
    # A screen reader is told of quarters and states, not of each percent.
    assert len(told) < 15, told
    assert "main.mp4 is uploaded." in told
    assert "main.mp4: Ready." in told


async def test_the_player(daemon: Daemon) -> None:
    """Every quality can be chosen, the seek bar shows where it would go and goes there, by pointer and by keyboard."""
    file_id = daemon.caller.upload(clip("main.mp4"))
    daemon.caller.completed(file_id)
    async with opened(daemon, f"/?file={file_id}") as seen:
        card = seen.card("main.mp4").first
        await seen.plays(card)
        quality = card.get_by_label("Quality")
        assert [text.split()[0] for text in await quality.locator("option").all_inner_texts()] == ["Auto", "720p", "360p"]
        video = await card.locator("video").element_handle()
        for label, height in (("360p", 360), ("720p", 720)):
            await card.get_by_label("Seek").fill("0")
            await quality.select_option(label)
            await seen.page.wait_for_function("([video, height]) => video.videoHeight === height", arg=[video, height])
        await card.get_by_role("button", name="Pause").click()
        seek = card.get_by_label("Seek")
        await seek.hover(position={"x": 200, "y": 10})
        preview = card.locator(".preview")
        await expect(preview).to_be_visible()
        background = await preview.locator("i").evaluate("(i) => getComputedStyle(i).backgroundImage")
        picture = re.search(r'url\("(.+)"\)', background)
        assert picture is not None
        assert fetch(picture[1]).headers["content-type"] == "image/jpeg"
        at = [await preview.locator("i").evaluate("(i) => i.style.backgroundPosition")]
        await seen.shoot("thumbnail")
        box = await seek.bounding_box()
        assert box is not None
        await seek.click(position={"x": box["width"] * 0.75, "y": 10})
        at.append(await preview.locator("i").evaluate("(i) => i.style.backgroundPosition"))
        assert at[0] != at[1]
        await expect(seek).to_have_attribute("aria-valuetext", "0:04 of 0:06")
        await seek.press("ArrowLeft")
        await expect(seek).to_have_attribute("aria-valuetext", re.compile("^0:00 of 0:06|^0:01 of"))
        await seek.press(" ")
        await expect(card.get_by_role("button", name="Pause")).to_be_visible()


@pytest.mark.parametrize(("profile", "width", "action"), [("h264", 640, "Watch"), ("audio", 0, "Listen")])
async def test_what_is_no_stream_is_played_too(daemon: Daemon, profile: str, width: int, action: str) -> None:
    """`/?file=ID`, as `vproc demo --serve` prints it: an MP4 or sound alone plays where it is, also when opened again."""
    file_id = daemon.caller.upload(clip("second.mp4"), profile=profile)
    async with opened(daemon, f"/?file={file_id}") as seen:
        card = seen.page.locator(".card").first
        await expect(card).to_have_attribute("data-state", "completed", timeout=WITHIN_MS)
        await seen.plays(card, picture=False)
        assert await card.locator("video").evaluate("(video) => video.videoWidth") == width
        await card.get_by_role("button", name="Close").click()
        await expect(card.locator("video")).to_have_count(0)
        await card.get_by_role("button", name=action).click()
        await expect(card.locator("video")).to_be_visible()
        await seen.shoot(f"opened-{profile}")


async def test_captions_can_be_chosen(daemon: Daemon) -> None:
    """Text tracks of the source are a menu, and are shown once one is chosen."""
    file_id = daemon.caller.upload(subtitled("texts.mp4"))
    daemon.caller.completed(file_id)
    async with opened(daemon, f"/?file={file_id}") as seen:
        card = seen.page.locator(".card").first
        await seen.plays(card)
        captions = card.get_by_label("Captions")
        await expect(captions).to_be_visible()
        await captions.select_option(index=1)
        showing = (
            "(video) => [...video.textTracks].filter(({ mode }) => mode === 'showing').some(({ cues }) => cues && cues.length)"
        )
        await seen.page.wait_for_function(showing, arg=await card.locator("video").element_handle())


async def test_a_failure_is_told_in_words(daemon: Daemon, tmp_path: Path) -> None:
    """What went wrong, what to do, and the daemon's own words; a name is text, whatever is in it."""
    broken = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    broken.write_bytes(b"no video at all, " * 100)
    plain = tmp_path / "holiday.mov"
    plain.write_bytes(broken.read_bytes())
    async with opened(daemon) as seen:
        await seen.choose(plain)
        await seen.shoot("failed-plainly", shown="failure", of=await seen.reaches(plain.name, "failed"))
        await seen.shoot("list", shown="list")
        await seen.choose(broken)
        card = await seen.reaches(broken.name, "failed")
        await expect(card.get_by_role("alert")).to_contain_text("This file is no video that can be read here. Export it as MP4")
        await expect(card.get_by_role("button", name="Try again")).to_be_hidden()
        await expect(card.get_by_role("button", name="Delete")).to_be_visible()
        assert await card.locator("h3 img").count() == 0
        await seen.shoot("failed")
        notes = tmp_path / "notes.txt"
        notes.write_text("no video")
        await seen.choose(notes)
        await expect(seen.page.locator("#refused")).to_contain_text("“notes.txt” is no video file that is taken here")


async def test_the_list(daemon: Daemon) -> None:
    """Filter, search, pages, and deleting with a question first."""
    wanted = [daemon.caller.announce(f"list-{number:02}.mp4")["file_id"] for number in range(45)]
    async with opened(daemon) as seen:
        cards = seen.page.locator(".card:visible")
        await expect(cards).to_have_count(20)
        await seen.page.click("#more")
        await expect(cards).to_have_count(40)
        await seen.page.fill("#search", "list-03")
        await expect(cards).to_have_count(1)
        await seen.page.fill("#search", "")
        await seen.page.select_option("#status", "cancelled")
        await expect(cards).to_have_count(0)
        await expect(seen.page.locator("#none")).to_have_text("No video fits.")
        daemon.caller.ask(f"/upload/{wanted[0]}/cancel", "POST")
        await seen.page.select_option("#status", "pending")
        await expect(seen.card("list-44.mp4")).to_be_visible()
        await seen.page.select_option("#status", "cancelled")
        await expect(cards).to_have_count(1)
        card = seen.card("list-00.mp4")
        await card.get_by_role("button", name="Delete").click()
        await seen.shoot("delete")
        await seen.page.get_by_role("button", name="Keep it").click()
        await expect(card).to_be_visible()
        await card.get_by_role("button", name="Delete").click()
        await seen.page.locator("dialog").get_by_role("button", name="Delete").click()
        await expect(card).to_have_count(0)
    assert daemon.caller.ask(f"/upload/{wanted[0]}/status").status == 404


async def test_cancel_and_try_again(daemon: Daemon) -> None:
    async with opened(daemon) as seen:
        await seen.page.select_option("#profile", "mp4")
        await seen.choose(clip("hd.mp4"))
        card = await seen.reaches("hd.mp4", "processing")
        await card.get_by_role("button", name="Cancel").click()
        await seen.reaches("hd.mp4", "cancelled")
        await seen.shoot("cancelled")
        await card.get_by_role("button", name="Try again").click()
        await seen.reaches("hd.mp4", "processing")
        await card.get_by_role("button", name="Cancel").click()
        await seen.reaches("hd.mp4", "cancelled")
        await expect(card.locator(".meta").first).to_contain_text("mp4")
