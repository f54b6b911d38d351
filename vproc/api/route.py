"""What a row of the route table says: address, handler, who may ask, and all that the OpenAPI document tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web
from pydantic import BaseModel

JSON = "application/json"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
PLAIN_TEXT = "text/plain"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(StrEnum):
    """Who may ask."""

    OPEN = "open"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is no error. ``model`` None: no body, or one that is not JSON."""

    status: int
    description: str
    model: type[BaseModel] | None = None
    media_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method at one path. ``problems`` are the statuses of its errors, beside those that every route may answer.

    ``quiet``: its access line is a debug line. ``streams``: its answer may take as long as it likes, and has no HEAD.
    """

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answers: tuple[Answer, ...]
    description: str = ""
    tag: str = "uploads"
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()
    quiet: bool = False
    streams: bool = False

    @property
    def all_problems(self) -> tuple[int, ...]:
        """Statuses of every error that the document names for it."""
        identity = (401,) if self.access is Access.IDENTITY else ()
        return tuple(sorted({*self.problems, *identity}))
