"""`/docs`: Swagger UI as it is served and as a browser uses it, and the same for browsers without scripts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Response, async_playwright, expect

from tests.support.api import RunningApi, TokenIdentity, running_api
from tests.support.browser import FLAGS, find_browser
from tests.support.source import PACKAGE
from vproc.api.docs import docs_page
from vproc.api.openapi import openapi_document
from vproc.http import ROUTES

SWAGGER = PACKAGE / "web" / "swagger"


@pytest.fixture
def document() -> dict[str, Any]:
    return openapi_document(ROUTES, version="1.2.3")


class Links(HTMLParser):
    """Ids, links and sources of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert tag != "script" or dict(attrs).keys() == {"src"}, "no script in the page"
        for name, value in attrs:
            assert not name.startswith("on"), "no script in attributes"
            assert name != "style"
            if name == "id":
                self.ids.append(value or "")
            if name in {"href", "src"}:
                self.targets.append(value or "")


def test_without_scripts_every_operation_and_body_is_shown(document: dict[str, Any]) -> None:
    page = docs_page(document)
    links = Links(page)
    for route in ROUTES:
        assert f"<code>{route.method} {route.template}</code>" in page
    for name in document["components"]["schemas"]:
        assert f"schema-{name}" in links.ids
    assert len(links.ids) == len(set(links.ids))
    for target in links.targets:
        assert target.startswith(("#", "/")), target
        assert not target.startswith("//")
        if target.startswith("#"):
            assert target[1:] in links.ids


def test_the_page_escapes_what_the_document_says(document: dict[str, Any]) -> None:
    document["info"]["description"] = "<script>alert(1)</script> `<b>`"
    document["paths"]["/version"]["get"]["summary"] = "<img src=x>"
    page = docs_page(document)
    assert Links(page).tags.isdisjoint({"img", "b"})
    assert "<code>&lt;b&gt;</code>" in page


def test_the_copy_of_swagger_ui_is_the_one_that_was_published() -> None:
    """To the byte, with its licence and its notice; `scripts/swagger-ui` renews it."""
    head, *lines = (SWAGGER / "VERSION").read_text().splitlines()
    name, version = head.split()
    major = int(version.partition(".")[0])
    assert (name, major >= 5) == ("swagger-ui-dist", True), "OpenAPI 3.1 needs Swagger UI 5"
    digests = dict(reversed(line.split("  ")) for line in lines)
    assert digests == {file.name: sha256(file.read_bytes()).hexdigest() for file in SWAGGER.iterdir() if file.name != "VERSION"}
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css"} == digests.keys()
    assert version in (SWAGGER / "swagger-ui-bundle.js").read_text()


async def test_page_and_document_are_served_and_kept_by_their_digest(tmp_path: Path) -> None:
    kinds = {
        "/openapi.json": "application/json",
        "/docs": "text/html",
        "/docs/swagger-ui.css": "text/css",
        "/docs/swagger-ui-bundle.js": "text/javascript",
        "/docs/swagger-ui-bundle.js.LICENSE.txt": "text/plain",
    }
    async with running_api(tmp_path) as api:
        for path, kind in kinds.items():
            answer = await api.get(path)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert re.fullmatch(r'"[0-9a-f]{32}(-gz)?"', answer.headers["ETag"])
            again = await api.get(path, headers={"If-None-Match": answer.headers["ETag"]})
            assert (again.status, again.body) == (304, b"")
        policy = (await api.get("/docs")).headers["Content-Security-Policy"]
        assert (await api.get("/docs/VERSION")).status == 404
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy


@dataclass
class Browser:
    """The page in a browser: every address that it asked, and whatever went wrong on it."""

    page: Page
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    async def open_operation(self, name: str) -> None:
        """Unfold it and make its form one to fill in."""
        await self.page.click(f"[id$=-{name}] .opblock-summary-control")
        await self.page.click(f"[id$=-{name}] .try-out__btn")

    async def execute(self, name: str) -> Response:
        """Send the form; what was answered, once it is shown."""
        async with self.page.expect_response(lambda answer: "/docs" not in answer.url and "/assets" not in answer.url) as heard:
            await self.page.click(f"[id$=-{name}] .execute")
        answer = await heard.value
        shown = self.page.locator(f"[id$=-{name}] .live-responses-table .response-col_status").nth(1)
        await expect(shown).to_contain_text(str(answer.status))
        return answer

    async def authorize(self, key: str) -> None:
        """Type a key into the form of the lock."""
        await self.page.click("button.authorize >> nth=0")
        await self.page.fill(".auth-container input >> nth=0", key)
        await self.page.click(".auth-btn-wrapper .authorize >> nth=0")
        await self.page.click(".close-modal")


@asynccontextmanager
async def opened(api: RunningApi) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = await browser.new_page()
        seen = Browser(page)
        page.on("request", lambda request: seen.asked.append(request.url))
        page.on("console", lambda message: seen.wrong.append(message.text))
        page.on("pageerror", lambda error: seen.wrong.append(str(error)))
        await page.goto(f"{api.url}/docs")
        await expect(page.locator(".opblock")).to_have_count(len(ROUTES))
        yield seen
        await browser.close()


async def test_a_person_reads_and_tries_the_api_and_no_other_host_is_asked(tmp_path: Path) -> None:
    """Under a policy that takes no inline script or style, of which the browser would complain."""
    async with running_api(tmp_path) as api, opened(api) as browser:
        await expect(browser.page.locator(".title")).to_contain_text("vproc")
        await expect(browser.page.locator(".version-stamp")).to_contain_text("OAS 3.1")
        loaded = [url.removeprefix(api.url) for url in browser.asked if "icon" not in url]
        assert sorted(loaded) == sorted(
            ["/docs", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/assets/docs.js", "/openapi.json"]
        )
        await browser.open_operation("postUpload")
        await browser.page.fill("[id$=-postUpload] textarea", '{"file_name": "holiday.mp4"}')
        assert (await browser.execute("postUpload")).status == 201
        await browser.open_operation("getUploads")
        answer = await browser.execute("getUploads")
        [told] = (await answer.json())["uploads"]
        assert told["file_name"] == "holiday.mp4"
        await browser.page.click(".models-control >> nth=0")
        await expect(browser.page.locator(".models")).to_contain_text("FileStatus")
    assert [url for url in browser.asked if not url.startswith(f"{api.url}/")] == []
    assert browser.wrong == []


async def test_a_key_that_is_typed_in_is_sent_and_gone_with_the_page(tmp_path: Path) -> None:
    async with running_api(tmp_path, identity=TokenIdentity()) as api, opened(api) as browser:
        await browser.open_operation("getVersion")
        assert (await browser.execute("getVersion")).status == 401
        await browser.authorize("ann")
        answer = await browser.execute("getVersion")
        assert (answer.status, (await answer.request.all_headers())["authorization"]) == (200, "Bearer ann")
        stored = await browser.page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        assert "ann" not in stored
        await browser.page.goto(f"{api.url}/docs?again")
        await expect(browser.page.locator(".opblock")).to_have_count(len(ROUTES))
        await browser.open_operation("getVersion")
        assert (await browser.execute("getVersion")).status == 401
    assert [text for text in browser.wrong if "401" not in text] == []


async def test_a_browser_without_scripts_shows_the_same_in_plain(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = await browser.new_page(java_script_enabled=False)
        await page.goto(f"{api.url}/docs")
        await expect(page.locator("main h1")).to_contain_text("the HTTP API")
        await expect(page.locator("#postUpload")).to_contain_text("Announce an upload")
        await browser.close()
