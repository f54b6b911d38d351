"""Foreign errors turned into ours at the edge. Nobody inside has heard of botocore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError
from botocore.parsers import ResponseParserError

from vproc.errors import ErrorCode, TransientError, UnavailableError

MISSING_CODES = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
STALE_HANDLE_CODES = frozenset(
    {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue"}
)
CONFLICT_CODES = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
PRECONDITION_CODES = frozenset({"412", "PreconditionFailed"})

# The machine's fault, or the store's, never the job's: no attempt is counted for these.
_AWAY_CODES = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "403", "Forbidden", "ExpiredToken", "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired", "RequestTimeout",
        "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "TooManyRequestsException",
        "RequestLimitExceeded", "KmsThrottled", "KMS.ThrottlingException", "OverLimit", "BandwidthLimitExceeded",
        "NoSuchBucket", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "PermanentRedirect",
        "AuthorizationHeaderMalformed", "InvalidToken", "TokenRefreshRequired", "UnrecognizedClientException",
        # An answer to HEAD has no body, and its status stands for the code: an expired token and a wrong region are these.
        "301", "307", "400",
    }
)  # fmt: skip
NO_CREDENTIALS = (
    "no credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the instance or task a "
    "role (in a container on EC2 the instance's metadata needs a hop limit of 2)"
)
TOO_LONG_CODES = frozenset({"InvalidParameterValue", "MessageTooLong", "AWS.SimpleQueueService.MessageTooLong"})


def code_of(error: ClientError) -> str:
    """The service's own code for an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status of an error's answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Raise `UnavailableError` or `TransientError` for whatever a call raises. ``action`` completes "cannot …"."""
    try:
        yield
    except ClientError as error:
        code, status = code_of(error), status_of(error)
        sentence = f"cannot {action}: {code} (HTTP {status})"
        if _is_away(code, status):
            raise UnavailableError(sentence) from error
        raise TransientError(ErrorCode.INTERNAL, sentence) from error
    except NoCredentialsError as error:
        raise UnavailableError(f"cannot {action}: {NO_CREDENTIALS}") from error
    except (BotoCoreError, ResponseParserError, aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise UnavailableError(f"cannot {action}: {_short(error)}") from error
    except RuntimeError as error:
        # botocore says so of credentials that were renewed and are over all the same; of anything else it is a fault of ours.
        if "expired" not in str(error):
            raise
        raise UnavailableError(f"cannot {action}: the credentials have ended, and no new ones are given") from error
    except KeyError as error:
        # A 200 that is none of the service's: a captive portal, a proxy's own page. The SDK takes it for an empty answer.
        raise UnavailableError(f"cannot {action}: the answer lacks {error}: is that the right address?") from error


def _is_away(code: str, status: int) -> bool:
    """A key that is disabled is the account's fault, however KMS calls it that day."""
    if code in _AWAY_CODES or code.upper().startswith("KMS"):
        return True
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS


def _short(error: BaseException) -> str:
    """One line without the address's query, which may hold a signature."""
    text = str(error).partition("?")[0].splitlines()
    if isinstance(error, EndpointConnectionError):
        text[0] += ": check the region, the network and AWS_ENDPOINT_URL"
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
