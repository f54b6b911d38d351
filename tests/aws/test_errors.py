"""Foreign errors in our words: whose fault it is, in one line that holds no secret."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ServerDisconnectedError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from vproc.aws.errors import code_of, status_of, translated
from vproc.errors import ErrorCode, InvalidMessageError, JobError, RejectedError, TransientError, UnavailableError

SIGNED = "https://raw.s3.eu-west-1.amazonaws.com/videos/a.mp4?X-Amz-Credential=AKIA123&X-Amz-Signature=5ec7e75"


def client_error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": f"see {SIGNED}"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


def raised_for(error: BaseException) -> JobError:
    with pytest.raises(JobError) as caught, translated("read the object"):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalError", 500), ("ServiceUnavailable", 503), ("SlowDown", 503), ("500", 500), ("502", 502), ("504", 504),
        ("SomethingNew", 599), ("TooManyRequests", 429), ("429", 429),
        ("RequestThrottled", 403), ("Throttling", 400), ("ThrottlingException", 400), ("OverLimit", 403),
        ("AccessDenied", 403), ("403", 403), ("ExpiredToken", 400), ("ExpiredTokenException", 400), ("InvalidToken", 400),
        ("InvalidClientTokenId", 403), ("InvalidAccessKeyId", 403), ("SignatureDoesNotMatch", 403),
        ("UnrecognizedClientException", 400), ("RequestTimeTooSkewed", 403), ("RequestTimeout", 400),
        ("KmsThrottled", 400), ("KMS.DisabledException", 400), ("KmsAccessDenied", 400), ("KmsInvalidState", 400),
        ("NoSuchBucket", 404), ("AWS.SimpleQueueService.NonExistentQueue", 400), ("QueueDoesNotExist", 400),
        ("PermanentRedirect", 301), ("AuthorizationHeaderMalformed", 400), ("301", 301), ("400", 400),
    ],
)  # fmt: skip
def test_the_stores_and_the_accounts_faults_cost_no_attempt(code: str, status: int) -> None:
    raised = raised_for(client_error(code, status))
    assert isinstance(raised, UnavailableError)
    assert raised.code is ErrorCode.DEPENDENCY_UNAVAILABLE
    assert raised.detail == f"cannot read the object: {code} (HTTP {status})"


@pytest.mark.parametrize(
    ("code", "status"), [("BadDigest", 400), ("EntityTooLarge", 400), ("InvalidObjectState", 403), ("SomethingNew", 418)]
)
def test_what_is_refused_for_its_own_sake_counts(code: str, status: int) -> None:
    """Else a request that no store ever takes would be made for ever."""
    raised = raised_for(client_error(code, status))
    assert type(raised) is TransientError
    assert raised.code is ErrorCode.INTERNAL
    assert code in raised.detail


def test_where_there_are_no_credentials_it_is_said_how_to_give_some() -> None:
    raised = raised_for(NoCredentialsError())
    assert type(raised) is UnavailableError
    assert "AWS_PROFILE" in raised.detail
    assert "hop limit" in raised.detail


def test_credentials_that_are_over_when_they_come_are_the_machines_fault() -> None:
    """botocore has no error of its own for it; any other `RuntimeError` is a fault of ours."""
    raised = raised_for(RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."))
    assert type(raised) is UnavailableError
    with pytest.raises(RuntimeError, match="no loop"):
        raised_for(RuntimeError("no loop"))


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=SIGNED),
        ConnectTimeoutError(endpoint_url=SIGNED),
        ReadTimeoutError(endpoint_url=SIGNED),
        SSLError(endpoint_url=SIGNED, error=OSError("certificate verify failed")),
        ResponseParserError(f"<html>\n{SIGNED}"),
        ClientPayloadError(f"cut: {SIGNED}"),
        ServerDisconnectedError(),
        ClientConnectionError(SIGNED),
        TimeoutError(),
        ConnectionResetError(104, "Connection reset by peer"),
        BrokenPipeError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_broken_line_costs_no_attempt_and_shows_no_signature(error: Exception) -> None:
    raised = raised_for(error)
    assert type(raised) is UnavailableError
    assert raised.detail.startswith(f"cannot read the object: {type(error).__name__}")
    for text in (raised.detail, str(raised)):
        assert "5ec7e75" not in text
        assert "AKIA" not in text
        assert "\n" not in text
    assert len(raised.detail) < 300


def test_a_services_message_is_not_repeated() -> None:
    """It may hold whatever was asked."""
    raised = raised_for(client_error("AccessDenied", 403))
    assert "5ec7e75" not in str(raised)


@pytest.mark.parametrize("text", ["", "?only=a-query", "\nsecond line", "x" * 5000])
def test_any_text_makes_one_short_line(text: str) -> None:
    detail = raised_for(ConnectionError(text)).detail
    assert detail.startswith("cannot read the object: ConnectionError")
    assert "\n" not in detail
    assert len(detail) < 300


@pytest.mark.parametrize(
    "error", [RejectedError(ErrorCode.TOO_LARGE, "x"), InvalidMessageError("x"), ZeroDivisionError(), OSError(5, "x")]
)
def test_everything_else_passes_as_it_is(error: Exception) -> None:
    """Our own errors, and bugs."""
    with pytest.raises(type(error)) as caught, translated("read"):
        raise error
    assert caught.value is error


def test_an_error_without_an_answer_has_neither_code_nor_status() -> None:
    error = ClientError({}, "GetObject")
    assert (code_of(error), status_of(error)) == ("", 0)
    assert type(raised_for(error)) is TransientError
