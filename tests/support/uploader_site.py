"""Somebody's site that uploads with Uppy: a page, a film, and at the same origin the API, as behind a reverse proxy."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import aiohttp
from aiohttp import web

UPPY = Path(__file__).parents[1] / "e2e" / "uppy"
_PASSED_ON = ("Content-Type", "Set-Cookie", "Location")
_NOT_PASSED_ON = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


def bundle(version: int, folder: Path) -> Path:
    """The page's script with that major version of Uppy. esbuild is a program of its own: no node is needed."""
    home = UPPY / f"v{version}"
    programs = list(home.glob("node_modules/@esbuild/*/bin/esbuild"))
    assert programs, f"no esbuild in {home}: `make setup` installs it"
    out = folder / f"uploader{version}.js"
    with (UPPY / "uploader.js").open() as source:
        words = [str(programs[0]), "--bundle", "--format=iife", "--log-level=warning", f"--outfile={out}"]
        subprocess.run(words, stdin=source, cwd=home, check=True, timeout=60)
    return out


@dataclass
class Site:
    """``origin`` is the page's. ``api`` is where the API is asked for what is not the page's own."""

    film: bytes
    scripts: dict[int, Path]
    origin: str = ""
    api: str = ""
    asked: list[str] = field(default_factory=list)
    _session: aiohttp.ClientSession | None = None

    def page(self, version: int) -> str:
        """The page with that version."""
        return f"{self.origin}/{version}/page.html"

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/{version:[56]}/page.html", self._page)
        app.router.add_get("/{version:[56]}/uploader.js", self._script)
        app.router.add_get("/{version:[56]}/film", self._film)
        app.router.add_route("*", "/{path:.*}", self._api)
        return app

    async def _page(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(UPPY / "page.html")

    async def _script(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(self.scripts[int(request.match_info["version"])])

    async def _film(self, request: web.Request) -> web.Response:
        return web.Response(body=self.film, content_type="video/x-matroska")

    async def _api(self, request: web.Request) -> web.Response:
        assert self._session is not None
        self.asked.append(f"{request.method} {request.path}")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        body = await request.read()
        async with self._session.request(
            request.method,
            aiohttp.client.URL(f"{self.api}{request.raw_path}", encoded=True),
            headers=headers,
            data=BytesIO(body) if body else None,
            allow_redirects=False,
        ) as answer:
            passed = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            return web.Response(status=answer.status, headers=passed, body=await answer.read())


@asynccontextmanager
async def uploader_site(film: bytes, scripts: dict[int, Path]) -> AsyncIterator[Site]:
    """The site on loopback, for as long as the block lasts."""
    site = Site(film, scripts)
    runner = web.AppRunner(site.application(), access_log=None, handle_signals=False, shutdown_timeout=1)
    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        site._session = session
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            site.origin = f"http://{host}:{port}"
            yield site
        finally:
            await runner.cleanup()
