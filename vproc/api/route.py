"""What a row of the route table says: address, handler, who may ask, and all that the OpenAPI document tells of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web
from pydantic import BaseModel

JSON = "application/json"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
PLAIN_TEXT = "text/plain"
OPENMETRICS = "application/openmetrics-text"

_PATTERN = re.compile(r"{(\w+):[^}]*}")
_PLACEHOLDER = re.compile(r"{\w+}")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_WORD = re.compile(r"[A-Za-z0-9]+")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(StrEnum):
    """Who may ask."""

    OPEN = "open"
    IDENTITY = "identity"
    ADMIN = "admin"
    """An identity that may see everybody's files."""


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """A header of an answer, beside those that every answer has. ``always`` False: only where there is something to say."""

    name: str
    description: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is no error. ``model`` None: no body, or one that is not JSON. ``media_types``: those that it may have."""

    status: int
    description: str
    model: type[BaseModel] | None = None
    media_types: tuple[str, ...] = (JSON,)
    headers: tuple[AnswerHeader, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """A request's header that the route reads. ``most_characters`` None: whatever it holds, nothing is refused for it."""

    name: str
    description: str
    most_characters: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method at one path. ``problems`` are the statuses of its errors, beside those that every route may answer.

    ``quiet``: its access line is a debug line. ``streams``: its answer may take as long as it likes, and has no HEAD.
    ``audit``: the action's name in the audit; every route that changes something has one, and a GET that does has no HEAD.
    ``headers``: those that it reads.
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
    body_required: bool = True
    query: type[BaseModel] | None = None
    problems: tuple[int, ...] = ()
    quiet: bool = False
    streams: bool = False
    headers: tuple[Header, ...] = ()
    audit: str | None = None

    @property
    def template(self) -> str:
        """The path as documents and metrics show it: placeholders by name alone."""
        return _PATTERN.sub(r"{\1}", self.path)

    @property
    def operation_id(self) -> str:
        """Its name in generated clients, made of what its callers see, so that no change of code alters it: the method, the
        words of the path, and the placeholder that the path ends in."""
        words = _WORD.findall(_PLACEHOLDER.sub("", self.template)) or ["index"]
        if last := _PLACEHOLDER.search(self.template.rpartition("/")[2]):
            words += ["by", *_WORD.findall(last[0])]
        return self.method.lower() + "".join(word[0].upper() + word[1:] for word in words)

    @property
    def all_problems(self) -> tuple[int, ...]:
        """Statuses of every error that the document names for it."""
        known = self.access is not Access.OPEN
        identity = (401, 429) if known else ()
        admin = (403,) if self.access is Access.ADMIN else ()
        # A session's cookie from somebody else's page is refused where it would change something.
        changes = self.method not in _SAFE or self.audit is not None
        foreign = (403,) if known and changes else ()
        return tuple(sorted({*self.problems, *identity, *admin, *foreign}))
