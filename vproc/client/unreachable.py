"""Why nothing answers at an API's address, in words: nobody there, or TLS that does not come about."""

from __future__ import annotations

import aiohttp

from vproc.client.errors import ApiUnreachableError


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
