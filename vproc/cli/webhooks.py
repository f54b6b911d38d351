"""``vproc webhooks``: what was told and what was not, told again, and an address tried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vproc.cli.audit import audit
from vproc.cli.group import FAILED, fail
from vproc.cli.keys import with_catalog
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.core.webhook_delivery import Sent
    from vproc.db.catalog import SqlCatalog
    from vproc.ports import OutboxEvent
    from vproc.settings import Settings


@click.group()
def webhooks() -> None:
    """Webhooks: what a file's callback_url was told.

    Signed by Standard Webhooks 1.0.0, with VPROC_WEBHOOK_SECRET or, where that is not set, with a secret that the catalog keeps.
    """


@webhooks.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@click.option("--show-secret", is_flag=True, help="Print what receivers verify with, and nothing else.")
@json_option
def list_events(limit: int, show_secret: bool, as_json: bool) -> None:
    """List the newest events, and the addresses that want no more."""
    if show_secret:
        _show_secret(as_json=as_json)
        return

    async def read(catalog: SqlCatalog, _: Settings) -> tuple[tuple[OutboxEvent, ...], tuple[str, ...]]:
        return await catalog.list_events(limit=limit), await catalog.disabled_urls()

    events, disabled = with_catalog(read)
    for event in events:
        if as_json:
            print_json(_document(event, disabled=event.url in disabled))
        else:
            click.echo(f"{event.event_id}  {event.file_id}  {event.type}  {_state(event)}  {_shown(event.url)}")
    if not as_json:
        for url in disabled:
            click.echo(f"disabled by its answer 410: {_shown(url)}")


@webhooks.command()
@click.argument("event_id", metavar="[ID]", required=False)
@click.option("--failed", is_flag=True, help="All that were given up.")
@json_option
def redeliver(event_id: str | None, failed: bool, as_json: bool) -> None:
    """Send an event again, or all that were given up, under the same id.

    A running daemon does it. An address that answered 410 is sent to again.
    """
    if failed == (event_id is not None):
        raise click.UsageError("takes an ID or --failed")
    count = with_catalog(lambda catalog, _: catalog.redeliver(event_id))
    if event_id is not None and not count:
        fail(f"no event {event_id}: `vproc webhooks list` shows them", code=FAILED)
    audit("webhook.redeliver", events=count, ids=[event_id] if event_id else "failed")
    if as_json:
        print_json({"due_again": count})
    else:
        click.echo(f"due again: {count}")


@webhooks.command()
@click.argument("url", metavar="URL")
@json_option
def test(url: str, as_json: bool) -> None:
    """Send a signed event `vproc.test` to URL now, and tell what came back.

    Exits 1 where it is anything but 2xx.
    """
    sent = with_catalog(lambda catalog, settings: _send_test(catalog, settings, url))
    taken = sent.status is not None and 200 <= sent.status < 300  # noqa: PLR2004 - RFC 9110
    if as_json:
        print_json({"delivered": taken, "result": sent.result})
    else:
        click.echo(f"{'delivered' if taken else 'not delivered'}: {sent.result}")
    if not taken:
        raise click.exceptions.Exit(FAILED)


async def _send_test(catalog: SqlCatalog, settings: Settings, url: str) -> Sent:
    import json  # noqa: PLC0415 - imported when the command runs
    import time  # noqa: PLC0415 - likewise
    from datetime import UTC, datetime  # noqa: PLC0415 - likewise
    from uuid import uuid4  # noqa: PLC0415 - likewise

    from vproc.core.webhook_signing import signed_headers  # noqa: PLC0415 - likewise
    from vproc.outside import open_sender, webhook_secrets  # noqa: PLC0415 - heavy: likewise

    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = json.dumps({"type": "vproc.test", "timestamp": at, "data": {}}, separators=(",", ":")).encode()
    secrets = await webhook_secrets(settings, catalog)
    headers = signed_headers(secrets, webhook_id=f"msg_{uuid4().hex}", timestamp=int(time.time()), body=body)
    return await open_sender(settings).send(url, headers=headers, body=body)


def _show_secret(*, as_json: bool) -> None:
    async def read(catalog: SqlCatalog, settings: Settings) -> tuple[bytes, ...]:
        from vproc.outside import webhook_secrets  # noqa: PLC0415 - heavy: imported when the command runs

        return await webhook_secrets(settings, catalog)

    from vproc.core.webhook_signing import show_secret  # noqa: PLC0415 - imported when the command runs

    for secret in with_catalog(read):
        shown = show_secret(secret)
        if as_json:
            print_json({"secret": shown})
        else:
            click.echo(shown)


def _state(event: OutboxEvent) -> str:
    attempts = f"{event.attempts} attempt{'' if event.attempts == 1 else 's'}, last: {event.last_result or 'none'}"
    if event.delivered_at is not None:
        return f"delivered {event.delivered_at:%Y-%m-%d %H:%M} ({attempts})"
    if event.failed_at is not None:
        return f"given up {event.failed_at:%Y-%m-%d %H:%M} ({attempts})"
    return f"due {event.next_attempt_at:%Y-%m-%d %H:%M} ({attempts})"


def _shown(url: str) -> str:
    """Without what may be a secret in the query."""
    return url.partition("?")[0]


def _document(event: OutboxEvent, *, disabled: bool) -> dict[str, object]:
    return {
        "id": event.event_id,
        "file_id": str(event.file_id),
        "type": event.type,
        "url": _shown(event.url),
        "attempts": event.attempts,
        "last_result": event.last_result,
        "created_at": event.created_at.isoformat(),
        "next_attempt_at": None if event.delivered_at or event.failed_at else event.next_attempt_at.isoformat(),
        "delivered_at": event.delivered_at and event.delivered_at.isoformat(),
        "failed_at": event.failed_at and event.failed_at.isoformat(),
        "endpoint_disabled": disabled,
    }
