"""The operator's commands, the daemon's start, and what every command's errors become."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from vproc import __version__, daemon
from vproc.cli import cli
from vproc.cli.admin import masked
from vproc.cli.group import CommandGroup, ended_like_interrupt
from vproc.errors import ConfigError, DependencyError, ErrorCode, RejectedError, UnavailableError
from vproc.profiles import builtin_profiles
from vproc.settings import Settings, variable_of

REQUIRED = {"VPROC_RAW_BUCKET": "raw", "VPROC_PROCESSED_BUCKET": "processed", "VPROC_QUEUE_URL": "http://queue/q"}
HEAVY = {
    *("aiobotocore", "aiohttp", "alembic", "anyio", "asyncio", "botocore", "moto", "prometheus_client", "pydantic"),
    *("pydantic_settings", "rich", "sqlalchemy", "structlog", "vproc.client", "vproc.daemon", "vproc.settings", "yarl"),
}


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, words, env=environment)


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["submit", "--help"], {}),
        ([], {"_VPROC_COMPLETE": "bash_complete", "COMP_WORDS": "vproc submit --", "COMP_CWORD": "2"}),
    ],
)
def test_help_version_and_completion_import_nothing_heavy(words: list[str], variable: dict[str, str]) -> None:
    """They answer at once because none of the parts is loaded."""
    program = (
        "import atexit, sys, vproc.cli\n"
        "atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr))\n"
        f"sys.argv = ['vproc', *{words!r}]\nvproc.cli.main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variable, "PYTHONPATH": str(Path(daemon.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout
    loaded = set(ran.stderr.split("LOADED ", 1)[1].split())
    assert "click" in loaded
    assert loaded & HEAVY == set()


def test_the_version_is_told_by_both() -> None:
    assert run("--version").stdout == run("version").stdout == f"vproc {__version__}\n"
    assert json.loads(run("version", "--json").stdout)["version"] == __version__


def test_help_names_every_command_and_the_exit_codes() -> None:
    """Each with a whole sentence."""
    shown = run("--help").stdout
    for name in (
        *("serve", "dev", "demo", "submit", "status", "list", "watch", "cancel", "retry", "download", "migrate"),
        *("config", "doctor", "profiles", "healthcheck", "version"),
    ):
        assert f"\n  {name} " in shown
    assert "..." not in shown.partition("Commands:")[2]
    assert "75 a dependency is away at the start" in " ".join(shown.split())


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("A: not set", "B: takes a number"), 78, "vproc: A: not set\nvproc: B: takes a number\n"),
        (DependencyError("the queue does not answer"), 75, "vproc: the queue does not answer\n"),
        (UnavailableError("the database is away"), 75, "vproc: the database is away\n"),
        (RejectedError(ErrorCode.TOO_LARGE, "too\nlarge"), 1, "vproc: too large\n"),
        (KeyboardInterrupt(), 130, "vproc: interrupted\n"),
    ],
)
def test_an_expected_error_is_a_line_and_a_code(error: BaseException, code: int, said: str) -> None:
    """A line for each fault, no traceback, the documented exit code."""

    @click.group(cls=CommandGroup)
    def group() -> None:
        pass

    @group.command()
    def fails() -> None:
        raise error

    result = CliRunner().invoke(group, ["fails"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, said, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_being_told_to_end_is_an_interrupt(number: signal.Signals, handler: Callable[..., object] | signal.Handlers) -> None:
    """SIGTERM lets a command clear away what it made, also one that ignores Ctrl-C; afterwards all is as before."""
    before, interrupt = signal.getsignal(number), signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt), ended_like_interrupt():
            signal.raise_signal(number)
        assert signal.getsignal(number) == before
    finally:
        signal.signal(signal.SIGINT, interrupt)


# --- config, profiles, migrate ---------------------------------------------------------------------------------------


def test_config_tells_every_fault_at_once() -> None:
    """A line for each variable, and exit 78; serve says the same."""
    for command in ("config", "serve"):
        result = run(command, VPROC_PORT="http")
        assert result.exit_code == 78
        said = result.stderr.splitlines()
        assert all(line.startswith("vproc: VPROC_") for line in said)
        assert [line.split(":")[1].strip() for line in said] == [*REQUIRED, "VPROC_PORT"]
        assert "'http'" in said[-1]


def test_config_shows_all_settings_without_secrets() -> None:
    """Each setting by its variable; no password in any form."""
    url = "postgresql://vproc:S3CRET@db/vproc?password=S3CRET"
    environment = {**REQUIRED, "VPROC_DATABASE_URL": url, "VPROC_QUEUE_URL": "http://user:S3CRET@queue/q", "VPROC_ROLES": "api"}
    environment["VPROC_JWT_AUDIENCE"] = "api, app"
    plain, as_json = run("config", **environment), run("config", "--json", **environment)
    assert "S3CRET" not in plain.output + as_json.output
    shown = json.loads(as_json.stdout)
    assert set(shown) == {variable_of(name) for name in Settings.model_fields}
    assert shown["VPROC_DATABASE_URL"] == "postgresql://vproc:***@db/vproc?password=***"
    assert (shown["VPROC_ROLES"], shown["VPROC_JWT_AUDIENCE"]) == (["api"], ["api", "app"])
    assert shown["VPROC_DELETE_RAW"] is True
    assert shown["VPROC_DLQ_URL"] is None
    told = dict(line.split(None, 1) if " " in line else (line, "") for line in plain.stdout.splitlines())
    assert (told["VPROC_ROLES"], told["VPROC_DELETE_RAW"], told["VPROC_DLQ_URL"]) == ("api", "true", "")
    assert told["VPROC_JWT_AUDIENCE"] == "api,app"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p@s/s:w@h/d", "postgresql://u:***@h/d"),
        ("postgresql+asyncpg://:p@h", "postgresql+asyncpg://:***@h"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
    ],
)
def test_a_password_is_masked_whatever_it_holds(url: str, shown: str) -> None:
    """Up to the last @: a password may hold one."""
    assert masked(url) == shown


def test_profiles() -> None:
    """Every built-in profile, for people and for programs."""
    plain = run("profiles").stdout.splitlines()
    rows = [json.loads(line) for line in run("profiles", "--json").stdout.splitlines()]
    assert [line.split()[0] for line in plain] == [row["name"] for row in rows] == list(builtin_profiles())
    assert rows[0] == {"name": "abr", "packaging": "cmaf", "codec": "h264", "rungs": [1080, 720, 360]}
    assert plain[0].split() == ["abr", "cmaf", "h264", "1080p", "720p", "360p"]


def test_migrate_needs_the_database_alone(tmp_path: Path) -> None:
    """It makes the schema with no bucket set, says what it did, and does nothing the second time."""
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    first, second = run("migrate", VPROC_DATABASE_URL=url), run("migrate", VPROC_DATABASE_URL=url)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    assert first.stdout.startswith("migrated: ")
    assert second.stdout == "up to date already\n"
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert "files" in names


def test_migrate_of_a_database_that_is_away() -> None:
    """Exit 75, and the password is not told."""
    result = run("migrate", VPROC_DATABASE_URL="postgresql://vproc:S3CRET@127.0.0.1:1/vproc")
    assert result.exit_code == 75
    assert "S3CRET" not in result.output
    assert len(result.stderr.splitlines()) == 1


# --- serve -----------------------------------------------------------------------------------------------------------


def test_serve_runs_the_daemon_with_the_environments_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is the command's."""
    given: list[Settings] = []

    async def fake_run(settings: Settings) -> int:
        given.append(settings)
        return 7

    monkeypatch.setattr(daemon, "run", fake_run)
    assert run("serve", **REQUIRED, VPROC_PORT="1234").exit_code == 7
    assert given[0].port == 1234


def test_serve_without_its_queue_is_exit_75(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fake_run(settings: Settings) -> int:
        raise DependencyError(f"{settings.queue_url} does not answer")

    monkeypatch.setattr(daemon, "run", fake_run)
    result = run("serve", **REQUIRED)
    assert (result.exit_code, result.stderr) == (75, "vproc: http://queue/q does not answer\n")
