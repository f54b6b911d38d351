"""``vproc keys``: API keys made, listed and revoked, in the catalog that the daemons use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vproc.cli.audit import audit
from vproc.cli.group import FAILED, fail
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.core.api_keys import ApiKey
    from vproc.db.catalog import SqlCatalog
    from vproc.settings import Settings

Result = TypeVar("Result")


@click.group()
def keys() -> None:
    """API keys: who may ask, and for whose files.

    For a daemon with VPROC_AUTH=api-key. A caller sends its key as `Authorization: Bearer KEY`.
    """


@keys.command()
@click.argument("owner")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["files", "admin"]),
    help="What it allows: the owner's own files, or everybody's. May be given twice.  [default: files]",
)
@json_option
def create(owner: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a key for OWNER. It is shown once."""
    import secrets  # noqa: PLC0415 - imported when the command runs

    from vproc.core.api_keys import KEY_BYTES, checked_owner, make_key, scopes_of  # noqa: PLC0415 - likewise

    try:
        checked_owner(owner)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="OWNER") from error
    new = make_key(secrets.token_bytes(KEY_BYTES))
    made = _with_catalog(lambda catalog: catalog.create_key(new, owner=owner, scopes=scopes_of(scopes)))
    audit("key.create", key_id=made.key_id, owner=made.owner, scopes=sorted(made.scopes))
    if as_json:
        print_json({"key": new.token, "owner": made.owner, "id": made.key_id})
        return
    click.echo(new.token)
    click.echo(f"for {made.owner} ({', '.join(sorted(made.scopes))}); keep it: it is not shown again", err=True)


@keys.command("list")
@click.option("--owner", metavar="OWNER", help="Only this owner's.")
@json_option
def list_keys(owner: str | None, as_json: bool) -> None:
    """List the keys, without what opens a door."""
    for key in _with_catalog(lambda catalog: catalog.list_keys(owner=owner)):
        if as_json:
            print_json(_document(key))
            continue
        state = f"revoked {_day(key.revoked_at)}" if key.revoked_at else f"last used {_day(key.last_used_at)}"
        click.echo(f"{key.key_id}  {key.owner}  {','.join(sorted(key.scopes))}  made {_day(key.created_at)}, {state}")


@keys.command()
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """Revoke a key by its id, for ever.

    Its sessions end with it. Daemons believe a key for five seconds more at most.
    """
    if not _with_catalog(lambda catalog: catalog.revoke_key(key_id)):
        fail(f"no key {key_id} that stands: `vproc keys list` shows them", code=FAILED)
    audit("key.revoke", key_id=key_id, owner=None, scopes=None)
    if as_json:
        print_json({"id": key_id, "revoked": True})
    else:
        click.echo(f"revoked: {key_id}")


def _document(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.key_id,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
        "revoked_at": key.revoked_at and key.revoked_at.isoformat(),
    }


def _day(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at is not None else "never"


def _with_catalog(act: Callable[[SqlCatalog], Coroutine[Any, Any, Result]]) -> Result:
    return with_catalog(lambda catalog, _: act(catalog))


def with_catalog(act: Callable[[SqlCatalog, Settings], Coroutine[Any, Any, Result]]) -> Result:
    """Do something with catalog and settings alone: buckets and queue are not asked for."""
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    async def run() -> Result:
        async with _catalog() as (catalog, settings):
            return await act(catalog, settings)

    return anyio.run(run)


@asynccontextmanager
async def _catalog() -> AsyncIterator[tuple[SqlCatalog, Settings]]:
    from vproc.db.catalog import open_catalog  # noqa: PLC0415 - heavy: imported when the command runs
    from vproc.settings import load_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    settings = load_settings(raw_bucket="not-used-raw", processed_bucket="not-used-processed", queue_url="http://not.used/")
    configure_logging(settings.log_format, "warning")
    async with open_catalog(settings.sqlalchemy_url) as catalog:
        yield catalog, settings
