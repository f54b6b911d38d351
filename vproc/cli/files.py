"""The client commands: arguments in, one call of `transfers` or of the client, exit code out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from vproc.cli.options import api_options, call_api, file_id_argument, json_option, print_json

if TYPE_CHECKING:
    from vproc.client import ApiClient, FileStatus

_STATUSES = ("pending", "uploaded", "processing", "completed", "failed", "cancelled", "expired")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--profile", metavar="P", help="The encoding profile; see `vproc profiles`.  [default: the daemon's]")
@click.option("--wait", is_flag=True, help="Follow the files to their end; exit 1 where one is not completed.")
@json_option
@api_options
def submit(files: tuple[Path, ...], *, profile: str | None, wait: bool, as_json: bool, api: str, api_key: str | None) -> None:
    """Upload videos; print the id of each."""
    from vproc.cli import transfers  # noqa: PLC0415 - heavy: imported when the command runs

    _end(call_api(api, api_key, lambda client: transfers.submit(client, files, profile=profile, wait=wait, as_json=as_json)))


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID)
@json_option
@api_options
def status(ids: tuple[UUID, ...], as_json: bool, api: str, api_key: str | None) -> None:
    """Show where files stand."""

    async def story(client: ApiClient) -> None:
        for file_id in ids:
            _show(await client.status(file_id), as_json=as_json)

    call_api(api, api_key, story)


@click.command("list")
@click.option("--status", "wanted", type=click.Choice(_STATUSES), metavar="S", help=f"Only these: {', '.join(_STATUSES)}.")
@click.option("--limit", type=click.IntRange(1, 10000), default=20, show_default=True, metavar="N", help="At most so many.")
@json_option
@api_options
def list_files(wanted: str | None, limit: int, as_json: bool, api: str, api_key: str | None) -> None:
    """List files, newest first."""

    async def story(client: ApiClient) -> None:
        for found in await client.list(status=wanted, limit=limit):
            _show(found, as_json=as_json)

    call_api(api, api_key, story)


@click.command()
@file_id_argument
@json_option
@api_options
def watch(file_id: UUID, as_json: bool, api: str, api_key: str | None) -> None:
    """Follow a file to its end.

    Exit code 1 where it is not completed.
    """
    from vproc.cli import transfers  # noqa: PLC0415 - heavy: imported when the command runs

    _end(call_api(api, api_key, lambda client: transfers.watch(client, file_id, as_json=as_json)))


@click.command()
@file_id_argument
@json_option
@api_options
def cancel(file_id: UUID, as_json: bool, api: str, api_key: str | None) -> None:
    """Cancel a file that is not completed."""

    async def story(client: ApiClient) -> None:
        _show(await client.cancel(file_id), as_json=as_json)

    call_api(api, api_key, story)


@click.command()
@file_id_argument
@json_option
@api_options
def retry(file_id: UUID, as_json: bool, api: str, api_key: str | None) -> None:
    """Process a failed or cancelled file again.

    Its original must still stand.
    """

    async def story(client: ApiClient) -> None:
        _show(await client.retry(file_id), as_json=as_json)

    call_api(api, api_key, story)


@click.command()
@file_id_argument
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="The outputs go to DIR/ID.  [default: here]",
)
@json_option
@api_options
def download(file_id: UUID, to: Path, as_json: bool, api: str, api_key: str | None) -> None:
    """Download and check the outputs of a file.

    Run again, it goes on where it stopped.
    """
    from vproc.cli import transfers  # noqa: PLC0415 - heavy: imported when the command runs

    call_api(api, api_key, lambda client: transfers.download(client, file_id, to, as_json=as_json))


def _show(found: FileStatus, *, as_json: bool) -> None:
    from vproc.cli import transfers  # noqa: PLC0415 - heavy: imported when a command runs

    if as_json:
        print_json(found.body)
    else:
        click.echo(transfers.line_of(found) + (f"  ({found.error})" if found.error else ""))


def _end(well: bool) -> None:
    if not well:
        raise click.exceptions.Exit(1)
