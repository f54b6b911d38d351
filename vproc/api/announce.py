"""Announcing an upload, whichever way it is sent: within the owner's quotas, and once for each Idempotency-Key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from vproc.api.parts import Limits, Parts
from vproc.core.idempotency import Announced, IdempotencyKey, idempotency_key
from vproc.core.leases import NewFile
from vproc.core.profile import get_profile
from vproc.core.quotas import Quotas
from vproc.core.trace_context import TRACEPARENT_METADATA
from vproc.errors import ConflictError, InvalidRequestError, PayloadTooLargeError, RejectedError
from vproc.ports import Caller

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"


async def announce(parts: Parts, caller: Caller, wanted: NewFile, *, key: IdempotencyKey | None = None) -> Announced:
    """Make the file that is announced, or find the one that the same request made before. Raises 429 over a quota, which an admin
    has none of; 409 while the same key is being answered; 422 where the key came with another request."""
    quotas = quotas_of(parts, caller)
    most = quotas.bytes_per_day if quotas is not None else None
    if most is not None and (wanted.size_bytes or 0) > most:
        raise PayloadTooLargeError(f"size: quota bytes_per_day: {most} bytes may be announced a day, all together.")
    with _alone(parts, wanted.owner, key):
        return await parts.catalog.announce(wanted, quotas=quotas, key=key)


def quotas_of(parts: Parts, caller: Caller) -> Quotas | None:
    """The caller's quotas, which an admin has none of."""
    return None if caller.admin else parts.limits.quotas


def checked_profile(name: str | None, limits: Limits) -> str:
    """The profile that is asked for, some of its rungs among them, or the default. Raises `InvalidRequestError`."""
    if name is None:
        return limits.default_profile
    try:
        get_profile(name, limits.profiles)
    except RejectedError as error:
        raise InvalidRequestError(f"profile: {error.detail}.") from None
    return name


def object_metadata(profile: str, limits: Limits, *, traceparent: str | None) -> dict[str, str]:
    """What travels with the object, so that the file can be made anew should the catalog be lost: a profile other than the
    default, and its trace where it has one."""
    carried = {} if profile == limits.default_profile else {"vproc-profile": profile}
    return carried if traceparent is None else {**carried, TRACEPARENT_METADATA: traceparent}


def check_size(size_bytes: int | None, limits: Limits) -> None:
    """Raise `PayloadTooLargeError` for an announced length over the limit."""
    if size_bytes is not None and size_bytes > limits.max_upload_bytes:
        raise PayloadTooLargeError(f"size: uploads take {limits.max_upload_bytes} bytes at most (VPROC_MAX_UPLOAD_BYTES).")


async def read_idempotency_key(request: web.Request) -> IdempotencyKey | None:
    """The request's key, where it has one. Read the body first. Raises 422 for what is no key."""
    value = request.headers.get(IDEMPOTENCY_KEY)
    if value is None:
        return None
    try:
        return idempotency_key(value, path=request.path, body=await request.read())
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None


@contextmanager
def _alone(parts: Parts, owner: str, key: IdempotencyKey | None) -> Iterator[None]:
    """Nobody else of this process answers the same key meanwhile. Another process waits in the catalog, and then replays."""
    if key is None:
        yield
        return
    name = (owner, key.key)
    if name in parts.answering:
        raise ConflictError("A request with this Idempotency-Key is still being answered. Try again shortly.")
    parts.answering.add(name)
    try:
        yield
    finally:
        parts.answering.discard(name)
