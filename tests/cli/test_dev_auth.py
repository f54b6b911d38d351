"""`vproc dev --auth`: a way in for each mode, told in the ready line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from vproc import daemon
from vproc.cli import cli
from vproc.core.api_keys import ApiKey, Scope, read_key
from vproc.daemon import ReadyInfo
from vproc.db.catalog import open_catalog
from vproc.embedded_pool import CODE
from vproc.settings import AuthMode, Settings


class Looked:
    """What the daemon was started with."""

    settings: Settings


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    found = Looked()

    async def look(settings: Settings, *, on_ready: Any) -> int:
        found.settings = settings
        on_ready(ReadyInfo("http://127.0.0.1:1"))
        return 0

    monkeypatch.setattr(daemon, "run", look)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return found


def dev(folder: Path, *words: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, ["dev", "--data", str(folder), *words], env=environment)


def test_a_user_pool_is_made_and_told(looked: Looked, tmp_path: Path) -> None:
    """Whatever pool this shell is set for: its secret and its pages are not taken."""
    result = dev(
        tmp_path,
        "--auth",
        "cognito",
        VPROC_COGNITO_USER_POOL_ID="eu-central-1_production",
        VPROC_COGNITO_CLIENT_SECRET="production" * 3,
        VPROC_COGNITO_DOMAIN="https://production.example",
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    settings = looked.settings
    assert settings.auth is AuthMode.COGNITO
    assert (settings.cognito_user_pool_id, settings.cognito_client_id) == (
        said["cognito_user_pool_id"],
        said["cognito_client_id"],
    )
    assert (settings.cognito_client_secret, settings.cognito_domain) == (None, None)
    assert said["cognito_code"] == CODE
    assert "production" not in result.stdout


def test_the_variable_makes_one_as_well(looked: Looked, tmp_path: Path) -> None:
    result = dev(tmp_path, VPROC_AUTH="cognito")
    assert json.loads(result.stdout)["cognito_user_pool_id"] == looked.settings.cognito_user_pool_id


def test_a_first_key_is_made_and_told(looked: Looked, tmp_path: Path) -> None:
    said = json.loads(dev(tmp_path, "--auth", "api-key").stdout)
    assert looked.settings.auth is AuthMode.API_KEY
    read = read_key(said["api_key"])
    assert read is not None

    async def find() -> ApiKey | None:
        async with open_catalog(looked.settings.sqlalchemy_url) as catalog:
            return await catalog.find_key(read[0])

    key = anyio.run(find)
    assert key is not None
    assert (key.owner, key.scopes) == ("dev", {Scope.FILES, Scope.ADMIN})


def test_none_tells_nothing_more(looked: Looked, tmp_path: Path) -> None:
    said = json.loads(dev(tmp_path, "--auth", "none").stdout)
    assert looked.settings.auth is AuthMode.NONE
    assert not [name for name in said if "cognito" in name or "key" in name]


def test_another_mode_is_wrong_usage(looked: Looked, tmp_path: Path) -> None:
    result = dev(tmp_path, "--auth", "magic")
    assert result.exit_code == 2
    assert "'none', 'api-key', 'jwt', 'cognito'" in result.stderr


def test_a_pool_without_its_package_names_the_extra(looked: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moto.cognitoidp.responses", None)
    result = dev(tmp_path, "--auth", "cognito")
    assert result.exit_code == 78
    assert 'pip install "vproc[dev]"' in result.stderr
