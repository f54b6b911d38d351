"""`vproc dev` over the true embedded S3 and SQS, the daemon replaced by one that looks around and ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner, Result

from vproc import daemon
from vproc.cli import cli
from vproc.daemon import ReadyInfo
from vproc.settings import Role, Settings

READY_KEYS = ["api", "s3", "sqs", "raw_bucket", "processed_bucket", "queue_url", "dlq_url", "database_url"]


class Looked:
    """What the daemon found when it was started."""

    settings: Settings
    environment: dict[str, str]
    store_answers: int
    scratch_stood: bool


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    found = Looked()

    async def look(settings: Settings, *, on_ready: Any) -> int:
        found.settings = settings
        found.environment = dict(os.environ)
        found.scratch_stood = settings.scratch_dir.is_dir()
        on_ready(ReadyInfo(f"http://{settings.host}:{settings.port}" if Role.API in settings.roles else None))
        return 3

    monkeypatch.setattr(daemon, "run", look)
    # What the command does to this process's environment is undone.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return found


def dev(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(cli, ["dev", *map(str, words)], env=environment)


def test_dev_says_where_everything_is(looked: Looked, tmp_path: Path) -> None:
    """One line of JSON with the documented names in their order; catalog and scratch lie in DIR, which stays."""
    result = dev("--port", 0, "--host", "localhost", "--data", tmp_path / "data")
    assert result.exit_code == 3, result.output
    [line] = result.stdout.splitlines()
    said = json.loads(line)
    assert list(said) == READY_KEYS
    assert said["api"] == "http://localhost:0"
    assert said["database_url"] == f"sqlite:///{tmp_path}/data/vproc.db"
    settings = looked.settings
    assert settings.database_url.get_secret_value() == said["database_url"]
    assert (settings.raw_bucket, settings.processed_bucket) == (said["raw_bucket"], said["processed_bucket"])
    assert (settings.queue_url, settings.dlq_url) == (said["queue_url"], said["dlq_url"])
    assert settings.scratch_dir == tmp_path / "data" / "scratch"
    assert looked.scratch_stood
    assert settings.scratch_dir.is_dir()
    assert said["queue_url"].startswith(said["sqs"])
    assert result.stderr == ""


def test_dev_without_data_leaves_nothing(looked: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder was there, and is gone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = dev()
    assert result.exit_code == 3
    assert looked.scratch_stood
    assert list(tmp_path.iterdir()) == []
    assert (looked.settings.host, looked.settings.port) == ("127.0.0.1", 8080)


def test_embedded_addresses_win_and_other_settings_hold(looked: Looked, tmp_path: Path) -> None:
    """This shell's account, buckets and database are not reached; its port and roles are taken."""
    result = dev(
        *("--data", tmp_path),
        VPROC_RAW_BUCKET="production",
        S3_PROCESSED_BUCKET="production",
        VPROC_QUEUE_URL="https://production/q",
        DATABASE_URL="postgresql://production/db",
        VPROC_PORT="0",
        VPROC_ROLES="worker",
        AWS_PROFILE="production",
        AWS_SESSION_TOKEN="production",
        AWS_ENDPOINT_URL_S3="https://production",
    )
    assert result.exit_code == 3, result.output
    said = json.loads(result.stdout)
    assert "production" not in result.stdout
    assert said["api"] is None
    assert "production" not in str(looked.settings.model_dump())
    assert looked.settings.port == 0
    amazon = {name: value for name, value in looked.environment.items() if name.startswith("AWS_")}
    assert "production" not in amazon.values()
    assert amazon["AWS_ENDPOINT_URL"] == said["s3"]
    assert amazon["AWS_CONFIG_FILE"] == os.devnull


def test_dev_names_wrong_settings_before_it_starts_anything(looked: Looked, tmp_path: Path) -> None:
    """Exit 78 with the variable; beyond loopback a login must be chosen by name."""
    for result in (dev(VPROC_CONCURRENCY="many"), dev("--host", "0.0.0.0")):
        assert result.exit_code == 78
        assert len(result.stderr.splitlines()) == 1
    (tmp_path / "file").write_bytes(b"")
    result = dev("--data", tmp_path / "file" / "below")
    assert (result.exit_code, "--data: cannot use" in result.stderr) == (78, True)


def test_dev_without_moto_names_the_extra(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "moto.server", None)
    result = dev()
    assert result.exit_code == 78
    [line] = result.stderr.splitlines()
    assert 'pip install "vproc[dev]"' in line


def test_the_embedded_store_answers_while_the_daemon_runs(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is up when the daemon starts, and down when the command ends."""

    async def ask(settings: Settings, *, on_ready: Any) -> int:
        looked.environment = dict(os.environ)
        url = f"{os.environ['AWS_ENDPOINT_URL']}/{settings.raw_bucket}"
        async with ClientSession() as session, session.get(url) as answer:
            looked.store_answers = answer.status
        return 0

    monkeypatch.setattr(daemon, "run", ask)
    assert dev().exit_code == 0
    assert looked.store_answers == 200
    with pytest.raises(OSError, match="refused"):
        urlopen(looked.environment["AWS_ENDPOINT_URL"])


def test_dev_beyond_this_machine_has_its_store_at_the_next_port(looked: Looked, tmp_path: Path) -> None:
    """As in a container: both ports can be published, and the addresses are those that the machine itself reaches."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ("--data", tmp_path, "--host", "0.0.0.0", "--port", port)
    refused = dev(*words)
    assert refused.exit_code == 78
    assert "VPROC_AUTH has no default beyond loopback" in refused.stderr
    result = dev(*words, VPROC_DEV_AUTH="none")
    assert result.exit_code == 3, result.output
    said = json.loads(result.stdout)
    assert said["s3"] == f"http://127.0.0.1:{port + 1}"
    assert said["queue_url"].startswith(f"http://127.0.0.1:{port + 1}/")
    assert looked.settings.auth == "none"
    result = dev(*words, VPROC_DEV_AUTH="none", VPROC_AUTH="api-key")
    assert looked.settings.auth == "api-key"
