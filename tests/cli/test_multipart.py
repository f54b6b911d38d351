"""Uploads in parts by the client: cut, sent, joined, and gone on with whatever broke."""

# ruff: noqa: ASYNC240 - a test may read a file where nothing else waits for the loop

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from tests.support.fake_api import FakeApi
from tests.support.fake_parts import CUT, FakeParts, id_of
from vproc.cli import cli
from vproc.client import ApiClient, ApiError, StoreError, multipart, upload_in_parts
from vproc.client.multipart import MIB, part_bytes_for
from vproc.client.resume import KeptUpload, kept_upload

PART = 100_000
SIZE = 5 * PART + 17
NO_PAUSE = (0.0,) * 4


@pytest.fixture
def parts(api: FakeApi) -> FakeParts:
    return api.parts


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Of five parts and a bit."""
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(multipart, "part_bytes_for", lambda _: PART)
    monkeypatch.setattr("vproc.cli.transfers.LARGE_BYTES", PART)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def kept(api: FakeApi, film: Path, tmp_path: Path) -> Iterator[KeptUpload]:
    with kept_upload(tmp_path / "kept", api_url=api.url, path=film, profile=None) as upload:
        yield upload


async def send(api: FakeApi, film: Path, **more: object) -> UUID:
    async with ApiClient(api.url, api_key="KEY") as client:
        return await upload_in_parts(client, film, delays_s=NO_PAUSE, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(0, 8), (64 * MIB + 1, 8), (80_000 * MIB, 8), (80_000 * MIB + 1, 9), (5 * 1024**4, 525)],
)
def test_parts_are_as_small_as_ten_thousand_of_them_allow(
    size_bytes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 MiB at least, whole MiB, never more than 10,000."""
    part_bytes = part_bytes_for(size_bytes)
    assert part_bytes == expected * MIB
    assert -(-size_bytes // part_bytes) <= 10_000


async def test_a_file_goes_in_parts_four_at_a_time(api: FakeApi, parts: FakeParts, film: Path) -> None:
    """The object is the file, its size and profile were told, the progress ends at its length."""
    parts.together = 4
    heard: list[int] = []
    file_id = await send(api, film, profile="mp4", on_bytes=heard.append)
    assert file_id == id_of(parts.last)
    assert parts.last.joined == film.read_bytes()
    assert parts.last.told == {"filename": "film.mp4", "type": "", "size": SIZE, "metadata": {"profile": "mp4"}}
    assert sorted(parts.sent) == [1, 2, 3, 4, 5, 6]
    assert parts.most_at_once == 4
    assert (heard[0], heard[-1], max(heard)) == (0, SIZE, SIZE)
    assert {auth for _, _, auth in api.asked} == {"Bearer KEY"}


@pytest.mark.parametrize("status", [CUT, 403, 500, 503, 429])
async def test_a_part_that_fails_is_sent_again_to_a_new_address(api: FakeApi, parts: FakeParts, film: Path, status: int) -> None:
    """An address that is over, a store that is busy, a connection that is lost: only that part goes again."""
    parts.put_faults = {3: [status, status]}
    await send(api, film)
    assert parts.last.joined == film.read_bytes()
    assert sorted(parts.sent) == [1, 2, 3, 3, 3, 4, 5, 6]
    assert parts.calls.count("sign") == 8


@pytest.mark.parametrize("call", ["begin", "list", "sign", "join"])
@pytest.mark.parametrize("status", [CUT, 503])
async def test_a_call_whose_answer_is_lost_is_asked_again(
    api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload, call: str, status: int
) -> None:
    """One file comes of it, joined once; beginning twice is one upload."""
    if call == "list":
        await broken_off(api, parts, film, kept)
    parts.api_faults = {call: [status, status]}
    await send(api, film, kept=kept)
    assert len(parts.uploads) == 1
    assert parts.last.joined == film.read_bytes()
    assert kept.load() is None


async def broken_off(api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload) -> None:
    """An upload that ended with an error while part 5 was sent."""
    parts.put_faults = {5: [400]}
    with pytest.raises(StoreError, match=r"part 5 of .*: the store answered 400 Broken$") as caught:
        await send(api, film, kept=kept)
    assert "SECRET" not in str(caught.value)
    assert kept.load() is not None
    parts.sent.clear()


async def test_what_was_broken_off_goes_on(api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload) -> None:
    """Only parts that the store does not have are sent, and it is said."""
    await broken_off(api, parts, film, kept)
    stood = set(parts.last.parts)
    said: list[str] = []
    heard: list[int] = []
    await send(api, film, kept=kept, say=said.append, on_bytes=heard.append)
    assert sorted(parts.sent) == sorted({1, 2, 3, 4, 5, 6} - stood)
    assert heard[0] == sum(map(len, parts.last.parts.values())) - sum(len(parts.last.parts[n]) for n in parts.sent)
    assert said == [f"{film}: an earlier upload goes on"]
    assert len(parts.uploads) == 1
    assert parts.last.joined == film.read_bytes()


async def test_a_part_of_another_length_is_sent_again(api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload) -> None:
    """What another program put there is no part of this file."""
    await broken_off(api, parts, film, kept)
    parts.last.parts |= {1: b"x", 2: parts.last.parts.get(2, b"y" * PART)}
    await send(api, film, kept=kept)
    assert 1 in parts.sent
    assert 2 not in parts.sent
    assert parts.last.joined == film.read_bytes()


async def test_parts_that_the_store_lost_are_found_missing_at_the_join(api: FakeApi, parts: FakeParts, film: Path) -> None:
    """One is gone and one is another by then: both are sent again, and nothing else."""

    def lose(number: int) -> None:
        if len(parts.sent) == 6:
            parts.last.parts.pop(parts.sent[0])
            parts.last.parts[parts.sent[1]] = b"z" * PART

    parts.on_put = lose
    await send(api, film)
    assert parts.last.joined == film.read_bytes()
    assert sorted(parts.sent[6:]) == sorted(parts.sent[:2])


async def test_a_join_that_is_refused_though_nothing_is_missing_ends_it(api: FakeApi, parts: FakeParts, film: Path) -> None:
    """The API's words are told, and it is not asked for ever."""
    parts.api_faults = {"join": [422] * 9}
    parts.on_put = lambda _: setattr(parts.last, "joined", None)
    with pytest.raises(ApiError):
        await send(api, film)
    assert parts.calls.count("join") <= 3


async def test_a_changed_file_begins_anew(api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload) -> None:
    """The old upload is given up, and it is said."""
    await broken_off(api, parts, film, kept)
    film.write_bytes(os.urandom(SIZE))
    os.utime(film, ns=(1, 1))
    said: list[str] = []
    await send(api, film, kept=kept, say=said.append)
    assert said == [f"{film} has changed since its upload was begun, so it begins anew"]
    first, second = parts.uploads.values()
    assert first.given_up
    assert second.joined == film.read_bytes()


async def test_an_upload_that_the_api_forgot_begins_anew(api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload) -> None:
    """As after the day that unfinished uploads are kept for."""
    await broken_off(api, parts, film, kept)
    parts.last.given_up = True
    said: list[str] = []
    await send(api, film, kept=kept, say=said.append)
    assert said[-1] == f"{film}: the store knows the earlier upload no more, so it begins anew"
    assert parts.last.joined == film.read_bytes()


async def test_a_join_that_nobody_heard_of_is_asked_again_by_the_next(
    api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload
) -> None:
    """The object stands: no byte is sent, and it is the same file."""
    parts.api_faults = {"join": [CUT] * 5}
    with pytest.raises(ApiError, match="no answer"):
        await send(api, film, kept=kept)
    sent = len(parts.sent)
    assert await send(api, film, kept=kept) == id_of(parts.last)
    assert (len(parts.sent), len(parts.uploads)) == (sent, 1)
    assert kept.load() is None


async def test_a_file_that_changes_under_the_upload_is_not_joined(
    api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload
) -> None:
    """Longer, shorter or other: nothing is made of halves of two files."""
    parts.on_put = lambda _: os.utime(film, ns=(1, 1))
    with pytest.raises(StoreError, match="changed while it was uploaded"):
        await send(api, film, kept=kept)
    assert parts.last.given_up
    assert kept.load() is None
    parts.on_put = lambda _: film.write_bytes(b"short")
    with pytest.raises(StoreError, match="changed while it was uploaded"):
        await send(api, film, kept=kept)


# --- what is kept -----------------------------------------------------------------------------------------------------


async def test_what_is_kept_is_the_users_alone_and_holds_no_secret(
    api: FakeApi, parts: FakeParts, film: Path, kept: KeptUpload, tmp_path: Path
) -> None:
    """Mode 0600; neither key nor address."""
    await broken_off(api, parts, film, kept)
    [file] = (tmp_path / "kept").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert json.loads(text).keys() == {"key", "upload_id", "size_bytes", "mtime_ns", "part_bytes", "joining"}
    assert not any(word in text for word in ("KEY", "SECRET", "http"))


def test_each_api_file_and_profile_has_its_own(film: Path, tmp_path: Path) -> None:
    """And what is done leaves nothing behind."""
    folder = tmp_path / "kept"
    for api_url, profile in (("http://a", None), ("http://b", None), ("http://a", "mp4")):
        with kept_upload(folder, api_url=api_url, path=film, profile=profile):
            assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_two_processes_do_not_send_the_same_file(film: Path, tmp_path: Path) -> None:
    """The second is refused and told why."""
    with (
        kept_upload(tmp_path, api_url="http://a", path=film, profile=None),
        pytest.raises(ApiError, match="being uploaded by another process"),
        kept_upload(tmp_path, api_url="http://a", path=film, profile=None),
    ):
        pass


def test_what_was_half_written_is_nothing(film: Path, tmp_path: Path) -> None:
    """A kill while it was written, or another program's file: it begins anew."""
    for text in ("{", "[]", "{}", '{"joining": []}', "null"):
        with kept_upload(tmp_path / "kept", api_url="http://a", path=film, profile=None) as kept:
            next((tmp_path / "kept").iterdir()).write_text(text)
            assert kept.load() is None


# --- the command ------------------------------------------------------------------------------------------------------


def test_submit_sends_what_is_large_in_parts_and_goes_on(api: FakeApi, parts: FakeParts, film: Path, tmp_path: Path) -> None:
    """After a failure it says how to go on, and does."""
    parts.put_faults = {5: [400]}
    failed = CliRunner().invoke(cli, ["submit", str(film), "--api", api.url])
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-2:] == [
        f"{film}: submit it again, and the upload goes on where it stopped",
        f"vproc: {film}: part 5 of {film}: the store answered 400 Broken",
    ]
    [state] = (tmp_path / "state/vproc/uploads").iterdir()
    assert state.parent.stat().st_mode & 0o777 == 0o700
    done = CliRunner().invoke(cli, ["submit", str(film), "--api", api.url])
    assert (done.exit_code, done.stdout.strip()) == (0, str(id_of(parts.last)))
    assert f"{film}: an earlier upload goes on" in done.stderr
    assert parts.last.joined == film.read_bytes()
    assert list(state.parent.iterdir()) == []


def test_submit_sends_what_is_small_in_one_piece(api: FakeApi, parts: FakeParts, tmp_path: Path) -> None:
    """Up to the threshold there is nothing to keep."""
    path = tmp_path / "small.mp4"
    path.write_bytes(b"x" * PART)
    assert CliRunner().invoke(cli, ["submit", str(path), "--api", api.url]).exit_code == 0
    assert (len(api.puts), parts.calls) == (1, [])
    assert not (tmp_path / "state").exists()
