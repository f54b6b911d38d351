"""The stories behind the client commands: submit and follow files, download outputs. Arguments are in `files`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from uuid import UUID

import anyio
import click

from vproc.cli.options import print_json
from vproc.cli.progress import ProgressView, open_progress
from vproc.client import ApiClient, ApiError, FileStatus, Output, upload_in_parts
from vproc.client.api import stat_file
from vproc.client.multipart import LARGE_BYTES
from vproc.client.resume import kept_upload
from vproc.client.transfer import readable_bytes
from vproc.core.files import Status


async def submit(client: ApiClient, paths: Sequence[Path], *, profile: str | None, wait: bool, as_json: bool) -> bool:
    """Upload files, one after the other, then follow them where that is asked. True: all went well.

    A file that cannot be uploaded does not keep the others from it.
    """
    well = True
    begun: list[UUID] = []
    with open_progress(sys.stderr) as view:
        for path in paths:
            try:
                file_id = await upload(client, path, profile=profile, view=view)
            except ApiError as error:
                click.echo(f"vproc: {path}: {error.detail}", err=True)
                well = False
                continue
            begun.append(file_id)
            if not wait:
                _print_submitted(file_id, path, as_json=as_json)
        if wait:
            for file_id in begun:
                status = await follow(client, file_id, view=view)
                well = print_end(status, as_json=as_json) and well
    return well


async def upload(client: ApiClient, path: Path, *, profile: str | None, view: ProgressView) -> UUID:
    """Announce a file and send it: in parts where it is large, and then from where an earlier try stopped."""
    size_bytes = (await stat_file(path)).st_size
    if size_bytes > LARGE_BYTES:
        return await _upload_large(client, path, size_bytes, profile=profile, view=view)
    announced = await client.create_upload(path, profile=profile)
    view.sending(path.name, announced.size_bytes)
    await client.put(announced, path, view.sent)
    return announced.file_id


async def _upload_large(client: ApiClient, path: Path, size_bytes: int, *, profile: str | None, view: ProgressView) -> UUID:
    folder = uploads_folder(os.environ)
    with kept_upload(folder, api_url=client.api_url, path=path, profile=profile) as kept:
        view.sending(path.name, size_bytes)
        try:
            return await upload_in_parts(
                client, path, profile=profile, kept=kept, on_bytes=view.sent, say=lambda sentence: click.echo(sentence, err=True)
            )
        except (ApiError, anyio.get_cancelled_exc_class()):
            if kept.load() is not None:
                click.echo(f"{path}: submit it again, and the upload goes on where it stopped", err=True)
            raise


def uploads_folder(environ: Mapping[str, str]) -> Path:
    """Where this user's uploads are kept while they last (XDG Base Directory Specification)."""
    state = Path(environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "vproc" / "uploads"


async def follow(client: ApiClient, file_id: UUID, *, view: ProgressView) -> FileStatus:
    """Show a file's way to its end; how it ended."""
    async with aclosing(client.follow(file_id)) as reports:
        async for status in reports:
            view.told(status)
    return status


async def watch(client: ApiClient, file_id: UUID, *, as_json: bool) -> bool:
    """Show a file's way to its end, as bars or as a line of JSON each change. True: it is completed."""
    if as_json:
        async with aclosing(client.follow(file_id)) as reports:
            async for status in reports:
                print_json(status.body)
        return status.status is Status.COMPLETED
    with open_progress(sys.stderr) as view:
        status = await follow(client, file_id, view=view)
    return print_end(status, as_json=False)


async def download(client: ApiClient, file_id: UUID, to: Path, *, as_json: bool) -> None:
    """Save and check all outputs of a completed file."""

    def on_output(output: Output, fetched: bool) -> None:
        if not as_json:
            said = readable_bytes(output.size_bytes) if fetched else "stands already"
            click.echo(f"{output.key}  {said}", err=True)

    saved = await client.download_processed(file_id, to, on_output=on_output)
    if as_json:
        for output, path in saved:
            entry = {"kind": output.kind, "key": output.key, "path": path, "bytes": output.size_bytes, "sha256": output.sha256}
            print_json(entry)
    else:
        click.echo(str(to / str(file_id)))


def print_end(status: FileStatus, *, as_json: bool) -> bool:
    """Say how a file ended, on standard output; a failure's reason as a line of standard error. True: it is completed."""
    if as_json:
        print_json(status.body)
    else:
        click.echo(line_of(status))
    if status.status is Status.COMPLETED:
        return True
    if status.error:
        click.echo(f"vproc: {status.file_name} {status.status}: {status.error}", err=True)
    return False


def line_of(status: FileStatus) -> str:
    """A file in a line: id, status, progress, name."""
    return f"{status.file_id}  {status.status:<10}  {status.progress:>4.0%}  {status.file_name}"


def _print_submitted(file_id: UUID, path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"file_id": file_id, "file_name": path.name})
    else:
        click.echo(str(file_id))
