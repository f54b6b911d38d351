"""What AWS answers to whoever provisions, where moto does not: refusals with remedies, a policy that is not seen yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from vproc.aws import provision
from vproc.aws.provision import Provisioner
from vproc.core.infrastructure import Deployment
from vproc.core.provisioning import Call
from vproc.errors import InvalidRequestError, UnavailableError, VprocError

WANTED = Deployment("acme", region="eu-west-1", account="1")
NOTIFY = Call(
    "bucket acme-raw", "tell the queue of uploads", "s3", "put_bucket_notification_configuration", {"Bucket": "acme-raw"}
)
CREATE = Call("bucket acme-raw", "make it", "s3", "create_bucket", {"Bucket": "acme-raw"})


class Refusing:
    """A client whose every call is refused: with the next error of the list, and taken when there is none left."""

    meta = SimpleNamespace(endpoint_url="https://s3.eu-west-1.amazonaws.com")

    def __init__(self, *errors: tuple[str, str]) -> None:
        self.errors = list(errors)
        self.asked = 0

    def __getattr__(self, operation: str) -> Any:
        async def call(**_: Any) -> dict[str, Any]:
            self.asked += 1
            if self.errors:
                code, message = self.errors.pop(0)
                raise ClientError({"Error": {"Code": code, "Message": message}}, operation)
            return {}

        return call


def speaking_to(client: Refusing) -> Provisioner:
    return Provisioner({"s3": client, "sqs": client}, region="eu-west-1", account="1", partition="aws")


@pytest.mark.parametrize(
    ("call", "code", "message", "kind", "words"),
    [
        (CREATE, "BucketAlreadyExists", "", InvalidRequestError, "that name belongs to another account: choose another --name"),
        (
            CREATE,
            "AccessDenied",
            "no",
            UnavailableError,
            "cannot make it (bucket acme-raw): AccessDenied: the credentials lack the right",
        ),
        (CREATE, "SlowDown", "Please reduce", UnavailableError, "SlowDown: Please reduce"),
        (
            Call("queue acme", "make it", "sqs", "create_queue", {}),
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "",
            UnavailableError,
            "a minute after it was deleted",
        ),
        (
            NOTIFY,
            "InvalidArgument",
            "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules",
            InvalidRequestError,
            "another notification of the bucket takes the same events",
        ),
    ],
)
async def test_a_refusal_has_a_remedy(call: Call, code: str, message: str, kind: type[VprocError], words: str) -> None:
    with pytest.raises(kind) as raised:
        await speaking_to(Refusing((code, message))).make(call)
    assert words in raised.value.detail


async def test_a_policy_that_s3_does_not_see_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new queue's policy takes seconds to be seen; one that never is ends in bounded time."""
    monkeypatch.setattr(provision, "_SETTLE_S", 0)
    unseen = ("InvalidArgument", "Unable to validate the following destination configurations")
    client = Refusing(unseen, unseen)
    await speaking_to(client).make(NOTIFY)
    assert client.asked == 3
    never = Refusing(*[unseen] * 99)
    with pytest.raises(UnavailableError, match="Unable to validate"):
        await speaking_to(never).make(NOTIFY)
    assert never.asked == 10


async def test_a_bucket_of_another_account_is_told() -> None:
    with pytest.raises(InvalidRequestError, match=r"acme-raw belongs to another account.*--name"):
        await speaking_to(Refusing(("403", "Forbidden"))).found(WANTED)
