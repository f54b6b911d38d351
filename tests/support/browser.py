"""Plays outputs in a real browser: hls.js, shaka-player and Chromium's own HLS player, as a page on somebody's site would.

The pages are in `tests/e2e/playback`. Media come from a folder or through a proxy to any address, so that the browser sees
one origin; what the store says of content types is passed on and reported.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import web
from playwright.async_api import Page, async_playwright

PLAYBACK = Path(__file__).parents[1] / "e2e" / "playback"
PLAYERS = {
    "hls.js": PLAYBACK / "node_modules/hls.js/dist/hls.min.js",
    "shaka.js": PLAYBACK / "node_modules/shaka-player/dist/shaka-player.compiled.js",
}
CONTENT_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".vtt": "text/vtt",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".html": "text/html",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
Source = str | Path | Callable[[str], Awaitable[str]]
PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Cache-Control")


@dataclass(frozen=True, slots=True)
class Rung:
    """A rendition as the player lists it."""

    width: int
    height: int
    bitrate_bps: int
    codecs: str


@dataclass(frozen=True, slots=True)
class PlayerReport:
    """What one player saw. ``brightest`` is 0 to 255; ``caption`` the first that was shown, where there are some;
    ``content_types`` by path below the base address."""

    kind: str
    duration_s: float
    rungs: tuple[Rung, ...]
    shown: tuple[tuple[int, int], ...]
    played_s: float
    seeked_to_s: float
    decoded_frames: int
    decoded_audio_bytes: int
    brightest: int
    grey_levels: int
    subtitles: int
    caption: str | None
    stalls: int
    content_types: dict[str, str]


@dataclass(frozen=True, slots=True)
class PlaybackReport:
    """What the players saw; None for one that was not asked. The browser's own (``native``) lists no rungs and no subtitles."""

    hls: PlayerReport | None
    dash: PlayerReport | None
    native: PlayerReport | None


async def play(
    source: Source,
    *,
    hls: str | None = "master.m3u8",
    dash: str | None = "manifest.mpd",
    native: str | None = None,
    rungs: Sequence[tuple[int, int]] | None = None,
    length_s: float = 1.5,
    sound: bool = True,
) -> PlaybackReport:
    """Play the presentations under ``source``, HLS by the browser itself where ``native`` says so, and assert that they play.

    ``source`` is a folder, an address that ends in ``/``, or a function from a path to the address to fetch it from, for
    stores that take signed requests only.

    Asserted of each: time advances by ``length_s``, frames (and sound) are decoded, the picture is no black screen, a seek to
    the middle works, exactly ``rungs`` (width, height) are offered where given, each can be switched to and shows a
    picture of its size, the end is reached, no player, page or network error came up.
    """
    async with _site(source) as (address, content_types), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        try:
            reports = {}
            for kind, name in (("hls", hls), ("dash", dash), ("native", native)):
                if name is None:
                    reports[kind] = None
                    continue
                content_types.clear()
                page = await browser.new_page()
                seen = await _play_one(page, address, kind, name, length_s)
                await page.close()
                reports[kind] = _checked(seen, dict(content_types), rungs=rungs, length_s=length_s, sound=sound)
        finally:
            await browser.close()
    return PlaybackReport(hls=reports["hls"], dash=reports["dash"], native=reports["native"])


def find_browser() -> str:
    """The path of a Chromium of this machine: Playwright's own has no H.264."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(f"no browser: install one of {', '.join(BROWSERS)} (`make setup` does)")


async def _play_one(page: Page, address: str, kind: str, name: str, length_s: float) -> dict:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"page: {error}"))
    page.on("response", lambda answer: answer.status >= 400 and problems.append(f"{answer.status} {answer.url}"))
    page.on(
        "requestfailed",
        # A player that switches renditions gives up what it was fetching.
        lambda request: "ERR_ABORTED" in (request.failure or "") or problems.append(f"{request.failure} {request.url}"),
    )
    await page.goto(f"{address}/page/page.html")
    await page.wait_for_function("window.play && window.Hls && window.shaka")
    seen = await page.evaluate("(args) => window.play(...args)", [kind, f"{address}/media/{quote(name)}", length_s])
    seen["errors"] += problems
    return seen


def _checked(
    seen: dict, content_types: dict[str, str], *, rungs: Sequence[tuple[int, int]] | None, length_s: float, sound: bool
) -> PlayerReport:
    kind = seen["kind"]
    assert seen["errors"] == [], f"{kind}: {seen}"
    offered = tuple(Rung(r["width"], r["height"], r["bitrate_bps"], r["codecs"]) for r in seen["rungs"])
    sizes = sorted((rung.width, rung.height) for rung in offered)
    if kind != "native":
        assert sizes, f"{kind}: no rendition is listed"
        assert rungs is None or sizes == sorted(rungs), f"{kind}: offers {sizes}"
    assert sorted((w, h) for w, h in seen["shown"]) == sizes, f"{kind}: showed {seen['shown']} of {sizes}"
    assert seen["played_s"] >= min(length_s, seen["duration_s"] / 3), f"{kind}: played {seen['played_s']} s"
    assert seen["seeked_to_s"] > seen["duration_s"] / 2, f"{kind}: at {seen['seeked_to_s']} s after the seek"
    assert seen["decoded_frames"] > 0, f"{kind}: no frame was decoded"
    assert seen["brightest"] > 40, f"{kind}: a dark screen"
    assert seen["grey_levels"] > 4, f"{kind}: a screen of one colour"
    assert seen["decoded_audio_bytes"] > 0 or not sound, f"{kind}: no sound was decoded"
    return PlayerReport(
        kind=kind,
        duration_s=seen["duration_s"],
        rungs=offered,
        shown=tuple((w, h) for w, h in seen["shown"]),
        played_s=seen["played_s"],
        seeked_to_s=seen["seeked_to_s"],
        decoded_frames=seen["decoded_frames"],
        decoded_audio_bytes=seen["decoded_audio_bytes"],
        brightest=seen["brightest"],
        grey_levels=seen["grey_levels"],
        subtitles=seen["subtitles"],
        caption=seen["caption"],
        stalls=seen["stalls"],
        content_types=content_types,
    )


@asynccontextmanager
async def _site(source: Source) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Pages, players and media on one loopback address; the second value fills with the media's content types."""
    content_types: dict[str, str] = {}

    async def page(request: web.Request) -> web.StreamResponse:
        return _file(PLAYBACK / request.match_info["name"])

    async def player(request: web.Request) -> web.StreamResponse:
        return _file(PLAYERS[request.match_info["name"]])

    async def media(request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if isinstance(source, Path):
            answer = _file(source / path)
        else:
            answer = await _proxied(session, request, source + quote(path) if isinstance(source, str) else await source(path))
        content_types[path] = answer.headers.get("Content-Type", "")
        return answer

    app = web.Application()
    app.router.add_get("/page/{name:[a-z.]+}", page)
    app.router.add_get("/players/{name:[a-z.]+}", player)
    app.router.add_get("/media/{path:.+}", media)
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}", content_types
        finally:
            await runner.cleanup()


def _file(path: Path) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Content-Type": CONTENT_TYPES.get(path.suffix, "application/octet-stream")})


async def _proxied(session: aiohttp.ClientSession, request: web.Request, url: str) -> web.StreamResponse:
    wanted = {name: request.headers[name] for name in ("Range", "If-Range") if name in request.headers}
    async with session.get(aiohttp.client.URL(url, encoded=True), headers=wanted) as found:
        headers = {name: found.headers[name] for name in PASSED_ON if name in found.headers}
        return web.Response(status=found.status, headers=headers, body=await found.read())
