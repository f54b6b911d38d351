"""The settings of ``VPROC_AUTH=cognito``: what is missing or wrong, each in one line."""

from __future__ import annotations

from typing import Any

import pytest

from vproc.errors import ConfigError
from vproc.settings import AuthMode, Settings, load_settings

NEEDED = {
    "VPROC_RAW_BUCKET": "raw-bucket",
    "VPROC_PROCESSED_BUCKET": "processed-bucket",
    "VPROC_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/q",
    "VPROC_AUTH": "cognito",
    "VPROC_COGNITO_USER_POOL_ID": "eu-central-1_AbC123",
    "VPROC_COGNITO_CLIENT_ID": "4k2j3h4k2j3h4k",
}
SECRET = "hush" * 8


def loaded(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Settings:
    """The settings with these changes; a variable that is None is not set."""
    for name, value in (NEEDED | changes).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return load_settings()


def test_a_pool_and_its_client_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert settings.auth is AuthMode.COGNITO
    assert (settings.cognito_user_pool_id, settings.cognito_client_id) == ("eu-central-1_AbC123", "4k2j3h4k2j3h4k")
    assert settings.cognito_client_secret is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"VPROC_COGNITO_USER_POOL_ID": None}, ("VPROC_COGNITO_USER_POOL_ID: not set", "VPROC_AUTH=cognito")),
        ({"VPROC_COGNITO_CLIENT_ID": None}, ("VPROC_COGNITO_CLIENT_ID: not set", "VPROC_AUTH=cognito")),
        ({"VPROC_COGNITO_USER_POOL_ID": "mypool"}, ("VPROC_COGNITO_USER_POOL_ID: ", "'mypool'")),
        ({"VPROC_COGNITO_USER_POOL_ID": "eu-central-1_a/../b"}, ("VPROC_COGNITO_USER_POOL_ID: ",)),
        ({"VPROC_COGNITO_CLIENT_ID": "a b"}, ("VPROC_COGNITO_CLIENT_ID: ", "'a b'")),
        ({"VPROC_COGNITO_DOMAIN": "https://a.auth.eu-central-1.amazoncognito.com"}, ("VPROC_COGNITO_REDIRECT_URL: not set",)),
        ({"VPROC_COGNITO_DOMAIN": "http://pool.example"}, ("VPROC_COGNITO_DOMAIN: takes an https address",)),
        ({"VPROC_COGNITO_REDIRECT_URL": "https://video.example/"}, ("VPROC_COGNITO_REDIRECT_URL: ", "/auth/callback")),
        ({"VPROC_COGNITO_REDIRECT_URL": "https://video.example/?to=/auth/callback"}, ("VPROC_COGNITO_REDIRECT_URL: ",)),
        ({"VPROC_COGNITO_REDIRECT_URL": "http://video.example/auth/callback"}, ("VPROC_COGNITO_REDIRECT_URL: ", "https")),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as fault:
        loaded(monkeypatch, **changes)
    [line] = fault.value.faults
    for word in words:
        assert word in line
    assert "\n" not in line


def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a fault nor where the settings are printed."""
    assert SECRET not in repr(loaded(monkeypatch, VPROC_COGNITO_CLIENT_SECRET=SECRET))
    with pytest.raises(ConfigError) as fault:
        loaded(monkeypatch, VPROC_COGNITO_CLIENT_SECRET=SECRET * 5)
    assert "VPROC_COGNITO_CLIENT_SECRET: " in str(fault.value)
    assert SECRET not in str(fault.value)


def test_pages_on_this_machine_need_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        VPROC_COGNITO_DOMAIN="http://127.0.0.1:9",
        VPROC_COGNITO_REDIRECT_URL="http://localhost:8080/auth/callback",
    )
    assert settings.cognito_domain == "http://127.0.0.1:9"


def test_another_mode_needs_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without = dict.fromkeys(name for name in NEEDED if "COGNITO" in name)
    assert loaded(monkeypatch, **without, VPROC_AUTH="api-key").cognito_user_pool_id is None
