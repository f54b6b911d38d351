"""Presigned addresses as S3 takes them: the embedded AWS looks at no signature, so a proxy before it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.support.aws import Aws, open_aws
from tests.support.fault_proxy import FaultProxy, fault_proxy
from vproc.ports import PresignedRequest

BODY = b"not long"
KEYS = (
    "videos/default/a.mp4",
    "a b+c/é=1.mp4",
    "5%3A00.mp4",
    "end ",
    "a//b/./c.mp4",
    "~*'().mp4",
    "x" * 1024,
)


@dataclass
class Store:
    """What stands behind the addresses, and a client of them that knows nothing but HTTP."""

    aws: Aws
    proxy: FaultProxy
    session: aiohttp.ClientSession

    async def address(self, key: str = KEYS[0], **changes: Any) -> PresignedRequest:
        asked: dict[str, Any] = {"content_type": "video/mp4", "size_bytes": len(BODY), "metadata": {}}
        return await self.aws.presigner.put(key, **(asked | changes))

    async def send(
        self, request: PresignedRequest, *, body: bytes = BODY, url: str | None = None, method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        sent = dict(request.headers if headers is None else headers)
        target = aiohttp.client.URL(url or request.url, encoded=True)
        async with self.session.request(method or request.method, target, data=body or None, headers=sent) as answer:
            await answer.read()
            return answer.status


@pytest.fixture
async def store(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    async with fault_proxy(moto_url) as proxy, aiohttp.ClientSession() as session:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        async with open_aws(proxy.url) as aws:
            yield Store(aws, proxy, session)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:20])
async def test_an_address_takes_its_upload_whatever_its_key(store: Store, key: str) -> None:
    assert await store.send(await store.address(key)) == 200, store.proxy.refused
    assert await store.aws.raw.get(key) == BODY
    download = await store.aws.presigner.get_raw(key, file_name="ä b.mp4")
    async with store.session.get(aiohttp.client.URL(download.url, encoded=True)) as answer:
        assert (answer.status, await answer.read()) == (200, BODY), store.proxy.refused


async def test_what_was_announced_is_what_may_be_sent(store: Store) -> None:
    """Length, type and metadata are signed: whoever has the address cannot send more, or something else."""
    request = await store.address(metadata={"profile": "abr"})
    longer = await store.send(request, body=BODY + b"!")
    other_type = await store.send(request, headers={**request.headers, "Content-Type": "text/html"})
    other_profile = await store.send(request, headers={**request.headers, "x-amz-meta-profile": "copy"})
    unsigned = await store.send(request, headers={**request.headers, "x-amz-acl": "public-read"})
    replacing = await store.send(
        request, headers={name: value for name, value in request.headers.items() if name != "If-None-Match"}
    )
    assert [longer, other_type, other_profile, unsigned, replacing] == [403] * 5
    assert await store.aws.raw.get(KEYS[0]) is None
    assert await store.send(request) == 200, store.proxy.refused


async def test_an_address_is_of_one_key_and_one_method(store: Store) -> None:
    request = await store.address()
    assert await store.send(request, url=request.url.replace("/a.mp4", "/b.mp4")) == 403
    assert await store.send(request, url=request.url.replace("X-Amz-Expires=900", "X-Amz-Expires=604800")) == 403
    assert await store.send(request, method="DELETE", body=b"") == 403
    assert await store.send(request, method="GET", body=b"") == 403
    assert {line.partition(":")[0] for line in store.proxy.refused} == {"SignatureDoesNotMatch"}


async def test_an_address_dies_when_it_said_it_would(store: Store) -> None:
    request = await store.address()
    store.proxy.clock = lambda: request.expires_at - timedelta(seconds=2)
    assert await store.send(request) == 200
    store.proxy.clock = lambda: request.expires_at + timedelta(seconds=2)
    assert await store.send(request) == 403
    assert store.proxy.refused == ["AccessDenied: Request has expired"]


async def test_an_address_of_other_keys_is_refused(store: Store) -> None:
    request = await store.address()
    store.proxy.secrets = {"test": "another"}
    assert await store.send(request) == 403
    store.proxy.secrets = {}
    assert await store.send(request) == 403
    assert [line.partition(":")[0] for line in store.proxy.refused] == ["SignatureDoesNotMatch", "InvalidAccessKeyId"]


async def test_an_address_takes_one_upload_for_ever(store: Store) -> None:
    """``If-None-Match: *`` is signed with it."""
    request = await store.address()
    assert [await store.send(request), await store.send(request)] == [200, 412]
    assert datetime.now(UTC) < request.expires_at
