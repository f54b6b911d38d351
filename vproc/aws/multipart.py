"""Uploads in parts and by form as `ports.MultipartUploads`: what a client sends straight to the raw bucket.

Rights on the raw bucket: ``s3:PutObject``, ``ListMultipartUploadParts``, ``AbortMultipartUpload``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from vproc.aws.errors import MISSING_CODES, code_of, translated
from vproc.aws.signing import AddressSigner, signed_until
from vproc.errors import InvalidRequestError, NotFoundError
from vproc.ports import Part, PartsCall, PresignedForm, PresignedRequest
from vproc.telemetry import Metrics

_UNKNOWN_CODES = frozenset({*MISSING_CODES, "NoSuchUpload"})
_REFUSED_PARTS = MappingProxyType(
    {
        "InvalidPart": "parts: one was not uploaded, or has another ETag.",
        "InvalidPartOrder": "parts: takes them by ascending PartNumber.",
        "EntityTooSmall": "parts: every part but the last takes 5 MiB or more.",
    }
)
_METHODS = MappingProxyType(
    {
        PartsCall.CREATE: "POST",
        PartsCall.LIST: "GET",
        PartsCall.COMPLETE: "POST",
        PartsCall.ABORT: "DELETE",
    }
)


class S3Multipart:
    """The raw bucket's. ``control`` makes the requests, ``presign`` signs for the address that clients reach."""

    def __init__(self, *, bucket: str, control: Any, presign: Any, metrics: Metrics, upload_expires_s: int) -> None:
        self._bucket = bucket
        self._control = control
        self._presign = presign
        self._signer = AddressSigner(presign, bucket)
        self._metrics = metrics
        self._expires_s = upload_expires_s

    async def create(self, key: str, *, content_type: str, metadata: Mapping[str, str]) -> str:
        """Begin one; its upload id."""
        with translated("begin an upload in parts"), self._metrics.s3_request("put"):
            begun = await self._control.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=content_type, Metadata=_as_headers(metadata)
            )
            return str(begun["UploadId"])

    async def sign_part(self, key: str, upload_id: str, number: int) -> PresignedRequest:
        """Its length is not signed: the last part's is known to the client alone."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        return await self._signer.sign("PUT", key, expires_s=self._expires_s, query=query)

    async def sign_call(self, call: PartsCall, key: str, upload_id: str | None = None) -> PresignedRequest:
        """Nothing but the host is signed beside the address, so the client's XML is its own."""
        if call is PartsCall.CREATE:
            query = {"uploads": ""}
        elif upload_id:
            query = {"uploadId": upload_id}
        else:
            raise ValueError(f"{call} takes the upload's id")
        return await self._signer.sign(_METHODS[call], key, expires_s=self._expires_s, query=query)

    async def list_parts(self, key: str, upload_id: str) -> tuple[Part, ...]:
        """A thousand to a page, ten pages at most."""
        parts: list[Part] = []
        place: dict[str, Any] = {}
        while True:
            with translated("list the parts of an upload"), self._metrics.s3_request("list"), _client_at_fault():
                page = await self._control.list_parts(Bucket=self._bucket, Key=key, UploadId=upload_id, **place)
            parts.extend(
                Part(int(part["PartNumber"]), str(part["ETag"]).strip('"'), int(part["Size"])) for part in page.get("Parts") or ()
            )
            if not page.get("IsTruncated"):
                return tuple(parts)
            place = {"PartNumberMarker": page["NextPartNumberMarker"]}

    async def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> str:
        """Join them. One that was joined already is unknown to S3."""
        joined = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        with translated("complete an upload in parts"), self._metrics.s3_request("put"), _client_at_fault():
            answer = await self._control.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": joined}
            )
            answer["ETag"]  # without one nothing was joined, whoever answered
        return await self.address(key)

    async def address(self, key: str) -> str:
        """Virtual host or path, as the signed addresses have it."""
        return await self._signer.address(key)

    async def abort(self, key: str, upload_id: str) -> None:
        """Give it up."""
        with translated("abort an upload in parts"), self._metrics.s3_request("delete"):
            try:
                await self._control.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
            except ClientError as error:
                if code_of(error) not in _UNKNOWN_CODES:
                    raise

    async def sign_form(self, key: str, *, content_type: str, max_bytes: int, metadata: Mapping[str, str]) -> PresignedForm:
        """The SDK takes no field for a condition by itself, and S3 refuses a field that is none."""
        fields = {"success_action_status": "201", "content-type": content_type}
        fields |= {f"x-amz-meta-{name}": value for name, value in _as_headers(metadata).items()}
        conditions: list[Any] = [*({name: value} for name, value in fields.items()), ["content-length-range", 1, max_bytes]]
        with translated("sign a form"):
            form = await self._presign.generate_presigned_post(
                Bucket=self._bucket, Key=key, Fields=fields, Conditions=conditions, ExpiresIn=self._expires_s
            )
        return PresignedForm(str(form["url"]), dict(form["fields"]), signed_until(self._presign, self._expires_s))


@contextmanager
def _client_at_fault() -> Iterator[None]:
    """Raise `NotFoundError` or `InvalidRequestError` where the store's answer means that."""
    try:
        yield
    except ClientError as error:
        if (code := code_of(error)) in _UNKNOWN_CODES:
            raise NotFoundError("There is no such upload.") from error
        if code in _REFUSED_PARTS:
            raise InvalidRequestError(_REFUSED_PARTS[code]) from error
        raise


def _as_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Header values are ASCII; anything else goes as an encoded word (RFC 2047)."""
    return {
        name: value if value.isascii() and value.isprintable() else f"=?UTF-8?B?{b64encode(value.encode()).decode()}?="
        for name, value in metadata.items()
    }
