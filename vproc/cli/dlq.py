"""``vproc dlq``: what lies in the dead-letter queue and why, and what becomes of it."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import click

from vproc.cli.audit import audit
from vproc.cli.group import FAILED, fail
from vproc.cli.options import json_option, print_json

if TYPE_CHECKING:
    from vproc.aws.dead_letters import SqsDeadLetters
    from vproc.core.dead_letters import DeadLetter, Redriven

_SHOWN = 100


@click.group()
def dlq() -> None:
    """The dead letters: list, show, redrive, purge.

    ID is a letter's id, the id of the message that it was, or its file's. What is looked at is hidden from others for that time.
    """


ids_argument = click.argument("ids", metavar="[ID]…", nargs=-1)


@dlq.command("list")
@click.option("--limit", default=_SHOWN, show_default=True, type=click.IntRange(min=1), help="So many at most.")
@json_option
def list_letters(limit: int, as_json: bool) -> None:
    """List them with the reason, the file and its attempts, oldest first."""

    async def story(letters: SqsDeadLetters) -> list[DeadLetter]:
        async with letters.held(most=limit) as held:
            return held

    found = _run(story)
    for letter in found:
        if as_json:
            print_json(letter.document())
        else:
            click.echo(_line(letter))
    if not found and not as_json:
        click.echo("no dead letters")


@dlq.command()
@click.argument("ids", metavar="ID…", nargs=-1, required=True)
@json_option
def show(ids: tuple[str, ...], as_json: bool) -> None:
    """Show some whole: every attribute, and the message as it was."""

    async def story(letters: SqsDeadLetters) -> list[DeadLetter]:
        async with letters.held() as held:
            return _named(held, ids)

    for letter in _run(story):
        if as_json:
            print_json(letter.document(whole=True))
        else:
            click.echo("\n".join([_line(letter), *_attributes(letter), "", _pretty(letter.body), ""]))


@dlq.command()
@ids_argument
@json_option
def redrive(ids: tuple[str, ...], as_json: bool) -> None:
    """Send letters to the queue again: those named, or all.

    Their files start anew, with no attempt counted. One whose file is completed by now is acknowledged, and nothing else.
    """

    async def story(letters: SqsDeadLetters) -> Redriven:
        with _names_known():
            return await letters.send_back(ids)

    redriven = _run(story)
    if redriven.failure is not None:
        fail(f"SQS stopped the redrive after about {redriven.letters} letters: {redriven.failure}", code=FAILED)
    number = redriven.letters
    audit("letters.redrive", letters=number, ids=list(ids) or "all")
    if as_json:
        print_json({"redriven": number, "by": redriven.by})
    else:
        click.echo(f"redriven: {number}")


@dlq.command()
@ids_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete letters for ever: those named, or all.

    Their objects stay in the raw bucket until it expires them.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("purge deletes for ever: give --yes where nobody can be asked")

    async def story(letters: SqsDeadLetters) -> int | None:
        if not ids:
            await letters.purge()
            return None
        async with letters.held() as held:
            chosen = _named(held, ids)
            await letters.discard(chosen)
            return len(chosen)

    if not yes:
        click.confirm(f"Delete {'these' if ids else 'all'} dead letters for ever?", abort=True, err=True)
    number = _run(story)
    audit("letters.purge", letters=number, ids=list(ids) or "all")
    if as_json:
        print_json({"purged": "all" if number is None else number})
    else:
        click.echo("purged: all, within a minute" if number is None else f"purged: {number}")


def _run(story: Callable[[SqsDeadLetters], Awaitable[Any]]) -> Any:
    """Run a coroutine function with the dead-letter queue of the settings."""
    import anyio  # noqa: PLC0415 - heavy: imported when a command runs

    from vproc.settings import load_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    # Of the settings only the queue's matter: whoever looks after it need not know the buckets.
    settings = load_settings(raw_bucket="not-used-raw", processed_bucket="not-used-processed")
    configure_logging(settings.log_format, settings.log_level)

    async def run() -> Any:
        async with _opened(settings.aws_region, settings.queue_url, settings.dlq_url) as letters:
            return await story(letters)

    return anyio.run(run)


@asynccontextmanager
async def _opened(region: str | None, queue_url: str, dlq_url: str | None) -> AsyncIterator[SqsDeadLetters]:
    from vproc.aws.dead_letters import SqsDeadLetters  # noqa: PLC0415 - heavy: imported when a command runs
    from vproc.aws.session import open_clients  # noqa: PLC0415 - likewise
    from vproc.aws.sqs import resolve_dlq_url  # noqa: PLC0415 - likewise
    from vproc.errors import ConfigError  # noqa: PLC0415 - likewise

    async with open_clients(region=region, poll_read_timeout_s=5, public_endpoint_url=None) as clients:
        found = await resolve_dlq_url(clients.sqs, queue_url, dlq_url)
        if found is None:
            raise ConfigError("VPROC_DLQ_URL: not set, and the queue has no redrive policy; takes the address of a queue")
        yield SqsDeadLetters(control=clients.sqs, queue_url=queue_url, dlq_url=found)


def _named(letters: Sequence[DeadLetter], ids: Sequence[str]) -> list[DeadLetter]:
    from vproc.core.dead_letters import letters_named  # noqa: PLC0415 - heavy: imported when a command runs

    with _names_known():
        return letters_named(letters, ids)


@contextmanager
def _names_known() -> Iterator[None]:
    """A name that means no letter is the end, with the remedy."""
    from vproc.errors import LetterNotFoundError  # noqa: PLC0415 - heavy: imported when a command runs

    try:
        yield
    except LetterNotFoundError as error:
        fail(f"no dead letter {error.name!r} among {error.among}: `vproc dlq list` shows them", code=FAILED)


def _line(letter: DeadLetter) -> str:
    sent = letter.sent_at.isoformat(timespec="seconds") if letter.sent_at else "?"
    attempts = "" if letter.attempts is None else f", {letter.attempts} attempt{'s' if letter.attempts != 1 else ''}"
    about = letter.file_id or ", ".join(letter.objects) or "no object that can be read"
    return f"{letter.message_id}  {sent}  {letter.code or '-'}: {letter.detail}  ({about}{attempts})"


def _attributes(letter: DeadLetter) -> list[str]:
    return [f"  {name}: {value}" for name, value in sorted(letter.attributes.items())]


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
