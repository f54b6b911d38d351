"""Whether the process can do its work: all checks at once, each bounded, their result kept for a moment.

However many probers ask, each dependency is asked once in that moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic

import anyio
import structlog

from vproc.api.models import Readiness
from vproc.errors import JobError, VprocError
from vproc.tasks import task_group

CHECK_WITHIN_S = 2.0
KEPT_S = 2.0

Check = Callable[[], Awaitable[None]]

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Result:
    told_at: float
    checks: dict[str, str]


class ReadinessChecks:
    """``await checks()`` gives the state. A check returns, or raises what is wrong. ``clock`` is monotonic, in seconds."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        draining: anyio.Event,
        sandbox: Mapping[str, bool | str] | None = None,
        clock: Callable[[], float] = monotonic,
        within_s: float = CHECK_WITHIN_S,
    ) -> None:
        self._checks = dict(checks)
        self._draining = draining
        self._sandbox = dict(sandbox or {})
        self._clock = clock
        self._within_s = within_s
        self._flight = anyio.Lock()
        self._last: _Result | None = None

    async def __call__(self) -> Readiness:
        """The state, at most a moment old; while draining nothing is asked."""
        if self._draining.is_set():
            return Readiness(status="draining", checks={}, sandbox=self._sandbox)
        async with self._flight:
            if self._last is None or self._clock() - self._last.told_at >= KEPT_S:
                results = await self._run()
                self._last = _Result(self._clock(), results)
            last = self._last
        ready = all(told == "ok" for told in last.checks.values())
        return Readiness(status="ready" if ready else "unready", checks=last.checks, sandbox=self._sandbox)

    async def _run(self) -> dict[str, str]:
        results = dict.fromkeys(self._checks, f"gave no answer within {self._within_s:g} s")
        async with task_group() as tasks:
            for name, check in self._checks.items():
                tasks.start_soon(self._run_one, name, check, results)
        return results

    async def _run_one(self, name: str, check: Check, results: dict[str, str]) -> None:
        with anyio.move_on_after(self._within_s):
            try:
                await check()
            except JobError as error:
                results[name] = error.detail
            except VprocError as error:
                results[name] = str(error)
            except Exception as error:
                # A check that is itself broken is a failed check, told and logged.
                log.warning("check_failed", check=name, exc_info=error)
                results[name] = f"failed: {type(error).__name__}"
            else:
                results[name] = "ok"
