"""A role's credentials through an outage of whoever gives them out.

botocore asks for new ones a quarter of an hour before the old end, and where it gets an empty answer then every request fails,
although the old ones hold. Here they go on to be used until they end; it is asked again every ten seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any

import structlog
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession
from botocore.exceptions import CredentialRetrievalError

from vproc.aws.errors import NO_CREDENTIALS
from vproc.aws.role_end import RoleEnd, watch_role_end
from vproc.errors import DependencyError

ASK_EVERY_S = 10.0

Fetch = Callable[[], Awaitable[dict[str, Any]] | dict[str, Any]]

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def keep_through_outages(session: AioSession) -> None:
    """Make a session's credentials, where they are a role's, last as long as they hold. Raises `DependencyError` where there are
    none: each client would look for them again, for seconds."""
    role_end = watch_role_end(session)
    credentials = await session.get_credentials()
    if credentials is None:
        raise DependencyError(f"cannot reach AWS: {NO_CREDENTIALS}")
    if isinstance(credentials, AioRefreshableCredentials):
        # botocore has no public place for this; `tests/aws/test_credentials.py` says whether it still is here.
        steady = SteadyFetch(credentials, credentials._refresh_using, role_end=role_end)  # noqa: SLF001
        credentials._refresh_using = steady  # noqa: SLF001


def ends_at(credentials: Any) -> datetime | None:
    """When what signs now ends, by botocore's word or the metadata service's own, whichever is earlier; None: not known."""
    told = getattr(credentials, "_expiry_time", None)
    fetch = getattr(credentials, "_refresh_using", None)
    real = fetch.role_end.at if isinstance(fetch, SteadyFetch) else None
    return min((end for end in (told, real) if isinstance(end, datetime)), default=None)


class SteadyFetch:
    """Fetches new credentials; gives those that hold still while that fails. ``now`` gives aware UTC."""

    def __init__(
        self,
        credentials: AioRefreshableCredentials,
        fetch: Fetch,
        *,
        role_end: RoleEnd | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.role_end = role_end or RoleEnd()
        self._credentials = credentials
        self._fetch = fetch
        self._now = now
        self._failed_at: datetime | None = None

    async def __call__(self) -> dict[str, Any]:
        """As botocore wants it. Raises what the fetch raised, once nothing holds any more."""
        held = self._held()
        if held is not None and self._failed_at and (self._now() - self._failed_at).total_seconds() < ASK_EVERY_S:
            return held
        try:
            fresh = await self._fresh()
        except Exception as error:
            if self._failed_at is None:
                log.warning("credentials_not_renewed", error=type(error).__name__, held=held is not None)
            self._failed_at = self._now()
            if held is None:
                raise
            return held
        if self._failed_at is not None:
            log.info("credentials_renewed")
        self._failed_at = None
        return fresh

    async def _fresh(self) -> dict[str, Any]:
        found = self._fetch()
        fresh: dict[str, Any] = await found if isawaitable(found) else found
        if not fresh:
            raise CredentialRetrievalError(provider=self._credentials.method, error_msg="it gave none")
        return fresh

    def _held(self) -> dict[str, Any] | None:
        """What is used now, while it holds."""
        held: Any = self._credentials
        ends_at: datetime | None = held._expiry_time  # noqa: SLF001 - see above
        if ends_at is None or ends_at <= self._now():
            return None
        return {
            "access_key": held._access_key,  # noqa: SLF001
            "secret_key": held._secret_key,  # noqa: SLF001
            "token": held._token,  # noqa: SLF001
            "expiry_time": ends_at.isoformat(),
        }
