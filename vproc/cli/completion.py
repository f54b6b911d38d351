"""``vproc completion``: what a shell needs to complete commands, options, profiles and the ids of files."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_PATIENCE_S = 2.0
_SHOWN_IDS = 50


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), metavar="SHELL")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    SHELL is bash, zsh or fish. For bash: eval "$(vproc completion bash)" in ~/.bashrc.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}: it is one of {', '.join(_SHELLS)}")
    click.echo(kind(ctx.find_root().command, {}, "vproc", "_VPROC_COMPLETE").source())


def complete_files(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Left to the shell, which knows the files."""
    return [CompletionItem(incomplete, type="file")]


def complete_profiles(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The profiles that are known here. A daemon elsewhere may have others; a file of profiles that is wrong counts as none."""
    from vproc.errors import VprocError  # noqa: PLC0415 - imported when something is completed
    from vproc.settings import read_profiles  # noqa: PLC0415 - likewise

    file = ctx.params.get("file") or os.environ.get("VPROC_PROFILES_FILE")
    try:
        known = read_profiles(Path(file) if file else None)
    except VprocError:
        known = read_profiles(None)
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def complete_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The newest files of the API that the command would ask; none where it does not answer within 2 s."""
    import anyio  # noqa: PLC0415 - heavy: imported when something is completed

    from vproc.client import ApiClient, ApiError, FileStatus  # noqa: PLC0415 - likewise

    async def newest() -> tuple[FileStatus, ...]:
        with anyio.move_on_after(_PATIENCE_S):
            async with ApiClient(ctx.params["api"], api_key=ctx.params["api_key"]) as client:
                return await client.list(limit=_SHOWN_IDS)
        return ()

    try:
        found = anyio.run(newest)
    except ApiError:
        return []
    return [
        CompletionItem(str(file.file_id), help=f"{file.status} {file.file_name}".rstrip())
        for file in found
        if str(file.file_id).startswith(incomplete)
    ]
