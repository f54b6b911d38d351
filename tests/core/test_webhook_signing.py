"""Signatures as Standard Webhooks 1.0.0 tells them."""

from __future__ import annotations

import pytest

from vproc.core.webhook_signing import read_secrets, show_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
EVENT = {"webhook_id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": 1614265330, "body": b'{"test": 2432232314}'}
OTHER = "whsec_" + "QUJD" * 16


def test_an_event_is_signed_as_the_hmac_of_id_time_and_body() -> None:
    """The signature is openssl's: printf of the three with dots between, ``openssl dgst -sha256 -mac hmac``."""
    assert signed_headers(read_secrets(SECRET), **EVENT) == {  # type: ignore[arg-type]
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_each_secret_of_a_rotation_signs(between: str) -> None:
    headers = signed_headers(read_secrets(f"{OTHER}{between}{SECRET}"), **EVENT)  # type: ignore[arg-type]
    first, second = headers["webhook-signature"].split(" ")
    assert second == SIGNATURE
    assert first != second


def test_a_secret_is_shown_as_it_is_written() -> None:
    assert [show_secret(secret) for secret in read_secrets(f"{SECRET} {OTHER}")] == [SECRET, OTHER]


@pytest.mark.parametrize(
    "text",
    ["", " ,", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_QUJD", "whsec_" + "QUJD" * 22, "whsec_%%%%" + "QUJD" * 8],
)
def test_anything_else_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as raised:
        read_secrets(f"{SECRET} {text}" if text.strip(" ,") else text)
    assert "QUJD" not in str(raised.value)
    assert SECRET not in str(raised.value)
