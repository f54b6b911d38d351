"""Commands of an operator: the schema, the settings, the profiles, whether the daemon lives, the version."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vproc import __version__
from vproc.cli.completion import complete_profiles
from vproc.cli.group import FAILED, fail
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.core.profile import Profile
    from vproc.settings import Settings

# Up to the last @: a password may hold one, and showing too little is no harm.
_PASSWORD = re.compile(r"^(?P<head>[a-z][a-z0-9+]*://[^:@/]*):.*@", re.IGNORECASE)
_HEALTH_TIMEOUT_S = 5.0
_HEALTHY = 200
_LIVING = range(500, 600)


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database's schema up to date.

    May be run again at any time.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.db.migrate import migrate as migrate_database  # noqa: PLC0415 - likewise
    from vproc.settings import load_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    # A deployment's migration step knows the database, not always the buckets; nothing of them is used here.
    settings = load_settings(raw_bucket="not-used-raw", processed_bucket="not-used-processed", queue_url="http://not.used/")
    configure_logging(settings.log_format, settings.log_level)
    steps = anyio.run(migrate_database, settings.sqlalchemy_url)
    if as_json:
        print_json({"steps": steps})
    else:
        click.echo(f"migrated: {', '.join(steps)}" if steps else "up to date already")


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Show the effective settings, secrets masked."""
    from vproc.settings import load_settings  # noqa: PLC0415 - heavy: imported when the command runs

    shown = shown_settings(load_settings())
    if as_json:
        print_json(shown)
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        click.echo(f"{name:<{width}}  {_text_of(value)}".rstrip())


def _text_of(value: object) -> str:
    """A setting's value as the environment would hold it."""
    if isinstance(value, list):
        return ",".join(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def shown_settings(settings: Settings) -> dict[str, object]:
    """Each setting by its variable, without what would let a reader act as somebody else."""
    from pydantic import SecretStr  # noqa: PLC0415 - heavy: imported when a command runs

    from vproc.settings import variable_of  # noqa: PLC0415 - likewise
    from vproc.telemetry import mask_secrets  # noqa: PLC0415 - likewise

    shown: dict[str, object] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            # An address is worth showing without its password; any other secret is a secret as a whole.
            secret = value.get_secret_value()
            value = masked(secret) if "://" in secret else "***"
        if isinstance(value, frozenset):
            value = sorted(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif value is not None and not isinstance(value, bool | int | float):
            value = mask_secrets(masked(str(value)))
        shown[variable_of(name)] = value
    return shown


def masked(url: str) -> str:
    """An address without its password."""
    return _PASSWORD.sub(r"\g<head>:***@", url)


@click.command()
@click.option(
    "--check",
    "file",
    envvar="VPROC_PROFILES_FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A file of your own profiles: list them too, or say what is wrong.  [default: VPROC_PROFILES_FILE]",
)
@click.option(
    "--plan",
    "video",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="VIDEO",
    help="Show what --profile would make of a video, and by which commands. Nothing is encoded.",
)
@click.option(
    "--profile",
    "name",
    metavar="P",
    shell_complete=complete_profiles,
    help="The profile to plan with.  [default: VPROC_PROFILE, or abr]",
)
@json_option
def profiles(file: Path | None, video: Path | None, name: str | None, as_json: bool) -> None:
    """List the encoding profiles, the built-in ones and yours."""
    from vproc.settings import read_profiles  # noqa: PLC0415 - heavy: imported when the command runs

    if video is not None:
        _show_plan(video, name, file, as_json=as_json)
        return
    if name is not None:
        raise click.UsageError("--profile takes --plan VIDEO beside it")
    rows = [shown_profile(profile) for profile in read_profiles(file).values()]
    if as_json:
        for row in rows:
            print_json(row)
        return
    for row in rows:
        rungs = " ".join("source size" if side is None else f"{side}p" for side in row["rungs"])
        click.echo(f"{row['name']:<11} {row['packaging']:<12} {row['codec'] or '':<5} {rungs}".rstrip())


def _show_plan(video: Path, name: str | None, file: Path | None, *, as_json: bool) -> None:
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.cli.planned import plan_file  # noqa: PLC0415 - likewise
    from vproc.core.profile import get_profile  # noqa: PLC0415 - likewise
    from vproc.errors import JobError  # noqa: PLC0415 - likewise
    from vproc.settings import load_settings, read_profiles  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    # What the daemon would do with a file does not depend on where its buckets are.
    settings = load_settings(raw_bucket="not-used-raw", processed_bucket="not-used-processed", queue_url="http://not.used/")
    configure_logging(settings.log_format, "error")
    profile = get_profile(name or settings.profile, read_profiles(file))
    try:
        planned = anyio.run(plan_file, video, profile, settings)
    except JobError as error:
        fail(f"{video}: {error.detail}", code=FAILED)
    if as_json:
        print_json(planned.document())
    else:
        click.echo("\n".join(planned.lines()))


def shown_profile(profile: Profile) -> dict[str, Any]:
    """A profile's name, packaging, codec (None where the source decides or there is no video) and rungs by shorter side."""
    return {
        "name": profile.name,
        "packaging": str(profile.packaging),
        "codec": str(profile.codec) if profile.codec else None,
        "rungs": [rung.short_side_px for rung in profile.rungs],
    }


@click.command()
@click.option(
    "--api", envvar="VPROC_API_URL", metavar="URL", help="The API's address.  [default: this machine, at VPROC_PORT or 8080]"
)
@json_option
def healthcheck(api: str | None, as_json: bool) -> None:
    """Ask whether the daemon lives: exit 0 or 1.

    It asks GET /healthz, and is made for a container's HEALTHCHECK.
    """
    # The standard library's client: this runs every few seconds, and starts five times as fast as aiohttp.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - imported when the command runs
    from urllib.parse import urlsplit  # noqa: PLC0415 - likewise

    url = api or f"http://127.0.0.1:{os.environ.get('VPROC_PORT') or 8080}"

    def tell(status: int | None) -> None:
        if as_json:
            print_json({"api": url, "healthy": status == _HEALTHY, "status": status})

    try:
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", f"{parts.path.rstrip('/')}/healthz")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, ValueError, HTTPException) as error:
        tell(None)
        fail(f"no answer from {url} ({error}): is `vproc serve` running there? Set --api or VPROC_API_URL", code=FAILED)
    tell(status)
    if status != _HEALTHY:
        foreign = "" if status in _LIVING else ": is this vproc's API? Set --api or VPROC_API_URL"
        fail(f"{url}/healthz answered {status}{foreign}", code=FAILED)


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Show the version."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        click.echo(f"vproc {__version__}")
