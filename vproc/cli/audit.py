"""The audit's line of a command that changed something."""

from __future__ import annotations


def audit(action: str, **fields: object) -> None:
    """Write it, on standard error with what else is logged. Who ran the command is the system's user."""
    import os  # noqa: PLC0415 - imported when a command runs

    from vproc.telemetry import logger_at_any_level  # noqa: PLC0415 - likewise

    log = logger_at_any_level("vproc.audit")
    log.info("audit", action=action, result="done", by="command", system_uid=os.getuid(), **fields)
