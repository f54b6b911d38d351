"""An API's address, and why nothing answers there, in words: it is none, nobody is there, or TLS does not come about."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp

from vproc.client.errors import ApiError, ApiUnreachableError


def checked_address(api_url: str) -> str:
    """The address without a slash at its end. Raises `ApiError` for what is none."""
    try:
        parts = urlsplit(api_url)
        known = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ApiError(f"{api_url} is no address of an API: set --api or VPROC_API_URL to http://HOST:PORT")
    if "@" in parts.netloc:
        raise ApiError(f"an API's address holds no user or password, as that of {parts.hostname} does: give --api-key")
    return api_url.rstrip("/")


def unreachable(api_url: str, error: BaseException) -> ApiUnreachableError:
    """The error to raise for what a request raised."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or "it does not verify"
        return ApiUnreachableError(
            f"{api_url}: its certificate is not trusted ({why}): set SSL_CERT_FILE to the certificate of who issued it, or "
            "--api to the name that it was issued for",
            nobody=True,
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return ApiUnreachableError(
            f"{api_url} answers, but not by TLS: does it take http://, without s? Set --api or VPROC_API_URL"
            if getattr(error.os_error, "reason", "") == "WRONG_VERSION_NUMBER"
            else f"{api_url}: TLS does not come about: check --api or VPROC_API_URL, and the server's certificate",
            nobody=True,
        )
    return ApiUnreachableError(
        f"no answer from {api_url}: is `vproc serve` running there? Set --api or VPROC_API_URL",
        nobody=isinstance(error, aiohttp.ClientConnectorError),
    )
