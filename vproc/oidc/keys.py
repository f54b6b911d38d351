"""The issuer's keys, held: who asks for one waits for the network at most once, and no caller can make this ask the issuer often.

Why they are not held by PyJWT's own client: docs/decisions/0018-own-key-cache.md.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import anyio
import structlog
from anyio.abc import TaskGroup

from vproc.errors import ServiceUnavailableError, UnavailableError
from vproc.oidc.issuer import open_issuer
from vproc.oidc.jwk import VerifyingKey
from vproc.tasks import task_group

APART_S = 30.0
"""Between the beginnings of two fetches, whatever is asked for and however the first one ended."""
FRESH_S = 600.0
"""Older keys are believed and fetched again beside the request that meets them."""
WAITED_FOR_S = 3600.0
"""Older keys are believed only after a fetch was tried: a key that was withdrawn meanwhile must not open anything."""
BELIEVED_S = 86400.0
"""Older keys are not believed."""

Fetch = Callable[[], Awaitable[tuple[VerifyingKey, ...]]]

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    keys: tuple[VerifyingKey, ...]
    fetched_s: float

    def knows(self, kid: str | None) -> bool:
        """Whether a newer set would hold no more of that name. Without a name there is nothing to look for."""
        return kid is None or any(key.kid == kid for key in self.keys)

    def matching(self, kid: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        """The keys of that name; without a name the only key, where there is only one."""
        named = (
            self.keys if kid is None and len(self.keys) == 1 else tuple(key for key in self.keys if key.kid == kid is not None)
        )
        return tuple(key for key in named if algorithm in key.algorithms)


class KeySet:
    """An issuer's keys. ``fetch`` gives all of them or raises `UnavailableError`; ``tasks`` outlives every request.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(self, fetch: Fetch, *, tasks: TaskGroup, clock: Callable[[], float] = monotonic) -> None:
        self._fetch = fetch
        self._tasks = tasks
        self._clock = clock
        self._held: _Held | None = None
        self._failed = False
        self._begun_s = -math.inf
        self._flight: anyio.Event | None = None

    async def find(self, kid: str | None, algorithm: str) -> tuple[VerifyingKey, ...]:
        """The keys that may have signed such a token: none, one, or several where the issuer gave them one name.

        Raises `ServiceUnavailableError` where it cannot be known, since the issuer does not give its keys.
        """
        age_s = self._age_s()
        if age_s >= FRESH_S:
            self.refresh()
        if age_s >= WAITED_FOR_S:
            await self._landed()
        if not self._believed().knows(kid):
            self.refresh()
            await self._landed()
            if self._failed and not self._believed().knows(kid):
                raise self._away()
        return self._believed().matching(kid, algorithm)

    def refresh(self) -> None:
        """Have the keys fetched beside this, unless they are being fetched or were lately. Returns at once."""
        now_s = self._clock()
        if self._flight is None and now_s - self._begun_s >= APART_S:
            self._begun_s, self._flight = now_s, anyio.Event()
            self._tasks.start_soon(self._fly, self._flight, name="issuer keys")

    def _age_s(self) -> float:
        return math.inf if self._held is None else self._clock() - self._held.fetched_s

    def _believed(self) -> _Held:
        if self._held is None or self._age_s() >= BELIEVED_S:
            raise self._away()
        return self._held

    async def _landed(self) -> None:
        if self._flight is not None:
            await self._flight.wait()

    async def _fly(self, ended: anyio.Event) -> None:
        begun_s = self._clock()
        self._failed = True
        try:
            self._held = _Held(await self._fetch(), begun_s)
            self._failed = False
        except UnavailableError as error:
            log.warning("issuer_keys_not_fetched", reason=error.detail, keys_held=self._held is not None)
        except Exception as error:
            # Nobody waits for this task's result: whatever it is, what is held stays held.
            log.exception("issuer_keys_not_fetched", reason=type(error).__name__, keys_held=self._held is not None)
        else:
            log.info("issuer_keys_fetched", keys=len(self._held.keys))
        finally:
            self._flight = None
            ended.set()

    def _away(self) -> ServiceUnavailableError:
        wait_s = max(1, math.ceil(self._begun_s + APART_S - self._clock()))
        return ServiceUnavailableError(
            "The issuer of the tokens does not give its keys at the moment, so no token can be checked. Try again shortly.",
            retry_after_s=wait_s,
        )


@asynccontextmanager
async def open_keys(*, issuer: str, jwks_url: str | None = None) -> AsyncIterator[KeySet]:
    """The keys of an issuer, found by its discovery or at that address. Their first fetch has begun, and is not waited for."""
    async with open_issuer(issuer=issuer, jwks_url=jwks_url) as source, task_group() as tasks:
        keys = KeySet(source.fetch_keys, tasks=tasks)
        keys.refresh()
        yield keys
        tasks.cancel_scope.cancel()
