"""``vproc serve``: the daemon in the foreground. What it does is in `vproc.daemon`."""

from __future__ import annotations

import click


@click.command()
def serve() -> None:
    """Run the daemon in the foreground.

    The environment configures it; `vproc config` shows what it would run with.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.daemon import run  # noqa: PLC0415 - likewise
    from vproc.settings import load_settings  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    raise click.exceptions.Exit(anyio.run(run, settings))
