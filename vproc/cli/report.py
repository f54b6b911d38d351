"""What the demo says in the end: what was made, and what it took. A table on a terminal, else aligned lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import PurePosixPath

import click

from vproc.client.transfer import readable_bytes
from vproc.core.manifest import Manifest, Output, OutputKind

# There may be thousands: they are counted, not listed.
_COUNTED = (OutputKind.INIT, OutputKind.SEGMENT)
Row = tuple[str, ...]


def made_rows(manifest: Manifest) -> list[Row]:
    """Kind, codec, size, bitrate, bytes and name of each output; segments as one row."""
    rows = [_row(output) for output in manifest.outputs if output.kind not in _COUNTED]
    for kind in _COUNTED:
        sizes = [output.bytes for output in manifest.outputs if output.kind is kind]
        if sizes:
            rows.append((f"{kind} x {len(sizes)}", "", "", "", readable_bytes(sum(sizes)), ""))
    return rows


def _row(output: Output) -> Row:
    size = f"{output.width}x{output.height}" if output.width and output.height else ""
    bitrate = f"{output.bitrate_bps / 1000:.0f} kb/s" if output.bitrate_bps else ""
    name = "/".join(PurePosixPath(output.key).parts[2:])  # below the run's prefix
    return output.kind, output.codec or "", size, bitrate, readable_bytes(output.bytes), name


def stage_rows(manifest: Manifest) -> list[Row]:
    """Each stage up to the commit with its seconds, and the whole, which is less where they overlap."""
    whole = {"from claim to commit": manifest.receipt.wall_s} if manifest.receipt else {}
    return [(stage, f"{seconds:.2f}") for stage, seconds in {**manifest.stages, **whole}.items()]


def receipt_rows(manifest: Manifest) -> list[Row]:
    """What the run took; nothing for a manifest of an earlier version."""
    receipt = manifest.receipt
    if receipt is None:
        return []
    rows: list[Row] = [
        ("processor time of ffmpeg", f"{receipt.cpu_s:.2f} s"),
        ("memory of the largest ffmpeg", readable_bytes(receipt.peak_memory_bytes)),
        ("bytes in, out", f"{readable_bytes(receipt.bytes_in)}, {readable_bytes(receipt.bytes_out)}"),
        ("requests to S3, SQS", f"{sum(receipt.s3_requests.values())}, {sum(receipt.sqs_requests.values())}"),
    ]
    return [*rows, ("speed", f"{receipt.speed:.2f} x real time")] if receipt.speed is not None else rows


def show_table(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table on standard output."""
    if not sys.stdout.isatty():
        click.echo(f"{title}:")
        click.echo(aligned([tuple(columns), *rows]))
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def aligned(rows: Sequence[Row]) -> str:
    """Rows as text, each column as wide as its longest word."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
