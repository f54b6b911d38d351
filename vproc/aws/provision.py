"""Reads what AWS has of a deployment, and makes the calls that `core.provisioning` finds lacking.

Rights of whoever runs it: ``sts:GetCallerIdentity``; on both buckets ``s3:CreateBucket``, ``DeleteBucket``, ``ListBucket``,
``ListBucketVersions``, and Get and Put of tagging, versioning, public access block, encryption, policy, CORS, lifecycle and
notification; ``sqs:CreateQueue``, ``DeleteQueue``, ``GetQueueUrl``, Get and ``SetQueueAttributes``; ``iam:CreatePolicy`` and
what changes, lists, detaches and deletes it; ``cloudwatch:PutMetricAlarm``, ``DescribeAlarms``, ``DeleteAlarms``. To empty a
bucket: ``s3:DeleteObject``, ``DeleteObjectVersion``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote
from uuid import UUID, uuid4

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from vproc import __version__
from vproc.aws.errors import MISSING_CODES, code_of, translated
from vproc.core.files import ObjectVersion
from vproc.core.infrastructure import Deployment, alarms, policies
from vproc.core.keys import file_id_of_object, file_prefix, manifest_key
from vproc.core.provisioning import Call, Found, FoundBucket, FoundPolicy, FoundQueue
from vproc.errors import ConfigError, DependencyError, InvalidRequestError, UnavailableError

_SERVICES = ("s3", "sqs", "iam", "cloudwatch", "sts")
_NONE = MISSING_CODES | {
    "NoSuchBucket", "NoSuchTagSet", "NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchBucketPolicy", "NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration", "NoSuchEntity", "QueueDoesNotExist",
    "AWS.SimpleQueueService.NonExistentQueue",
}  # fmt: skip
_REMEDIES = {
    "BucketAlreadyExists": "that name belongs to another account: choose another --name",
    "AWS.SimpleQueueService.QueueDeletedRecently": "a queue's name is free again a minute after it was deleted: try then",
    "QueueDeletedRecently": "a queue's name is free again a minute after it was deleted: try then",
    "AccessDenied": "the credentials lack the right to it",
    "AccessDeniedException": "the credentials lack the right to it",
    "UnauthorizedOperation": "the credentials lack the right to it",
}
_AMBIGUOUS = "another notification of the bucket takes the same events: S3 wants prefixes or suffixes that do not overlap"
_SETTLE_TRIES = 10
_SETTLE_S = 3.0
_AT_ONCE = 1000
_LOOK_EVERY_S = 0.5
_PROOF_PROFILE = "mp4"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether an upload came out at the other end, and after how many seconds."""

    file_id: UUID
    committed: bool
    took_s: float


class Provisioner:
    """Speaks for one account and region. ``tls``: whether the store is reached by TLS."""

    def __init__(self, clients: dict[str, Any], *, region: str, account: str, partition: str) -> None:
        self._clients = clients
        self.region = region
        self.account = account
        self.partition = partition
        self.tls = str(clients["s3"].meta.endpoint_url).startswith("https:")

    async def found(self, wanted: Deployment) -> Found:
        """What stands. Raises `UnavailableError` where it cannot be seen."""
        raw, processed = await self._bucket(wanted.raw_bucket), await self._bucket(wanted.processed_bucket)
        standing = {role: await self._policy(wanted.policy_arn(role)) for role in policies(wanted)}
        names = [str(alarm["AlarmName"]) for alarm in alarms(wanted)]
        told = await self._asked("see the alarms", lambda: self._clients["cloudwatch"].describe_alarms(AlarmNames=names))
        return Found(
            raw=raw,
            processed=processed,
            queue=await self._queue(wanted.queue),
            dead_letters=await self._queue(wanted.dead_letters),
            policies={role: policy for role, policy in standing.items() if policy is not None},
            alarms={alarm["AlarmName"]: alarm for alarm in (told or {}).get("MetricAlarms", ())},
        )

    async def make(self, call: Call) -> None:
        """Make one call of a plan. Raises `UnavailableError` or `InvalidRequestError`, with a remedy where one is known."""
        operation = getattr(self._clients[call.service], call.operation)
        for left in reversed(range(_SETTLE_TRIES)):
            try:
                await operation(**call.arguments)
            except ClientError as error:
                # A queue's policy is not seen at once by S3, which asks the queue before it takes a notification.
                if not (left and _validates(error)):
                    raise _in_words(call, error) from error
                await anyio.sleep(_SETTLE_S)
            except BotoCoreError as error:
                raise UnavailableError(f"cannot {call.words} ({call.resource}): {error}") from error
            else:
                return

    async def empty(self, bucket: str, *, prefix: str = "") -> int:
        """Delete every version of every object under ``prefix``, and uploads that nobody completed; how many went."""
        s3, gone = self._clients["s3"], 0
        with translated(f"empty the bucket {bucket}"):
            async for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                for upload in page.get("Uploads", ()):
                    await s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            async for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
                found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                named = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
                for start in range(0, len(named), _AT_ONCE):
                    answer = await s3.delete_objects(
                        Bucket=bucket, Delete={"Objects": named[start : start + _AT_ONCE], "Quiet": True}
                    )
                    if errors := answer.get("Errors"):
                        raise UnavailableError(f"cannot empty the bucket {bucket}: {errors[0]['Code']} of {errors[0]['Key']}")
                gone += len(named)
        return gone

    async def prove(self, wanted: Deployment, video: bytes, *, within_s: float) -> Proof:
        """Put ``video`` into the raw bucket and wait for its manifest, as any upload's; both are cleared away after. The row in
        the daemon's catalog stays, as that of a file whose outputs are gone."""
        s3, key, begun = self._clients["s3"], f"vproc-status/{uuid4()}.mp4", anyio.current_time()
        with translated("make an upload to prove the path"):
            put = await s3.put_object(
                Bucket=wanted.raw_bucket, Key=key, Body=video, ContentType="video/mp4", Metadata={"vproc-profile": _PROOF_PROFILE}
            )
            version = ObjectVersion(
                wanted.raw_bucket, key, etag=put["ETag"].strip('"'), size_bytes=len(video), version_id=put.get("VersionId")
            )
            file_id = file_id_of_object(version, _PROOF_PROFILE)
            committed = False
            with anyio.move_on_after(within_s):
                while not committed:
                    await anyio.sleep(_LOOK_EVERY_S)
                    committed = await self._stands(wanted.processed_bucket, manifest_key(file_id))
            took_s = anyio.current_time() - begun
            named = {"VersionId": version.version_id} if version.version_id else {}
            await s3.delete_object(Bucket=wanted.raw_bucket, Key=key, **named)
            await self.empty(wanted.processed_bucket, prefix=file_prefix(file_id))
        return Proof(file_id, committed=committed, took_s=took_s)

    async def _stands(self, bucket: str, key: str) -> bool:
        head = self._clients["s3"].head_object
        return await self._asked("look for the manifest", lambda: head(Bucket=bucket, Key=key)) is not None

    async def _asked(self, action: str, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """The answer; None where there is nothing of that name."""
        with translated(action):
            try:
                return await ask()
            except ClientError as error:
                if code_of(error) in _NONE:
                    return None
                raise

    async def _bucket(self, bucket: str) -> FoundBucket:
        s3 = self._clients["s3"]

        async def get(operation: str) -> dict[str, Any]:
            return await self._asked(f"see the bucket {bucket}", lambda: getattr(s3, operation)(Bucket=bucket)) or {}

        try:
            if await self._asked(f"see the bucket {bucket}", lambda: s3.head_bucket(Bucket=bucket)) is None:
                return FoundBucket()
        except UnavailableError as error:
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) in ("403", "AccessDenied", "Forbidden"):
                raise InvalidRequestError(
                    f"the bucket {bucket} belongs to another account, or these credentials may not see it: choose another --name"
                ) from error
            raise
        lifecycle = await get("get_bucket_lifecycle_configuration")
        policy = (await get("get_bucket_policy")).get("Policy")
        notifications = await get("get_bucket_notification_configuration")
        versions = await self._asked(
            f"see the bucket {bucket}", lambda: s3.list_object_versions(Bucket=bucket, MaxKeys=1)
        ) or {}  # fmt: skip
        options = {key: lifecycle[key] for key in ("TransitionDefaultMinimumObjectSize",) if key in lifecycle}
        return FoundBucket(
            exists=True,
            tags={tag["Key"]: tag["Value"] for tag in (await get("get_bucket_tagging")).get("TagSet", ())},
            versioning=(await get("get_bucket_versioning")).get("Status"),
            public_access_block=(await get("get_public_access_block")).get("PublicAccessBlockConfiguration"),
            encrypted=bool((await get("get_bucket_encryption")).get("ServerSideEncryptionConfiguration", {}).get("Rules")),
            policy=json.loads(policy) if policy else None,
            cors=(await get("get_bucket_cors")).get("CORSRules", ()),
            lifecycle=lifecycle.get("Rules", ()),
            lifecycle_options=options,
            notifications={key: value for key, value in notifications.items() if key != "ResponseMetadata"},
            holds_objects=bool(versions.get("Versions") or versions.get("DeleteMarkers")),
        )

    async def _queue(self, name: str) -> FoundQueue | None:
        sqs = self._clients["sqs"]
        found = await self._asked(f"see the queue {name}", lambda: sqs.get_queue_url(QueueName=name))
        if found is None:
            return None
        url = str(found["QueueUrl"])
        answer = await self._asked(
            f"see the queue {name}", lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        )  # fmt: skip
        # Stand-ins for SQS (moto, ElasticMQ) take this attribute and do not tell it.
        untold = () if ".amazonaws." in sqs.meta.endpoint_url else ("RedriveAllowPolicy",)
        return None if answer is None else FoundQueue(url, answer["Attributes"], untold)

    async def _policy(self, arn: str) -> FoundPolicy | None:
        iam, action = self._clients["iam"], f"see the policy {arn.rpartition('/')[2]}"
        standing = await self._asked(action, lambda: iam.get_policy(PolicyArn=arn))
        if standing is None:
            return None
        in_force = standing["Policy"]["DefaultVersionId"]
        with translated(action):
            version = await iam.get_policy_version(PolicyArn=arn, VersionId=in_force)
            versions = (await iam.list_policy_versions(PolicyArn=arn))["Versions"]
            entities = await iam.list_entities_for_policy(PolicyArn=arn)
        document = version["PolicyVersion"]["Document"]
        others = sorted((one for one in versions if one["VersionId"] != in_force), key=lambda one: one["CreateDate"])
        return FoundPolicy(
            document if isinstance(document, dict) else json.loads(unquote(document)),
            tuple(one["VersionId"] for one in others),
            tuple(
                (kind, one[f"{kind.title()}Name"])
                for kind in ("role", "user", "group")
                for one in entities[f"Policy{kind.title()}s"]
            ),
        )


@asynccontextmanager
async def open_provisioner(region: str | None) -> AsyncIterator[Provisioner]:
    """With the credentials of the environment. Raises `ConfigError` without a region, `DependencyError` where AWS cannot be
    reached or knows nobody."""
    session = AioSession()
    async with AsyncExitStack() as stack:
        try:
            config = AioConfig(
                user_agent_extra=f"vproc/{__version__}", retries={"mode": "standard", "total_max_attempts": 3},
                connect_timeout=5, read_timeout=30, warm_up_loader_caches=True,
            )  # fmt: skip
            clients = {
                service: await stack.enter_async_context(session.create_client(service, region_name=region, config=config))
                for service in _SERVICES
            }
        except (BotoCoreError, ValueError) as error:
            hint = "; set AWS_REGION, or give --region" if "region" in str(error).lower() else ""
            raise ConfigError(f"AWS configuration: {error}{hint}") from error
        try:
            with translated("reach AWS"):
                caller = await clients["sts"].get_caller_identity()
        except UnavailableError as error:
            raise DependencyError(error.detail) from error
        yield Provisioner(
            clients,
            region=clients["sqs"].meta.region_name,
            account=str(caller["Account"]),
            partition=str(caller["Arn"]).split(":")[1],
        )


def _validates(error: ClientError) -> bool:
    return code_of(error) == "InvalidArgument" and "validate the following destination" in str(error)


def _in_words(call: Call, error: ClientError) -> UnavailableError | InvalidRequestError:
    code = code_of(error)
    remedy = _REMEDIES.get(code) or (_AMBIGUOUS if "ambiguous" in str(error).lower() else "")
    sentence = f"cannot {call.words} ({call.resource}): {code}{f': {remedy}' if remedy else f': {_message(error)}'}"
    return InvalidRequestError(sentence) if code == "BucketAlreadyExists" or remedy == _AMBIGUOUS else UnavailableError(sentence)


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))[:200]


def waiting(found: Found) -> dict[str, int]:
    """About how many messages each queue holds, those in work among them."""
    queues: Sequence[tuple[str, FoundQueue | None]] = (("queue", found.queue), ("dead letters", found.dead_letters))
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    return {name: sum(int(queue.attributes.get(one, 0)) for one in names) for name, queue in queues if queue is not None}
