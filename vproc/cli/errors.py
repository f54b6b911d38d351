"""What the demo raises when something does not hold."""

from __future__ import annotations

from vproc.errors import VprocError


class DemoError(VprocError):
    """The demo did not get through. The message says what did not hold."""
