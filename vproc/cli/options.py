"""Options that several commands share, and how a command enters the event loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import click

from vproc.cli.completion import complete_ids

if TYPE_CHECKING:
    from vproc.client import ApiClient

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

DEFAULT_API_URL = "http://127.0.0.1:8080"


def api_options(command: Command) -> Command:
    """``--api`` and ``--api-key``: which API a client command speaks to, and as whom."""
    command = click.option("--api-key", envvar="VPROC_API_KEY", metavar="KEY", help="The caller's API key or token.")(command)
    return click.option(
        "--api", envvar="VPROC_API_URL", default=DEFAULT_API_URL, metavar="URL", show_default=True, help="The API's address."
    )(command)


def json_option(command: Command) -> Command:
    """``--json``: one JSON document a line, for programs."""
    return click.option("--json", "as_json", is_flag=True, help="JSON for programs, one document a line.")(command)


file_ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.UUID, shell_complete=complete_ids)
"""The files that a command is about."""


def call_api(api: str, api_key: str | None, story: Callable[[ApiClient], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine function with a client for that API, in an event loop of its own."""
    import anyio  # noqa: PLC0415 - heavy: imported when a command runs

    from vproc.client import ApiClient  # noqa: PLC0415 - likewise

    async def run() -> Result:
        async with ApiClient(api, api_key=api_key, on_wait=lambda words: click.echo(f"vproc: {words}", err=True)) as client:
            return await story(client)

    return anyio.run(run)


def print_json(document: object) -> None:
    """One line of JSON on standard output."""
    line = json.dumps(document, default=_plain, ensure_ascii=False)
    # A file's name that is not UTF-8 stays as escapes: JSON is UTF-8 (RFC 8259, section 8.1).
    click.echo(line if _is_utf8(line) else json.dumps(document, default=_plain))


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value)
