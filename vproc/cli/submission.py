"""The story behind `vproc submit`: several uploads side by side, each followed where that is asked. Arguments are in `files`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import anyio
import click

from vproc.cli import transfers
from vproc.cli.options import print_json
from vproc.cli.progress import ProgressView, open_progress
from vproc.cli.sources import FileSource, NoSource, Source, StreamSource, open_stream
from vproc.client import ApiClient, ApiError, upload_stream
from vproc.tasks import task_group

_FOLLOWED_AT_ONCE = 16
"""Each is an open connection to the daemon; the others are followed as these end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How to submit. ``parallel``: so many uploads at once."""

    profile: str | None = None
    wait: bool = False
    as_json: bool = False
    quiet: bool = False
    parallel: int = 2


async def submit(client: ApiClient, sources: Sequence[Source], wanted: Wanted) -> bool:
    """Upload all, follow them where that is asked. True: all went well.

    A file that cannot be uploaded does not keep the others from it.
    """
    with open_progress(sys.stderr, several=len(sources) > 1, quiet=wanted.quiet) as view:
        submission = _Submission(client, wanted, view, anyio.Semaphore(wanted.parallel), anyio.Semaphore(_FOLLOWED_AT_ONCE))
        async with task_group() as tasks:
            for place, source in enumerate(sources):
                tasks.start_soon(submission.take, place, source, name=f"submit-{place}")
    return submission.well


@dataclass(slots=True)
class _Submission:
    client: ApiClient
    wanted: Wanted
    view: ProgressView
    uploading: anyio.Semaphore
    following: anyio.Semaphore
    well: bool = True
    ids: dict[int, UUID | None] = field(default_factory=dict)
    shown: int = 0

    async def take(self, place: int, source: Source) -> None:
        """One file's whole way."""
        try:
            async with self.uploading:
                file_id = await self._upload(source)
            self._submitted(place, source, file_id)
            if self.wanted.wait:
                await self._follow(file_id)
        except ApiError as error:
            self._failed(place, source, error)

    async def _upload(self, source: Source) -> UUID:
        if isinstance(source, NoSource):
            raise ApiError(source.fault)
        if isinstance(source, FileSource):
            return await transfers.upload(self.client, source.path, profile=self.wanted.profile, view=self.view)
        return await _upload_stream(self.client, source, profile=self.wanted.profile, view=self.view)

    async def _follow(self, file_id: UUID) -> None:
        async with self.following:
            end = await transfers.follow(self.client, file_id, view=self.view)
        self.well = transfers.print_end(end, as_json=self.wanted.as_json) and self.well

    def _submitted(self, place: int, source: Source, file_id: UUID) -> None:
        if self.wanted.wait:
            return
        if self.wanted.as_json:
            print_json({"file_id": file_id, "file_name": source.name, "source": source.label})
        else:
            self._in_order(place, file_id)

    def _failed(self, place: int, source: Source, error: ApiError) -> None:
        self.well = False
        if self.wanted.as_json:
            print_json({"file_id": None, "file_name": source.name, "source": source.label, "error": error.detail})
        self._in_order(place, None)
        told = error.detail if error.detail.startswith(source.label) else f"{source.label}: {error.detail}"
        click.echo(f"vproc: {' '.join(told.split())}", err=True)

    def _in_order(self, place: int, file_id: UUID | None) -> None:
        """Ids stand in the order of the files, whichever is uploaded first: a script knows which is whose."""
        self.ids[place] = file_id
        while self.shown in self.ids:
            if (ready := self.ids[self.shown]) is not None:
                click.echo(str(ready))
            self.shown += 1


async def _upload_stream(client: ApiClient, source: StreamSource, *, profile: str | None, view: ProgressView) -> UUID:
    async with open_stream(source) as (read, size_bytes):
        sent = view.sending(source.name, size_bytes)
        return await upload_stream(client, source.name, read, size_bytes=size_bytes, profile=profile, on_bytes=sent)
