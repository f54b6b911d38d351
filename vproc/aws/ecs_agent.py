"""The ECS agent beside a task: scale-in protection while jobs run.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import aiohttp

from vproc.errors import UnavailableError

AGENT_VARIABLE = "ECS_AGENT_URI"
_PATH = "/task-protection/v1/state"
_NEVER = frozenset({"TASK_NOT_VALID"})
"""Reasons that stay: a task of no service cannot be protected."""


class EcsAgent:
    """`ports.TaskProtection` over an open session."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")

    async def protect(self, minutes: int) -> bool:
        """As the port says."""
        return await self._set({"ProtectionEnabled": True, "ExpiresInMinutes": minutes})

    async def release(self) -> None:
        """As the port says."""
        await self._set({"ProtectionEnabled": False})

    async def _set(self, wanted: dict[str, Any]) -> bool:
        try:
            async with self._session.put(self._endpoint + _PATH, json=wanted, allow_redirects=False) as response:
                answer = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnavailableError(f"the ECS agent: {type(error).__name__}") from error
        failure = answer.get("failure") or answer.get("error") if isinstance(answer, dict) else None
        if status == HTTPStatus.OK and not failure:
            return True
        reason = str(failure.get("Reason") or failure.get("Code")) if isinstance(failure, dict) else str(status)
        if reason in _NEVER:
            return False
        raise UnavailableError(f"the ECS agent did not change the task's protection: {reason[:60]}")
