"""What `tests/e2e/test_described.py` adds to Schemathesis, which loads this module into a process of its own: files that are
there to be asked for, and the checks that the description is complete.

``KNOWN`` holds, as JSON, a completed file's id and a token to play it. With ``NOBODY=1`` whoever asks has no key.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import schemathesis
from requests import PreparedRequest

KNOWN: dict[str, str] = json.loads(os.environ["KNOWN"])
NOBODY = os.environ.get("NOBODY") == "1"

LONGEST_QUERY = 6000

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_made: set[str] = set()
_deleted: set[str] = set()


@schemathesis.hook
def filter_query(ctx: Any, query: Any) -> bool:
    """No address is too long to be read: the server refuses that before there is a route, and in plain text."""
    return not query or len(urlencode(query, doseq=True, errors="replace")) < LONGEST_QUERY


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """Half of the ids and names that nothing has become one that is there. No stream of events is one that has no end."""
    template, given = case.operation.path, case.path_parameters
    file_id = str(given.get("file_id", ""))
    if template.endswith("/events") and file_id in _made - _deleted:
        given["file_id"] = KNOWN["file_id"]
    if file_id in _made or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if "{file_id}" in template and case.operation.method != "delete" and _is_even(file_id):
        given["file_id"] = KNOWN["file_id"]
    elif template.startswith("/play/") and len(str(given.get("path"))) % 2:
        given.update(token=KNOWN["token"], path="master.m3u8" if len(str(given["token"])) % 2 else "poster.jpg")
    elif template == "/assets/{name}":
        given["name"] = "style.css"
    elif template == "/docs/{name}":
        given["name"] = "swagger-ui.css"


def _is_even(file_id: str) -> bool:
    try:
        return UUID(file_id).int % 2 == 0
    except ValueError:
        return False


@schemathesis.hook
def after_call(ctx: Any, case: Any, response: Any) -> None:
    """Remember which files were made, in whatever way, and which deleted."""
    if response.status_code < 300 and "json" in str(response.headers.get("content-type")):
        _made.update(_ID.findall(response.text))
    if case.operation.method == "delete" and response.status_code == 204 and case.path_parameters:
        _deleted.add(str(case.path_parameters.get("file_id")))


@schemathesis.check
def status_is_named(ctx: Any, response: Any, case: Any) -> None:
    """The answer's status stands in the description by its number: `default`, which stands for all others, is not enough."""
    named = case.operation.definition.raw["responses"]
    if _described(response.request, case) and str(response.status_code) not in named:
        raise AssertionError(f"{response.status_code} is not described: {response.text[:200]}")


@schemathesis.check
def nobody_is_answered(ctx: Any, response: Any, case: Any) -> None:
    """Without a key 401 is the only answer, whatever else is wrong with the request; but that an address is none is no secret."""
    secured = bool(case.operation.definition.raw["security"])
    allowed = response.status_code == 401 or (response.status_code == 404 and "nothing at this address" in response.text)
    if NOBODY and secured and _described(response.request, case) and not allowed:
        raise AssertionError(f"{response.status_code} without a key: {response.text[:200]}")


def _described(request: PreparedRequest, case: Any) -> bool:
    """The request is one of this operation: not of a method that the path has not."""
    return bool(request.method and request.method.lower() == case.operation.method)
