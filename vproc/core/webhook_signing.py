"""How a webhook is signed: Standard Webhooks 1.0.0, symmetric signatures, by several secrets while one takes another's place."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

SECRET_BYTES = 32
"""Of a secret that vproc makes."""
_PREFIX = "whsec_"
_FEWEST_BYTES, _MOST_BYTES = 24, 64


def read_secrets(text: str) -> tuple[bytes, ...]:
    """Secrets as they are written, with spaces or commas between. Raises `ValueError`, whose words hold none of them."""
    secrets = tuple(_secret(word) for word in re.split(r"[\s,]+", text) if word)
    if not secrets:
        raise ValueError(_RULE)
    return secrets


def show_secret(secret: bytes) -> str:
    """A secret as a receiver's library takes it."""
    return _PREFIX + b64encode(secret).decode()


def signed_headers(secrets: Sequence[bytes], *, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt: a signature by each secret. ``timestamp``: seconds since the epoch, of the attempt."""
    at, text = datetime.fromtimestamp(timestamp, UTC), body.decode()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(Webhook(secret).sign(webhook_id, at, text) for secret in secrets),
    }


_RULE = f"takes {_PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} bytes in base64; several with a space between"


def _secret(word: str) -> bytes:
    if not word.startswith(_PREFIX):
        raise ValueError(_RULE)
    try:
        secret = b64decode(word.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_RULE) from None
    if not _FEWEST_BYTES <= len(secret) <= _MOST_BYTES:
        raise ValueError(_RULE)
    return secret
