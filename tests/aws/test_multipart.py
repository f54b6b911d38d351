"""Uploads in parts and by form against an S3: what is signed, what is told, what a client can do with it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from botocore.exceptions import ClientError

from tests.support.aws import Aws, open_aws
from tests.support.sigv4 import RefusedError, Request, verify
from vproc.aws.multipart import S3Multipart
from vproc.aws.session import open_clients
from vproc.errors import InvalidRequestError, NotFoundError, UnavailableError
from vproc.ports import Part, PartsCall

MIB5 = 5 * 1024 * 1024
KEY = "videos/o/6f0d6a3e-5a0b-4c86-9a0f-2d1f6b1f5c11.mp4"


@pytest.fixture
async def aws(moto_url: str) -> AsyncIterator[Aws]:
    async with open_aws(moto_url) as opened:
        yield opened


def over(aws: Aws) -> S3Multipart:
    return S3Multipart(
        bucket=aws.raw.bucket, control=aws.clients.s3, presign=aws.clients.presign, metrics=aws.metrics, upload_expires_s=900
    )


async def begun(multipart: S3Multipart, **metadata: str) -> str:
    return await multipart.create(KEY, content_type="video/mp4", metadata=metadata)


async def sent(multipart: S3Multipart, upload_id: str, number: int, body: bytes) -> Part:
    """PUT one part as a client does."""
    signed = await multipart.sign_part(KEY, upload_id, number)
    async with aiohttp.ClientSession() as client, client.put(signed.url, data=io.BytesIO(body)) as answer:
        assert answer.status == 200
        return Part(number, answer.headers["ETag"].strip('"'), len(body))


async def test_parts_become_one_object_with_its_type_and_metadata(aws: Aws) -> None:
    multipart = over(aws)
    upload_id = await begun(multipart, **{"vproc-profile": "mp4"})
    parts = [await sent(multipart, upload_id, number, body) for number, body in ((2, b"end"), (1, b"x" * MIB5))][::-1]
    assert await multipart.list_parts(KEY, upload_id) == tuple(parts)
    address = await multipart.complete(KEY, upload_id, parts)
    assert address == await multipart.address(KEY)
    assert urlsplit(address).query == ""
    version = await aws.raw.head(KEY)
    assert version is not None
    assert (version.size_bytes, version.content_type) == (MIB5 + 3, "video/mp4")
    assert version.metadata == (("vproc-profile", "mp4"),)


async def test_metadata_beyond_ascii_goes_as_encoded_words(aws: Aws) -> None:
    multipart = over(aws)
    upload_id = await begun(multipart, name="é")
    await multipart.complete(KEY, upload_id, [await sent(multipart, upload_id, 1, b"x")])
    version = await aws.raw.head(KEY)
    assert version is not None
    assert version.metadata == (("name", "=?UTF-8?B?w6k=?="),)


class Pages:
    """A client whose listings come in pages of one part."""

    def __init__(self, etags: list[str]) -> None:
        self.etags = etags

    async def list_parts(self, *, PartNumberMarker: int = 0, **_: Any) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        number = PartNumberMarker + 1
        part = {"PartNumber": number, "ETag": f'"{self.etags[number - 1]}"', "Size": number}
        return {"Parts": [part], "IsTruncated": number < len(self.etags), "NextPartNumberMarker": number}


async def test_every_page_of_parts_is_read(aws: Aws) -> None:
    multipart = S3Multipart(
        bucket="b", control=Pages(["a", "b", "c"]), presign=aws.clients.presign, metrics=aws.metrics, upload_expires_s=900
    )
    assert await multipart.list_parts(KEY, "u") == (Part(1, "a", 1), Part(2, "b", 2), Part(3, "c", 3))


async def test_an_upload_that_is_gone_is_not_found_and_may_be_given_up_again(aws: Aws) -> None:
    multipart = over(aws)
    upload_id = await begun(multipart)
    await sent(multipart, upload_id, 1, b"x")
    for _ in range(2):
        await multipart.abort(KEY, upload_id)
    with pytest.raises(NotFoundError):
        await multipart.list_parts(KEY, upload_id)


class Unknown:
    """A client of an S3 that has no such upload; the embedded one answers 500 to this call."""

    async def complete_multipart_upload(self, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "NoSuchUpload", "Message": ""}}, "CompleteMultipartUpload")


async def test_an_upload_that_is_joined_already_is_not_found(aws: Aws) -> None:
    multipart = S3Multipart(bucket="b", control=Unknown(), presign=aws.clients.presign, metrics=aws.metrics, upload_expires_s=900)
    with pytest.raises(NotFoundError):
        await multipart.complete(KEY, "u", [Part(1, "a")])


async def test_parts_that_the_store_refuses_are_the_clients_fault(aws: Aws) -> None:
    multipart = over(aws)
    upload_id = await begun(multipart)
    small = [await sent(multipart, upload_id, number, b"x") for number in (1, 2)]
    with pytest.raises(InvalidRequestError, match="5 MiB"):
        await multipart.complete(KEY, upload_id, small)
    with pytest.raises(InvalidRequestError, match="ETag"):
        await multipart.complete(KEY, upload_id, [Part(1, "0" * 32)])


async def test_a_store_that_is_away_is_unavailable(aws: Aws) -> None:
    multipart = S3Multipart(
        bucket="none-of-that-name", control=aws.clients.s3, presign=aws.clients.presign, metrics=aws.metrics, upload_expires_s=9
    )
    with pytest.raises(UnavailableError, match="NoSuchBucket"):
        await begun(multipart)


async def test_a_client_of_its_own_makes_every_call_with_signed_addresses(aws: Aws) -> None:
    """As Uppy 6 does with what `signRequest` gives: XML of its own, plain HTTP, an ETag without quotes."""
    multipart = over(aws)
    async with aiohttp.ClientSession() as client:
        signed = await multipart.sign_call(PartsCall.CREATE, KEY)
        async with client.request(signed.method, signed.url) as answer:
            upload_id = (await answer.text()).partition("<UploadId>")[2].partition("</UploadId>")[0]
        part = await sent(multipart, upload_id, 1, b"x")
        signed = await multipart.sign_call(PartsCall.LIST, KEY, upload_id)
        async with client.request(signed.method, signed.url) as answer:
            assert part.etag in await answer.text()
        signed = await multipart.sign_call(PartsCall.COMPLETE, KEY, upload_id)
        xml = (
            f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part.etag}</ETag></Part></CompleteMultipartUpload>"
        )
        async with client.request(signed.method, signed.url, data=xml) as answer:
            assert answer.status == 200
        upload_id = await begun(multipart)
        signed = await multipart.sign_call(PartsCall.ABORT, KEY, upload_id)
        async with client.request(signed.method, signed.url) as answer:
            assert answer.status == 204
    assert await aws.raw.get(KEY) == b"x"
    with pytest.raises(NotFoundError):
        await multipart.list_parts(KEY, upload_id)


async def test_a_call_within_an_upload_takes_the_uploads_id(aws: Aws) -> None:
    """Without it the address would list every upload of the bucket."""
    with pytest.raises(ValueError, match="list takes the upload's id"):
        await over(aws).sign_call(PartsCall.LIST, KEY)


async def test_only_the_host_is_signed_and_the_signature_is_s3s(aws: Aws) -> None:
    """A part's address holds for any length, and for no other part."""
    signed = await over(aws).sign_part(KEY, "u/+=", 7)
    parts = urlsplit(signed.url)
    assert parse_qs(parts.query)["X-Amz-SignedHeaders"] == ["host"]
    assert timedelta(seconds=890) < signed.expires_at - datetime.now(UTC) <= timedelta(seconds=900)
    credentials = aws.clients.presign._request_signer._credentials
    secrets = {credentials.access_key: credentials.secret_key}
    request = Request("PUT", f"{parts.path}?{parts.query}", {"Host": parts.netloc, "Content-Length": "5"})
    verify(request, secrets=secrets, now=datetime.now(UTC))
    other = Request("PUT", request.target.replace("partNumber=7", "partNumber=8"), request.headers)
    with pytest.raises(RefusedError, match="SignatureDoesNotMatch"):
        verify(other, secrets=secrets, now=datetime.now(UTC))


async def test_a_form_is_bound_to_key_type_length_and_each_of_its_fields(aws: Aws) -> None:
    form = await over(aws).sign_form(KEY, content_type="video/mp4", max_bytes=1000, metadata={"vproc-profile": "mp4"})
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    conditions = policy["conditions"]
    assert ["content-length-range", 1, 1000] in conditions
    assert {"bucket": aws.raw.bucket} in conditions
    for name, value in form.fields.items():
        if name not in {"policy", "x-amz-signature"}:
            assert {name: value} in conditions, name
    assert (form.fields["key"], form.fields["content-type"]) == (KEY, "video/mp4")
    assert form.fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256"
    assert "${filename}" not in json.dumps(form.fields)
    ends = datetime.strptime(policy["expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(ends - form.expires_at) < timedelta(seconds=2)


async def test_a_form_puts_one_object(aws: Aws) -> None:
    form = await over(aws).sign_form(KEY, content_type="video/mp4", max_bytes=1000, metadata={})
    body = aiohttp.FormData()
    for name, value in form.fields.items():
        body.add_field(name, value)
    body.add_field("file", b"12345", filename="a.mp4")
    async with aiohttp.ClientSession() as client, client.post(form.url, data=body) as answer:
        assert answer.status == 201
    assert await aws.raw.get(KEY) == b"12345"


@pytest.mark.parametrize(
    ("endpoint", "public", "start"),
    [
        (None, None, "https://uploads.s3.eu-west-1.amazonaws.com/"),
        ("http://store:9000", None, "http://store:9000/uploads/"),
        ("http://store:9000", "https://files.example.org", "https://files.example.org/uploads/"),
    ],
)
async def test_addresses_are_those_that_browsers_reach(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, endpoint: str | None, public: str | None, start: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    async with open_clients(region="eu-west-1", poll_read_timeout_s=5, public_endpoint_url=public) as clients:
        multipart = S3Multipart(
            bucket="uploads", control=clients.s3, presign=clients.presign, metrics=aws.metrics, upload_expires_s=60
        )
        form = await multipart.sign_form("k", content_type="video/mp4", max_bytes=9, metadata={})
        part = await multipart.sign_part("k", "u", 1)
        address = await multipart.address("k")
    assert f"{form.url.rstrip('/')}/" == start
    assert part.url.startswith(f"{start}k?")
    assert address == f"{start}k"
