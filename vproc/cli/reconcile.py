"""``vproc reconcile``: the catalog, the buckets and the queue brought together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from vproc.cli.group import FAILED, fail
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.settings import Settings
    from vproc.workers.reconcile import Repaired


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@json_option
def reconcile(dry_run: bool, as_json: bool) -> None:
    """Repair the catalog, announce what was forgotten.

    Where the database was lost: start with an empty one and run this; every completed file is there again. May be run at any
    time, beside running daemons, and again.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.settings import load_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    settings = load_settings()
    configure_logging(settings.log_format, "warning")
    repairs: list[Repaired] = []

    def tell(repaired: Repaired) -> None:
        repairs.append(repaired)
        if as_json:
            print_json({"repair": repaired.repair.value, "subject": repaired.subject, "reason": repaired.reason})
        else:
            click.echo(f"{repaired.repair.value}  {repaired.subject}: {repaired.reason}")

    failures = anyio.run(_reconciled, settings, tell, dry_run)
    if not as_json:
        click.echo(f"{'to be done' if dry_run else 'done'}: {len(repairs)}")
    if failures:
        fail(f"{failures} could not be looked at or mended; run it again once the cause above is gone", code=FAILED)


async def _reconciled(settings: Settings, tell: Callable[[Repaired], None], dry_run: bool) -> int:
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.outside import open_outside  # noqa: PLC0415 - likewise
    from vproc.telemetry import Metrics  # noqa: PLC0415 - likewise

    async with open_outside(settings, Metrics(CollectorRegistry())) as outside:
        reconciler = outside.reconciler(delete_raw=settings.delete_raw, tell=tell, dry_run=dry_run)
        await reconciler.run()
        if not dry_run:
            await outside.janitor(reconciler).sweep()
        return reconciler.failures
