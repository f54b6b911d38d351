"""Signed addresses: what they bind a client to, and that a client can use them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.support.aws import open_aws
from vproc.aws.presign import S3Presigner
from vproc.aws.session import open_clients


async def test_an_upload_address_signs_type_length_condition_and_metadata(moto_url: str) -> None:
    async with open_aws(moto_url) as aws:
        signed = await aws.presigner.put(
            "videos/o/a.mp4", content_type="video/mp4", size_bytes=5, metadata={"vproc-profile": "mp4"}
        )
    query = parse_qs(urlsplit(signed.url).query)
    assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host;if-none-match;x-amz-meta-vproc-profile"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert signed.headers == {"Content-Type": "video/mp4", "If-None-Match": "*", "x-amz-meta-vproc-profile": "mp4"}
    assert timedelta(seconds=890) < signed.expires_at - datetime.now(UTC) <= timedelta(seconds=900)


async def test_an_upload_address_writes_once(moto_url: str) -> None:
    async with open_aws(moto_url) as aws, aiohttp.ClientSession() as client:
        signed = await aws.presigner.put("videos/o/é a+b.mp4", content_type="video/mp4", size_bytes=5, metadata={})
        async with client.put(signed.url, data=b"12345", headers=signed.headers) as answer:
            assert answer.status == 200
        async with client.put(signed.url, data=b"54321", headers=signed.headers) as answer:
            assert answer.status == 412
        assert await aws.raw.get("videos/o/é a+b.mp4") == b"12345"


async def test_a_download_address_saves_under_the_name_and_never_shows(moto_url: str) -> None:
    async with open_aws(moto_url) as aws, aiohttp.ClientSession() as client:
        await aws.raw.put("k", b"12345", content_type="text/html")
        signed = await aws.presigner.get_raw("k", file_name='a"; é\r\n.mp4')
        async with client.get(signed.url) as answer:
            assert await answer.read() == b"12345"
        disposition = parse_qs(urlsplit(signed.url).query)["response-content-disposition"][0]
        assert disposition == "attachment; filename*=UTF-8''a%22%3B%20%C3%A9%0D%0A.mp4"


@pytest.mark.parametrize(
    ("endpoint", "public", "start"),
    [
        (None, None, "https://uploads.s3.eu-west-1.amazonaws.com/k?"),
        ("http://store:9000", None, "http://store:9000/uploads/k?"),
        ("http://store:9000", "https://files.example.org", "https://files.example.org/uploads/k?"),
    ],
)
async def test_the_address_is_the_one_that_browsers_reach(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, public: str | None, start: str
) -> None:
    """Regional virtual host on AWS, path style on another store, the public address where one is set."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    async with open_clients(region="eu-west-1", poll_read_timeout_s=5, public_endpoint_url=public) as clients:
        presigner = S3Presigner(
            client=clients.presign, raw_bucket="uploads", processed_bucket="p", upload_expires_s=60, download_expires_s=60
        )
        signed = await presigner.put("k", content_type="video/mp4", size_bytes=None, metadata={})
    assert signed.url.startswith(start)
