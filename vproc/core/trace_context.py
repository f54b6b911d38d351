"""The context of a trace as it travels from one process to another: W3C's ``traceparent``, and the names that it goes by.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
from collections.abc import Mapping

TRACEPARENT = "traceparent"
"""The header of a request, the attribute of a message, the entry in a direct job's ``metadata``."""
TRACEPARENT_METADATA = "vproc-traceparent"
"""The object's metadata: ``x-amz-meta-vproc-traceparent``."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read_traceparent(text: str | None) -> str | None:
    """The text where it is a ``traceparent`` of the version that there is; None for anything else, which a receiver ignores."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def first_traceparent(*carriers: Mapping[str, str]) -> str | None:
    """The first that one of these carries, by either name."""
    for carrier in carriers:
        for name in (TRACEPARENT, TRACEPARENT_METADATA):
            if (found := read_traceparent(carrier.get(name))) is not None:
                return found
    return None
