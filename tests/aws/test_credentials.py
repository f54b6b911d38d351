"""A role's credentials: renewed, used as long as they hold while nobody gives new ones, and never longer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from structlog.testing import capture_logs

from tests.support.aws import Aws, open_aws
from tests.support.imds import ROLE, FakeHost, fake_host
from vproc.aws.credentials import SteadyFetch
from vproc.errors import UnavailableError
from vproc.ports import PresignedRequest

ROLE_PATH = f"/latest/meta-data/iam/security-credentials/{ROLE}"


@pytest.fixture
def imds(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    assert moto_url  # it sets keys, which would go before the role's
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_EC2_METADATA_DISABLED", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "1")
    monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1")
    with fake_host() as host:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.url)
        yield host


@pytest.fixture
async def aws(imds: FakeHost, moto_url: str) -> AsyncIterator[Aws]:
    """By the role's credentials."""
    async with open_aws(moto_url) as opened:
        assert imds.asked[ROLE_PATH] == 1
        yield opened


def held(aws: Aws) -> AioRefreshableCredentials:
    credentials = aws.clients.s3._request_signer._credentials
    assert isinstance(credentials, AioRefreshableCredentials)
    return credentials


def end_in(aws: Aws, **left: float) -> None:
    """Let what is held end then, as if so much time had passed."""
    held(aws)._expiry_time = datetime.now(UTC) + timedelta(**left)


async def signed(aws: Aws) -> PresignedRequest:
    return await aws.presigner.put("a.mp4", content_type="video/mp4", size_bytes=1, metadata={})


def signer_of(request: PresignedRequest) -> str:
    return parse_qs(urlsplit(request.url).query)["X-Amz-Credential"][0].partition("/")[0]


async def test_every_client_shares_what_is_kept(aws: Aws) -> None:
    """botocore has no public place for what is renewed and how: here it still is."""
    assert isinstance(held(aws)._refresh_using, SteadyFetch)
    clients = (aws.clients.sqs, aws.clients.sqs_poll, aws.clients.s3_bulk, aws.clients.presign)
    assert all(client._request_signer._credentials is held(aws) for client in clients)


async def test_they_are_renewed_while_work_goes_on(aws: Aws, imds: FakeHost) -> None:
    end_in(aws, minutes=5)
    imds.number = 2
    await aws.queue.check()
    assert signer_of(await signed(aws)) == "ASIATEST2"
    assert imds.asked[ROLE_PATH] == 2


@pytest.mark.parametrize("failing", [500, 404, 0], ids=["answers 500", "knows no role", "never answers"])
@pytest.mark.parametrize("minutes", [12, 3], ids=["within the quarter", "within ten minutes"])
async def test_what_holds_is_used_while_nobody_gives_new_ones(aws: Aws, imds: FakeHost, failing: int, minutes: int) -> None:
    """Requests, heartbeats and addresses go on, the service is not asked at each of them, and it is told of once. Back again, it
    gives the new ones."""
    end_in(aws, minutes=minutes)
    ends_at = held(aws)._expiry_time
    imds.failing, imds.number = failing, 2
    before = imds.asked.total()
    with capture_logs() as logs, anyio.fail_after(20):
        for _ in range(20):
            await aws.queue.check()
            request = await signed(aws)
            assert signer_of(request) == "ASIATEST1"
            assert request.expires_at <= ends_at
    assert [entry["event"] for entry in logs if entry["event"].startswith("credentials")] == ["credentials_not_renewed"]
    assert imds.asked.total() - before <= 6
    imds.failing = None
    held(aws)._refresh_using._failed_at -= timedelta(seconds=11)
    await aws.queue.check()
    assert signer_of(await signed(aws)) == "ASIATEST2"


async def test_what_has_ended_signs_nothing(aws: Aws, imds: FakeHost) -> None:
    """No address that would be dead, and no lease that is taken for lost: the dependency is away."""
    end_in(aws, seconds=-1)
    imds.failing = 500
    with pytest.raises(UnavailableError, match="cannot sign an address"):
        await signed(aws)
    with pytest.raises(UnavailableError):
        await aws.queue.extend("receipt", timeout_s=30)


async def test_an_address_ends_with_what_signed_it(aws: Aws) -> None:
    end_in(aws, minutes=16)
    aws.presigner._upload_expires_s = 3600
    assert (await signed(aws)).expires_at == held(aws)._expiry_time
