"""What S3 checks of a presigned request and the embedded one does not: the signature, its end, and every header that was signed.

Written from AWS's description of Signature Version 4 and not with botocore, which is what made the address.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_LONGEST_S = 7 * 24 * 3600


class RefusedError(Exception):
    """S3 would answer 403 (400 for a query that cannot be read) with this code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """``target``: path and query as they were sent. Names of headers are of any case."""

    method: str
    target: str
    headers: Mapping[str, str]


def is_presigned(target: str) -> bool:
    """Whether the query carries a signature."""
    return "X-Amz-Signature=" in target


def verify(request: Request, *, secrets: Mapping[str, str], now: datetime) -> None:
    """Return where S3 would let the request in. ``secrets``: by access key. Raises `RefusedError`."""
    parts = urlsplit(request.target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    headers = {name.lower(): " ".join(value.split()) for name, value in request.headers.items()}
    if query.get("X-Amz-Algorithm") != _ALGORITHM:
        raise RefusedError("AuthorizationQueryParametersError", "X-Amz-Algorithm")
    key, _, scope = query["X-Amz-Credential"].partition("/")
    if key not in secrets:
        raise RefusedError("InvalidAccessKeyId", key)
    _check_time(query, scope, now)
    signed = query["X-Amz-SignedHeaders"].split(";")
    if "host" not in signed:
        raise RefusedError("AccessDenied", "host is not signed")
    unsigned = [name for name in headers if name.startswith("x-amz-") and name not in signed]
    if unsigned:
        raise RefusedError("AccessDenied", f"headers that were not signed: {unsigned}")
    canonical = _canonical(request.method, parts.path, parts.query, headers, signed)
    text = "\n".join([_ALGORITHM, query["X-Amz-Date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    if not hmac.compare_digest(_signature(secrets[key], scope, text), query["X-Amz-Signature"]):
        raise RefusedError("SignatureDoesNotMatch", canonical)


def _check_time(query: Mapping[str, str], scope: str, now: datetime) -> None:
    begins = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    lasts_s = int(query["X-Amz-Expires"])
    if not 1 <= lasts_s <= _LONGEST_S:
        raise RefusedError("AuthorizationQueryParametersError", "X-Amz-Expires")
    if not scope.startswith(f"{begins:%Y%m%d}/"):
        raise RefusedError("AuthorizationQueryParametersError", "the scope is of another day")
    if now < begins - timedelta(minutes=15):
        raise RefusedError("AccessDenied", "it is not valid yet")
    if now > begins + timedelta(seconds=lasts_s):
        raise RefusedError("AccessDenied", "Request has expired")


def _canonical(method: str, path: str, query: str, headers: Mapping[str, str], signed: list[str]) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name != "X-Amz-Signature"
    )
    return "\n".join(
        [
            method,
            path or "/",  # as it was sent: S3 decodes no path before it checks, and encodes none twice
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{headers.get(name, '')}" for name in signed),
            "",
            ";".join(signed),
            headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ]
    )


def _signature(secret: str, scope: str, text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
