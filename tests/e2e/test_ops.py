"""The operator's view in a true browser over a true daemon: what runs, what failed, dead letters, and who may see it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from playwright.async_api import Locator, Route, expect

from tests.support.caller import fetch
from tests.support.daemon import Daemon, dev
from tests.support.media import FFMPEG, clip
from tests.support.operations import FAILURES, JOBS, LETTERS, bury, busy, key_of
from tests.support.page import WITHIN_MS, Seen, opened

pytestmark = pytest.mark.xdist_group("e2e-ops")

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "device_scale_factor": 2}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
_HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("ops")) as running:
        running.until_ready()
        yield running


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One with a busy day behind it, which does none of it."""
    with dev(tmp_path_factory.mktemp("ops-busy"), VPROC_CONCURRENCY="4") as running:
        running.until_ready()
        busy(running)
        yield running


@pytest.fixture(scope="module")
def by_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with dev(tmp_path_factory.mktemp("ops-key"), VPROC_AUTH="api-key") as running:
        yield running


def tile(seen: Seen, name: str) -> Locator:
    """The value of a tile."""
    return seen.page.locator(".tile", has=seen.page.get_by_text(name, exact=True)).locator(".value")


def total(seen: Seen, what: str) -> Locator:
    """What the bars come to: a test that sees the hour strike finds the same."""
    return seen.page.locator(f".figure.{what} figcaption .meta")


def row(seen: Seen, section: str, text: str) -> Locator:
    """The row of a table that says so."""
    return seen.page.locator(f"#{section}").get_by_role("row", name=text)


async def lies_there(seen: Seen, key: str) -> Locator:
    """The row of a dead letter, once a look finds it: what was seen a moment ago is not looked at again."""
    letter = row(seen, "letters", key)
    look = seen.page.get_by_role("button", name="Look again")
    with anyio.fail_after(60):
        while not await letter.count():
            async with seen.page.expect_response("**/ops/dead-letters"):
                await look.click()
            await expect(look).to_be_enabled()
    return letter


async def shares(seen: Seen, name: str) -> list[int]:
    """Every percentage that the job's row shows, until it is gone."""
    await seen.page.evaluate(
        """(name) => {
          window.shares = new Set();
          const look = () => {
            const row = [...document.querySelectorAll("#jobs tbody tr")].find((one) => one.textContent.includes(name));
            if (row) window.shares.add(parseInt(row.querySelector(".share").textContent));
          };
          new MutationObserver(look).observe(document.querySelector("#jobs"), { childList: true, subtree: true });
        }""",
        name,
    )
    await expect(row(seen, "jobs", name)).to_be_visible(timeout=WITHIN_MS)
    await seen.shoot("ops-running")
    await expect(row(seen, "jobs", name)).to_have_count(0, timeout=WITHIN_MS)
    found: list[int] = await seen.page.evaluate("[...window.shares]")
    return found


def _repeated(video: Path, to: Path) -> Path:
    """The video five times over: a job that lasts for several looks."""
    subprocess.run([FFMPEG, "-v", "error", "-stream_loop", "4", "-i", video, "-c", "copy", to], check=True)
    return to


async def test_a_job_is_seen_while_it_runs_and_counted_when_it_ends(daemon: Daemon, tmp_path: Path) -> None:
    """Its percentage rises before somebody's eyes, its worker is named, and the hour has one more."""
    long = _repeated(clip("main.mp4"), tmp_path / "long.mp4")
    async with opened(daemon, "/ops", **DESKTOP) as seen:
        await expect(seen.page.locator("#jobs")).to_have_text(re.compile("No job is in progress"))
        await expect(total(seen, "completed")).to_have_text("none")
        file_id = daemon.caller.upload(long)
        rising = await shares(seen, "long.mp4")
        assert len(rising) >= 2, rising
        assert rising == sorted(rising)
        daemon.caller.completed(file_id)
        await expect(total(seen, "completed")).to_have_text("1, at most 1 an hour")
        await expect(tile(seen, "In progress")).to_have_text("0")
        await expect(tile(seen, "Scratch free")).to_have_text(re.compile(r"\d [kMGT]B"))
        facts = await seen.page.locator("#process").inner_text()
        told = daemon.caller.ask("/version").json
        assert told["version"] in facts
        assert told["ffmpeg"] in facts


async def test_a_failure_is_shown_with_its_reason_and_told(daemon: Daemon, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all, " * 100)
    async with opened(daemon, "/ops") as seen:
        await expect(seen.page.locator("#failures")).to_be_visible()
        await expect(total(seen, "failed")).to_have_text("none")
        ended = daemon.caller.end_of(daemon.caller.upload(broken))
        failed = row(seen, "failures", "broken.mp4")
        await expect(failed.locator(".code")).to_have_text(ended["error"]["code"], timeout=WITHIN_MS)
        await expect(failed.locator(".why")).to_have_text(ended["error"]["detail"])
        await expect(total(seen, "failed")).to_have_text("1, at most 1 an hour")
        assert f"broken.mp4 failed: {ended['error']['code']}." in seen.told("unseen")
        await expect(failed.get_by_role("link")).to_have_attribute("href", f"/?file={ended['file_id']}")


async def test_dead_letters_go_back_by_their_buttons(daemon: Daemon) -> None:
    """One by its own, the rest by one that asks first; the daemon then works on each, and the audit has both."""
    bury(daemon, "imports/first.mp4", detail="no progress for 120 s")
    async with opened(daemon, "/ops") as seen:
        page = seen.page
        letter = await lies_there(seen, "imports/first.mp4")
        await expect(letter.locator(".why")).to_have_text("no progress for 120 s")
        await expect(letter.locator(".code")).to_have_text("stalled")
        await expect(tile(seen, "Dead letters")).to_have_text("1", timeout=WITHIN_MS)
        await letter.get_by_role("button", name="Redrive imports/first.mp4").click()
        await expect(letter).to_have_count(0)
        await expect(page.locator("#letters")).to_contain_text("None.")
        await expect(page.get_by_role("button", name="Look again")).to_be_focused()
        assert "Sent back: imports/first.mp4." in seen.told("unseen")
        await expect(row(seen, "failures", "first.mp4").locator(".code")).to_have_text("source_missing", timeout=WITHIN_MS)
        for name in ("second", "third"):
            bury(daemon, f"imports/{name}.mp4")
        await lies_there(seen, "imports/third.mp4")
        every = page.get_by_role("button", name="Redrive all")
        await every.click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("button", name="Not now")).to_be_focused()
        await seen.axe()
        await page.keyboard.press("Escape")
        await expect(every).to_be_focused()
        assert len([asked for asked in seen.asked if asked.method == "POST"]) == 1
        await every.click()
        await dialog.get_by_role("button", name="Redrive all").click()
        await expect(page.locator("#letters")).to_contain_text("None.", timeout=WITHIN_MS)
        for name in ("second.mp4", "third.mp4"):
            await expect(row(seen, "failures", name)).to_be_visible(timeout=WITHIN_MS)
        await expect(tile(seen, "Dead letters")).to_have_text("0", timeout=WITHIN_MS)
    lines = [entry for entry in daemon.log() if entry["event"] == "audit" and entry["action"] == "letters.redrive"]
    assert [entry["result"] for entry in lines] == ["done", "done"]


async def test_old_numbers_say_that_they_are_and_why(daemon: Daemon) -> None:
    async with opened(daemon, "/ops") as seen:
        page = seen.page
        await expect(page.locator("#age")).to_have_text(re.compile(r"^As of .*\.$"))
        away = True

        async def answer(route: Route) -> None:
            if away:
                await route.abort("connectionrefused")
            else:
                await route.continue_()

        seen.expected.append("ERR_CONNECTION_REFUSED")
        await page.route("**/ops/state", answer)
        old = re.compile(r"^These numbers are of .* old\. The service does not answer\. Check your connection\.$")
        await expect(page.locator("#age")).to_have_text(old, timeout=WITHIN_MS)
        await seen.axe()
        await seen.shoot("ops-old")
        assert "The numbers are old. The service does not answer. Check your connection." in seen.told("unseen")
        away = False
        await expect(page.locator("#age")).to_have_text(re.compile(r"^As of"), timeout=WITHIN_MS)
        assert "The numbers are new again." in seen.told("unseen")


async def test_nobody_is_asked_while_nobody_looks(daemon: Daemon) -> None:
    async with opened(daemon, "/ops") as seen:
        page = seen.page
        await expect(page.locator("#age")).to_have_text(re.compile(r"^As of"))
        await page.clock.install()
        await page.evaluate(_HIDE, True)
        await page.clock.run_for(10_000)
        asked = _states(seen)
        await page.clock.run_for(60_000)
        assert _states(seen) == asked
        async with page.expect_response("**/ops/state"):
            await page.evaluate(_HIDE, False)
        assert _states(seen) == asked + 1


def _states(seen: Seen) -> int:
    return len([asked for asked in seen.asked if asked.url.endswith("/ops/state")])


# --- how it looks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
async def test_axe_finds_nothing_on_a_busy_day_and_nothing_sticks_out(filled: Daemon, scheme: str, device: str) -> None:
    """In both colours and on both widths; all that was put there is shown."""
    async with opened(filled, "/ops", color_scheme=scheme, **(PHONE if device == "phone" else DESKTOP)) as seen:
        for section, names in (
            ("jobs", [job.name for job in JOBS]),
            ("letters", [letter[0] for letter in LETTERS]),
            ("failures", [failure[0] for failure in FAILURES]),
        ):
            for name in names:
                await expect(row(seen, section, name)).to_be_visible(timeout=WITHIN_MS)
        await expect(tile(seen, "Dead letters")).to_have_text(str(len(LETTERS)), timeout=WITHIN_MS)
        await expect(row(seen, "jobs", "interview.mp4")).to_contain_text("No sign of life")
        await seen.axe()
        width = await seen.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]
        await seen.shoot(f"ops-{device}-{scheme}")
        await seen.page.get_by_text("As a table").click()
        await seen.axe()


async def test_the_bars_are_the_table_and_both_are_the_daemons_hours(filled: Daemon) -> None:
    async with opened(filled, "/ops") as seen:
        await seen.page.get_by_text("As a table").click()
        table = seen.page.get_by_role("table", name="By the hour, UTC")
        cells = [await line.locator("th, td").all_inner_texts() for line in await table.locator("tbody tr").all()]
        hours = filled.caller.ask("/ops/state").json["hours"]
        told = [(f"{hour['begins_at'][:10]} {hour['begins_at'][11:16]}", hour["completed"], hour["failed"]) for hour in hours]
        assert [(hour, int(done), int(failed)) for hour, done, _, failed in reversed(cells)] == told
        most = max(hour["completed"] for hour in hours)
        bars = seen.page.locator(".completed .bar rect:not(.hit)")
        heights = [float(await bar.get_attribute("height") or 0) for bar in await bars.all()]
        assert heights == pytest.approx([max(2, hour["completed"] / most * 60) if hour["completed"] else 0 for hour in hours])
        name = await seen.page.get_by_role("img", name=re.compile("^Completed by the hour")).get_attribute("aria-label")
        assert f"{sum(hour['completed'] for hour in hours)} in 24 hours, at most {most}" in (name or "")


async def test_by_the_keyboard_alone(filled: Daemon) -> None:
    """From the top to a question and back, with a focus that is seen, while the numbers go on behind it."""
    async with opened(filled, "/ops") as seen:
        page = seen.page
        await expect(row(seen, "letters", LETTERS[0][0])).to_be_visible(timeout=WITHIN_MS)
        for _ in range(40):
            await page.keyboard.press("Tab")
            focused, outline = await page.evaluate(
                "[document.activeElement.textContent, getComputedStyle(document.activeElement).outlineStyle]"
            )
            assert outline != "none", f"the focus is not seen on {focused}"
            if focused == "Redrive all":
                break
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").get_by_role("button", name="Not now")).to_be_focused()
        async with page.expect_response("**/ops/state"):
            pass
        await page.keyboard.press("Enter")
        every = page.get_by_role("button", name="Redrive all")
        await expect(every).to_be_focused()
        async with page.expect_response("**/ops/state"):
            pass
        await expect(every).to_be_focused()


# --- who may see it ----------------------------------------------------------------------------------------------------


async def test_only_an_admin_sees_it_and_anybody_else_is_told(by_key: Daemon, tmp_path: Path) -> None:
    admin, ann = key_of(tmp_path, by_key, "root", scope="admin"), key_of(tmp_path, by_key, "ann")
    async with opened(by_key, "/ops") as seen:
        seen.allowed |= {401, 403}
        page = seen.page
        field = page.get_by_label("API key")
        await expect(field).to_be_focused()
        await expect(page.locator("#inside")).to_be_hidden()
        await field.fill(ann)
        await field.press("Enter")
        await expect(page.get_by_text("This page is for operators")).to_be_visible()
        await expect(page.locator("#inside")).to_be_hidden()
        await seen.axe()
        await seen.shoot("ops-refused")
        await page.get_by_role("button", name="Log out").click()
        await field.fill(admin)
        await field.press("Enter")
        await expect(tile(seen, "In progress")).to_have_text("0")
        await expect(page.get_by_text("This page is for operators")).to_be_hidden()
        await page.reload()
        await expect(tile(seen, "In progress")).to_have_text("0")
        # A page of another site, with this admin's cookie
        cookie = "; ".join(f"{one['name']}={one['value']}" for one in await page.context.cookies())
    foreign = {"Cookie": cookie, "Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}
    path = f"{by_key.api}/ops/dead-letters/redrive"
    assert fetch(path, "POST", b'{"all": true}', foreign).status == 403
    assert fetch(path, "POST", b'{"all": true}', foreign | {"Sec-Fetch-Site": "same-origin"}).status == 200


def test_the_shell_is_for_everybody_and_strict(by_key: Daemon) -> None:
    answer = fetch(f"{by_key.api}/ops")
    policy = answer.headers["content-security-policy"]
    assert answer.status == 200
    assert policy.startswith("default-src 'none'; style-src 'self'; ")
    assert "script-src 'self'; connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert b"style=" not in answer.body
    assert answer.body.count(b"<script") == 1
