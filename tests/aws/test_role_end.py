"""Addresses that a role signs, by a metadata service that gives good ones and old ones: none is dead when it is given."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aws import open_aws
from tests.support.imds import FakeHost, fake_host
from vproc.aws.role_end import RoleEnd
from vproc.errors import UnavailableError
from vproc.ports import PresignedRequest


@pytest.fixture
def imds(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHost]:
    """What a machine's role is asked from: no keys stand in the environment."""
    assert moto_url
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with fake_host() as host:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.url)
        yield host


async def signed(moto_url: str) -> PresignedRequest:
    async with open_aws(moto_url) as aws:
        return await aws.presigner.put("a.mp4", content_type="video/mp4", size_bytes=1, metadata={})


async def test_an_address_of_a_role_lives_as_long_as_was_asked(imds: FakeHost, moto_url: str) -> None:
    before = datetime.now(UTC)
    assert timedelta(seconds=900) <= (await signed(moto_url)).expires_at - before < timedelta(seconds=930)


async def test_an_address_says_that_it_ends_with_the_credentials(imds: FakeHost, moto_url: str) -> None:
    """botocore would call them good for a quarter of an hour more: the service gives old ones, it takes that for an outage."""
    imds.credentials_end_at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    assert (await signed(moto_url)).expires_at == imds.credentials_end_at


async def test_with_credentials_that_have_ended_no_address_is_signed(imds: FakeHost, moto_url: str) -> None:
    imds.credentials_end_at = datetime.now(UTC) - timedelta(minutes=1)
    with pytest.raises(UnavailableError, match="the credentials have ended"):
        await signed(moto_url)


@pytest.mark.parametrize("nonsense", ["soon", None, "2026-01-02"])
def test_an_end_that_cannot_be_read_is_none(nonsense: object) -> None:
    end = RoleEnd()
    end.note("2026-01-02T03:04:05Z")
    assert end.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    end.note(nonsense)
    assert end.at is None
