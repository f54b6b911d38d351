"""Signed addresses of one client and bucket, without the SDK's work for each.

``generate_presigned_url`` resolves the endpoint, checks and serialises the call anew each time: three quarters of its
processor time, and nothing of it changes. Here the SDK says once where the bucket is and by which rules it is signed for;
after that its own SigV4 signs address after address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from botocore.utils import percent_encode

from vproc.aws.credentials import ends_at
from vproc.aws.errors import translated
from vproc.errors import UnavailableError
from vproc.ports import PresignedRequest

_ANY_KEY = "k"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a bucket is: its address, with a slash at the end, and the scope of signatures for it."""

    base_url: str
    region: str
    service: str


class AddressSigner:
    """Signs for one bucket with the credentials of an aiobotocore S3 client, which keep themselves new."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._place: _Place | None = None

    async def sign(
        self,
        method: str,
        key: str,
        *,
        expires_s: int,
        headers: Mapping[str, str] = MappingProxyType({}),
        query: Mapping[str, str] = MappingProxyType({}),
    ) -> PresignedRequest:
        """The address of ``method`` on ``key``, good for ``expires_s`` seconds or until the credentials end. The client has
        to send every one of ``headers`` as it stands here. Raises `UnavailableError` where there are no credentials."""
        with translated("sign an address"):
            place = self._place = self._place or await self._resolved()
            credentials = self._client._request_signer._credentials  # noqa: SLF001 - no public way
            if credentials is None:
                raise NoCredentialsError
            frozen = await credentials.get_frozen_credentials()
            request = AWSRequest(
                method=method, url=place.base_url + percent_encode(key, safe="/~"), headers=dict(headers), params=dict(query)
            )
            S3SigV4QueryAuth(frozen, place.service, place.region, expires=expires_s).add_auth(request)
        return PresignedRequest(method, str(request.url), dict(headers), signed_until(self._client, expires_s))

    async def address(self, key: str) -> str:
        """Of an object, unsigned: virtual host or path, as the signed addresses have it."""
        with translated("tell an address"):
            place = self._place = self._place or await self._resolved()
        return f"{place.base_url}{percent_encode(key, safe='/~')}"

    async def _resolved(self) -> _Place:
        url = await self._client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": _ANY_KEY})
        address, _, query = url.partition("?")
        # KEY/DATE/REGION/SERVICE/aws4_request
        _, _, region, service, _ = parse_qs(query)["X-Amz-Credential"][0].rsplit("/", 4)
        if not urlsplit(address).path.endswith(f"/{_ANY_KEY}"):
            raise UnavailableError(f"cannot sign addresses for {self._bucket}: its endpoint puts the key elsewhere")
        return _Place(address.removesuffix(_ANY_KEY), region, service)


def signed_until(client: Any, expires_s: int) -> datetime:
    """When what this client signs now ends: with its credentials at the latest. Raises `UnavailableError` where they have
    ended, and it is dead already."""
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=expires_s)
    credentials_end = ends_at(client._request_signer._credentials)  # noqa: SLF001 - no public way
    if credentials_end is None:
        return expires_at
    if credentials_end <= now:
        raise UnavailableError("cannot sign an address: the credentials have ended, and nobody gives new ones")
    return min(expires_at, credentials_end)
