"""Addresses that are signed without the SDK's work for each: character for character what the SDK signs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import NoCredentialsError

from tests.support.aws import Aws, open_aws
from vproc.aws.presign import S3Presigner
from vproc.aws.session import open_clients
from vproc.aws.signing import AddressSigner
from vproc.errors import UnavailableError

KEYS = ("k", "videos/o/a.mp4", "videos/o/é a+b=&?#%2F~.mp4", "a//b/../c", "/leading")
ENDPOINTS = (
    (None, None, "eu-west-1"),
    (None, None, "us-east-1"),
    (None, None, "cn-north-1"),
    ("http://store:9000", None, "eu-west-1"),
    ("https://store.example.org/s3/", None, "eu-west-1"),
    ("http://store:9000", "https://files.example.org", "eu-west-1"),
)
CALLS: tuple[tuple[str, str, Mapping[str, Any], Mapping[str, str], Mapping[str, str]], ...] = (
    ("get_object", "GET", {}, {}, {}),
    (
        "get_object",
        "GET",
        {"ResponseContentDisposition": "attachment; filename*=UTF-8''a%20b"},
        {},
        {"response-content-disposition": "attachment; filename*=UTF-8''a%20b"},
    ),
    (
        "put_object",
        "PUT",
        {"ContentType": "video/mp4", "IfNoneMatch": "*", "ContentLength": 5, "Metadata": {"vproc-profile": "mp4"}},
        {"Content-Type": "video/mp4", "If-None-Match": "*", "Content-Length": "5", "x-amz-meta-vproc-profile": "mp4"},
        {},
    ),
    ("upload_part", "PUT", {"UploadId": "u/+=", "PartNumber": 7}, {}, {"partNumber": "7", "uploadId": "u/+="}),
    ("create_multipart_upload", "POST", {}, {}, {"uploads": ""}),
    ("list_parts", "GET", {"UploadId": "u"}, {}, {"uploadId": "u"}),
    ("complete_multipart_upload", "POST", {"UploadId": "u"}, {}, {"uploadId": "u"}),
    ("abort_multipart_upload", "DELETE", {"UploadId": "u"}, {}, {"uploadId": "u"}),
)


@pytest.fixture(params=[None, "session/token+="], ids=["user", "role"])
def credentials(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a/key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    if request.param:
        monkeypatch.setenv("AWS_SESSION_TOKEN", request.param)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(("endpoint", "public", "region"), ENDPOINTS)
async def test_an_address_is_what_the_sdk_signs(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, public: str | None, region: str
) -> None:
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    async with open_clients(region=region, poll_read_timeout_s=5, public_endpoint_url=public) as clients:
        signer = AddressSigner(clients.presign, "uploads")
        for key in KEYS:
            for operation, method, parameters, headers, query in CALLS:
                sdks, ours = "", ""
                while _date(sdks) != _date(ours) or not ours:  # both within one second
                    sdks = await clients.presign.generate_presigned_url(
                        operation, Params={"Bucket": "uploads", "Key": key, **parameters}, ExpiresIn=60, HttpMethod=method
                    )
                    ours = (await signer.sign(method, key, expires_s=60, headers=headers, query=query)).url
                assert _parts(ours) == _parts(sdks), (key, operation)
            assert await signer.address(key) == sdks.partition("?")[0]


def _date(url: str) -> list[str] | None:
    return parse_qs(urlsplit(url).query).get("X-Amz-Date")


def _parts(url: str) -> tuple[str, dict[str, list[str]]]:
    """The order of parameters does not matter: the signature is over the sorted ones."""
    address, _, query = url.partition("?")
    return address, parse_qs(query, keep_blank_values=True, strict_parsing=True)


@pytest.fixture
async def aws(moto_url: str) -> AsyncIterator[Aws]:
    async with open_aws(moto_url) as opened:
        yield opened


async def test_new_credentials_sign_the_next_address(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of the bucket is remembered, who signs is not."""
    presigner = S3Presigner(
        client=aws.clients.presign, raw_bucket="r", processed_bucket="p", upload_expires_s=60, download_expires_s=60
    )
    await presigner.get_processed("k")
    credentials = aws.clients.presign._request_signer._credentials
    monkeypatch.setattr(credentials, "access_key", "RENEWED")
    signed = await presigner.get_processed("k")
    assert parse_qs(urlsplit(signed.url).query)["X-Amz-Credential"][0].startswith("RENEWED/")


async def test_credentials_that_are_gone_are_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = AddressSigner(aws.clients.presign, "b")
    await signer.sign("GET", "k", expires_s=60)
    monkeypatch.setattr(aws.clients.presign._request_signer, "_credentials", None)
    with pytest.raises(UnavailableError, match="no credentials were found") as raised:
        await signer.sign("GET", "k", expires_s=60)
    assert isinstance(raised.value.__cause__, NoCredentialsError)
