"""Traces: where a request or a job spends its time, from the announcement of an upload to the webhook.

What the code sees of them is a `Tracer`; the one that sends spans is `vproc.otel`'s. Spans hold no address, no key of an object,
no query and no token.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

Attributes = Mapping[str, str | int | float | bool | None]
"""Of a span, by the semantic conventions where they have a name. None: it has none of that name."""
NO_ATTRIBUTES: Attributes = MappingProxyType({})


class SpanKind(StrEnum):
    """Which side of what a span is."""

    SERVER = "server"
    CONSUMER = "consumer"
    CLIENT = "client"
    INTERNAL = "internal"


class Tracer(Protocol):
    """Makes spans. The one that is open is a matter of the task, and of those that it starts."""

    def span(
        self, name: str, *, kind: SpanKind = SpanKind.INTERNAL, parent: str | None = None, attributes: Attributes = NO_ATTRIBUTES
    ) -> AbstractContextManager[None]:
        """A span around the block, beneath the one that is open, or beneath ``parent``, a ``traceparent`` from elsewhere. An
        error that leaves the block is told on it, and goes on; log lines of the block bear ``trace_id``."""
        ...

    def tell(self, attributes: Attributes, *, error: str | None = None, detail: str | None = None) -> None:
        """Add to the span that is open. ``error``: it failed, by this code or status; ``detail`` says it in words."""
        ...

    def traceparent(self) -> str | None:
        """What another process needs to go on with this trace; None where there is none."""
        ...


class NoTracer:
    """There are no traces."""

    def span(
        self, name: str, *, kind: SpanKind = SpanKind.INTERNAL, parent: str | None = None, attributes: Attributes = NO_ATTRIBUTES
    ) -> AbstractContextManager[None]:
        """Nothing."""
        del name, kind, parent, attributes
        return nullcontext()

    def tell(self, attributes: Attributes, *, error: str | None = None, detail: str | None = None) -> None:
        """Nothing."""

    def traceparent(self) -> str | None:
        """None."""
        return None
