"""Reading a request: its JSON body or its query into a model, with the fault in words where that does not go."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

import anyio
import pydantic_core
from aiohttp import hdrs, web
from pydantic import BaseModel, ValidationError

from vproc.api.problem import MAX_BODY_BYTES, RequestTimeoutError, UnsupportedMediaTypeError
from vproc.api.route import JSON
from vproc.errors import InvalidRequestError, PayloadTooLargeError, RequestError

BODY_WITHIN_S = 10
MOST_BODY_BYTES = 1024 * 1024
"""What any route takes at most: the names of ten thousand parts."""

Model = TypeVar("Model", bound=BaseModel)


def refuse_encoded(request: web.Request) -> None:
    """Raise 415 for a compressed body: nothing is ever inflated here, so that a small body cannot become a large one."""
    if (encoding := request.headers.get(hdrs.CONTENT_ENCODING, "identity")).lower() != "identity":
        raise UnsupportedMediaTypeError(f"Bodies are taken as they are, without Content-Encoding: {encoding[:40]}.")


async def read_body(request: web.Request, model: type[Model], *, most_bytes: int = MAX_BODY_BYTES) -> Model:
    """The body as that model. Raises 408, 413, 415, 400 for what is no JSON object, 422 for one that is not the model.

    ``most_bytes`` is the route's; no route's is over `MOST_BODY_BYTES`.
    """
    if request.content_type != JSON:
        raise UnsupportedMediaTypeError(f"The body must be JSON: send Content-Type: {JSON}.")
    try:
        with anyio.fail_after(BODY_WITHIN_S):
            body = b"" if (request.content_length or 0) > most_bytes else await request.read()
    except TimeoutError:
        raise RequestTimeoutError(f"The body did not arrive within {BODY_WITHIN_S} s.") from None
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLargeError(_too_large(most_bytes)) from None
    if max(request.content_length or 0, len(body)) > most_bytes:
        raise PayloadTooLargeError(_too_large(most_bytes))
    try:
        value = pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError:
        raise RequestError("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise RequestError("The body must be a JSON object.")
    return validated(model, value)


def read_query(request: web.Request, model: type[Model]) -> Model:
    """The query as that model. Raises 422 for a parameter that is unknown, wrong or given twice."""
    twice = sorted(name for name, times in Counter(name for name, _ in request.query.items()).items() if times > 1)
    if twice:
        raise InvalidRequestError(f"{_shown(twice[0])}: given more than once.")
    return validated(model, dict(request.query))


def read_pairs_query(request: web.Request, model: type[Model], *, pairs: str) -> Model:
    """The query as that model, whose field ``pairs`` is written ``pairs[NAME]=VALUE``, as often as there are pairs. Of what is
    given twice the last counts; what the model does not know is ignored where it says so."""
    value: dict[str, Any] = {pairs: {}}
    for name, text in request.query.items():
        if name.startswith(f"{pairs}[") and name.endswith("]"):
            value[pairs][name[len(pairs) + 1 : -1]] = text
        elif name != pairs:
            value[name] = text
    return validated(model, value)


def _too_large(most_bytes: int) -> str:
    return f"A body takes {most_bytes // 1024} KiB at most."


def validated(model: type[Model], value: dict[str, Any]) -> Model:
    """Those values as that model. Raises 422."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        sentences = [_fault(fault["type"], fault["loc"], fault["msg"], model) for fault in faults[:5]]
        raise InvalidRequestError("; ".join(sentences) + ".") from None


def _fault(kind: str, loc: tuple[int | str, ...], message: str, model: type[BaseModel]) -> str:
    # A key of `metadata` that is no string ends its place with "[key]", which says nothing to the one who sent it.
    name = ".".join(_shown(str(part)) for part in loc if part != "[key]")
    if kind == "missing":
        return f"{name}: required"
    if kind == "extra_forbidden":
        return f"{name}: unknown; there are {', '.join(model.model_fields)}"
    return f"{name}: {message.removeprefix('Value error, ').replace('Input should be', 'takes')}"


def _shown(name: str) -> str:
    """A name that came from outside, fit for a sentence."""
    printable = "".join(char if char.isprintable() else "�" for char in name)
    return printable if len(printable) <= 60 else f"{printable[:60]}…"  # noqa: PLR2004 - one line of a terminal
