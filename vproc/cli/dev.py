"""``vproc dev``: the daemon with S3 and SQS in the same process, and the line that says where everything is."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from vproc.cli.group import ended_like_interrupt
from vproc.errors import ConfigError

if TYPE_CHECKING:
    from vproc.daemon import ReadyInfo
    from vproc.embedded import EmbeddedAws
    from vproc.settings import Settings

_TEMPORARY = "vproc-dev-"
_LAST_PORT = 65535


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="The API's port; 0 takes a free one.  [default: VPROC_PORT or 8080]")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where catalog and scratch lie.  [default: a temporary folder, removed at the end]",
)
@click.option(
    "--auth",
    type=click.Choice(["none", "api-key", "jwt", "cognito"]),
    envvar=["VPROC_AUTH", "VPROC_DEV_AUTH"],
    help="How callers prove who they are. api-key makes a first key, cognito an embedded user pool.  [default: VPROC_AUTH]",
)
@click.option("--host", metavar="H", help="The address that the API listens on.  [default: VPROC_HOST or 127.0.0.1]")
def dev(port: int | None, data: Path | None, host: str | None, auth: str | None) -> None:
    """Run the daemon with embedded S3 and SQS.

    When it is ready, one line of JSON on standard output says where the API, the store, the queue and the database are.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    given = (("port", port), ("host", host), ("auth", auth))
    overrides = {name: value for name, value in given if value is not None}
    with ended_like_interrupt(), _data_directory(data) as directory:
        code = anyio.run(_run, directory, overrides)
    raise click.exceptions.Exit(code)


async def _run(directory: Path, overrides: dict[str, Any]) -> int:
    from vproc.daemon import run  # noqa: PLC0415 - heavy: imported when the command runs
    from vproc.embedded import embedded_aws  # noqa: PLC0415 - likewise
    from vproc.settings import is_loopback, load_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    database_url = f"sqlite:///{directory / 'vproc.db'}"
    overrides |= {"database_url": database_url, "scratch_dir": directory / "scratch"}
    accounts = overrides.get("auth") == "cognito"
    overrides |= _of_no_pool() if accounts else {}
    # Whatever else is set wrong is told before anything is started.
    first = load_settings(raw_bucket="not-yet-raw", processed_bucket="not-yet", queue_url="http://not.yet/", **overrides)
    configure_logging(first.log_format, first.log_level)
    _forget_aws()
    # Where others may reach the API, their browsers must reach the store too, at a port that can be told beforehand.
    alone = is_loopback(first.host)
    store_port = first.port + 1 if not alone and 0 < first.port < _LAST_PORT else 0
    async with embedded_aws(host="127.0.0.1" if alone else first.host, port=store_port, accounts=accounts) as aws:
        os.environ.update(aws.environment)
        overrides |= aws.pool.settings if aws.pool is not None else {}
        settings = load_settings(
            raw_bucket=aws.raw_bucket,
            processed_bucket=aws.processed_bucket,
            queue_url=aws.queue_url,
            dlq_url=aws.dlq_url,
            **overrides,
        )
        key = await _first_key(settings) if settings.auth == "api-key" else {}

        def on_ready(info: ReadyInfo) -> None:
            click.echo(json.dumps(ready_line(info.api_url, aws, database_url) | key))
            sys.stdout.flush()
            if info.api_url and sys.stderr.isatty():
                click.echo(f"vproc dev: the API is at {info.api_url} (Ctrl-C stops it)", err=True)

        return await run(settings, on_ready=on_ready)


def ready_line(api_url: str | None, aws: EmbeddedAws, database_url: str) -> dict[str, str | None]:
    """What the ready line holds, under names that programs rely on. ``api`` is null in a process without the API."""
    return {
        "api": api_url,
        "s3": aws.s3_url,
        "sqs": aws.sqs_url,
        "raw_bucket": aws.raw_bucket,
        "processed_bucket": aws.processed_bucket,
        "queue_url": aws.queue_url,
        "dlq_url": aws.dlq_url,
        "database_url": database_url,
        **(aws.pool.told if aws.pool is not None else {}),
    }


def _of_no_pool() -> dict[str, Any]:
    """The settings of a pool that is not made yet, and none of what this shell is set for."""
    return {
        "cognito_user_pool_id": "us-east-1_notyet",
        "cognito_client_id": "notyet",
        "cognito_client_secret": None,
        "cognito_domain": None,
        "cognito_redirect_url": None,
    }


async def _first_key(settings: Settings) -> dict[str, str]:
    """A key of an admin, so that there is a way in."""
    from vproc.core.api_keys import KEY_BYTES, Scope, make_key  # noqa: PLC0415 - heavy: imported when the command runs
    from vproc.db.catalog import open_catalog  # noqa: PLC0415 - likewise

    new = make_key(secrets.token_bytes(KEY_BYTES))
    async with open_catalog(settings.sqlalchemy_url) as catalog:
        await catalog.create_key(new, owner="dev", scopes=frozenset({Scope.FILES, Scope.ADMIN}))
    return {"api_key": new.token}


def _forget_aws() -> None:
    """Drop the account that this shell is set for: a profile, a token or another endpoint would reach past the embedded store."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


@contextmanager
def _data_directory(data: Path | None) -> Iterator[Path]:
    """The folder of catalog and scratch, made where it is not there."""
    if data is None:
        with TemporaryDirectory(prefix=_TEMPORARY, ignore_cleanup_errors=True) as temporary:
            yield _with_scratch(Path(temporary))
    else:
        yield _with_scratch(data.absolute())


def _with_scratch(directory: Path) -> Path:
    try:
        (directory / "scratch").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--data: cannot use {directory}: {error.strerror}") from error
    return directory
