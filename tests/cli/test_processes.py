"""The command as a process of its own: what only a shell sees. Nothing is served here but the fake API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vproc
from tests.support.fake_api import FakeApi, status_body
from vproc.cli import cli

ROOT = Path(vproc.__file__).parents[1]
# What `docs/reference/commands.md` promises of each command.
PROMISED = {
    "serve": [],
    "job": ["--job"],
    "dev": ["--port", "--data", "--host"],
    "demo": ["--serve", "--to", "[FILE]"],
    "submit": [
        *("FILE...", "--profile", "--api", "--api-key", "--wait", "--json", "--name", "--parallel", "--quiet"),
    ],
    "status": ["ID...", "--api", "--api-key", "--json"],
    "list": ["--status", "--search", "--limit", "--cursor", "--api", "--api-key", "--json"],
    "watch": ["ID", "--api", "--api-key", "--json"],
    "cancel": ["ID", "--api", "--api-key", "--json"],
    "retry": ["ID", "--api", "--api-key", "--json"],
    "delete": ["ID...", "--yes", "--api", "--api-key", "--json"],
    "download": ["ID", "--to", "--only", "--parallel", "--api", "--api-key", "--json"],
    "dlq": ["list", "show", "redrive", "purge"],
    "reconcile": ["--dry-run", "--json"],
    "keys": ["create", "list", "revoke"],
    "webhooks": ["list", "redeliver", "test"],
    "aws": ["init", "status", "destroy", "template"],
    "migrate": ["--json"],
    "config": ["--json"],
    "profiles": ["--json"],
    "healthcheck": ["--api", "--json"],
    "doctor": ["--json"],
    "completion": ["SHELL"],
    "version": ["--json"],
}


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vproc", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: object, **environment: str) -> tuple[int, str, str]:
    process = start(*words, **environment)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def test_every_command_that_is_promised_stands() -> None:
    assert set(cli.commands) == set(PROMISED)


@pytest.mark.parametrize("command", PROMISED)
def test_help_of_each_command(command: str) -> None:
    """It names what it takes, and each option says what it is for."""
    code, shown, stderr = run(command, "--help")
    assert (code, stderr) == (0, "")
    assert shown.startswith(f"Usage: vproc {command}")
    for word in PROMISED[command]:
        assert word in shown
    for parameter in cli.commands[command].params:
        assert parameter.param_type_name == "argument" or getattr(parameter, "help", None)


def test_completion_offers_the_commands() -> None:
    """What bash asks for after `vproc re`."""
    code, shown, _ = run(_VPROC_COMPLETE="bash_complete", COMP_WORDS="vproc re", COMP_CWORD="1")
    assert (code, shown.split()) == (0, ["plain,retry", "plain,reconcile"])


def test_a_wrong_setting_may_stand_in_a_file(tmp_path: Path) -> None:
    """`.env` and the TOML file are read like the environment, which wins; a file that is not there is said."""
    (tmp_path / ".env").write_text("VPROC_RAW_BUCKET=raw-bucket\nVPROC_PORT=1\n")
    toml = tmp_path / "vproc.toml"
    toml.write_text('VPROC_PROCESSED_BUCKET = "out-bucket"\nVPROC_QUEUE_URL = "http://queue/q"\n')
    code, shown, stderr = run("config", "--json", VPROC_CONFIG=str(toml), VPROC_PORT="2")
    assert (code, stderr) == (0, "")
    settings = json.loads(shown)
    assert (settings["VPROC_RAW_BUCKET"], settings["VPROC_PROCESSED_BUCKET"], settings["VPROC_PORT"]) == (
        "raw-bucket",
        "out-bucket",
        2,
    )
    code, _, stderr = run("config", VPROC_CONFIG=str(tmp_path / "none.toml"))
    assert (code, stderr) == (78, f"vproc: VPROC_CONFIG: no file at {tmp_path / 'none.toml'}\n")


@pytest.mark.parametrize("words", [["watch"], ["submit", "--wait"]])
def test_ctrl_c_while_following_is_exit_130(api: FakeApi, clip: Path, words: list[str]) -> None:
    """One line, no traceback; the file goes on without its watcher."""
    api.statuses = [status_body(api.file_id, "processing", number / 1000) for number in range(1000)]
    command = [*words, "--json", *([clip] if words[0] == "submit" else [api.file_id])]
    process = start(*command, VPROC_API_URL=api.url)
    stream = process.stdout if words[0] == "watch" else process.stderr
    assert stream is not None
    while line := stream.readline():
        if "processing" in line:
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "vproc: interrupted"
    assert "Traceback" not in stderr


def test_a_reader_that_goes_is_no_traceback(api: FakeApi) -> None:
    """As `vproc list | head -1` does it."""
    api.uploads = [status_body(api.file_id, "completed") for _ in range(5000)]
    process = start("list", "--limit", 5000, "--json", VPROC_API_URL=api.url)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)


def test_output_is_utf_8_whatever_the_locale(api: FakeApi) -> None:
    """A name that ASCII cannot hold is no crash in a C locale."""
    api.uploads = [status_body(api.file_id, "completed", file_name="é漢字.mp4")]
    for words in (["list"], ["list", "--json"]):
        code, shown, stderr = run(*words, VPROC_API_URL=api.url, LC_ALL="C", LANG="C")
        assert (code, stderr) == (0, "")
        assert "漢字.mp4" in shown


def test_the_demo_without_ffmpeg_says_what_to_install() -> None:
    """Before anything is started, and exit 78."""
    code, shown, stderr = run("demo", VPROC_FFPROBE="/no/ffprobe")
    assert (code, shown) == (78, "")
    assert stderr.startswith("vproc: VPROC_FFPROBE: no program '/no/ffprobe' on this machine; takes the path of one")
