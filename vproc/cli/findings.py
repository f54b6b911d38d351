"""What a check of `vproc doctor` comes to: a level, a sentence, a remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import anyio

from vproc.errors import ConfigError, DependencyError, JobError

_WITHIN_S = 10.0


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. ``remedy`` is None where there is nothing to do."""

    check: str
    level: Level
    detail: str
    remedy: str | None = None


Tell = Callable[[Finding], None]


async def tried(check: str, act: Callable[[], Awaitable[str]], remedy: str) -> Finding:
    """The finding of something that tells what it found, or raises what is wrong with it."""
    try:
        with anyio.fail_after(_WITHIN_S):
            return Finding(check, Level.OK, await act())
    except ConfigError as error:
        detail = "; ".join(error.faults)
    except (DependencyError, JobError) as error:
        detail = getattr(error, "detail", str(error))
    except TimeoutError:
        detail = f"no answer within {_WITHIN_S:g} s"
    return Finding(check, Level.FAILURE, detail, remedy)
