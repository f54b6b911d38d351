"""Origins of pages, as browsers name them (RFC 6454): scheme, host and a port that is not the scheme's own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"https?://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
_OWN_PORTS = {"http": 80, "https": 443}
_MOST_PORT = 65535


def parse_origins(text: str) -> frozenset[str]:
    """The origins in a list with commas between. Raises `ValueError` that names the first that is none."""
    origins = [part.strip() for part in text.split(",") if part.strip()]
    for origin in origins:
        if origin == "*":
            raise ValueError("takes no *: name each origin, since cookies go with what its pages ask")
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(
                f"takes origins as browsers send them, with commas between: http(s)://host[:port] in lower case, with no path "
                f"and no slash at the end; {origin!r} is none"
            )
        parts = urlsplit(origin)
        port = int(origin.rpartition(":")[2]) if re.search(r":[0-9]+$", origin) else None
        if port is not None and port > _MOST_PORT:
            raise ValueError(f"takes ports up to {_MOST_PORT}; {origin!r} has none of them")
        if port == _OWN_PORTS[parts.scheme]:
            raise ValueError(f"takes no port that is the scheme's own, since browsers leave it out: {origin!r}")
    return frozenset(origins)


def reached_at(host: str) -> str:
    """What stands in an address for a host that is listened on. Every address of the machine becomes its own, which is what a
    published port of a container is, seen from outside and inside."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    return f"[{address}]" if ":" in address else address
