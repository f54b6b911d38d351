"""``vproc job``: one job, whose outcome is the exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from vproc.cli.group import DEPENDENCY_AWAY, FAILED
from vproc.cli.options import print_json

if TYPE_CHECKING:
    from vproc.solo import JobReport


@click.command()
@click.option("--job", envvar="VPROC_JOB", metavar="JSON", help="The job.  [default: VPROC_JOB, else standard input]")
def job(job: str | None) -> None:
    """Do one job and exit: what a container or an ECS task runs.

    The job is what the queue would hold: {"bucket": …, "key": …, "profile": …}, or what a daemon with the runner ecs hands over.
    One line of JSON on standard output tells what became of it. Exit codes: 0 the file is completed, 1 it failed, 75 the same may
    be given again.
    """
    import anyio  # noqa: PLC0415 - heavy: imported when the command runs

    from vproc.delegate import run_any_job  # noqa: PLC0415 - likewise
    from vproc.settings import load_settings  # noqa: PLC0415 - likewise
    from vproc.solo import JobEnd  # noqa: PLC0415 - likewise
    from vproc.telemetry import configure_logging  # noqa: PLC0415 - likewise

    body = job if job is not None else _read_standard_input()
    if not body.strip():
        raise click.UsageError("no job: give it as VPROC_JOB or on standard input")
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    report = anyio.run(run_any_job, settings, body)
    print_json(_document(report))
    raise click.exceptions.Exit({JobEnd.DONE: 0, JobEnd.FAILED: FAILED, JobEnd.AGAIN: DEPENDENCY_AWAY}[report.end])


def _read_standard_input() -> str:
    if sys.stdin.isatty():
        raise click.UsageError("no job: give it as VPROC_JOB or on standard input")
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _document(report: JobReport) -> dict[str, object]:
    error = report.error
    return {
        "result": report.end.value,
        "outcome": report.outcome,
        "file_id": report.file_id,
        "processing_status": report.status,
        "error": {"code": error.code.value, "detail": error.detail, "retryable": error.retryable} if error else None,
    }
