"""Who comes to the page: by a key, by an account. What they type in stays nowhere that a script could read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.daemon import Daemon, dev, run
from tests.support.media import clip
from tests.support.page import Seen, opened

pytestmark = pytest.mark.xdist_group("e2e-page-sessions")

EMAIL = "ann@example.com"
PASSWORD = "Correct-horse-1"
ANOTHER = "Correct-horse-2"
_STORED = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"


def _key(folder: Path, daemon: Daemon, owner: str) -> str:
    made = run(folder, "keys", "create", owner, "--json", VPROC_DATABASE_URL=daemon.ready["database_url"])
    assert made.code == 0, made
    key: str = json.loads(made.stdout)["key"]
    return key


@pytest.fixture(scope="module")
def by_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("page-key"), VPROC_AUTH="api-key") as running:
        yield running


@pytest.fixture(scope="module")
def by_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("page-account"), VPROC_AUTH="cognito", VPROC_ROLES="api") as running:
        running.until_ready()
        yield running


async def test_a_key_opens_the_page(by_key: Daemon, tmp_path: Path) -> None:
    """A wrong key is told so; with the right one uploads, events and player work by the cookie, until one logs out."""
    key = _key(tmp_path, by_key, "ann")
    async with opened(by_key) as seen:
        seen.allowed |= {401}
        page = seen.page
        field = page.get_by_label("API key")
        await expect(field).to_be_focused()
        await expect(page.locator("#inside")).to_be_hidden()
        await seen.axe()
        await seen.shoot("key")
        await field.fill("vproc_wrong")
        await page.get_by_role("button", name="Enter").click()
        await expect(page.get_by_role("alert").first).to_have_text(
            "This key opens nothing here. Check that all of it was pasted."
        )
        await field.fill(key)
        await field.press("Enter")
        await expect(page.locator("#inside")).to_be_visible()
        assert key not in await page.evaluate(_STORED)
        await seen.choose(clip("second.mp4"))
        card = await seen.reaches("second.mp4", "completed")
        await seen.plays(card, picture=False)
        await page.reload()
        await seen.reaches("second.mp4", "completed")
        theirs = page.url
        assert "?file=" in theirs
        await page.get_by_role("button", name="Log out").click()
        await expect(field).to_be_visible()
        await expect(page.locator(".card")).to_have_count(0)
        assert page.url == f"{by_key.api}/", "the address still names a file of the one who left"
        await page.reload()
        await expect(field).to_be_visible()
        await field.fill(_key(tmp_path, by_key, "bob"))
        await field.press("Enter")
        await expect(page.locator("#none")).to_have_text("No videos yet. Drop one above.")
        await expect(page.locator("#trouble")).to_be_empty()
        seen.allowed |= {404}
        async with page.expect_response(lambda answer: "/uploads?limit=20" in answer.url):
            await page.goto(theirs)
        await expect(page.locator("#trouble")).to_have_text("The video that this address names is not here, or is not yours.")
        await expect(page.locator(".card")).to_have_count(0)


async def _fill(seen: Seen, go: str, **fields: str) -> None:
    for label, text in fields.items():
        await seen.page.get_by_label(label.replace("_", " "), exact=True).fill(text)
    await seen.page.get_by_role("button", name=go, exact=True).click()


async def test_an_account_from_sign_up_to_another_password(by_account: Daemon) -> None:
    code = str(by_account.ready["cognito_code"])
    address = "E-mail address"
    async with opened(by_account) as seen:
        seen.allowed |= {401, 409, 422}
        page = seen.page
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await seen.axe()
        await seen.shoot("log-in")
        await page.get_by_role("button", name="Make an account").click()
        await _fill(seen, "Sign up", **{address: EMAIL, "Password": PASSWORD, "Name (optional)": "Ann"})
        await expect(page.get_by_role("heading", name="Confirm your address")).to_be_visible()
        await seen.axe()
        await seen.shoot("confirm")
        await page.get_by_role("button", name="Send another code").click()
        await expect(page.locator(".told")).to_contain_text("a code is on its way")
        await _fill(seen, "Confirm", **{"Code from the e-mail": "000000"})
        await expect(page.locator("form .fault")).not_to_be_empty()
        await _fill(seen, "Confirm", **{"Code from the e-mail": code})
        await expect(page.locator(".told")).to_have_text("Your address is confirmed. Log in.")
        await _fill(seen, "Log in", Password="wrong")
        await expect(page.locator("form .fault")).not_to_be_empty()
        await seen.shoot("log-in-refused")
        await page.get_by_role("button", name="Forgotten password").click()
        await _fill(seen, "Send a code")
        await _fill(seen, "Set it", **{"Code from the e-mail": code, "New password": ANOTHER})
        await expect(page.locator(".told")).to_have_text("Your password is set. Log in.")
        await _fill(seen, "Log in", Password=ANOTHER)
        await expect(page.locator("#account")).to_contain_text("Ann")
        await expect(page.locator("#inside")).to_be_visible()
        stored = await page.evaluate(_STORED)
        assert ANOTHER not in stored
        assert "token" not in stored
        # The access token ends; its refresh token gets another, and nobody notices.
        await page.context.clear_cookies(name="access_token")
        async with page.expect_response(lambda answer: "/uploads?" in answer.url and answer.status == 200):
            await page.select_option("#status", "failed")
        await expect(page.locator("#none")).to_have_text("No video fits.")
        await expect(page.locator("#inside")).to_be_visible()
        assert {cookie["name"] for cookie in await page.context.cookies()} >= {"access_token"}
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
