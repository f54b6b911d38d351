"""What holds for every command: its exit code, and one clear line on standard error instead of a traceback."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from vproc.errors import ConfigError, DependencyError, UnavailableError, VprocError

FAILED = 1
DEPENDENCY_AWAY = 75
WRONG_CONFIGURATION = 78
INTERRUPTED = 130


class CommandGroup(click.Group):
    """A group that keeps its commands in the order they were added, and tells an expected error in a line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands as the documentation orders them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an expected error becomes its line and its exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            fail(*error.faults, code=WRONG_CONFIGURATION)
        except (DependencyError, UnavailableError) as error:
            fail(getattr(error, "detail", str(error)), code=DEPENDENCY_AWAY)
        except VprocError as error:
            fail(getattr(error, "detail", str(error)), code=FAILED)
        except KeyboardInterrupt:
            fail("interrupted", code=INTERRUPTED)


def fail(*faults: str, code: int) -> NoReturn:
    """Say each fault in a line of standard error and end the command with ``code``."""
    for fault in faults:
        click.echo(f"vproc: {' '.join(fault.split())}", err=True)
    raise click.exceptions.Exit(code)


@contextmanager
def ended_like_interrupt() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP end the command as Ctrl-C does, so that what it started and made is cleared away."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
            raise KeyboardInterrupt  # Started in the background of a script: nothing listens to SIGINT.
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
