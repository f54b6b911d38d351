"""Whose a message is, for a queue that is fair among groups (SQS: ``MessageGroupId`` on a standard queue)."""

from __future__ import annotations

import hashlib
import re

_GROUP = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")


def message_group(owner: str) -> str:
    """The group of an owner's messages: the owner, or a digest of one that SQS does not take."""
    return owner if _GROUP.fullmatch(owner) else "sha256:" + hashlib.sha256(owner.encode()).hexdigest()
