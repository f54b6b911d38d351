"""The command line: arguments in, one call, exit code out. A file to a shelf of commands; here only their gathering.

Nothing heavy is imported before a command runs, so that ``--help``, ``--version`` and completion answer at once.
"""

from __future__ import annotations

import click

from vproc import __version__
from vproc.cli.admin import config, healthcheck, migrate, profiles, version
from vproc.cli.completion import completion
from vproc.cli.demo import demo
from vproc.cli.dev import dev
from vproc.cli.dlq import dlq
from vproc.cli.doctor import doctor
from vproc.cli.files import cancel, delete, download, list_files, retry, status, submit, watch
from vproc.cli.group import CommandGroup
from vproc.cli.job import job
from vproc.cli.keys import keys
from vproc.cli.provisioning import aws
from vproc.cli.reconcile import reconcile
from vproc.cli.serve import serve
from vproc.cli.webhooks import webhooks

__all__ = ["cli", "main"]

_COMMANDS = (
    serve, job, dev, demo, submit, status, list_files, watch, cancel, retry, delete, download, dlq, migrate,
    reconcile, keys, webhooks, aws, config, doctor, profiles, healthcheck, completion, version,
)  # fmt: skip


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vproc", message="%(prog)s %(version)s")
def cli() -> None:
    """A self-hosted video pipeline: uploads in, HLS, DASH and MP4 out.

    The daemon is configured by the environment; `vproc config` shows what it would run with.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 75 a dependency is away at the start, 78 wrong configuration,
    130 interrupted.
    """


for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The entry point of ``vproc`` and ``python -m vproc``; it ends the process with the command's exit code."""
    cli(prog_name="vproc")
