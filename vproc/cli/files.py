"""The client commands: arguments in, one call of a story or of the client, exit code out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from vproc.cli.completion import complete_files, complete_ids, complete_profiles
from vproc.cli.group import FAILED
from vproc.cli.options import api_options, call_api, file_ids_argument, json_option, print_json

if TYPE_CHECKING:
    from vproc.client import ApiClient, FileStatus

_STATUSES = ("pending", "uploaded", "processing", "completed", "failed", "cancelled", "expired")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_files)
@click.option(
    "--profile",
    metavar="P",
    shell_complete=complete_profiles,
    help="The encoding profile; see `vproc profiles`.  [default: the daemon's]",
)
@click.option("--wait", is_flag=True, help="Follow the files to their end; exit 1 where one is not completed.")
@click.option("--name", metavar="NAME", help="What standard input (-) is uploaded as, with its suffix: clip.mp4.")
@click.option(
    "--parallel", type=click.IntRange(1, 16), default=2, show_default=True, metavar="N", help="So many uploads side by side."
)
@click.option("--quiet", "-q", is_flag=True, help="No progress: ids and errors alone.")
@json_option
@api_options
def submit(
    files: tuple[str, ...],
    *,
    profile: str | None,
    wait: bool,
    name: str | None,
    parallel: int,
    quiet: bool,
    as_json: bool,
    api: str,
    api_key: str | None,
) -> None:
    """Upload videos; print the id of each.

    FILE is a file, a pattern in quotes ('*.mp4', 'films/**/*.mov'), - for standard input, or s3://BUCKET/KEY, which is read with
    your own AWS credentials.
    """
    if (name is None) == ("-" in files):
        raise click.UsageError("--name goes with - (standard input), which has no name of its own")
    from vproc.cli import sources, submission  # noqa: PLC0415 - heavy: imported when the command runs

    found = sources.read_sources(files, stdin_name=name)
    wanted = submission.Wanted(profile=profile, wait=wait, as_json=as_json, quiet=quiet, parallel=parallel)
    _end(call_api(api, api_key, lambda client: submission.submit(client, found, wanted)))


@click.command()
@file_ids_argument
@json_option
@api_options
def status(ids: tuple[UUID, ...], as_json: bool, api: str, api_key: str | None) -> None:
    """Show where files stand."""
    _for_each(ids, lambda client, file_id: client.status(file_id), as_json=as_json, api=api, api_key=api_key)


@click.command("list")
@click.option("--status", "wanted", type=click.Choice(_STATUSES), metavar="S", help=f"Only these: {', '.join(_STATUSES)}.")
@click.option("--search", metavar="TEXT", help="Only files with TEXT in their name, in any case.")
@click.option("--limit", type=click.IntRange(1, 10000), default=20, show_default=True, metavar="N", help="At most so many.")
@click.option("--cursor", metavar="C", help="Go on where an earlier list ended: it names what to give.")
@json_option
@api_options
def list_files(
    *, wanted: str | None, search: str | None, limit: int, cursor: str | None, as_json: bool, api: str, api_key: str | None
) -> None:
    """List files, newest first."""

    async def story(client: ApiClient) -> None:
        listed = await client.list_from(cursor, status=wanted, search=search, limit=limit)
        for found in listed.files:
            _show(found, as_json=as_json)
        if listed.cursor is not None:
            click.echo(f"there are more: --cursor {listed.cursor}", err=True)

    call_api(api, api_key, story)


@click.command()
@click.argument("ids", metavar="[ID...]", nargs=-1, type=click.UUID, shell_complete=complete_ids)
@json_option
@api_options
def watch(ids: tuple[UUID, ...], as_json: bool, api: str, api_key: str | None) -> None:
    """Follow files to their end.

    Without an ID: all of yours that are on their way now. Exit code 1 where one is not completed.
    """
    from vproc.cli import watching  # noqa: PLC0415 - heavy: imported when the command runs

    _end(call_api(api, api_key, lambda client: watching.watch(client, ids, as_json=as_json)))


@click.command()
@file_ids_argument
@json_option
@api_options
def cancel(ids: tuple[UUID, ...], as_json: bool, api: str, api_key: str | None) -> None:
    """Cancel files that are not completed."""
    _for_each(ids, lambda client, file_id: client.cancel(file_id), as_json=as_json, api=api, api_key=api_key)


@click.command()
@file_ids_argument
@json_option
@api_options
def retry(ids: tuple[UUID, ...], as_json: bool, api: str, api_key: str | None) -> None:
    """Process failed or cancelled files again.

    Their originals must still stand.
    """
    _for_each(ids, lambda client, file_id: client.retry(file_id), as_json=as_json, api=api, api_key=api_key)


@click.command()
@file_ids_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@api_options
def delete(ids: tuple[UUID, ...], yes: bool, as_json: bool, api: str, api_key: str | None) -> None:
    """Delete files with all their outputs, for ever.

    Cancel first what is being processed.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("delete is for ever: give --yes where nobody can be asked")
    if not yes:
        click.confirm(f"Delete {len(ids)} {'file' if len(ids) == 1 else 'files'} with all outputs?", abort=True, err=True)

    async def act(client: ApiClient, file_id: UUID) -> None:
        await client.delete(file_id)
        if as_json:
            print_json({"file_id": file_id, "deleted": True})
        else:
            click.echo(f"{file_id}  deleted")

    _for_each(ids, act, as_json=as_json, api=api, api_key=api_key)


@click.command()
@file_ids_argument
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="The outputs go to DIR/ID.  [default: here]",
)
@click.option(
    "--only",
    multiple=True,
    metavar="WHAT",
    help="A kind of output (video, hls, poster, ...) or a pattern of names ('*720*'); may be given again.  [default: all]",
)
@click.option(
    "--parallel", type=click.IntRange(1, 16), default=4, show_default=True, metavar="N", help="So many downloads side by side."
)
@json_option
@api_options
def download(
    ids: tuple[UUID, ...], *, to: Path, only: tuple[str, ...], parallel: int, as_json: bool, api: str, api_key: str | None
) -> None:
    """Download and check the outputs of files.

    Run again, it goes on where it stopped.
    """
    from vproc.cli import transfers  # noqa: PLC0415 - heavy: imported when the command runs

    async def act(client: ApiClient, file_id: UUID) -> None:
        from vproc.client import ApiError  # noqa: PLC0415 - heavy: imported when the command runs

        try:
            await transfers.download(client, file_id, to, only=only, parallel=parallel, as_json=as_json)
        except ApiError as error:
            if "Current status: " not in error.detail:
                raise
            raise ApiError(f"{error.detail}: `vproc status {file_id}` tells more", status=error.status) from error

    _for_each(ids, act, as_json=as_json, api=api, api_key=api_key)


def _for_each(
    ids: Sequence[UUID],
    act: Callable[[ApiClient, UUID], Coroutine[Any, Any, FileStatus | None]],
    *,
    as_json: bool,
    api: str,
    api_key: str | None,
) -> None:
    """Do something with each file, and show what it gave. One that fails has its line and does not keep the others from it."""

    async def story(client: ApiClient) -> bool:
        from vproc.cli.transfers import tell_fault  # noqa: PLC0415 - heavy: imported when a command runs
        from vproc.client import ApiError, ApiUnreachableError  # noqa: PLC0415 - likewise

        well = True
        for file_id in dict.fromkeys(ids):
            try:
                found = await act(client, file_id)
            except ApiUnreachableError:
                raise
            except ApiError as error:
                well = False
                tell_fault(file_id, error)
            else:
                if found is not None:
                    _show(found, as_json=as_json)
        return well

    _end(call_api(api, api_key, story))


def _show(found: FileStatus, *, as_json: bool) -> None:
    from vproc.cli import transfers  # noqa: PLC0415 - heavy: imported when a command runs

    if as_json:
        print_json(found.body)
    else:
        click.echo(transfers.line_of(found) + (f"  ({found.error})" if found.error else ""))


def _end(well: bool) -> None:
    if not well:
        raise click.exceptions.Exit(FAILED)
