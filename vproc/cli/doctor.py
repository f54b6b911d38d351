"""``vproc doctor``: what a daemon with these settings would find, a line each. What is looked at stands in `checks`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vproc.cli.group import FAILED
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.cli.findings import Finding


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check what a daemon with these settings would find.

    Settings, ffmpeg, sandbox, disk, database, buckets and queue, a line for each: ok, warning or failure, what was found,
    and the remedy. Exit 1 where something fails.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.cli.checks import examine  # noqa: PLC0415 - likewise
    from vproc.cli.findings import Level  # noqa: PLC0415 - likewise
    from vproc.settings import load_partial_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    known = load_partial_settings()
    configure_logging(known.settings.log_format, "error")
    levels = set()

    def hear(finding: Finding) -> None:
        levels.add(finding.level)
        tell(finding, as_json=as_json)

    anyio.run(examine, known, hear)
    if Level.FAILURE in levels:
        raise click.exceptions.Exit(FAILED)


def tell(finding: Finding, *, as_json: bool) -> None:
    """One line on standard output."""
    if as_json:
        print_json(asdict(finding))
        return
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    click.echo(f"{finding.level:<8} {finding.check:<16} {' '.join(finding.detail.split())}{remedy}")
