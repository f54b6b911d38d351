"""Settings: where they come from, what they take, and what a person is told when one is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vproc.errors import ConfigError
from vproc.profiles import builtin_profiles
from vproc.settings import (
    AuthMode,
    LogFormat,
    Role,
    SandboxMode,
    Settings,
    load_partial_settings,
    load_settings,
    read_profiles,
    variable_of,
)

REQUIRED = {
    "VPROC_RAW_BUCKET": "raw-bucket",
    "VPROC_PROCESSED_BUCKET": "processed-bucket",
    "VPROC_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs",
}
BARE = {"raw_bucket": "raw", "processed_bucket": "processed", "queue_url": "http://127.0.0.1:1/queue"}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine, no `.env` of the folder."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        for other in Settings.model_fields[name].validation_alias.choices:  # type: ignore[union-attr]
            monkeypatch.delenv(str(other), raising=False)
    monkeypatch.delenv("VPROC_CONFIG", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The three settings that have no default."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def faults(**overrides: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        load_settings(**overrides)
    return raised.value.faults


# --- where they come from ----------------------------------------------------------------------------------------------


def test_the_environment_sets_them(required: pytest.MonkeyPatch) -> None:
    """The three required ones suffice, and the rest have their defaults."""
    settings = load_settings()
    assert (settings.raw_bucket, settings.processed_bucket, settings.queue_url) == tuple(REQUIRED.values())
    assert (settings.host, settings.port, settings.roles) == ("127.0.0.1", 8080, frozenset(Role))
    assert (settings.profile, settings.max_attempts, settings.visibility_timeout_s) == ("abr", 3, 120)
    assert (settings.sandbox, settings.auth, settings.log_format) == (SandboxMode.AUTO, None, None)
    assert settings.max_upload_bytes == 50 * 1024**3
    assert settings.concurrency is None
    assert settings.delete_raw is True


def test_the_common_names_are_taken_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`S3_RAW_BUCKET`, `S3_PROCESSED_BUCKET`, `SQS_QUEUE_URL` and `DATABASE_URL` work as well."""
    for name, value in {
        "S3_RAW_BUCKET": "one",
        "S3_PROCESSED_BUCKET": "two",
        "SQS_QUEUE_URL": "https://queue",
        "DATABASE_URL": "postgresql://user:secret@db/vproc",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.raw_bucket, settings.processed_bucket, settings.queue_url) == ("one", "two", "https://queue")
    assert settings.sqlalchemy_url == "postgresql+asyncpg://user:secret@db/vproc"


def test_our_name_wins_over_the_common_one(required: pytest.MonkeyPatch) -> None:
    """Where both are set, the one with our prefix counts."""
    required.setenv("S3_RAW_BUCKET", "another")
    assert load_settings().raw_bucket == "raw-bucket"


@pytest.mark.parametrize(
    ("environment", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({}, None),
    ],
)
def test_the_region_is_read_from_both_of_aws_names(
    required: pytest.MonkeyPatch, environment: dict[str, str], region: str | None
) -> None:
    """`AWS_REGION`, which botocore does not read, wins over `AWS_DEFAULT_REGION`."""
    for name, value in environment.items():
        required.setenv(name, value)
    assert load_settings().aws_region == region


def test_an_empty_variable_is_not_set(required: pytest.MonkeyPatch) -> None:
    """What a compose file leaves empty falls back to the default."""
    required.setenv("VPROC_PORT", "")
    required.setenv("VPROC_DLQ_URL", "")
    assert (load_settings().port, load_settings().dlq_url) == (8080, None)


def test_files_stand_behind_the_environment(required: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An argument wins over the environment, that over `.env`, that over the file of `VPROC_CONFIG`."""
    (tmp_path / "vproc.toml").write_text('VPROC_PORT = 1\nVPROC_MAX_ATTEMPTS = 1\nVPROC_PROFILE = "mp4"\nVPROC_HOST = "::1"\n')
    (tmp_path / ".env").write_text("VPROC_PORT=2\nVPROC_MAX_ATTEMPTS=2\nVPROC_PROFILE=hevc\nSOMETHING_ELSE=x\n")
    required.setenv("VPROC_CONFIG", str(tmp_path / "vproc.toml"))
    required.setenv("VPROC_PORT", "3")
    required.setenv("VPROC_MAX_ATTEMPTS", "3")
    settings = load_settings(port=4)
    assert (settings.port, settings.max_attempts, settings.profile, settings.host) == (4, 3, "hevc", "::1")


def test_a_config_file_may_use_the_plain_names(required: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the TOML file `port` says the same as `VPROC_PORT`, and a list needs no commas in a string."""
    (tmp_path / "vproc.toml").write_text('port = 9000\nroles = ["worker"]\n')
    required.setenv("VPROC_CONFIG", str(tmp_path / "vproc.toml"))
    assert (load_settings().port, load_settings().roles) == (9000, {Role.WORKER})


def test_a_config_file_that_is_not_there_is_a_fault(required: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `VPROC_CONFIG` that names nothing is never passed over."""
    required.setenv("VPROC_CONFIG", str(tmp_path / "gone.toml"))
    assert faults() == (f"VPROC_CONFIG: no file at {tmp_path / 'gone.toml'}",)


def test_systemds_credentials_are_settings_behind_the_environment(required: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of `LoadCredential=vproc:…` gives files named by the setting in small letters; one line's end is none of it."""
    credentials, toml = tmp_path / "credentials", tmp_path / "vproc.toml"
    credentials.mkdir()
    (credentials / "vproc_database_url").write_text("postgresql://user:secret@db/vproc\n")
    (credentials / "vproc_port").write_text("1234")
    (credentials / "vproc_drain_timeout_s").write_text("12")
    toml.write_text("VPROC_DRAIN_TIMEOUT_S = 34\nVPROC_STALL_TIMEOUT_S = 56\n")
    required.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    required.setenv("VPROC_CONFIG", str(toml))
    required.setenv("VPROC_PORT", "4321")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "postgresql://user:secret@db/vproc"
    assert (settings.port, settings.drain_timeout_s, settings.stall_timeout_s) == (4321, 12, 56)


def test_a_config_file_that_is_not_toml_is_a_fault(required: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that cannot be read as TOML is told by its name, with the place."""
    (tmp_path / "vproc.toml").write_text("port = = 1\n")
    required.setenv("VPROC_CONFIG", str(tmp_path / "vproc.toml"))
    (fault,) = faults()
    assert fault.startswith(f"VPROC_CONFIG: {tmp_path / 'vproc.toml'} is not TOML: ")
    assert "line 1" in fault


# --- what they take ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "roles"),
    [("api", {Role.API}), ("worker", {Role.WORKER}), ("api,worker", set(Role)), (" worker , api ,", set(Role))],
)
def test_roles_are_a_list_with_commas(required: pytest.MonkeyPatch, text: str, roles: set[Role]) -> None:
    """Spaces and a comma at the end do no harm."""
    required.setenv("VPROC_ROLES", text)
    assert load_settings().roles == roles


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VPROC_PORT", "-1"),
        ("VPROC_PORT", "65536"),
        ("VPROC_PORT", "http"),
        ("VPROC_CONCURRENCY", "0"),
        ("VPROC_VISIBILITY_TIMEOUT_S", "3"),
        ("VPROC_VISIBILITY_TIMEOUT_S", "43200"),
        ("VPROC_MAX_ATTEMPTS", "0"),
        ("VPROC_UPLOAD_EXPIRES_S", "604801"),
        ("VPROC_DOWNLOAD_EXPIRES_S", "0"),
        ("VPROC_JOB_TIMEOUT_S", "43200"),
        ("VPROC_DRAIN_TIMEOUT_S", "-0.1"),
        ("VPROC_MAX_DURATION_S", "0"),
        ("VPROC_MAX_DURATION_S", "nan"),
        ("VPROC_DRAIN_TIMEOUT_S", "inf"),
        ("VPROC_DELETE_RAW", "perhaps"),
        ("VPROC_SANDBOX", "maybe"),
        ("VPROC_RUNNER", "lambda"),
        ("VPROC_AUTH", "basic"),
        ("VPROC_LOG_FORMAT", "xml"),
        ("VPROC_LOG_LEVEL", "loud"),
        ("VPROC_ROLES", "api,cook"),
        ("VPROC_ROLES", ","),
        ("VPROC_RAW_BUCKET", "ab"),
        ("VPROC_QUEUE_URL", "arn:aws:sqs:eu-west-1:1:jobs"),
        ("VPROC_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/jobs.fifo"),
        ("VPROC_DLQ_URL", "dead"),
        ("VPROC_PUBLIC_URL", "cdn.example.org"),
        ("VPROC_S3_PUBLIC_ENDPOINT_URL", "s3"),
        ("VPROC_CORS_ORIGINS", "*"),
        ("VPROC_CORS_ORIGINS", "https://a.example/"),
        ("VPROC_CORS_ORIGINS", "https://a.example,b.example"),
        ("VPROC_DATABASE_URL", "mysql://db/vproc"),
        ("VPROC_DATABASE_URL", "vproc.db"),
        ("VPROC_JWT_ISSUER", "issuer.example"),
        ("VPROC_JWT_ISSUER", "http://issuer.example"),
        ("VPROC_JWT_ISSUER", "https://user:password@issuer.example"),
        ("VPROC_JWT_ISSUER", "https://"),
        ("VPROC_JWT_ISSUER", "https://[::1"),
        ("VPROC_JWT_JWKS_URL", "http://192.0.2.7/jwks"),
        ("VPROC_JWT_JWKS_URL", "https://issuer.example/jwks#keys"),
        ("VPROC_JWT_JWKS_URL", "file:///etc/passwd"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(required: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The line says which variable, what it takes, and what it got."""
    required.setenv(name, value)
    (fault,) = faults()
    assert fault.startswith(f"{name}: ")
    assert "takes" in fault
    assert "nput" not in fault, "a library's sentence"
    assert "\n" not in fault
    got = value.rpartition(",")[2] or "takes"
    assert got in fault or name == "VPROC_DATABASE_URL"


def test_every_fault_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person mends all of it in one go."""
    monkeypatch.setenv("VPROC_PORT", "x")
    monkeypatch.setenv("VPROC_SANDBOX", "y")
    told = faults()
    assert {fault.partition(":")[0] for fault in told} == {*REQUIRED, "VPROC_PORT", "VPROC_SANDBOX"}
    assert "VPROC_QUEUE_URL: not set, and required" in told


def test_a_secret_is_never_told(required: pytest.MonkeyPatch) -> None:
    """A database address that is wrong is not shown, nor is it in the settings' own text."""
    required.setenv("VPROC_DATABASE_URL", "mysql://user:hunter2@db/vproc")
    assert "hunter2" not in " ".join(faults())
    required.setenv("VPROC_DATABASE_URL", "postgresql://user:hunter2@db/vproc")
    assert "hunter2" not in repr(load_settings())


def test_the_two_buckets_are_two(required: pytest.MonkeyPatch) -> None:
    """One bucket for both would start a job for every output."""
    required.setenv("VPROC_PROCESSED_BUCKET", REQUIRED["VPROC_RAW_BUCKET"])
    (fault,) = faults()
    assert fault.startswith("VPROC_PROCESSED_BUCKET takes another bucket")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_on_loopback_nobody_need_say_who_they_are(host: str) -> None:
    """There `none` is what an unset `VPROC_AUTH` means."""
    assert load_settings(**BARE, host=host).auth is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "vproc.example.org"])
def test_beyond_loopback_auth_is_set_by_name(host: str) -> None:
    """An API that others reach never starts open by an oversight."""
    (fault,) = faults(**BARE, host=host)
    assert "VPROC_AUTH" in fault
    assert host in fault
    assert load_settings(**BARE, host=host, auth="none").auth is AuthMode.NONE


@pytest.mark.parametrize(
    "issuer", ["https://a.example", "https://a.example:8443/realms/x/", "http://127.0.0.1:9", "http://localhost"]
)
def test_an_issuer_is_reached_by_https_or_on_this_machine(required: pytest.MonkeyPatch, issuer: str) -> None:
    """Whoever stands between could sign for everybody."""
    required.setenv("VPROC_AUTH", "jwt")
    required.setenv("VPROC_JWT_ISSUER", issuer)
    required.setenv("VPROC_JWT_AUDIENCE", " api, app ,")
    settings = load_settings()
    assert (settings.auth, settings.jwt_issuer, settings.jwt_audience) == (AuthMode.JWT, issuer, ("api", "app"))


@pytest.mark.parametrize(
    ("missing", "fault"),
    [("issuer", "VPROC_JWT_ISSUER: not set, and required"), ("audience", "VPROC_JWT_AUDIENCE: not set, and required")],
)
def test_tokens_need_an_issuer_and_an_audience(missing: str, fault: str) -> None:
    """Without an audience any token of the issuer's would do, whoever it was made for."""
    given_ones = {"jwt_issuer": "https://a.example", "jwt_audience": "api"}
    del given_ones[f"jwt_{missing}"]
    (told,) = faults(**BARE, auth="jwt", **given_ones)
    assert told.startswith(fault)
    assert "takes" in told
    (told,) = faults(**BARE, auth="jwt", **given_ones | {f"jwt_{missing}": ""})
    assert told.startswith(fault.partition(":")[0])


# --- what follows from them --------------------------------------------------------------------------------------------


@given(st.integers(min_value=4, max_value=41400))
def test_a_poll_ends_before_its_messages_are_visible_again(visibility_s: int) -> None:
    """However short the visibility, the read timeout lies beyond the wait and within the visibility."""
    settings = Settings(**BARE, visibility_timeout_s=visibility_s)
    assert 1 <= settings.poll_wait_s <= 20
    assert settings.poll_wait_s < settings.poll_read_timeout_s < visibility_s


@pytest.mark.parametrize(
    ("given_url", "state", "url"),
    [
        ("sqlite:///vproc.db", None, "sqlite+aiosqlite:///vproc.db"),
        ("sqlite:///vproc.db", "/var/lib/vproc", "sqlite+aiosqlite:////var/lib/vproc/vproc.db"),
        ("sqlite:////srv/vproc.db", "/var/lib/vproc", "sqlite+aiosqlite:////srv/vproc.db"),
        ("postgres://u:p@h/n", None, "postgresql+asyncpg://u:p@h/n"),
        ("postgresql://u:p@h:5433/n?ssl=require", None, "postgresql+asyncpg://u:p@h:5433/n?ssl=require"),
    ],
)
def test_the_database_address_gets_its_driver(given_url: str, state: str | None, url: str) -> None:
    """A relative SQLite path lies under `$STATE_DIRECTORY` where there is one."""
    assert load_settings(**BARE, database_url=given_url, state_directory=state).sqlalchemy_url == url


def test_systemd_may_hand_over_several_state_directories(required: pytest.MonkeyPatch) -> None:
    """`$STATE_DIRECTORY` may be a list with colons: the first is ours."""
    required.setenv("STATE_DIRECTORY", "/var/lib/vproc:/var/lib/other")
    assert load_settings().sqlalchemy_url == "sqlite+aiosqlite:////var/lib/vproc/vproc.db"


def test_a_variable_is_told_by_its_first_name() -> None:
    """What the documentation and the faults call a setting."""
    assert variable_of("raw_bucket") == "VPROC_RAW_BUCKET"
    assert variable_of("aws_region") == "AWS_REGION"


def test_origins_are_a_list_with_commas(required: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_settings().cors_origins == frozenset()
    required.setenv("VPROC_CORS_ORIGINS", "https://a.example, http://localhost:3000")
    named = load_settings().cors_origins
    assert named == {"https://a.example", "http://localhost:3000"}
    required.delenv("VPROC_CORS_ORIGINS")
    file = tmp_path / "vproc.toml"
    file.write_text('cors_origins = ["https://a.example", "http://localhost:3000"]\n')
    required.setenv("VPROC_CONFIG", str(file))
    assert load_settings().cors_origins == named


def test_settings_do_not_change() -> None:
    """Whoever holds them may rely on them."""
    settings = Settings(**BARE, log_format="journal")
    assert settings.log_format is LogFormat.JOURNAL
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_the_users_profiles_stand_beside_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text('[profiles.mine]\npackaging = "audio"\n')
    assert read_profiles(None).keys() == builtin_profiles().keys()
    assert read_profiles(file).keys() == builtin_profiles().keys() | {"mine"}


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file"), (b"\xff", "not UTF-8"), (b"a = ", "not TOML")])
def test_a_profiles_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "profiles.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"VPROC_PROFILES_FILE: .*{reason}"):
        read_profiles(file)


# --- as far as they are right ------------------------------------------------------------------------------------------


def test_right_settings_are_whole(required: pytest.MonkeyPatch) -> None:
    known = load_partial_settings()
    assert (known.settings, known.faults, known.unknown) == (load_settings(), (), frozenset())


def test_each_fault_is_told_and_the_other_settings_are_kept(required: pytest.MonkeyPatch) -> None:
    required.delenv("VPROC_RAW_BUCKET")
    required.setenv("VPROC_PORT", "http")
    required.setenv("VPROC_ROLES", "api,cook")
    required.setenv("VPROC_MAX_ATTEMPTS", "7")
    known = load_partial_settings()
    assert known.faults == (
        "VPROC_RAW_BUCKET: not set, and required",
        "VPROC_PORT: takes a whole number (got 'http')",
        "VPROC_ROLES: takes 'api' or 'worker' (got 'cook')",
    )
    assert known.unknown == {"raw_bucket", "port", "roles"}
    assert (known.settings.port, known.settings.roles, known.settings.max_attempts) == (8080, frozenset(Role), 7)
    assert known.settings.processed_bucket == "processed-bucket"


def test_with_nothing_set_all_that_is_required_is_unknown() -> None:
    known = load_partial_settings()
    assert known.unknown == {"raw_bucket", "processed_bucket", "queue_url"}
    assert len(known.faults) == 3


@pytest.mark.parametrize(
    ("changes", "fault", "unknown"),
    [
        ({"VPROC_PROCESSED_BUCKET": "raw-bucket"}, "VPROC_PROCESSED_BUCKET takes another bucket", {"processed_bucket"}),
        ({"VPROC_HOST": "0.0.0.0"}, "VPROC_AUTH has no default beyond loopback", {"auth"}),
        ({"VPROC_AUTH": "jwt", "VPROC_JWT_AUDIENCE": "api"}, "VPROC_JWT_ISSUER: not set", {"jwt_issuer"}),
        ({"VPROC_AUTH": "jwt", "VPROC_JWT_ISSUER": "https://a.example"}, "VPROC_JWT_AUDIENCE: not set", {"jwt_audience"}),
    ],
)
def test_settings_that_do_not_go_together_are_a_fault_of_the_one_that_is_named(
    required: pytest.MonkeyPatch, changes: dict[str, str], fault: str, unknown: set[str]
) -> None:
    for name, value in changes.items():
        required.setenv(name, value)
    known = load_partial_settings()
    assert known.unknown == unknown
    assert [line.startswith(fault) for line in known.faults] == [True]


@pytest.mark.parametrize(("text", "words"), [(None, "no file at"), ("not = = toml", "is not TOML")])
def test_a_broken_file_of_settings_is_left_out(
    required: pytest.MonkeyPatch, text: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.toml"
    if text is not None:
        path.write_text(text)
    required.setenv("VPROC_CONFIG", str(path))
    known = load_partial_settings()
    (fault,) = known.faults
    assert fault.startswith("VPROC_CONFIG: ")
    assert words in fault
    assert (known.settings.raw_bucket, known.unknown) == ("raw-bucket", frozenset())


# --- webhooks ------------------------------------------------------------------------------------------------------------


def test_hosts_that_webhooks_may_go_to(required: pytest.MonkeyPatch) -> None:
    """Names and addresses, however they are set apart."""
    assert load_settings().webhook_allowed_hosts is None
    required.setenv("VPROC_WEBHOOK_ALLOWED_HOSTS", "Hooks.internal., 10.0.0.7 [fd00::1]")
    assert load_settings().webhook_allowed_hosts == {"hooks.internal", "10.0.0.7", "fd00::1"}


def test_a_secret_of_webhooks_is_checked_and_never_shown(required: pytest.MonkeyPatch) -> None:
    required.setenv("VPROC_WEBHOOK_SECRET", "whsec_t0p")
    (fault,) = faults()
    assert fault == "VPROC_WEBHOOK_SECRET: takes whsec_ and 24 to 64 bytes in base64; several with a space between"
    required.setenv("VPROC_WEBHOOK_SECRET", "whsec_" + "QUJD" * 8)
    assert "QUJD" not in repr(load_settings())
