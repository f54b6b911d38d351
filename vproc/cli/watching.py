"""The story behind `vproc watch`: several files followed to their ends, as a table that lives, as lines, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO
from uuid import UUID

import anyio
import click

from vproc.cli.bars import has_bars, open_bars
from vproc.cli.options import print_json
from vproc.cli.progress import PlainView, pace, phase
from vproc.cli.transfers import print_end, tell_fault
from vproc.client import ApiClient, ApiError, ApiUnreachableError, FileStatus
from vproc.core.files import Status
from vproc.tasks import task_group

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_FOLLOWED_AT_ONCE = 64
_MOST_MINE = 1000
_IN_PROGRESS = (Status.PROCESSING, Status.UPLOADED, Status.PENDING)


class WatchView(Protocol):
    """What hears of each change."""

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        ...


async def watch(client: ApiClient, ids: Sequence[UUID], *, as_json: bool) -> bool:
    """Show each file's way to its end; without ids, of all that are on their way now. True: all are completed."""
    if not ids:
        ids = await _mine(client)
        if not ids:
            click.echo("nothing is on its way", err=True)
            return True
    with _open_view(sys.stderr, several=len(ids) > 1, as_json=as_json) as view:
        watching = _Watching(client, view, anyio.Semaphore(_FOLLOWED_AT_ONCE), as_json=as_json)
        async with task_group() as tasks:
            for file_id in dict.fromkeys(ids):
                tasks.start_soon(watching.follow, file_id, name=f"watch-{file_id}")
    for end in watching.ends.values():
        print_end(end, as_json=False)
    return watching.well


async def _mine(client: ApiClient) -> list[UUID]:
    return [found.file_id for status in _IN_PROGRESS for found in await client.list(status=status, limit=_MOST_MINE)]


class _Watching:
    """``ends``: how each ended, in the order of their ends; not kept where every change is printed anyway."""

    def __init__(self, client: ApiClient, view: WatchView, following: anyio.Semaphore, *, as_json: bool) -> None:
        self._client = client
        self._view = view
        self._following = following
        self._as_json = as_json
        self.well = True
        self.ends: dict[UUID, FileStatus] = {}

    async def follow(self, file_id: UUID) -> None:
        """One file to its end. One that cannot be followed does not keep the others from it."""
        try:
            async with self._following, aclosing(self._client.follow(file_id)) as reports:
                async for status in reports:
                    self._view.told(status)
        except ApiUnreachableError:
            raise
        except ApiError as error:
            self.well = False
            tell_fault(file_id, error)
            return
        self.well = self.well and status.status is Status.COMPLETED
        if not self._as_json:
            self.ends[file_id] = status


@contextmanager
def _open_view(stream: TextIO, *, several: bool, as_json: bool) -> Iterator[WatchView]:
    if as_json:
        yield _JsonView()
        return
    if not has_bars(stream):
        yield PlainView(stream, several=several)
        return
    with open_bars(stream, lead="file_id") as rows:
        yield _TableView(rows)


@dataclass(slots=True)
class _JsonView:
    """A line of JSON for each change."""

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        print_json(status.body)


class _TableView:
    """A row for each file: id, name, bar, how far, stage with speed and time left."""

    def __init__(self, rows: Progress) -> None:
        self._rows = rows
        self._known: dict[UUID, TaskID] = {}

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        note = ", ".join((phase(status), *pace(status)))
        if status.file_id not in self._known:
            row = self._rows.add_task(status.file_name, total=1.0, note=note, file_id=str(status.file_id)[:8])
            self._known[status.file_id] = row
        self._rows.update(self._known[status.file_id], completed=status.progress, note=note)
