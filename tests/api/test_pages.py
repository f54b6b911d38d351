"""The page, as it is served and as a browser uses it."""

from __future__ import annotations

import re
from pathlib import Path

import anyio
import pytest
from playwright.async_api import Page, Route, async_playwright

from tests.support.api import PROFILES, RunningApi, running_api
from tests.support.browser import FLAGS, find_browser
from tests.support.catalog import CORRUPT, FIGURES, completion
from tests.support.manifests import ladder
from vproc.api.parts import Limits
from vproc.core.files import Outcome, Stage
from vproc.core.keys import manifest_key
from vproc.errors import UnavailableError

STORE = "https://*.s3.eu-west-1.amazonaws.test/**"
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"  # a GIF of one pixel
)


async def test_the_page_and_its_files_come_from_here_with_a_strict_policy(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        page = await api.get("/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
        html = page.body.decode()
        for path in re.findall(r'(?:src|href)="([^"#]+)"', html):
            assert path.startswith("/")
            assert (await api.get(path)).status == 200, path
        assert not re.search(r"<script(?![^>]*src=)", html), "no inline script"
        assert " style=" not in html
        script = await api.get("/assets/upload.js")
        style = await api.get("/assets/style.css")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    raw, processed = (f"https://{bucket}.s3.eu-west-1.amazonaws.test" for bucket in ("raw", "processed"))
    assert policy["connect-src"] == f"'self' {raw} {processed}"


async def test_the_policy_names_the_cdn_and_the_page_stands_without_credentials(tmp_path: Path) -> None:
    async with running_api(tmp_path, limits=Limits(profiles=PROFILES, public_url="https://cdn.example/v/")) as api:
        api.presigner.fail_next("put", UnavailableError("no credentials"))
        page = await api.get("/")
    assert page.status == 200
    assert "img-src 'self' https://cdn.example;" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name", ["index.html", "..", "../http.py", "..%2fhttp.py", "%2e%2e%2fhttp.py", "style.css/", "STYLE.css", ""]
)
async def test_only_the_pages_own_files_are_served(tmp_path: Path, name: str) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.get(f"/assets/{name}")
    assert answer.status in {200, 404}
    assert b"import" not in answer.body
    assert answer.status == 404 or answer.headers["Content-Type"].startswith(("application/problem", "text/html"))


async def _work(api: RunningApi, *, fails: bool) -> None:
    """A worker's part: wait for the file that the page announces, then do its job."""
    while not (files := (await api.catalog.list(owner=None, status=None, limit=1, cursor=None)).files):
        await api.get("/healthz")
    lease = await api.given.leased(files[0].file_id)
    await api.catalog.report(lease, progress=0.5, stage=Stage.ENCODE)
    if fails:
        await api.catalog.fail(lease, CORRUPT, Outcome.REJECTED, FIGURES)
        return
    body = ladder(lease.file_id).to_json()
    await api.processed.put(manifest_key(lease.file_id), body, content_type="application/json")
    await api.catalog.complete(lease, completion(lease.run_id), FIGURES)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_person_uploads_watches_and_gets_the_outputs(tmp_path: Path, fails: bool) -> None:
    """A true browser, under the page's own policy; only the store is played."""
    puts: list[dict[str, str]] = []

    async def store(route: Route) -> None:
        request = route.request
        cors = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "PUT"}
        if request.method == "PUT":
            puts.append(await request.all_headers())
        await route.fulfill(status=200, headers=cors, content_type="image/gif", body=PIXEL)

    clip = tmp_path / "holiday.mp4"
    clip.write_bytes(b"media")
    async with running_api(tmp_path) as api, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.route(STORE, store)
        await page.goto(f"{api.url}/")
        await page.set_input_files("#file", clip)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: _work(api, fails=fails))
                await page.click("#send")
                await _expect_the_end(page, fails=fails)
        await browser.close()
    assert complaints == []
    assert (puts[0]["content-type"], puts[0]["if-none-match"]) == ("video/mp4", "*")


async def _expect_the_end(page: Page, *, fails: bool) -> None:
    if fails:
        await page.wait_for_selector("#error:not(:empty)")
        assert await page.inner_text("#error") == "the index is damaged"
        assert (await page.inner_text("#state")).startswith("failed")
        return
    await page.wait_for_selector("#outputs a")
    links = await page.eval_on_selector_all("#outputs a", "links => links.map((link) => link.textContent)")
    assert links == ["master.m3u8", "manifest.mpd", "poster.jpg", "720p.m3u8"]
    await page.wait_for_function("document.getElementById('poster').naturalWidth === 1")
    assert (await page.inner_text("#state")).startswith("completed")
