"""When a role's credentials really end. botocore says later where the instance metadata service gives old ones: requests may
still be taken then, which only the service that is asked can tell. An address that is signed for a client must not hope for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiobotocore.session import AioSession


class RoleEnd:
    """``at`` is the end of what the metadata service gave last, as it said itself; None where it gave nothing."""

    def __init__(self) -> None:
        self.at: datetime | None = None

    def note(self, expiration: object) -> None:
        """What the service said, ``2026-01-02T03:04:05Z``; anything else is not known."""
        try:
            self.at = datetime.strptime(str(expiration), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            self.at = None


def watch_role_end(session: AioSession) -> RoleEnd:
    """Hear every end that the session's metadata fetcher is told. Call it before credentials are asked for."""
    end = RoleEnd()
    # botocore has no public place for this; `tests/aws/test_role_end.py` says whether it still is here.
    fetcher: Any = session.get_component("credential_provider").get_provider("iam-role")._role_fetcher  # noqa: SLF001
    extend = fetcher._evaluate_expiration  # noqa: SLF001

    def heard(credentials: dict[str, Any]) -> None:
        end.note(credentials.get("expiry_time"))
        extend(credentials)

    fetcher._evaluate_expiration = heard  # noqa: SLF001
    return end
