"""How an upload and its processing are shown while they run: a bar on a terminal, else a line now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import click

from vproc.client import FileStatus
from vproc.client.transfer import readable_bytes
from vproc.core.files import Status

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_MINUTE_S = 60
_HOUR_MIN = 60
_NOT_BEGUN = (Status.PENDING, Status.UPLOADED)


class ProgressView(Protocol):
    """What the stories tell while they run. Each may be called any number of times."""

    def sending(self, name: str, size_bytes: int) -> None:
        """An upload begins."""
        ...

    def sent(self, sent_bytes: int) -> None:
        """So many bytes of it are sent; fewer than before when it starts anew."""
        ...

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        ...


@contextmanager
def open_progress(stream: TextIO) -> Iterator[ProgressView]:
    """A view on ``stream``: bars where it is a terminal."""
    if not stream.isatty():
        yield PlainView(stream)
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - likewise

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(file=stream)) as bars:
        yield RichView(bars)


class PlainView:
    """A line at the start, at each tenth, at each stage and at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._size_bytes = 0
        self._last: tuple[object, ...] = ()

    def sending(self, name: str, size_bytes: int) -> None:
        """An upload begins."""
        self._size_bytes = size_bytes
        self._say((name,), f"uploading {name} ({readable_bytes(size_bytes)})")

    def sent(self, sent_bytes: int) -> None:
        """So many bytes of it are sent."""
        tenths = 10 * sent_bytes // self._size_bytes if self._size_bytes else 10
        if tenths:
            self._say(("sent", tenths), f"uploaded {10 * tenths}%")

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        where = phase(status)
        if status.status in _NOT_BEGUN:
            self._say((where,), where)
        else:
            self._say((where, int(status.progress * 10)), ", ".join((f"{where} {status.progress:.0%}", *pace(status))))

    def _say(self, what: tuple[object, ...], line: str) -> None:
        if what != self._last:
            self._last = what
            click.echo(line, file=self._stream)


class RichView:
    """A bar for the upload and one for the processing of each file."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._sending: TaskID | None = None
        self._told: dict[object, TaskID] = {}
        self._size_bytes = 0

    def sending(self, name: str, size_bytes: int) -> None:
        """An upload begins."""
        self._size_bytes = size_bytes
        self._sending = self._bars.add_task(f"upload {name}", total=max(size_bytes, 1), note=readable_bytes(size_bytes))

    def sent(self, sent_bytes: int) -> None:
        """So many bytes of it are sent."""
        if self._sending is not None:
            self._bars.update(self._sending, completed=sent_bytes if self._size_bytes else 1)

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        if status.file_id not in self._told:
            self._told[status.file_id] = self._bars.add_task(f"process {status.file_name}", total=1.0, note="")
        self._bars.update(self._told[status.file_id], completed=status.progress, note=", ".join((phase(status), *pace(status))))


def pace(status: FileStatus) -> list[str]:
    """How fast it goes and how long it still takes, as far as that is told."""
    if status.status is not Status.PROCESSING:
        return []
    told = []
    if status.speed is not None:
        told.append(f"{status.speed:.1f}x" if status.speed else "stalled")
    if status.eta_s is not None:
        told.append(f"{readable_seconds(status.eta_s)} left")
    return told


def readable_seconds(seconds: float) -> str:
    """``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE_S)
    return f"{minutes} min {rest:02} s" if minutes < _HOUR_MIN else f"{minutes // _HOUR_MIN} h {minutes % _HOUR_MIN:02} min"


def phase(status: FileStatus) -> str:
    """Where it is, in words: the stage while it is processed."""
    if status.status in _NOT_BEGUN:
        return "waiting for a worker"
    if status.status is Status.PROCESSING:
        return status.stage or "processing"
    return status.status.value
