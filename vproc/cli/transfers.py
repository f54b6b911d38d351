"""The stories behind the client commands: upload and follow a file, download outputs. Arguments are in `files`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from pathlib import Path
from uuid import UUID

import anyio
import click

from vproc.cli.options import print_json
from vproc.cli.progress import ProgressView, Sent
from vproc.client import ApiClient, ApiError, FileStatus, Output, upload_in_parts
from vproc.client.local import stat_upload
from vproc.client.multipart import LARGE_BYTES
from vproc.client.resume import kept_upload
from vproc.client.transfer import readable_bytes
from vproc.core.files import Status
from vproc.core.manifest import OutputKind

_MEDIA = (OutputKind.INIT, OutputKind.SEGMENT)
_NOT_FOUND = 404
_WITH = {"hls": (OutputKind.HLS_MEDIA, OutputKind.HLS_IFRAMES, OutputKind.CAPTIONS, *_MEDIA), "dash": _MEDIA}
"""What a presentation consists of beside its entry point."""


async def upload(client: ApiClient, path: Path, *, profile: str | None, view: ProgressView) -> UUID:
    """Announce a file and send it: in parts where it is large, and then from where an earlier try stopped."""
    size_bytes = (await stat_upload(path)).st_size
    if not size_bytes:
        raise ApiError(f"{path} is empty: there is nothing to upload")
    if size_bytes > LARGE_BYTES:
        return await _upload_large(client, path, size_bytes, profile=profile, view=view)
    announced = await client.create_upload(path, profile=profile)
    await client.put(announced, path, view.sending(path.name, announced.size_bytes))
    return announced.file_id


async def _upload_large(client: ApiClient, path: Path, size_bytes: int, *, profile: str | None, view: ProgressView) -> UUID:
    folder = uploads_folder(os.environ)
    with kept_upload(folder, api_url=client.api_url, path=path, profile=profile) as kept:
        sent: Sent | None = None

        def on_bytes(sent_bytes: int) -> None:
            # Shown once something is under way: what is refused before has its one line.
            nonlocal sent
            sent = sent or view.sending(path.name, size_bytes)
            sent(sent_bytes)

        try:
            return await upload_in_parts(
                client, path, profile=profile, kept=kept, on_bytes=on_bytes, say=lambda sentence: click.echo(sentence, err=True)
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


async def download(
    client: ApiClient, file_id: UUID, to: Path, *, only: Sequence[str] = (), parallel: int = 4, as_json: bool
) -> None:
    """Save and check the outputs of a completed file: all of them, or those that ``only`` names by kind or by pattern."""

    def on_output(output: Output, fetched: bool) -> None:
        if not as_json:
            said = readable_bytes(output.size_bytes) if fetched else "stands already"
            click.echo(f"{output.key}  {said}", err=True)

    def wanted(output: Output) -> bool:
        return not only or is_among(output, only)

    saved = await client.download_processed(file_id, to, wanted=wanted, parallel=parallel, on_output=on_output)
    if not saved and only:
        kinds = ", ".join(sorted({output.kind for output in await client.outputs(file_id)}))
        raise ApiError(f"no output is {' or '.join(only)}: there are {kinds}")
    if as_json:
        for output, path in saved:
            entry = {"kind": output.kind, "key": output.key, "path": path, "bytes": output.size_bytes, "sha256": output.sha256}
            print_json(entry)
    else:
        click.echo(str(to / str(file_id)))


def is_among(output: Output, only: Sequence[str]) -> bool:
    """Whether one of the words is its kind, or matches its name below the file's id. ``hls`` and ``dash`` are the whole
    presentation, which plays from the disk."""
    name = output.key.partition("/")[2]
    return any(output.kind == word or output.kind in _WITH.get(word, ()) or fnmatchcase(name, word) for word in only)


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


def tell_fault(file_id: UUID, error: ApiError) -> None:
    """Say in a line of standard error what could not be done with a file, whichever words the API has for it."""
    words = " ".join(error.detail.split())
    if error.status == _NOT_FOUND and "status" not in words:
        words += " `vproc list` shows yours."
    click.echo(f"vproc: {words}" if str(file_id) in words else f"vproc: {file_id}: {words}", err=True)


def line_of(status: FileStatus) -> str:
    """A file in a line: id, status, progress, name."""
    return f"{status.file_id}  {status.status:<10}  {status.progress:>4.0%}  {status.file_name}"
