"""``vproc keys``: made, listed, revoked, and shown once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vproc.cli import cli
from vproc.core.api_keys import read_key


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "keys.db"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VPROC_DATABASE_URL", f"sqlite:///{path}")
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["keys", *words])


def made(*words: str) -> dict[str, str]:
    done = run("create", *words, "--json")
    assert done.exit_code == 0, done.output
    told: dict[str, str] = json.loads(done.stdout)
    return told


def test_a_key_is_shown_once_and_never_stored(database: Path) -> None:
    told = made("ann")
    read = read_key(told["key"])
    assert read is not None
    assert (told["owner"], told["id"]) == ("ann", read[0])
    listed = run("list", "--json")
    (row,) = map(json.loads, listed.stdout.splitlines())
    assert (row["id"], row["owner"], row["scopes"], row["last_used_at"], row["revoked_at"]) == (
        told["id"],
        "ann",
        ["files"],
        None,
        None,
    )
    secret = told["key"].partition("_")[2].partition("_")[2]
    assert secret not in listed.output
    assert secret.encode() not in b"".join(path.read_bytes() for path in database.parent.glob("keys.db*"))


def test_what_was_changed_is_in_the_audit_and_no_key_is(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPROC_LOG_FORMAT", "json")
    created = run("create", "ann", "--json")
    told = json.loads(created.stdout)
    revoked = run("revoke", told["id"])
    lines = [json.loads(line) for line in (created.stderr + revoked.stderr).splitlines()]
    assert [(line["event"], line["action"], line["key_id"]) for line in lines] == [
        ("audit", "key.create", told["id"]),
        ("audit", "key.revoke", told["id"]),
    ]
    assert told["key"] not in created.stderr + revoked.stderr
    assert database.exists()


def test_for_a_person_the_key_alone_is_on_standard_output(database: Path) -> None:
    done = run("create", "ann b", "--scope", "admin", "--scope", "files")
    assert read_key(done.stdout.strip()) is not None
    assert "ann b (admin, files)" in done.stderr
    assert database.exists()


@pytest.mark.parametrize(
    "words", [["create", ""], ["create", " ann"], ["create", "ann", "--scope", "root"], ["create"], ["revoke"]]
)
def test_what_makes_no_key_is_wrong_usage(database: Path, words: list[str]) -> None:
    assert run(*words).exit_code == 2
    assert not database.exists()


def test_a_key_is_revoked_once(database: Path) -> None:
    told = made("ann")
    assert run("revoke", told["id"]).exit_code == 0
    again = run("revoke", told["id"])
    assert again.exit_code == 1
    assert "vproc keys list" in again.stderr
    assert "revoked 20" in run("list", "--owner", "ann").stdout
    assert run("list", "--owner", "bob").stdout == ""
    assert database.exists()
