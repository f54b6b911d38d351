"""Bars on a terminal of any width: a name, a bar, how far, how long and a note, which fit in a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

_WIDE, _VERY_WIDE = 76, 110
_PERCENT, _ELAPSED, _NOTE, _LEAST_NAME, _LEAST_NOTE = 4, 7, 30, 6, 4
_LEAD = 8


def has_bars(stream: TextIO) -> bool:
    """Whether a cursor can be moved there: a terminal, and not one that says it is dumb."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


@dataclass(frozen=True, slots=True)
class Widths:
    """Of each column, in cells. A narrow terminal has no ``elapsed``: how far it is goes before how long it took."""

    name: int
    bar: int
    elapsed: int
    note: int


def widths_for(cells: int, *, lead: int = 0) -> Widths:
    """What fits side by side on so wide a terminal, with a space between. ``lead``: of a column before them."""
    left = cells - _PERCENT - 3 - (lead + 1 if lead else 0)
    if cells >= _WIDE:
        bar = 10 if cells < _VERY_WIDE else 40
        left -= bar + _ELAPSED + 1
        return Widths(left - _NOTE, bar, _ELAPSED, _NOTE)
    bar = 6 if left >= 2 * (_LEAST_NAME + _LEAST_NOTE) else 2
    name = max(_LEAST_NAME, (left - bar) // 2)
    return Widths(name, bar, 0, max(_LEAST_NOTE, left - bar - name))


@contextmanager
def open_bars(stream: TextIO, *, lead: str | None = None) -> Iterator[Progress]:
    """Bars whose tasks have a ``note``, and a field called ``lead`` where there is one, which is shown first."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - likewise
    from rich.table import Column  # noqa: PLC0415 - likewise

    console = Console(file=stream)
    widths = widths_for(console.width, lead=_LEAD if lead else 0)

    def text(field: str, most: int) -> ProgressColumn:
        return TextColumn(field, markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=most))

    columns: list[ProgressColumn] = [text(f"{{task.fields[{lead}]}}", _LEAD)] if lead else []
    columns += [text("{task.description}", widths.name), BarColumn(widths.bar), TaskProgressColumn()]
    columns += [TimeElapsedColumn()] if widths.elapsed else []
    with Progress(*columns, text("{task.fields[note]}", widths.note), console=console) as bars:
        yield bars
