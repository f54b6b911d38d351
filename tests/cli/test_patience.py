"""What the client does when the API says "not now": it waits as it is told, says so, and does nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.fake_api import CUT, FakeApi, status_body
from vproc.cli import cli
from vproc.client import ApiClient, ApiError, ApiUnreachableError
from vproc.client.patience import MOST_WAIT_S, Patience, read_retry_after

BUSY, AWAY, CONFLICT = 429, 503, 409


def pauses(patience: Patience, errors: Sequence[ApiError]) -> list[float | None]:
    return [patience.pause_s(error) for error in errors]


def refused(status: int, retry_after_s: float | None = None) -> ApiError:
    return ApiError("not now", status=status, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("error", "repeatable", "again"),
    [
        (refused(BUSY, 3), True, True),
        (refused(BUSY, 3), False, True),
        (refused(AWAY, 3), True, True),
        (refused(AWAY, 3), False, False),
        (refused(CONFLICT, 3), True, True),
        (refused(CONFLICT), True, False),
        (refused(CONFLICT, 3), False, False),
        (refused(500), True, False),
        (refused(404), True, False),
        (ApiUnreachableError("gone"), True, True),
        (ApiUnreachableError("gone"), False, False),
    ],
)
def test_what_is_made_again(error: ApiError, repeatable: bool, again: bool) -> None:
    """A refusal before anything was done always; whatever may have been done only where twice is as once."""
    assert (Patience(repeatable, (0.5,)).pause_s(error) is not None) is again


def test_pauses_are_what_the_answer_says_else_they_double() -> None:
    assert pauses(Patience(True, ()), [refused(AWAY, 7), refused(AWAY), refused(BUSY)]) == [7, 2.0, 4.0]
    assert pauses(Patience(True, (0.5, 2.0)), [ApiUnreachableError("gone")] * 3) == [0.5, 2.0, None]


def test_all_pauses_together_are_bounded() -> None:
    """An answer that asks for an hour is an answer: nobody waits for it."""
    assert pauses(Patience(True, ()), [refused(BUSY, 3600)]) == [None]
    told = pauses(Patience(True, ()), [refused(BUSY, MOST_WAIT_S / 2)] * 3)
    assert told == [MOST_WAIT_S / 2, MOST_WAIT_S / 2, None]
    assert pauses(Patience(True, ()), [refused(BUSY, 0)] * 6)[-1] is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0", 0.0), (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("-1", None), ("²", None)],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value) == seconds


async def test_a_request_is_made_again_when_the_answer_says(api: FakeApi) -> None:
    """Each pause is told with the API's own words; a network that fails between two answers is waited for too."""
    api.problems = [(BUSY, {"Retry-After": "0"}), (AWAY, {"Retry-After": "0"}), (CUT, {}), (CUT, {})]
    told: list[str] = []
    async with ApiClient(api.url, retry_delays_s=(0.0, 0.0), on_wait=told.append) as client:
        assert await client.list() == ()
    assert len(api.asked) == 5  # aiohttp opens a kept connection anew once by itself
    assert told[:2] == ["Not now. Trying again in 0 s"] * 2
    assert told[2].endswith("Trying again in 0 s")


async def test_a_post_that_may_have_been_done_is_not_made_again(api: FakeApi) -> None:
    """Cancel and retry bear no key. One that was refused unread is."""
    api.statuses = [status_body(api.file_id, "cancelled")]
    async with ApiClient(api.url, retry_delays_s=(0.0,)) as client:
        for fault in ((AWAY, {"Retry-After": "0"}), (CUT, {})):
            api.problems, api.asked = [fault], []
            with pytest.raises(ApiError):
                await client.retry(api.file_id)
            assert len(api.asked) == 1
        api.problems, api.asked = [(BUSY, {"Retry-After": "0"})], []
        await client.retry(api.file_id)
        assert len(api.asked) == 2


async def test_an_announcement_is_repeated_under_one_key(api: FakeApi, clip: Path) -> None:
    """Also while the first try is still being answered (409)."""
    api.lost_announcements = 1
    api.conflicts = 1
    async with ApiClient(api.url, retry_delays_s=(0.0, 0.0)) as client:
        await client.create_upload(clip)
    assert len(api.idempotency_keys) == 3
    assert len(set(api.idempotency_keys)) == 1


def test_a_person_is_told_why_it_takes_long(api: FakeApi) -> None:
    """On standard error: standard output is for what was asked."""
    api.problems = [(BUSY, {"Retry-After": "0"})]
    result = CliRunner().invoke(cli, ["list"], env={"VPROC_API_URL": api.url})
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "vproc: Not now. Trying again in 0 s\n")
