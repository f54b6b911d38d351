"""How uploads and their processing are shown while they run: bars on a terminal, else a line now and then, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

import click

from vproc.cli.bars import has_bars, open_bars
from vproc.client import FileStatus
from vproc.client.transfer import readable_bytes
from vproc.core.files import Status

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_MINUTE_S = 60
_HOUR_MIN = 60
_NOT_BEGUN = (Status.PENDING, Status.UPLOADED)

Sent = Callable[[int], None]
"""Hears how many bytes of one upload are sent; fewer than before when it starts anew."""


class ProgressView(Protocol):
    """What the stories tell while they run. Each may be called any number of times, for several files at once."""

    def sending(self, name: str, size_bytes: int | None) -> Sent:
        """An upload begins; its length is None where nobody knows it yet."""
        ...

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        ...


@contextmanager
def open_progress(stream: TextIO, *, several: bool = False, quiet: bool = False) -> Iterator[ProgressView]:
    """A view on ``stream``: bars where it is a terminal. ``several`` files at once: lines name theirs. ``quiet``: nothing."""
    if quiet:
        yield QuietView()
        return
    if not has_bars(stream):
        yield PlainView(stream, several=several)
        return
    with open_bars(stream) as bars:
        yield RichView(bars)


class QuietView:
    """Nothing is shown."""

    def sending(self, name: str, size_bytes: int | None) -> Sent:  # noqa: ARG002 - the protocol's
        """An upload begins."""
        return _unheard

    def told(self, status: FileStatus) -> None:
        """The file changed."""


class PlainView:
    """A line at the start, at each tenth, at each stage and at the end."""

    def __init__(self, stream: TextIO, *, several: bool = False) -> None:
        self._stream = stream
        self._several = several
        self._last: dict[object, tuple[object, ...]] = {}

    def sending(self, name: str, size_bytes: int | None) -> Sent:
        """An upload begins."""
        upload = object()
        self._say(upload, (name,), f"uploading {name}" + (f" ({readable_bytes(size_bytes)})" if size_bytes is not None else ""))

        def sent(sent_bytes: int) -> None:
            if size_bytes is None:
                step = sent_bytes.bit_length()  # a line each time it has doubled
                words = f"uploaded {readable_bytes(sent_bytes)}"
            else:
                step = 10 * sent_bytes // size_bytes if size_bytes else 10
                words = f"uploaded {10 * step}%"
            if step:
                self._say(upload, ("sent", step), self._of(name) + words)

        return sent

    def told(self, status: FileStatus) -> None:
        """The file changed."""
        where = phase(status)
        of = self._of(status.file_name)
        if status.status in _NOT_BEGUN:
            self._say(status.file_id, (where,), of + where)
        else:
            line = ", ".join((f"{where} {status.progress:.0%}", *pace(status)))
            self._say(status.file_id, (where, int(status.progress * 10)), of + line)

    def _of(self, name: str) -> str:
        return f"{name}: " if self._several else ""

    def _say(self, whose: object, what: tuple[object, ...], line: str) -> None:
        if what != self._last.get(whose):
            self._last[whose] = what
            click.echo(line, file=self._stream)


class RichView:
    """A bar for the upload and one for the processing of each file."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._told: dict[object, TaskID] = {}

    def sending(self, name: str, size_bytes: int | None) -> Sent:
        """An upload begins."""
        note = readable_bytes(size_bytes) if size_bytes is not None else ""
        bar = self._bars.add_task(f"upload {name}", total=None if size_bytes is None else max(size_bytes, 1), note=note)

        def sent(sent_bytes: int) -> None:
            if size_bytes is None:
                self._bars.update(bar, completed=sent_bytes, note=readable_bytes(sent_bytes))
            else:
                self._bars.update(bar, completed=sent_bytes if size_bytes else 1)

        return sent

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


def _unheard(_sent_bytes: int) -> None:
    """Nobody looks."""
