"""What vproc needs of AWS, as documents: two buckets, a queue with its dead letters, policies, alarms.

One description for `vproc aws init`, for CloudFormation and for Terraform: the parts of an ARN that the latter two learn later
are their own placeholders here (`Deployment.account` may be ``${AWS::AccountId}``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vproc.errors import ConfigError

Document = dict[str, Any]

VISIBILITY_S = 120
QUEUE_RETENTION_S = 4 * 86_400
DEAD_LETTER_RETENTION_S = 14 * 86_400
"""From the first sending on: SQS does not begin anew when a message becomes a dead letter."""
RAW_DAYS = 21
"""Longer than queue and dead letters keep a message together, so that a letter's original still stands when it is redriven."""
MAX_RECEIVE_COUNT = 100
"""SQS counts every receive, a drain's as well; what counts is `VPROC_MAX_ATTEMPTS`."""
MAX_MESSAGE_BYTES = 262_144
"""A notification may take 64 KB, and one that the queue refuses is lost."""

OWN = "vproc"
"""The id of each rule that is ours among those of others."""
TLS_SID = "VprocTlsOnly"
EVENTS_SID = "VprocEvents"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,48}[a-z0-9])")
_SHORTEST_RAW_DAYS = 2


@dataclass(frozen=True, slots=True)
class Deployment:
    """One installation, by its name. ``origins``: the pages that may upload and play. ``tls``: whether the store is reached
    by TLS, as S3 is; requests without it are refused then."""

    name: str
    region: str
    account: str
    partition: str = "aws"
    origins: Sequence[str] = ("*",)
    raw_days: int = RAW_DAYS
    alarm_topic: str | None = None
    tls: bool = True

    @property
    def raw_bucket(self) -> str:
        """The originals."""
        return f"{self.name}-raw"

    @property
    def processed_bucket(self) -> str:
        """The outputs."""
        return f"{self.name}-processed"

    @property
    def queue(self) -> str:
        """The jobs."""
        return self.name

    @property
    def dead_letters(self) -> str:
        """What failed for good."""
        return f"{self.name}-dead-letters"

    @property
    def namespace(self) -> str:
        """Of what CloudWatch is told of it."""
        return f"vproc/{self.name}"

    @property
    def cluster(self) -> str:
        """Where tasks run that do jobs for it."""
        return self.name

    @property
    def task_family(self) -> str:
        """The task definition of those tasks."""
        return f"{self.name}-job"

    @property
    def task_roles(self) -> tuple[str, str]:
        """The role of those tasks, and the one by which ECS starts them. Roles' names hold for the whole account, too."""
        return f"{self.name}-{self.region}-task", f"{self.name}-{self.region}-task-execution"

    def bucket_arn(self, bucket: str) -> str:
        """A bucket's ARN knows no region and no account."""
        return f"arn:{self.partition}:s3:::{bucket}"

    def queue_arn(self, queue: str) -> str:
        """Of one of the two queues."""
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{queue}"

    def policy_arn(self, role: str) -> str:
        """Of a policy that is made of `policies`."""
        return f"arn:{self.partition}:iam::{self.account}:policy/{self.policy_name(role)}"

    def policy_name(self, role: str) -> str:
        """A policy's name holds for the whole account, so the region is in it."""
        return f"{self.name}-{self.region}-{role}"


def check_deployment(deployment: Deployment) -> None:
    """Raise `ConfigError` where a name or number cannot be."""
    faults = []
    if not _NAME.fullmatch(deployment.name) or "--" in deployment.name:
        faults.append(
            f"--name: takes 3 to 50 small letters, digits and single hyphens; it begins the buckets' (got {deployment.name!r})"
        )
    if deployment.raw_days < _SHORTEST_RAW_DAYS:
        faults.append(f"--raw-days: takes {_SHORTEST_RAW_DAYS} or more (got {deployment.raw_days})")
    faults += [
        f"--origin: takes https://HOST without a path, or * (got {origin!r})"
        for origin in deployment.origins
        if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin)
    ]
    if faults:
        raise ConfigError(*faults)


# --- buckets -----------------------------------------------------------------------------------------------------------

PUBLIC_ACCESS_BLOCK: Document = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
}  # fmt: skip
ENCRYPTION: Document = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}]}


def cors_rule(deployment: Deployment) -> Document:
    """Uploads and playback from a page. `ETag` is what an upload in parts is completed by."""
    return {
        "ID": OWN,
        "AllowedOrigins": list(deployment.origins),
        "AllowedMethods": ["GET", "HEAD", "PUT", "POST", "DELETE"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag", "Location"],
        "MaxAgeSeconds": 3600,
    }


def raw_lifecycle(deployment: Deployment) -> Document:
    """Originals are deleted once their outputs stand; this takes what was never processed."""
    return {
        "ID": OWN,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": deployment.raw_days},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 3},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }


def processed_lifecycle() -> Document:
    """Outputs stay; parts of uploads that nobody completed do not."""
    return {
        "ID": OWN, "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }  # fmt: skip


def tls_only(deployment: Deployment, bucket: str) -> Document:
    """A statement that refuses requests without TLS."""
    arn = deployment.bucket_arn(bucket)
    return {
        "Sid": TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def notification(deployment: Deployment) -> Document:
    """Of every object that is made in the raw bucket, to the queue."""
    return {"Id": OWN, "QueueArn": deployment.queue_arn(deployment.queue), "Events": ["s3:ObjectCreated:*"]}


# --- queues ------------------------------------------------------------------------------------------------------------


def dead_letter_attributes(deployment: Deployment) -> dict[str, str]:
    """As SQS takes them: each value a string. Only the queue may send its dead letters here."""
    allowed = {"redrivePermission": "byQueue", "sourceQueueArns": [deployment.queue_arn(deployment.queue)]}
    return {
        "MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_S),
        "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
        "SqsManagedSseEnabled": "true",
        "RedriveAllowPolicy": json.dumps(allowed),
    }


def queue_attributes(deployment: Deployment) -> dict[str, str]:
    """As SQS takes them, without the policy, which others may have statements in."""
    redrive = {"deadLetterTargetArn": deployment.queue_arn(deployment.dead_letters), "maxReceiveCount": MAX_RECEIVE_COUNT}
    return {
        "VisibilityTimeout": str(VISIBILITY_S),
        "MessageRetentionPeriod": str(QUEUE_RETENTION_S),
        "ReceiveMessageWaitTimeSeconds": "20",
        "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
        "SqsManagedSseEnabled": "true",
        "RedrivePolicy": json.dumps(redrive),
    }


def events_statement(deployment: Deployment) -> Document:
    """S3 may send for this bucket of this account, and for no other."""
    return {
        "Sid": EVENTS_SID,
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": deployment.queue_arn(deployment.queue),
        "Condition": {
            "ArnEquals": {"aws:SourceArn": deployment.bucket_arn(deployment.raw_bucket)},
            "StringEquals": {"aws:SourceAccount": deployment.account},
        },
    }


# --- rights ------------------------------------------------------------------------------------------------------------

_LIST = ("s3:ListBucket",)
_RAW_OF_API = (
    "s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)  # fmt: skip
_PROCESSED_OF_API = ("s3:GetObject", "s3:DeleteObject")
_QUEUE_OF_API = ("sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl")
# what `/ops` shows and sends back
_DEAD_LETTERS_OF_API = (
    "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage",
    "sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks",
)  # fmt: skip
_LIST_OF_WORKER = ("s3:ListBucket", "s3:ListBucketMultipartUploads")
_RAW_OF_WORKER = (
    "s3:GetObject", "s3:GetObjectVersion", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)  # fmt: skip
_PROCESSED_OF_WORKER = (
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)
_RAW_OF_TASK = ("s3:GetObject", "s3:GetObjectVersion")
_QUEUE_OF_WORKER = (
    "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
    "sqs:SendMessage",
)  # fmt: skip
_DEAD_LETTERS_OF_WORKER = (
    "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
)  # fmt: skip

POLICIES: Mapping[str, str] = {
    "api": "vproc, VPROC_ROLES=api: sign uploads, read and delete files, announce retries, send dead letters back",
    "worker": "vproc, VPROC_ROLES=worker: take jobs, read originals, write outputs",
    "daemon": "vproc with both roles, on an instance or as an ECS task",
    "task": "vproc job as a task that a daemon with VPROC_RUNNER=ecs started: read originals, write outputs",
    "launcher": "beside worker or daemon, for VPROC_RUNNER=ecs: start, watch and stop those tasks",
}


def policies(deployment: Deployment) -> dict[str, Document]:
    """The least that each role calls, by the names of `POLICIES`."""
    raw, processed = (deployment.bucket_arn(bucket) for bucket in (deployment.raw_bucket, deployment.processed_bucket))
    queue, letters = (deployment.queue_arn(name) for name in (deployment.queue, deployment.dead_letters))

    # The backlog, for whoever scales by it: no resource, so that the namespace is what bounds it.
    told = _allow(["cloudwatch:PutMetricData"], "*") | {
        "Condition": {"StringEquals": {"cloudwatch:namespace": deployment.namespace}}
    }

    def allowed(lists: Sequence[str], *others: tuple[str, Sequence[Sequence[str]]]) -> Document:
        statements = [_allow(lists, [raw, processed])]
        statements += [_allow(sorted({action for actions in those for action in actions}), where) for where, those in others]
        return {"Version": "2012-10-17", "Statement": [*statements, told]}

    return {
        "api": allowed(
            _LIST, (f"{raw}/*", [_RAW_OF_API]), (f"{processed}/*", [_PROCESSED_OF_API]), (queue, [_QUEUE_OF_API]),
            (letters, [_DEAD_LETTERS_OF_API]),
        ),
        "worker": allowed(
            _LIST_OF_WORKER, (f"{raw}/*", [_RAW_OF_WORKER]), (f"{processed}/*", [_PROCESSED_OF_WORKER]),
            (queue, [_QUEUE_OF_WORKER]), (letters, [_DEAD_LETTERS_OF_WORKER]),
        ),
        "daemon": _with_task_protection(
            deployment,
            allowed(
                _LIST_OF_WORKER, (f"{raw}/*", [_RAW_OF_API, _RAW_OF_WORKER]),
                (f"{processed}/*", [_PROCESSED_OF_API, _PROCESSED_OF_WORKER]), (queue, [_QUEUE_OF_API, _QUEUE_OF_WORKER]),
                (letters, [_DEAD_LETTERS_OF_API, _DEAD_LETTERS_OF_WORKER]),
            ),
        ),
        "task": {
            "Version": "2012-10-17",
            "Statement": [
                _allow(_LIST_OF_WORKER, [raw, processed]), _allow(_RAW_OF_TASK, f"{raw}/*"),
                _allow(sorted(_PROCESSED_OF_WORKER), f"{processed}/*"),
            ],
        },
        "launcher": _launcher(deployment),
    }  # fmt: skip


def _launcher(deployment: Deployment) -> Document:
    """Tasks of this deployment's definition in its cluster, and its two roles for them. Where ECS knows no resource, the cluster
    is the condition; a task definition can be read by everybody or nobody."""
    own = f"arn:{deployment.partition}:ecs:{deployment.region}:{deployment.account}"
    in_cluster = {"Condition": {"ArnEquals": {"ecs:cluster": f"{own}:cluster/{deployment.cluster}"}}}
    roles = [f"arn:{deployment.partition}:iam::{deployment.account}:role/{name}" for name in deployment.task_roles]
    to_tasks = {"Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow(["ecs:RunTask"], f"{own}:task-definition/{deployment.task_family}:*") | in_cluster,
            _allow(["ecs:DescribeTasks", "ecs:StopTask"], f"{own}:task/{deployment.cluster}/*"),
            _allow(["ecs:ListTasks"], "*") | in_cluster,
            _allow(["ecs:DescribeTaskDefinition"], "*"),
            _allow(["iam:PassRole"], roles) | to_tasks,
        ],
    }


def _with_task_protection(deployment: Deployment, policy: Document) -> Document:
    """A task of an ECS service keeps the service from ending it while jobs run."""
    tasks = f"arn:{deployment.partition}:ecs:{deployment.region}:{deployment.account}:task/*"
    return policy | {"Statement": [*policy["Statement"], _allow(["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"], tasks)]}


def _allow(actions: Sequence[str], resource: str | list[str]) -> Document:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


# --- alarms ------------------------------------------------------------------------------------------------------------


def alarms(deployment: Deployment) -> list[Document]:
    """CloudWatch's, as `PutMetricAlarm` takes them: a dead letter, and a queue that nobody serves."""
    actions = [deployment.alarm_topic] if deployment.alarm_topic else []

    def alarm(kind: str, words: str, queue: str, metric: str, over: int, periods: int) -> Document:
        return {
            "AlarmName": f"{deployment.name}-{kind}",
            "AlarmDescription": words,
            "Namespace": "AWS/SQS",
            "MetricName": metric,
            "Dimensions": [{"Name": "QueueName", "Value": queue}],
            "Statistic": "Maximum",
            "Period": 300,
            "EvaluationPeriods": periods,
            "Threshold": over,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": actions,
        }

    return [
        alarm("dead-letters", "Files failed for good: `vproc dlq list` tells why.", deployment.dead_letters,
              "ApproximateNumberOfMessagesVisible", 0, 1),
        alarm("oldest-message", "A file has waited for an hour: is a daemon up, are there enough?", deployment.queue,
              "ApproximateAgeOfOldestMessage", 3600, 3),
    ]  # fmt: skip
