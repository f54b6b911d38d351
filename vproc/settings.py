"""Every setting of the daemon: its variable, unit, default and rule. All faults are told at once, each in one line.

Read from the environment, from ``.env``, from the files that systemd gives as credentials (``$CREDENTIALS_DIRECTORY``) and from
the TOML file that ``VPROC_CONFIG`` names, in this order of precedence.
AWS's own variables (``AWS_PROFILE``, ``AWS_ENDPOINT_URL`` …) are botocore's and are not read here, but for ``AWS_REGION``,
which botocore does not read.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from vproc.cognito_settings import PLACEHOLDERS, CognitoSettings
from vproc.core.origins import parse_origins
from vproc.core.profile import Profile
from vproc.core.profile_file import parse_profiles
from vproc.core.webhook_signing import read_secrets
from vproc.errors import ConfigError
from vproc.profiles import builtin_profiles
from vproc.runner_settings import RunnerSettings

GIB = 1024**3

_SECRET = frozenset({"VPROC_DATABASE_URL", "VPROC_WEBHOOK_SECRET", "VPROC_COGNITO_CLIENT_SECRET"})
# What a setting takes, by the library's name of the fault; its own sentences speak of inputs, strings and patterns.
_TAKES = {
    "int_parsing": "takes a whole number",
    "float_parsing": "takes a number",
    "finite_number": "takes a number that is not infinite",
    "bool_parsing": "takes true or false",
    "greater_than": "takes more than {gt}",
    "greater_than_equal": "takes {ge} or more",
    "less_than_equal": "takes {le} or less",
    "string_too_short": "takes {min_length} characters or more",
    "string_pattern_mismatch": "takes what matches {pattern}",
}


class Role(StrEnum):
    """What this process does."""

    API = "api"
    WORKER = "worker"


class SandboxMode(StrEnum):
    """How ffmpeg is confined: all of it or no start, what the kernel gives, or not at all."""

    REQUIRE = "require"
    AUTO = "auto"
    OFF = "off"


class LogFormat(StrEnum):
    """How log lines are written to standard error."""

    JSON = "json"
    CONSOLE = "console"
    JOURNAL = "journal"


class AuthMode(StrEnum):
    """How callers prove who they are."""

    NONE = "none"
    API_KEY = "api-key"
    JWT = "jwt"
    COGNITO = "cognito"


def _named(name: str, *aliases: str) -> AliasChoices:
    return AliasChoices(f"VPROC_{name}", *aliases)


class Settings(RunnerSettings, CognitoSettings):
    """The daemon's settings. Durations in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True)

    raw_bucket: Annotated[str, Field(validation_alias=_named("RAW_BUCKET", "S3_RAW_BUCKET"), min_length=3)]
    processed_bucket: Annotated[str, Field(validation_alias=_named("PROCESSED_BUCKET", "S3_PROCESSED_BUCKET"), min_length=3)]
    queue_url: Annotated[str, Field(validation_alias=_named("QUEUE_URL", "SQS_QUEUE_URL"), pattern=r"^https?://")]
    dlq_url: Annotated[str | None, Field(validation_alias=_named("DLQ_URL"), pattern=r"^https?://")] = None
    database_url: Annotated[SecretStr, Field(validation_alias=_named("DATABASE_URL", "DATABASE_URL"))] = SecretStr(
        "sqlite:///vproc.db"
    )
    aws_region: Annotated[str | None, Field(validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))] = None

    host: Annotated[str, Field(validation_alias=_named("HOST"))] = "127.0.0.1"
    port: Annotated[int, Field(validation_alias=_named("PORT"), ge=0, le=65535)] = 8080
    roles: Annotated[frozenset[Role], NoDecode, Field(validation_alias=_named("ROLES"))] = frozenset(Role)
    concurrency: Annotated[int | None, Field(validation_alias=_named("CONCURRENCY"), ge=1, le=256)] = None
    profile: Annotated[str, Field(validation_alias=_named("PROFILE"))] = "abr"
    profiles_file: Annotated[Path | None, Field(validation_alias=_named("PROFILES_FILE"))] = None

    max_upload_bytes: Annotated[int, Field(validation_alias=_named("MAX_UPLOAD_BYTES"), ge=1)] = 50 * GIB
    max_duration_s: Annotated[float, Field(validation_alias=_named("MAX_DURATION_S"), gt=0, allow_inf_nan=False)] = 6 * 3600
    max_pixels: Annotated[int, Field(validation_alias=_named("MAX_PIXELS"), ge=1)] = 8192 * 4320
    upload_expires_s: Annotated[int, Field(validation_alias=_named("UPLOAD_EXPIRES_S"), ge=1, le=604800)] = 900
    download_expires_s: Annotated[int, Field(validation_alias=_named("DOWNLOAD_EXPIRES_S"), ge=1, le=604800)] = 3600
    visibility_timeout_s: Annotated[int, Field(validation_alias=_named("VISIBILITY_TIMEOUT_S"), ge=4, le=41400)] = 120
    max_attempts: Annotated[int, Field(validation_alias=_named("MAX_ATTEMPTS"), ge=1, le=1000)] = 3
    public_url: Annotated[str | None, Field(validation_alias=_named("PUBLIC_URL"), pattern=r"^https?://")] = None
    s3_public_endpoint_url: Annotated[
        str | None, Field(validation_alias=_named("S3_PUBLIC_ENDPOINT_URL"), pattern=r"^https?://")
    ] = None
    job_timeout_s: Annotated[int, Field(validation_alias=_named("JOB_TIMEOUT_S"), ge=1, le=41400)] = 21600
    stall_timeout_s: Annotated[int, Field(validation_alias=_named("STALL_TIMEOUT_S"), ge=1)] = 120
    drain_timeout_s: Annotated[float, Field(validation_alias=_named("DRAIN_TIMEOUT_S"), ge=0, allow_inf_nan=False)] = 90
    delete_raw: Annotated[bool, Field(validation_alias=_named("DELETE_RAW"))] = True
    scratch_dir: Annotated[
        Path, Field(validation_alias=_named("SCRATCH_DIR"), default_factory=lambda: Path(tempfile.gettempdir()))
    ]
    sandbox: Annotated[SandboxMode, Field(validation_alias=_named("SANDBOX"))] = SandboxMode.AUTO
    auth: Annotated[AuthMode | None, Field(validation_alias=_named("AUTH"))] = None
    jwt_issuer: Annotated[str | None, Field(validation_alias=_named("JWT_ISSUER"))] = None
    jwt_audience: Annotated[tuple[str, ...], NoDecode, Field(validation_alias=_named("JWT_AUDIENCE"), default_factory=tuple)]
    jwt_jwks_url: Annotated[str | None, Field(validation_alias=_named("JWT_JWKS_URL"))] = None
    quota_requests_per_minute: Annotated[int | None, Field(validation_alias=_named("QUOTA_REQUESTS_PER_MINUTE"), ge=1)] = None
    quota_unknown_per_minute: Annotated[int | None, Field(validation_alias=_named("QUOTA_UNKNOWN_PER_MINUTE"), ge=1)] = None
    quota_open_uploads: Annotated[int | None, Field(validation_alias=_named("QUOTA_OPEN_UPLOADS"), ge=1)] = None
    quota_bytes_per_day: Annotated[int | None, Field(validation_alias=_named("QUOTA_BYTES_PER_DAY"), ge=1)] = None
    quota_media_minutes_per_day: Annotated[int | None, Field(validation_alias=_named("QUOTA_MEDIA_MINUTES_PER_DAY"), ge=1)] = None
    webhook_secret: Annotated[SecretStr | None, Field(validation_alias=_named("WEBHOOK_SECRET"))] = None
    webhook_allowed_hosts: Annotated[frozenset[str] | None, NoDecode, Field(validation_alias=_named("WEBHOOK_ALLOWED_HOSTS"))] = (
        None
    )
    cloudwatch_namespace: Annotated[
        str | None, Field(validation_alias=_named("CLOUDWATCH_NAMESPACE"), pattern=r"^[a-z][a-zA-Z0-9_./#:-]{0,254}$")
    ] = None
    cors_origins: Annotated[frozenset[str], NoDecode, Field(validation_alias=_named("CORS_ORIGINS"))] = frozenset()
    ffmpeg: Annotated[str | None, Field(validation_alias=_named("FFMPEG"))] = None
    ffprobe: Annotated[str | None, Field(validation_alias=_named("FFPROBE"))] = None
    log_format: Annotated[LogFormat | None, Field(validation_alias=_named("LOG_FORMAT"))] = None
    log_level: Annotated[str, Field(validation_alias=_named("LOG_LEVEL"), pattern=r"^(debug|info|warning|error)$")] = "info"
    state_directory: Annotated[Path | None, Field(validation_alias=AliasChoices("STATE_DIRECTORY"))] = None

    @field_validator("roles", "jwt_audience", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("roles")
    @classmethod
    def _some_role(cls, value: frozenset[Role]) -> frozenset[Role]:
        if not value:
            raise ValueError("takes api, worker, or both with a comma between")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _readable_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_secrets(value.get_secret_value())
        return value

    @field_validator("webhook_allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        """Names and addresses, the latter with or without brackets."""
        words = re.split(r"[\s,]+", value) if isinstance(value, str) else value
        return [str(word).lower().strip("[]").rstrip(".") for word in words if word] if isinstance(words, list) else words

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _exact_origins(cls, value: object) -> object:
        """A list in the TOML file is read like the text of the environment."""
        return parse_origins(",".join(map(str, value)) if isinstance(value, list | tuple | frozenset) else str(value))

    @field_validator("state_directory", mode="before")
    @classmethod
    def _first_directory(cls, value: object) -> object:
        """The first of what systemd gives: all of a unit's state directories, with colons between."""
        return value.partition(":")[0] if isinstance(value, str) else value

    @field_validator("queue_url")
    @classmethod
    def _no_fifo(cls, value: str) -> str:
        if value.endswith(".fifo"):
            raise ValueError("takes a standard queue: S3 cannot notify a FIFO queue, and one message would block its group")
        return value

    @field_validator("jwt_issuer", "jwt_jwks_url", "cognito_domain", "cognito_redirect_url")
    @classmethod
    def _trusted(cls, value: str | None) -> str | None:
        if value is not None and not is_trusted_address(value):
            raise ValueError("takes an https address; on this machine itself http too")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.raw_bucket == self.processed_bucket:
            raise ValueError("VPROC_PROCESSED_BUCKET takes another bucket than VPROC_RAW_BUCKET: outputs would start jobs")
        if self.auth is None and not is_loopback(self.host):
            raise ValueError(
                f"VPROC_AUTH has no default beyond loopback and VPROC_HOST is {self.host}: "
                f"set it by name (it takes: {', '.join(sorted(AuthMode))})"
            )
        if self.auth is AuthMode.JWT:
            self._check_jwt()
        if self.auth is AuthMode.COGNITO:
            self.check_cognito()
        return self

    def _check_jwt(self) -> None:
        if self.jwt_issuer is None:
            raise ValueError(
                "VPROC_JWT_ISSUER: not set, and required by VPROC_AUTH=jwt: takes the address that the tokens name as iss"
            )
        if not self.jwt_audience:
            raise ValueError(
                "VPROC_JWT_AUDIENCE: not set, and required by VPROC_AUTH=jwt: takes the tokens' aud, or Cognito's client id"
            )

    @property
    def poll_wait_s(self) -> int:
        """How long one receive waits for a message."""
        return max(1, min(20, self.visibility_timeout_s // 4))

    @property
    def poll_read_timeout_s(self) -> float:
        """When a receive that gives no answer is given up; always below the visibility timeout."""
        return self.poll_wait_s + min(5.0, self.visibility_timeout_s / 4)

    @property
    def sqlalchemy_url(self) -> str:
        """The database's address with its asyncio driver; a relative SQLite path is taken under ``$STATE_DIRECTORY``."""
        url = self.database_url.get_secret_value()
        for plain in ("postgres://", "postgresql://"):
            if url.startswith(plain):
                return "postgresql+asyncpg://" + url.removeprefix(plain)
        if url.startswith("sqlite:///"):
            path = Path(url.removeprefix("sqlite:///"))
            return f"sqlite+aiosqlite:///{(self.state_directory or Path()) / path}"
        raise ConfigError("VPROC_DATABASE_URL: takes sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, ``.env``, credentials, then the TOML file."""
        sources = [init_settings, env_settings, dotenv_settings]
        if credentials := os.environ.get("CREDENTIALS_DIRECTORY"):
            sources.append(SecretsSettingsSource(settings_cls, secrets_dir=credentials))
        if path := os.environ.get("VPROC_CONFIG"):
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=path))
        return tuple(sources)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_trusted_address(url: str) -> bool:
    """Whether what answers at that address can be believed: https, or http to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or not url.isprintable() or " " in url:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def variable_of(name: str) -> str:
    """The variable that sets a field, as the documentation names it: the first of its names."""
    alias = Settings.model_fields[name].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def load_settings(**overrides: Any) -> Settings:
    """Read the settings. Raises `ConfigError` with one line for each fault: variable, what it got, what it takes."""
    path = os.environ.get("VPROC_CONFIG")
    if path and not Path(path).is_file():
        raise ConfigError(f"VPROC_CONFIG: no file at {path}")
    try:
        settings = Settings(**overrides)
        _ = settings.sqlalchemy_url
    except ValidationError as error:
        raise ConfigError(*(_fault(dict(entry)) for entry in error.errors(include_url=False))) from None
    except ValueError as error:
        raise ConfigError(f"VPROC_CONFIG: {path} is not TOML: {error}") from None
    return settings


# Of no use, and in the form that is asked for: for a look at the other settings while these are missing.
_PLACEHOLDERS = {
    "raw_bucket": "not-set-raw",
    "processed_bucket": "not-set-processed",
    "queue_url": "http://not.set/",
    "jwt_issuer": "https://not.set/",
    "jwt_audience": "not-set",
    **PLACEHOLDERS,
}


@dataclass(frozen=True, slots=True)
class PartialSettings:
    """Settings of which some may be wrong. ``faults``: a line for each; the fields named in ``unknown`` hold their default, or
    something of no use where there is none."""

    settings: Settings
    faults: tuple[str, ...]
    unknown: frozenset[str]


def load_partial_settings() -> PartialSettings:
    """Read the settings as far as they are right. A TOML file that is missing or broken is left out, for the rest of this
    process. Raises `ConfigError` where a setting is wrong whatever stands for it."""
    faults: list[str] = []
    replaced: dict[str, Any] = {}
    path = os.environ.get("VPROC_CONFIG")
    if path and not Path(path).is_file():
        faults.append(f"VPROC_CONFIG: no file at {path}")
        del os.environ["VPROC_CONFIG"]
    while True:
        try:
            return PartialSettings(Settings(**replaced), tuple(faults), frozenset(replaced))
        except ValidationError as error:
            for entry in error.errors(include_url=False):
                faults.append(_fault(dict(entry)))
                name = _field_at_fault(faults[-1])
                if name in replaced:
                    raise ConfigError(*faults) from None
                default = Settings.model_fields[name].get_default(call_default_factory=True)
                replaced[name] = AuthMode.NONE if name == "auth" else _PLACEHOLDERS.get(name, default)
        except ValueError as error:
            faults.append(f"VPROC_CONFIG: {path} is not TOML: {error}")
            del os.environ["VPROC_CONFIG"]


def _field_at_fault(fault: str) -> str:
    """The field whose variable a fault begins with."""
    variable = re.split(r"\W", fault, maxsplit=1)[0]
    return next(name for name in Settings.model_fields if variable_of(name) == variable)


def _fault(entry: dict[str, Any]) -> str:
    """One line for one fault. A secret's value is never shown."""
    names = [str(part) for part in entry["loc"]]
    text = str(entry["msg"]).removeprefix("Value error, ").replace("Input should be", "takes")
    if (words := _TAKES.get(entry["type"])) is not None:
        text = words.format(**entry.get("ctx", {}))
    if not names:
        return text
    variable = variable_of(names[0]) if names[0] in Settings.model_fields else names[0]
    if entry["type"] == "missing":
        return f"{variable}: not set, and required"
    shown = "" if variable in _SECRET else f" (got {entry['input']!r})"
    return f"{variable}: {text}{shown}"


def read_profiles(path: Path | None) -> dict[str, Profile]:
    """The built-in profiles and those of the file, where one is named. Blocks on the file; raises `ConfigError`."""
    if path is None:
        return dict(builtin_profiles())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"VPROC_PROFILES_FILE: takes a TOML file (got {str(path)!r}: {reason})") from None
    return {**builtin_profiles(), **parse_profiles(text, taken=builtin_profiles())}
