"""``vproc demo``: its arguments and its exit code. The story is in `walkthrough`."""

from __future__ import annotations

from pathlib import Path

import click

from vproc.cli.group import ended_like_interrupt


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--serve", is_flag=True, help="Keep the daemon up at the end, until Ctrl-C, so that the result can be watched.")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where the outputs go.  [default: ./demo-output/NAME-OF-FILE]",
)
def demo(file: Path | None, serve: bool, to: Path | None) -> None:
    """Show the main job, end to end.

    FILE is uploaded to an embedded daemon, followed, and every output checked. Without FILE it takes the clip that
    VPROC_DEMO_CLIP names, or makes one.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.cli import walkthrough  # noqa: PLC0415 - likewise
    from vproc.cli.child import work_directory  # noqa: PLC0415 - likewise

    shown = False

    def on_shown() -> None:
        nonlocal shown
        shown = True

    try:
        with ended_like_interrupt(), work_directory() as work:
            anyio.run(lambda: walkthrough.run(file, to=to, work=work, serve=serve, on_shown=on_shown))
    except KeyboardInterrupt:
        # With --serve Ctrl-C is how it ends, once all was shown.
        if not shown:
            raise
