"""The page on receiving webhooks: its Python verifies what vproc signs, and nothing else."""

from __future__ import annotations

import re
import time
from typing import Any

from tests.support.source import ROOT
from vproc.core.webhook_signing import show_secret, signed_headers


def test_the_pages_python_verifies() -> None:
    page = (ROOT / "docs/how-to/receive-webhooks.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "receive-webhooks.md", "exec"), names)
    verify, now = names["verify"], int(time.time())
    old, new, body = bytes(32), b"n" * 32, b'{"type":"video.completed"}'
    headers = signed_headers((old, new), webhook_id="msg_1", timestamp=now, body=body)
    assert verify(show_secret(old), headers, body)
    assert verify(show_secret(new), headers, body)
    assert not verify(show_secret(b"x" * 32), headers, body)
    assert not verify(show_secret(new), headers, body + b" ")
    assert not verify(show_secret(new), headers | {"webhook-id": "msg_2"}, body)
    stale = signed_headers((new,), webhook_id="msg_1", timestamp=now - 3600, body=body)
    assert not verify(show_secret(new), stale, body)
