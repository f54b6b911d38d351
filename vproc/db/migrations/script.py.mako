"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade(op: Operations) -> None:
    """Expand only: a vproc of the version before must go on beside this one."""
    ${upgrades if upgrades else "pass"}
