"""The OpenAPI document of the whole API, as a file that a person reads before a change of it is released.

After a change that was meant: `UPDATE_GOLDEN=1 pytest tests/golden`, then read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from vproc.api.openapi import openapi_document
from vproc.http import ROUTES

GOLDEN = Path(__file__).parent / "openapi.json"


def test_the_document_is_the_one_that_was_read() -> None:
    """But for the version, which each release changes."""
    text = json.dumps(openapi_document(ROUTES, version="0"), ensure_ascii=False, indent=1) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()
