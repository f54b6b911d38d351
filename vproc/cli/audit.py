"""The audit's line of a command that changed something."""

from __future__ import annotations


def audit(action: str, **fields: object) -> None:
    """Write it, on standard error with what else is logged. Who ran the command is the system's user."""
    import logging  # noqa: PLC0415 - imported when a command runs
    import os  # noqa: PLC0415 - likewise

    import structlog  # noqa: PLC0415 - likewise

    logging.getLogger("vproc.audit").setLevel(logging.INFO)
    log = structlog.stdlib.get_logger("vproc.audit")
    log.info("audit", action=action, result="done", by="command", system_uid=os.getuid(), **fields)
