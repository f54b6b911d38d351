"""`--json` of every command, against a `vproc dev` in a process of its own: what a script is given, a document a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import boto3
import click
import pytest
from click.testing import CliRunner, Result

from tests.support.daemon import Daemon, dev
from vproc.cli import cli

WITHOUT = {
    "serve": "the daemon: its log is JSON with VPROC_LOG_FORMAT=json",
    "dev": "the daemon: its ready line is JSON in any case",
    "demo": "a story for a person; a script has submit, watch and download",
    "aws template": "its output is a JSON document in any case",
    "job": "its one line of output is JSON",
    "completion": "its output is a shell's script",
}
"""The commands that have none, and why."""


@dataclass
class World:
    """A daemon with a file in each state that a command wants. ``names`` are what words in braces stand for."""

    daemon: Daemon
    names: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> Result:
        """A command with the daemon's own settings."""
        return CliRunner().invoke(cli, [word.format(**self.names) for word in words], env=self.settings)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("json")
    video = folder / "clip.mp4"
    video.write_bytes(files("vproc.cli").joinpath("status.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video" * 100)
    with dev(folder, VPROC_WORKER_CONCURRENCY="1") as daemon:
        caller = daemon.caller
        names = {
            "video": str(video),
            "folder": str(folder),
            "hook": f"{daemon.api}/healthz",
            "completed": caller.upload(video, profile="mp4"),
            "failed": caller.upload(folder / "broken.mp4"),
            **{name: str(caller.announce("later.mp4")["file_id"]) for name in ("pending", "deleted")},
        }
        for name in ("completed", "failed"):
            assert caller.end_of(names[name])["processing_status"] == name
        settings = {
            **daemon.settings,
            "VPROC_API_URL": daemon.api,
            "VPROC_DATABASE_URL": daemon.ready["database_url"],
            "VPROC_SCRATCH_DIR": str(folder),
            "VPROC_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
        }
        world = World(daemon, names, settings)
        names |= seeded(world)
        yield world


def seeded(world: World) -> dict[str, str]:
    """A dead letter and a key; their ids."""
    sqs = boto3.client(
        "sqs", endpoint_url=world.daemon.ready["sqs"], region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    letters = [sqs.send_message(QueueUrl=world.daemon.ready["dlq_url"], MessageBody="x")["MessageId"] for _ in range(3)]
    sqs.close()
    [key] = told(world.run("keys", "create", "ann", "--json"))
    return dict(zip(("letter", "redriven", "purged"), letters, strict=True)) | {"key": key["id"]}


def told(result: Result) -> list[dict[str, Any]]:
    """A document from each line; nothing else may stand on standard output."""
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(isinstance(document, dict) for document in documents)
    return documents


def commands(command: click.Command = cli, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(below, f"{name} {word}".strip())
    else:
        yield name, command


FILE = {"file_id", "file_name", "processing_status", "progress", "stage", "error"}
# What each is given beside --json, and the names that its documents have at least.
RUNS: dict[str, tuple[str, set[str]]] = {
    "submit": ("{video} --profile mp4", {"file_id", "file_name", "source"}),
    "status": ("{completed} {failed}", FILE),
    "list": ("--limit 100", FILE),
    "watch": ("{completed}", FILE),
    "cancel": ("{pending}", FILE),
    "retry": ("{failed}", FILE),
    "delete": ("{deleted} --yes", {"file_id", "deleted"}),
    "download": ("{completed} --to {folder}/outputs", {"kind", "key", "path", "bytes", "sha256"}),
    "dlq list": ("", {"message_id", "code", "detail"}),
    "dlq show": ("{letter}", {"message_id", "attributes", "body"}),
    "dlq redrive": ("{redriven}", {"redriven", "by"}),
    "dlq purge": ("{purged} --yes", {"purged"}),
    "migrate": ("", {"steps"}),
    "reconcile": ("--dry-run", {"repair", "subject", "reason"}),
    "keys create": ("bob", {"key", "owner", "id"}),
    "keys list": ("", {"id", "owner", "scopes", "created_at"}),
    "keys revoke": ("{key}", {"id", "revoked"}),
    "webhooks list": ("--show-secret", {"secret"}),
    "webhooks redeliver": ("--failed", {"due_again"}),
    "webhooks test": ("{hook}", {"delivered", "result"}),
    "aws init": ("--name json-test --region us-east-1 --dry-run", {"calls", "done", "settings"}),
    "aws status": ("--name json-test --region us-east-1 --no-upload", {"name", "lacking", "waiting", "proof"}),
    "aws destroy": ("--name json-test --region us-east-1 --yes", {"calls", "done"}),
    "config": ("", {"VPROC_RAW_BUCKET", "VPROC_PORT"}),
    "doctor": ("", {"check", "level", "detail", "remedy"}),
    "profiles": ("", {"name", "packaging", "codec", "rungs"}),
    "healthcheck": ("", {"api", "healthy", "status"}),
    "version": ("", {"version", "python"}),
}
# Where nothing is wrong there may be nothing to tell, and of what is not there somebody must be told.
MAY_BE_EMPTY = {"reconcile"}
MAY_FAIL = {"aws status": 1, "doctor": 1, "webhooks test": 1}


def test_every_command_has_it_or_a_reason() -> None:
    have = {name for name, command in commands() if any(parameter.name == "as_json" for parameter in command.params)}
    have_not = {name for name, _ in commands()} - have
    assert have_not <= WITHOUT.keys()
    assert not have & WITHOUT.keys()
    assert have == RUNS.keys(), "each is run below"


@pytest.mark.parametrize("command", RUNS)
def test_each_gives_a_document_a_line(world: World, command: str) -> None:
    words, names = RUNS[command]
    result = world.run(*command.split(), *words.split(), "--json")
    assert result.exit_code in {0, MAY_FAIL.get(command, 0)}, result.stderr
    documents = told(result)
    assert documents or command in MAY_BE_EMPTY
    for document in documents:
        assert names <= document.keys()


def test_the_template_is_json_in_any_case(world: World) -> None:
    assert "Resources" in json.loads(world.run("aws", "template").stdout)
    assert "resource" in json.loads(world.run("aws", "template", "--format", "terraform").stdout)


def test_what_fails_keeps_standard_output_clean(world: World) -> None:
    """A script that reads JSON reads nothing, or what the command promises of a failure; words are on standard error."""
    for words in ("status 00000000-0000-4000-8000-000000000000", "keys revoke 0000", "dlq show none", "webhooks redeliver none"):
        result = world.run(*words.split(), "--json")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("vproc: ")
    away = world.run("healthcheck", "--api", "http://127.0.0.1:1", "--json")
    assert away.exit_code == 1
    assert told(away) == [{"api": "http://127.0.0.1:1", "healthy": False, "status": None}]
